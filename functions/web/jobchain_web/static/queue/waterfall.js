/** The steps of a job over time, with their calls and waits. A step can be opened. */

import { isUsed, spending } from "./attempts.js";
import { foreign, h } from "./dom.js";
import { clock, count, duration, isFinal, words } from "./format.js";
import { endOf, gapsOf, groupsOf, isPart, spansOf, sum } from "./spans.js";
import { waited } from "./waits.js";

const MANY = 12; // steps; of more the completed ones are folded
const LATEST = 2; // of these are shown

/**
 * @param state what is open: `open` and `parts` are names of steps, `all` shows the folded steps
 * @param toggle called with the name of such a set, or "all", and a step's name
 */
export function waterfall(job, state, toggle) {
  const groups = groupsOf(job);
  const done = groups.filter(({ step }) => step.status === "completed").length;
  const folded = state.all ? new Set() : foldedOf(groups);
  const scale = scaleOf(job);
  const rows = groups.filter((group) => !folded.has(group)).flatMap((group) => rowsOf(job, group, scale, state, toggle));
  const waits = job.waiting_for;
  const gaps = gapsOf(job);
  const title = `Steps: ${count(done)} of ${count(groups.length)}`;
  return h.details({ class: "panel steps", key: "steps", open: job.status !== "completed" && !document.querySelector("[data-key=steps]") },
    h.summary(h.h2(title)),
    h.ol({ class: "timeline" },
      row({ name: "waiting", kind: "wait", said: duration(sum(gaps)), spans: gaps, scale }),
      folded.size > 0 && h.li({ class: "folded", key: "folded" }, h.button({ class: "small", onclick: () => toggle("all") }, `Show ${count(folded.size)} completed steps`)),
      rows,
      waits && waits.reason !== "queue" && row({ name: waited(waits), kind: "wait", said: duration(endOf(job) - Date.parse(waits.since)), spans: [{ kind: "wait", from: Date.parse(waits.since), to: endOf(job) }], scale })),
    h.p({ class: "scale muted small", "aria-hidden": "true" }, h.span(clock(scale.start)), h.span(clock(scale.end))));
}

function foldedOf(groups) {
  if (groups.length <= MANY) return new Set();
  const completed = groups.filter(({ step }) => step.status === "completed");
  return new Set(completed.slice(0, -LATEST));
}

function scaleOf(job) {
  const [start, end] = [Date.parse(job.created_at), endOf(job)];
  const place = (time) => Math.min(100, Math.max(0, (100 * (time - start)) / (end - start || 1)));
  return { start, end, style: ({ from, to }) => ({ left: `${place(from)}%`, width: `${place(to) - place(from)}%` }) };
}

function rowsOf(job, { name, step, parts }, scale, state, toggle) {
  const isOpen = state.parts.has(name);
  const told = parts.length > 0 && tellParts(step, parts, name);
  const fold = told && h.button({ class: "quiet small", "aria-expanded": String(isOpen), onclick: () => toggle("parts", name) }, told);
  const spans = [...parts, ...(parts.includes(step) ? [] : [step])].flatMap((one) => spansOf(job, one));
  const main = stepRow(job, { ...step, name, ...(parts.length > 0 && total([...parts, step])) }, { spans, scale, state, toggle, fold });
  return [main, ...(isOpen ? parts.map((part) => stepRow(job, part, { spans: spansOf(job, part), scale, state, toggle, kind: "part" })) : [])];
}

/** What the steps of parts used and cost together. */
function total(steps) {
  const used = [...new Set(steps)].filter(({ usage }) => usage);
  if (!used.length) return {};
  const add = (all) => Object.keys(all[0]).reduce((sum, name) => ({ ...sum, [name]: all.reduce((sum, one) => (sum === null || one[name] == null ? null : sum + one[name]), 0) }), {});
  const { cost_usd, calls } = add(used.map(({ cost_usd, calls }) => ({ cost_usd, calls })));
  return { usage: add(used.map(({ usage }) => usage)), cost_usd, calls, estimated: add(used.map(({ estimated }) => estimated ?? { calls: 0, input_tokens: 0, output_tokens: 0, cost_usd: 0 })) };
}

function tellParts(step, parts, name) {
  const done = parts.filter((part) => isPart(part.name)).length;
  const all = step.name === name && step.parts;
  return all > done ? `${count(done)} of ${count(all)} parts` : `${count(done)} parts`;
}

function stepRow(job, step, { spans, scale, state, toggle, fold, kind }) {
  const { name, status, failed_tries: tries, copied, ...used } = step;
  const isDone = status === "completed";
  const failed = !isDone && used.calls > 0 && `failed calls: ${count(used.calls)}`;
  const spent = used.usage && !copied && [failed, failed && isUsed(used) && ", ", (!failed || isUsed(used)) && spending(used)];
  const next = tries > 0 && !isDone && !isFinal(job) && `try ${tries + 1}`;
  const until = status !== "processing" && next && job.waiting_for?.until;
  const length = spans.length > 0 && !until && Math.max(...spans.map(({ to }) => to)) - Math.min(...spans.map(({ from }) => from));
  const said = [copied && "copied", next && (until ? `${next} at ${clock(Date.parse(until))}` : next), length !== false && duration(length)].filter(Boolean);
  return row({ name, kind: kind ?? "", status, said: said.join(", ") || status, spans, scale, spent, fold, open: state.open.has(name), act: () => toggle("open", name) });
}

function row({ name, kind, status = "", said, spans, scale, spent, fold, open = false, act }) {
  const title = foreign(kind === "part" ? name.slice(name.indexOf(".") + 1).replace("part", "Part ") : words(name));
  return h.li({ class: `${kind} ${status}`, key: `row ${name}` },
    h.div({ class: "name" }, act ? h.button({ class: "quiet", "aria-expanded": String(open), onclick: act }, title) : title, fold),
    h.span({ class: "said muted small" }, said, h.span({ class: "unseen" }, ` ${status}`)),
    h.span({ class: "track" }, spans.map((span) => h.span({ class: span.kind, style: scale.style(span), title: `${clock(span.from)}, ${duration(span.to - span.from)}: ${span.kind}` }))),
    h.span({ class: "spent muted small" }, spent),
    open && h.div({ class: "opened", key: `opened ${name}`, keep: true, "data-step": name }));
}
