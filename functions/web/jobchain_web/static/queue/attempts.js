/** Why a job waits, and its calls of the model. */

import { callAdvice } from "./advice.js";
import { foreign, h } from "./dom.js";
import { clock, count, dollars, duration, moment, panel, scroll, words } from "./format.js";
import { now } from "./times.js";

/** The most failed calls that are shown. */
const SHOWN = 50;

const WAITS = {
  retry: "Retrying automatically", budget: "Continuing automatically", queue: "Waits for a worker",
  rate_limit: "Waits for the account's rate limit, continues", account: "The model's account is refused, next probe",
  approval: "Waits for a decision, which is made automatically", deployment: "Waits for a worker that has its chain, continues",
};
/** Whether the job waits for a time of its own that is not over yet, so that a retry makes it continue at once. */
export const isPutOff = ({ waiting_for: waits }) => Boolean(waits?.retryable) && Date.parse(waits.until) > now();

/** Why the job waits and until when; nothing for a job that does not wait. */
export function waiting({ waiting_for: waits }) {
  if (!waits) return null;
  const until = Date.parse(waits.until);
  const left = Math.max(0, until - now());
  const what = WAITS[waits.reason] ?? `Waiting (${words(waits.reason).toLowerCase()})`;
  return panel("waiting", foreign(until ? `${what} in ${duration(left)}` : what),
    // In the queue it waits for a worker alone, which the heading says.
    waits.reason !== "queue" && foreign(waits.detail, "p"),
    h.p({ class: "muted small" }, "Since ", moment(waits.since), until > 0 && [", until ", moment(waits.until)]));
}

/** What calls used and cost: if a part of it is an estimate, it is the most that they can have used. */
export function spending({ usage, cost_usd: cost, estimated }) {
  const { input_tokens: input, cached_tokens: cached, cache_write_tokens: written, output_tokens: output, reasoning_tokens: reasoning } = usage;
  const parts = (...pairs) => {
    const known = pairs.filter(([number]) => number).map(([number, name]) => `${count(number)} ${name}`);
    return known.length ? ` (${known.join(", ")})` : "";
  };
  const read = parts([cached, "cached"], [written, "written to a cache"]);
  const tokens = `${count(input)} in${read}, ${count(output)} out${parts([reasoning, "thought"])}, `;
  if (!estimated || estimated.calls === 0) return [tokens, dollars(cost)];
  const most = ["≤ ", tokens, cost ? "≤ " : "", dollars(cost)];
  if (estimated === true) return [most, " (an estimate)"];
  return [most, ` (of which estimated: ${count(estimated.input_tokens)} in, ${count(estimated.output_tokens)} out`,
    estimated.cost_usd ? [", ", dollars(estimated.cost_usd)] : "", ")"];
}

/** Whether calls used anything, as far as it is known. */
export const isUsed = ({ usage, cost_usd: cost }) => Boolean(usage) && (usage.input_tokens + usage.output_tokens > 0 || cost !== 0);

/** The step under which a failed call is shown: that of a part under its step, until the part is completed. */
const stepOf = ({ step }, names) => (names.has(step) ? step : step.split(".")[0]);

/** The failed calls by step, the newest first; nothing for a job without any. */
export function failedCalls({ steps, error, failed_attempts: attempts }) {
  if (!attempts?.length) return null;
  const names = new Set((steps ?? []).map(({ name }) => name));
  const newest = attempts.slice(-SHOWN).reverse();
  const groups = Map.groupBy(newest, (attempt) => stepOf(attempt, names));
  const left = attempts.length - newest.length;
  return panel("failed-calls", `Failed calls of the model (${count(attempts.length)})`,
    [...groups].map(([step, calls]) => [h.h3({ class: "small" }, foreign(words(step))), list(calls, error?.type)]),
    left > 0 && h.p({ class: "muted small" }, `${count(left)} earlier ones are in the API's answer.`));
}

/** Calls, the newest first. What is said of one type of fault is said once, and not of `told`, of which it is said elsewhere. */
export function list(calls, told) {
  const said = new Set([told]);
  return h.ol({ class: "calls" }, calls.map((attempt) => {
    const isNew = !said.has(attempt.outcome);
    said.add(attempt.outcome);
    return call(attempt, isNew && callAdvice(attempt.outcome));
  }));
}

function call(attempt, todo) {
  const { step, started_at: from, finished_at: to, outcome, cause, answer, request_id: request, model, effort, tier } = attempt;
  const took = duration(Date.parse(to) - Date.parse(from));
  // No place in the list: an open answer must stay open when another call fails.
  return h.li({ key: `${step} ${from}` },
    h.p(h.time({ datetime: from, title: from }, clock(Date.parse(from) || 0)), " ", foreign(outcome ?? "answered", "code", outcome ? "failed" : "completed")),
    cause && foreign(cause, "p", "text"),
    todo && h.p({ class: "todo small" }, h.strong("What to do: "), todo),
    h.p({ class: "muted small" }, `after ${took}, `, isUsed(attempt) && [spending(attempt), ", "], foreign(model),
      effort && [", effort ", foreign(effort)], tier !== "standard" && [", ", foreign(tier)], request && [", request ", foreign(request, "code")]),
    answer != null && h.details(h.summary("The model's answer"), scroll(`The model's answer: ${step} ${from}`, foreign(answer, "pre"))));
}
