/** When a job worked, and when it waited: all times in milliseconds since 1970. */

import { isFinal } from "./format.js";
import { now } from "./times.js";

/** @typedef {{kind: "completed"|"failed"|"processing"|"wait", from: number, to: number}} Span */

const SHORT = 50; // milliseconds; a shorter wait is not shown

/** The name of the step that a part belongs to. */
export const stepOf = (name) => name.split(".")[0];

export const isPart = (name) => /\.part\d+$/.test(name);

/** The steps of the chain with the steps of their parts, in order. */
export function groupsOf({ steps }) {
  const groups = new Map();
  for (const step of steps ?? []) {
    const name = stepOf(step.name);
    const group = groups.get(name) ?? { name, parts: [] };
    if (step.name === name) group.step = step;
    else group.parts.push(step);
    groups.set(name, group);
  }
  return [...groups.values()].map((group) => ({ step: group.parts.at(-1), ...group }));
}

/** The calls of a step, the oldest first; of a step that is not completed those of its parts too. */
export function callsOf(job, { name, status }) {
  const known = new Set((job.steps ?? []).map((step) => step.name));
  const isOf = (call) => call.step === name || (status !== "completed" && !known.has(call.step) && stepOf(call.step) === name);
  return [...(job.failed_attempts ?? []), ...(job.answered_calls ?? [])].filter(isOf).sort((one, other) => Date.parse(one.started_at) - Date.parse(other.started_at));
}

/** The end of the job, or now. */
export const endOf = (job) => Date.parse(job.finished_at) || now();

/** When the job's last output or call ended, or a worker took it. */
function lastEvent(job) {
  const ends = [...(job.steps ?? []).filter(({ status }) => status === "completed"), ...(job.failed_attempts ?? [])].map((one) => Date.parse(one.finished_at) || 0);
  return Math.max(Date.parse(job.started_at) || 0, Date.parse(job.updated_at) || 0, ...ends);
}

/** A step's calls, and what is between them. @returns {Span[]} */
export function spansOf(job, step) {
  const spans = callsOf(job, step).map((call) => ({ kind: call.outcome ? "failed" : "completed", from: Date.parse(call.started_at), to: Date.parse(call.finished_at) }));
  if (step.status === "completed" && !spans.length && step.started_at) spans.push({ kind: "completed", from: Date.parse(step.started_at), to: Date.parse(step.finished_at) });
  if (step.status === "processing") spans.push({ kind: "processing", from: lastEvent(job), to: now() });
  const waits = spans.slice(1).map(({ from }, index) => ({ kind: "wait", from: Math.max(...spans.slice(0, index + 1).map(({ to }) => to)), to: from }));
  return [...waits.filter(({ from, to }) => to - from > SHORT), ...spans];
}

/** When nothing of the job ran, until its end or until it began to wait as it does now. @returns {Span[]} */
export function gapsOf(job) {
  const busy = (job.steps ?? []).flatMap((step) => spansOf(job, step)).filter(({ kind }) => kind !== "wait").sort((one, other) => one.from - other.from);
  const end = Date.parse(job.waiting_for?.since) || endOf(job);
  let at = Date.parse(job.created_at);
  const gaps = [];
  for (const { from, to } of [...busy, { from: end, to: end }]) {
    if (Math.min(from, end) - at > SHORT) gaps.push({ kind: "wait", from: at, to: Math.min(from, end) });
    at = Math.max(at, to);
  }
  return gaps;
}

export const sum = (spans) => spans.reduce((total, { from, to }) => total + to - from, 0);

/** How long the job has worked. */
export function worked(job) {
  const waits = isFinal(job) || !job.waiting_for ? 0 : endOf(job) - Date.parse(job.waiting_for.since);
  return endOf(job) - Date.parse(job.created_at) - sum(gapsOf(job)) - waits;
}
