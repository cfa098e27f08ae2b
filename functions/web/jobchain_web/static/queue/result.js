/** A job's result: known parts in their own form, unknown ones as texts and lists. */

import { foreign, h } from "./dom.js";
import { panel, scroll, words } from "./format.js";
import { recall, remember } from "./memory.js";

const FIRST = ["summary", "checklist", "actions", "comparison"];
/** Parts that repeat another part in another form. */
const TWINS = { checklist_items: "checklist", actions_markdown: "actions", table: "comparison" };

/** The parts to show, in order. */
export function parts(result) {
  const rank = (name) => (name === "diagram" ? 9 : FIRST.indexOf(name) + 1 || 8);
  return Object.entries(result ?? {}).filter(([name]) => !(TWINS[name] in result)).sort(([one], [other]) => rank(one) - rank(other));
}

/** The sections of a job's result. */
export function sections({ result, event_id: id }) {
  return parts(result).map(([name, value]) => {
    let content = null;
    if (name === "checklist" && Array.isArray(value)) content = checklist(value, result.checklist_items, id);
    if (name === "diagram" && typeof value === "string") content = diagram(value);
    return panel(`of-${name}`, foreign(words(name)), content ?? plain(value));
  });
}

const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function plain(value) {
  if (value === true || value === false) return value ? "yes" : "no";
  if (value === null || typeof value !== "object") return foreign(value ?? "–", "div", "text");
  if (isRecord(value)) return h.dl({ class: "plain" }, Object.entries(value).map(([name, entry]) => [h.dt(foreign(words(name))), h.dd(plain(entry))]));
  if (!value.length) return h.p({ class: "muted" }, "none");
  if (value.every(isRecord)) return records(value);
  return h.ul(value.map((entry) => h.li(plain(entry))));
}

function records(rows) {
  const names = [...new Set(rows.flatMap(Object.keys))];
  return scroll("Table", h.table(
    h.thead(h.tr(names.map((name) => h.th({ scope: "col" }, foreign(words(name)))))),
    h.tbody(rows.map((row) => h.tr(names.map((name) => h.td(plain(row[name]))))))));
}

function checklist(texts, items, id) {
  const key = `ticks:${id}`;
  const ticked = new Set(recall("localStorage", key)?.split(","));
  const tick = ({ target }) => {
    ticked[target.checked ? "add" : "delete"](target.name);
    remember("localStorage", key, [...ticked].join());
  };
  const item = (text, index) => {
    const name = String(index);
    return h.label(h.input({ type: "checkbox", name, checked: ticked.has(name), onchange: tick }),
      h.span(plain(text), about(items?.[index])));
  };
  return [h.div({ class: "checklist" }, texts.map(item)), h.p({ class: "muted small" }, "Ticks stay in this browser.")];
}

/** The details of a checklist's item. */
function about(item) {
  if (!isRecord(item)) return null;
  const tags = [item.priority, item.category].filter(Boolean).map((tag) => foreign(tag, "span", tag === "must" ? "tag must" : "tag"));
  return h.span({ class: "about" }, tags, item.source && item.source !== item.text && foreign(item.source, "q"),
    item.source_found === false && h.span({ class: "failed" }, "not in the text, word for word"));
}

function diagram(text) {
  return [h.div({ class: "diagram", keep: true, key: `drawing of ${text}`, "data-text": text }),
    h.details(h.summary("As text"), foreign(text, "pre"))];
}
