/** A job's result, by the forms that the API tells. */

import { foreign, h } from "./dom.js";
import { panel, scroll, words } from "./format.js";
import { recall, remember } from "./memory.js";

/** The parts to show, in order. Of those that say the same it is the fullest, or, with `tables`, a table. */
export function parts({ result, result_view: view }, tables = false) {
  const found = { __proto__: null, ...result };
  const known = new Map((view ?? []).filter(({ name }) => name in found).map((part) => [part.name, part]));
  const hidden = { __proto__: null };
  for (const { name, form, same_as: fuller } of known.values()) {
    if (!(fuller in found) || known.get(fuller)?.same_as) continue;
    if (tables && form === "table") hidden[fuller] = name;
    else hidden[name] = fuller;
  }
  const title = (name) => [name, ...Object.keys(hidden).filter((twin) => hidden[twin] === name)].sort((one, other) => one.length - other.length)[0];
  return [...new Set([...known.keys(), ...Object.keys(found)])].filter((name) => !(name in hidden))
    .map((name) => ({ fields: [], ...known.get(name), title: title(name), value: found[name] }));
}

/** The sections of a job's result. */
export function sections(job) {
  return parts(job).map((part) => {
    const { form, title, value } = part;
    let content = null;
    if (isChecklist(part)) content = checklist(part, job.event_id);
    if (form === "diagram" && typeof value === "string") content = diagram(value);
    if (form === "table" && typeof value === "string") content = table(value);
    return panel(`of-${title}`, foreign(words(title)), content ?? plain(value));
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
  const names = namesOf(rows);
  return rowsOf(names.map(words), rows.map((row) => names.map((name) => plain(row[name]))));
}

function rowsOf(header, rows) {
  return scroll("Table", h.table(
    h.thead(h.tr(header.map((name) => h.th({ scope: "col" }, foreign(name))))),
    h.tbody(rows.map((row) => h.tr(row.map((cell) => h.td(cell)))))));
}

/** The cells of a Markdown table, which are escaped there. The first row is the header. */
export function cellsOf(text) {
  const cells = (line) => line.slice(2, -2).split(" | ").map((cell) => cell.replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(code)));
  const [header, , ...rows] = text.trim().split("\n");
  return [cells(header), ...rows.map(cells)];
}

function table(text) {
  const [header, ...rows] = cellsOf(text);
  return rowsOf(header, rows.map((row) => row.map((cell) => plain(cell))));
}

/** The names of the records' fields. */
export const namesOf = (rows) => [...new Set(rows.flatMap(Object.keys))];

export const isRecords = (value) => Array.isArray(value) && value.length > 0 && value.every(isRecord);

export const isChecklist = ({ form, value }) => form === "checklist" && Array.isArray(value);

export const hasChecklist = (job) => parts(job).some(isChecklist);

/** What of the result is a table or a list, with its rows, of which the first is the header. */
export function tables(job) {
  const found = new Map();
  for (const { title, form, value } of [...parts(job), ...parts(job, true)]) {
    if (form === "table" && typeof value === "string") found.set(`${title} `, { title, rows: cellsOf(value) });
    else if (isRecords(value)) found.set(title, { title, rows: recordRows(job, form, value) });
    else if (Array.isArray(value) && value.length) found.set(title, { title, rows: [[title], ...value.map((entry) => [entry])] });
  }
  return [...found.values()];
}

function recordRows(job, form, value) {
  const names = namesOf(value);
  const ticked = form === "checklist" && ticksOf(job.event_id);
  return [[...(ticked ? ["done"] : []), ...names], ...value.map((row, index) => [...(ticked ? [ticked.has(String(index))] : []), ...names.map((name) => row[name])])];
}

/** The places of the entries that are ticked in this browser. */
export const ticksOf = (id) => new Set(recall("localStorage", `ticks:${id}`)?.split(","));

/** The entries, each with its place in the list, below their headings, if there are several. */
export function grouped({ value, fields }) {
  const heading = fields.find(({ form }) => form === "heading")?.name;
  const groups = new Map();
  value.forEach((entry, index) => {
    const name = String(entry?.[heading] ?? "–");
    groups.set(name, [...(groups.get(name) ?? []), [entry, index]]);
  });
  return [...groups].map(([name, entries]) => [groups.size > 1 && name, entries]);
}

/** What an entry says. */
export function said(entry, fields) {
  const of = (...forms) => fields.filter(({ form, name }) => forms.includes(form) && entry?.[name] != null);
  const [text = entry, ...tags] = [...of("line"), ...of("choice", "number")].map(({ name }) => entry[name]);
  const quotes = of("quote").map(({ name, found }) => ({ text: String(entry[name]), missing: entry[found] === false }));
  return { text, tags: tags.map(String), quotes };
}

function checklist(part, id) {
  const ticked = ticksOf(id);
  const tick = ({ target }) => {
    ticked[target.checked ? "add" : "delete"](target.name);
    remember("localStorage", `ticks:${id}`, [...ticked].join());
  };
  const item = ([entry, index]) => {
    const name = String(index);
    const { text, tags, quotes } = said(entry, part.fields);
    return h.label(h.input({ type: "checkbox", name, checked: ticked.has(name), onchange: tick }), h.span(plain(text), about(text, tags, quotes)));
  };
  const group = ([name, entries]) => [name && h.h3(foreign(name)), entries.map(item)];
  return [h.div({ class: "checklist" }, grouped(part).map(group)), h.p({ class: "muted small" }, "Ticks stay in this browser.")];
}

function about(text, tags, quotes) {
  return h.span({ class: "about" }, tags.map((tag) => foreign(tag, "span", "tag")),
    quotes.map(({ text: quote, missing }) => [
      quote !== text && foreign(quote, "q"),
      missing && h.span({ class: "failed" }, "not in the text, word for word")]));
}

function diagram(text) {
  return [h.div({ class: "diagram", keep: true, key: `drawing of ${text}`, "data-text": text }),
    h.details(h.summary("As text"), foreign(text, "pre"))];
}
