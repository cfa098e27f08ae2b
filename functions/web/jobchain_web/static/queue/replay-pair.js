/** One job beside its replay. */

import { get } from "./api.js";
import { difference } from "./diff.js";
import { foreign, h, morph } from "./dom.js";
import { link, scroll, words } from "./format.js";
import { quotesIs } from "./replay-pairs.js";
import { cost, seconds } from "./replay-words.js";

/** What is told once its details are open, by the pair: its input and its prompts. */
const told = new WeakMap();

/** @param pair as `pairOf` makes it @param id of the replay @param pairs all of them, in the order of the list */
export function article(pair, id, pairs, page) {
  const parts = pair.parts.map((part, index) => ({ ...part, index }));
  const changed = pair.replay ? parts.filter((part) => part.changed).sort((one, other) => one.isDiagram - other.isDiagram) : [];
  const same = parts.filter((part) => !changed.includes(part));
  const named = [["Before", pair.source], ...(pair.replay ? [["Replay", pair.replay]] : [])];
  return [
    h.div({ class: "buttons", key: "ways" }, link(`#/replays/${encodeURIComponent(id)}`, "The whole replay"), neighbours(pair, id, pairs)),
    h.div({ class: "headline" }, h.h1(foreign(pair.title)), h.span({ class: `verdict ${pair.verdict.replace(" ", "-")}` }, pair.verdict)),
    h.section({ class: "panel", key: "facts" }, h.h2(foreign(words(pair.chain))),
      pair.reasons.map((reason) => h.p({ key: reason }, words(reason), ".")),
      named.filter(([, side]) => side.error).map(([name, side]) => h.p({ class: "failed", key: `error ${name}` }, `${name}: `, foreign(side.error))),
      pair.problem && h.p({ key: "problem" }, `Not ended: ${pair.problem}.`),
      pair.replay && !changed.length && h.p({ key: "same" }, "The answer is the same."),
      facts(named)),
    changed.map((part) => (part.isDiagram
      ? h.details({ class: "panel", key: `part ${part.index}` }, h.summary(foreign(part.title), ": changed, as Mermaid"), place(part))
      : h.section({ class: "panel", key: `part ${part.index}` }, h.h2(foreign(part.title)), place(part)))),
    same.length > 0 && h.details({ class: "panel", key: "unchanged" }, h.summary(pair.replay ? "Unchanged: " : "The answer before: ", foreign(same.map(({ title }) => title).join(", "))), place({ index: "same" })),
    pair.both[1].changed_prompts?.map((step) => later(pair, page, "prompt", step, ["The prompt of step ", foreign(words(step))])),
    later(pair, page, "input", "", ["What it was given"]),
  ];
}

function neighbours(pair, id, pairs) {
  const at = pairs.indexOf(pair);
  const to = (other, text) => other && link(`#/replays/${encodeURIComponent(id)}?job=${encodeURIComponent(other.id)}`, text);
  return [at > 0 && to(pairs[at - 1], "Previous"), to(pairs[at + 1], "Next"), h.span({ class: "muted small" }, `${at + 1} of ${pairs.length}`)];
}

function facts(named) {
  const heads = ["Status", "Model", "US dollars", "Seconds", "Tokens in", "Out", "Quotes in the text", "Rejected", "Job"];
  const cells = (side) => [side.status, foreign(side.models.join(", ") || "none"), cost(side.cost), seconds(side.seconds), side.input, side.output,
    side.quotes ? quotesIs(side) : "none", side.rejected, h.a({ class: "linked", href: `#/jobs/${encodeURIComponent(side.id)}` }, foreign(side.id))];
  return scroll("Facts", h.table({ class: "pairs" }, h.thead(h.tr(h.td(), heads.map((name) => h.th({ scope: "col" }, name)))),
    h.tbody(named.map(([name, side]) => h.tr({ key: name }, h.th({ scope: "row" }, name), cells(side).map((cell) => h.td(cell)))))));
}

/** Where `draw` puts texts that can be long: once, not with each render. */
const place = ({ index }) => h.div({ key: "place", keep: true, "data-part": index });

/** Details whose texts are read when they are opened. */
function later(pair, page, kind, step, title) {
  const name = `${kind} ${step}`;
  const read = async () => {
    const known = told.get(pair) ?? new Map();
    told.set(pair, known);
    if (known.has(name)) return;
    const query = kind === "input" ? "include=input" : `include=prompts&step=${encodeURIComponent(step)}`;
    const jobs = kind === "input" ? [pair.source] : [pair.source, pair.replay ?? { id: pair.id }];
    const reads = jobs.map(({ id }) => get(`jobs/${encodeURIComponent(id)}?${query}`).then(({ data }) => data));
    known.set(name, null);
    await Promise.all(reads).then((found) => known.set(name, { found }), (problem) => (known.delete(name), page.fail(problem)));
    page.render();
  };
  return h.details({ class: "panel", key: name }, h.summary({ onclick: read }, title), h.div({ key: "place", keep: true, "data-told": name }));
}

/** Fills the places of the texts that are not drawn yet. */
export function draw(main, pair) {
  for (const at of main.querySelectorAll("[data-part]")) {
    if (at.pair === pair) continue;
    at.pair = pair;
    const { part } = at.dataset;
    if (part === "same") morph(at, pair.parts.filter((one) => !pair.replay || !one.changed).map((one, index) => h.div({ key: `${index}` }, h.h3(foreign(one.title)), shown(one.before ?? "", one.isDiagram))));
    else morph(at, [sides(pair.parts[part].before, pair.parts[part].after, pair.parts[part].isDiagram)]);
  }
  for (const at of main.querySelectorAll("[data-told]")) {
    const known = told.get(pair)?.get(at.dataset.told);
    if (at.pair === pair && at.known === known) continue;
    Object.assign(at, { pair, known });
    morph(at, known ? content(known.found, at.dataset.told) : [h.p({ class: "muted" }, "Loading …")]);
  }
}

function content(jobs, name) {
  if (name === "input ") return Object.entries(jobs[0].input ?? {}).map(([field, value]) => h.div({ key: field }, h.h3(foreign(words(field))), shown(typeof value === "string" ? value : JSON.stringify(value, null, 2))));
  const prompts = jobs.map((job) => job.prompts?.find(({ step }) => step === name.slice("prompt ".length)));
  const problem = prompts.find((prompt) => prompt?.problem)?.problem;
  if (problem) return [foreign(problem, "p", "muted")];
  return [sides(...prompts.map((prompt) => prompt?.instructions ?? null)), prompts.some((prompt) => prompt?.same_as_sent !== true) && h.p({ class: "muted small" }, "A prompt that was not stored is shown as the chain would send it now.")];
}

const shown = (text, isCode) => foreign(text, "div", isCode ? "text code" : "text");

/** Two texts side by side, with what differs marked. */
function sides(before, after, isCode) {
  const pieces = difference(before ?? "", after ?? "");
  const side = (name, mark, text, index) => h.div({ class: "side", key: name }, h.h3(name), h.div({ dir: "auto", class: `foreign text ${isCode ? "code" : ""}` },
    !text && h.span({ class: "muted" }, text === null ? "There is none." : "It is empty."),
    pieces[index].map((piece) => (piece.changed && piece.text.trim() ? h[mark](piece.text) : piece.text))));
  return h.div({ class: "sides" }, side("Before", "del", before, 0), side("Replay", "ins", after, 1));
}
