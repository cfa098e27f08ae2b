/** A replay in words and numbers, as `replay_words.py` of the command line has them. */

import { oneLine } from "./part-text.js";
import { VERDICTS, modelsOf, quotesIs, sumsOf } from "./replay-pairs.js";

/** What the replay is, in one line. @param {string[]} chains of all its jobs */
export const heading = (chains) => `Replay of ${chains.length === 1 ? "1 job" : `${chains.length} jobs`} of ${[...new Set(chains)].sort().join(", ")}`;

/** What differs from the jobs that are replayed. @param pairs of a job and its replay, as the API gives them */
export function settings(pairs) {
  const own = (name) => pairs.filter(([source, replay]) => replay[name] && replay[name] !== source[name]).map(([, replay]) => replay[name]);
  const prompts = pairs.flatMap(([source, replay]) => replay.changed_prompts.filter((step) => step === replay.forked_from.from_step || !source.changed_prompts.includes(step)));
  const given = { model: own("model"), effort: own("effort"), "prompt of step": prompts, "from step": pairs.map(([, replay]) => replay.forked_from.from_step).filter(Boolean) };
  const told = Object.entries(given).filter(([, values]) => values.length).map(([name, values]) => `${name}: ${[...new Set(values)].map(oneLine).join(", ")}`);
  return `${told.length ? told.join("; ") : "Nothing was changed: what differs, differs by chance"}.`;
}

/** Which models answered. */
export function answered(pairs) {
  const [before, after] = ["source", "replay"].map((side) => modelsOf(pairs, side).join(", ") || "no model");
  return `Answered before by ${before}; in the replay by ${after}.`;
}

/** How many replays are worse, better and the same by the checks, and how many answers changed. */
export function verdicts(pairs) {
  const counts = VERDICTS.map((verdict) => [pairs.filter((pair) => pair.verdict === verdict).length, verdict]);
  const known = counts.filter(([count, verdict]) => count || verdict !== "not ended").map(([count, verdict]) => `${count} ${verdict}`);
  return `By the checks: ${known.join(", ")}. The answer changed in ${pairs.filter(({ changed }) => changed.length).length} of ${pairs.filter(({ replay }) => replay).length}.`;
}

/** The rows of the summary: a name, before, the replay, the change. */
export function sumRows(pairs) {
  const [was, now] = sumsOf(pairs);
  const share = ({ quotes, found }) => (quotes ? (100 * found) / quotes : null);
  const row = (name, of, show = String) => [name, show(of(was)), show(of(now)), change(of(was), of(now))];
  return [
    row("Completed", ({ completed }) => completed),
    ...(was.quotes || now.quotes ? [["Quotes in the text", quotesIs(was), quotesIs(now), points(share(was), share(now))]] : []),
    row("Answers rejected", ({ rejected }) => rejected),
    row("Calls", ({ calls }) => calls),
    row("Tokens in", ({ input }) => input),
    row("Tokens out", ({ output }) => output),
    row("US dollars", ({ cost }) => cost, cost),
    row("Seconds, median", ({ median }) => median, seconds),
    row("Seconds, nine of ten", ({ slow }) => slow, seconds),
  ];
}

const signed = (number) => `${number < 0 ? "-" : "+"}${Math.abs(number).toFixed(0)}`;

/** The change of numbers that are per cent, in points. */
function points(before, after) {
  if (before === null || after === null) return "";
  return Math.round(Math.abs(after - before)) ? `${signed(after - before)} points` : "±0";
}

/** The change of a number in per cent. */
export function change(before, after) {
  if (before === null || after === null) return "";
  if (before === after) return "±0";
  return before ? `${signed(100 * (after / before - 1))} %` : `+${after}`;
}

/** A cost in US dollars. */
export const cost = (amount) => (amount === null ? "unknown" : amount.toFixed(6));

/** A time in seconds. */
export const seconds = (took) => (took === null ? "unknown" : took.toFixed(1));
