/** The parts of a result as text, line by line: as the command line prints them. */

import { words } from "./format.js";
import { cellsOf, isChecklist, parts } from "./result.js";

/** @returns {{name: string, title: string, form: string, text: string}[]} */
export const textParts = (job) => parts(job).map((part) => ({ name: part.title, title: titled(part.title), form: part.form ?? "", text: lines(part).join("\n").replace(/^\n+|\n+$/g, "") }));

export const oneLine = (value) => String(value).split(/\s+/).filter(Boolean).join(" ");

const titled = (name) => words(oneLine(name).toLowerCase());

function lines(part) {
  const { form, value, title } = part;
  if (isChecklist(part)) return checklist(part);
  if (form === "table" && typeof value === "string") return rows(value);
  return plain(title, value);
}

/** The entries with a box each, below their headings; those without a heading come first, below none. */
function checklist({ value, fields }) {
  const heading = fields.find(({ form }) => form === "heading")?.name;
  const groups = new Map([["", []]]);
  for (const entry of value) {
    const name = oneLine(entry?.[heading] || "");
    groups.set(name, [...(groups.get(name) ?? []), entry]);
  }
  const filled = [...groups].filter(([, entries]) => entries.length);
  return filled.flatMap(([name, entries], number) => [
    ...(name && filled.length > 1 ? [...(number ? [""] : []), name] : []),
    ...entries.map((entry) => `[ ] ${ticked(entry, fields)}`),
  ]);
}

/** An entry of a checklist: its text, its tags, and the quotes that the text does not contain. */
function ticked(entry, fields) {
  if (!isRecord(entry)) return item(entry);
  const named = (...forms) => fields.filter(({ form, name }) => forms.includes(form) && entry[name] != null);
  const [first, ...others] = named("line").filter(({ name }) => entry[name]).map(({ name }) => item(entry[name]));
  if (!first) return item(entry);
  const tags = named("choice", "flag", "number").map(({ name }) => item(entry[name]));
  const doubtful = fields.filter(({ form, found }) => form === "quote" && entry[found] === false).map(({ name }) => `${titled(name).toLowerCase()} not in the text`);
  const more = [...others, ...tags, ...doubtful];
  return first + (more.length ? ` (${more.join(", ")})` : "");
}

function rows(text) {
  const [header, ...found] = cellsOf(text).map((cells) => cells.map(oneLine));
  return found.map(([first, ...others]) => {
    const more = others.map((cell, index) => cell && `${header[index + 1]}: ${cell}`).filter(Boolean);
    return `- ${first}${more.length ? ` (${more.join(", ")})` : ""}`;
  });
}

const isRecord = (value) => value !== null && typeof value === "object" && !Array.isArray(value);

function plain(name, value) {
  if (Array.isArray(value)) return value.map((entry) => `- ${item(entry, name.replace(/s$/, ""))}`);
  if (!isRecord(value)) return [shown(value).replace(/\n+$/, "")];
  return Object.entries(value).flatMap(([key, part]) => (Array.isArray(part) && part.length ? [`${titled(key)}:`, ...plain(key, part)] : [`${titled(key)}: ${item(part) || "none"}`]));
}

/** An item of a list, in one line; of an object its main value, else its first, and the others with their names. */
function item(value, main = "") {
  if (Array.isArray(value)) return value.map((entry) => item(entry)).join(", ");
  if (!isRecord(value)) return oneLine(shown(value));
  const texts = Object.entries(value).filter(([, part]) => part !== null && part !== true).map(([key, part]) => [key, item(part)]);
  const first = texts.find(([key]) => key === main)?.[1] || texts[0]?.[1] || "";
  const more = texts.filter(([, text]) => text && text !== first).map(([key, text]) => `${titled(key).toLowerCase()}: ${text}`);
  return first + (more.length ? ` (${more.join(", ")})` : "");
}

/** A value that is no list or object, as Python writes it. */
const shown = (value) => (typeof value === "string" ? value : { true: "True", false: "False", null: "None" }[value] ?? String(value));
