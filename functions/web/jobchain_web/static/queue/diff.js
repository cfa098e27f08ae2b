/** What differs between two texts, word by word: as `jobchain replay` marks it. */

/** The most pairs of lines, and of words, that are compared: the time grows with their number, and texts may be hostile. */
const MOST_PAIRS = 250_000;

const WORDS = /\s+|[\p{L}\p{N}_]+|[^\p{L}\p{N}_\s]/gu;
const LINES = /[^\n]*\n|[^\n]+/g;

/** @typedef {{text: string, changed: boolean}} Piece */

/** Both texts in pieces, which joined give the texts again. @returns {[Piece[], Piece[]]} */
export function difference(before, after) {
  const found = [[], []];
  const add = (old, now, changed) => [old, now].forEach((parts, side) => found[side].push({ text: parts.join(""), changed }));
  for (const [old, now] of blocks(before.match(LINES) ?? [], after.match(LINES) ?? [])) {
    if (isSame(old, now)) add(old, now, false);
    else for (const [was, is] of blocks(old.join("").match(WORDS) ?? [], now.join("").match(WORDS) ?? [])) add(was, is, !isSame(was, is));
  }
  return found.map(joined);
}

const isSame = (one, other) => one.length === other.length && one.every((part, index) => part === other[index]);

/** Parts of both, in order: equal ones, and such that have nothing in common. */
function* blocks(before, after) {
  const least = Math.min(before.length, after.length);
  let start = 0;
  while (start < least && before[start] === after[start]) start += 1;
  let end = 0;
  while (end < least - start && before.at(-1 - end) === after.at(-1 - end)) end += 1;
  const [old, now] = [before.slice(start, before.length - end), after.slice(start, after.length - end)];
  yield [before.slice(0, start), after.slice(0, start)];
  if (old.length * now.length > MOST_PAIRS) yield [old, now];
  else yield* between(old, now);
  yield [before.slice(before.length - end), after.slice(after.length - end)];
}

/** The longest run that both have, and in the same way what is before and after it. */
function between(old, now) {
  const places = new Map();
  now.forEach((part, place) => places.set(part, [...(places.get(part) ?? []), place]));
  const found = [];
  const open = [[0, old.length, 0, now.length]];
  while (open.length) {
    const [from, to, other, last] = open.pop();
    const run = longest(old, places, from, to, other, last);
    if (!run.size) {
      if (from < to || other < last) found.push([from, to, other, last]);
      continue;
    }
    found.push([run.from, run.from + run.size, run.other, run.other + run.size]);
    open.push([from, run.from, other, run.other], [run.from + run.size, to, run.other + run.size, last]);
  }
  return found.sort((one, next) => one[0] - next[0] || one[2] - next[2] || one[1] - next[1]).map(([from, to, other, last]) => [old.slice(from, to), now.slice(other, last)]);
}

/** The first of the longest runs within these parts. */
function longest(old, places, from, to, other, last) {
  let best = { from, other, size: 0 };
  let sizes = new Map();
  for (let at = from; at < to; at += 1) {
    const next = new Map();
    for (const place of places.get(old[at]) ?? []) {
      if (place < other || place >= last) continue;
      const size = (sizes.get(place - 1) ?? 0) + 1;
      next.set(place, size);
      if (size > best.size) best = { from: at - size + 1, other: place - size + 1, size };
    }
    sizes = next;
  }
  return best;
}

/** The pieces without empty ones, neighbours of a kind together, and blanks between two changes changed too. */
function joined(pieces) {
  const merged = [];
  for (const { text, changed } of pieces) {
    if (!text) continue;
    const last = merged.at(-1);
    if (last?.changed === changed) last.text += text;
    else if (merged.length > 1 && changed && !last.text.trim() && merged.at(-2).changed) {
      merged.pop();
      merged.at(-1).text += last.text + text;
    } else merged.push({ text, changed });
  }
  return merged;
}
