/** A job beside its replay: answers, checks, cost, time. `replay_comparison.py` of the command line compares in the same way. */

import { oneLine, textParts } from "./part-text.js";

/** What the checks say of a replay, beside the job; in the order of a list, the worst first. */
export const VERDICTS = ["worse", "mixed", "better", "same", "not ended"];

/** The outcome of a call whose answer did not pass the checks of its step. */
const UNUSABLE = "unusable_answer";

const sumOf = (values) => values.reduce((sum, value) => sum + value, 0);
/** A sum of costs, without what binary fractions add; null if one is not known. */
const costOf = (costs) => (costs.some((cost) => cost == null) ? null : Number(sumOf(costs).toFixed(12)));

const base = ({ name }) => name.split(".")[0];

/**
 * Both as far as they are compared: only the steps that the replay ran again. Without `replay` the job alone.
 * @param source the job, with its attempts @param replay its replay, with its attempts; null for one that has not ended
 */
export function pairOf(source, replay, problem = "") {
  const again = replay && new Set(replay.steps.filter(({ copied }) => !copied).map(base));
  const pair = { title: source.title ?? source.event_id, chain: source.job_name, source: sideOf(source, again), replay: replay && sideOf(replay, again), problem };
  const [worse, better] = [found(pair, true), found(pair, false)];
  let verdict = better.length ? "better" : "same";
  if (worse.length) verdict = better.length ? "mixed" : "worse";
  const parts = partsOf(pair);
  return { ...pair, parts, changed: replay ? parts.filter((part) => part.changed) : [], reasons: [...worse, ...better], verdict: replay ? verdict : "not ended" };
}

function sideOf(job, again) {
  const own = (job.steps ?? []).filter((step) => !step.copied && (!again || again.has(base(step))));
  const asked = own.filter(({ calls, model }) => calls || model);
  const rejected = (job.failed_attempts ?? []).filter(({ step, outcome }) => outcome === UNUSABLE && (!again || again.has(step.split(".")[0])));
  const [starts, ends] = ["started_at", "finished_at"].map((name) => own.map((step) => Date.parse(step[name])).filter((at) => at));
  const quotes = job.status === "completed" ? [...quotesOf(job)] : [];
  return {
    id: job.event_id,
    status: job.status,
    error: job.error && `${job.error.type}: ${job.error.message}`,
    models: [...new Set(own.map(({ model }) => model).filter(Boolean))].sort(),
    calls: sumOf(own.map(({ calls }) => calls ?? 0)),
    input: sumOf(own.map(({ usage }) => usage?.input_tokens ?? 0)),
    output: sumOf(own.map(({ usage }) => usage?.output_tokens ?? 0)),
    cost: costOf(asked.map(({ cost_usd: cost }) => cost)),
    seconds: starts.length && ends.length ? (Math.max(...ends) - Math.min(...starts)) / 1_000 : null,
    completed: job.status === "completed",
    quotes: quotes.length,
    found: quotes.filter(Boolean).length,
    rejected: rejected.length,
    parts: textParts(job),
  };
}

/** Whether the text contains it, of each quote of a result. */
function* quotesOf({ result, result_view: view }) {
  for (const { name, same_as: fuller, fields } of view ?? []) {
    if (fuller) continue;
    const value = result?.[name];
    for (const entry of Array.isArray(value) ? value : [value]) yield* quotesIn(entry, fields);
  }
}

function* quotesIn(entry, fields) {
  if (entry === null || typeof entry !== "object" || Array.isArray(entry)) return;
  for (const { form, name, found: place, fields: inner } of fields ?? []) {
    if (form === "quote" && entry[name]) yield entry[place] !== false;
    else if (Array.isArray(entry[name])) for (const each of entry[name]) yield* quotesIn(each, inner);
  }
}

/** What the checks find worse, or better, in words. */
function found({ source: was, replay: now }, worse) {
  if (!now) return [];
  if (was.completed !== now.completed) return worse === was.completed ? [`${was.status}, then ${now.status}`] : [];
  const sign = worse ? 1 : -1;
  const missing = ({ quotes, found: known }) => (quotes ? (quotes - known) / quotes : 0);
  return [
    sign * (missing(now) - missing(was)) > 0 && `quotes in the text: ${quotesIs(was)}, then ${quotesIs(now)}`,
    sign * (now.rejected - was.rejected) > 0 && `answers that were rejected: ${was.rejected}, then ${now.rejected}`,
  ].filter(Boolean);
}

/** How many quotes are in the text. */
export const quotesIs = ({ quotes, found: known }) => `${known} of ${quotes}`;

function partsOf({ source, replay }) {
  const [before, after] = [source, replay].map((side) => new Map((side?.parts ?? []).map((part) => [part.name, part])));
  return [...new Map([...before, ...after])].map(([name, { title, form }]) => {
    const [old, now] = [before.get(name)?.text ?? null, after.get(name)?.text ?? null];
    const differs = (old === null) !== (now === null) || oneLine(old ?? "") !== oneLine(now ?? "");
    return { title, before: old, after: now, isDiagram: form === "diagram", changed: differs };
  });
}

/** The pairs with the worst first, and of those alike the ones whose answers changed; else in their order. */
export const ordered = (pairs) => [...pairs].sort((one, other) => VERDICTS.indexOf(one.verdict) - VERDICTS.indexOf(other.verdict) || !one.changed.length - !other.changed.length);

/** The numbers of both sides of all pairs that have both. Seconds are of those that have completed on both sides. */
export function sumsOf(pairs) {
  const both = pairs.filter(({ replay }) => replay);
  const timed = both.filter(({ source, replay }) => source.completed && replay.completed);
  return ["source", "replay"].map((side) => {
    const sides = both.map((pair) => pair[side]);
    const seconds = timed.map((pair) => pair[side].seconds).filter((one) => one !== null).sort((one, other) => one - other);
    const middle = seconds.length / 2;
    const all = (name) => sumOf(sides.map((one) => one[name]));
    return {
      completed: sides.filter(({ completed }) => completed).length,
      ...Object.fromEntries(["quotes", "found", "rejected", "calls", "input", "output"].map((name) => [name, all(name)])),
      cost: costOf(sides.map(({ cost }) => cost)),
      median: seconds.length ? (seconds[Math.ceil(middle) - 1] + seconds[Math.floor(middle)]) / 2 : null,
      slow: seconds.length ? seconds[Math.max(0, Math.ceil(seconds.length * 0.9 - 1e-9) - 1)] : null,
    };
  });
}

/** The models that answered before, or in the replays. */
export const modelsOf = (pairs, side) => [...new Set(pairs.flatMap((pair) => pair[side]?.models ?? []))].sort();
