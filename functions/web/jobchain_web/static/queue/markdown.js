/** A job as Markdown. */

import { words } from "./format.js";
import { grouped, isChecklist, isRecords, namesOf, parts, said, ticksOf } from "./result.js";

/** The job as Markdown; its texts are escaped. */
export function markdown(job) {
  const lines = [`# ${escaped(job.title ?? words(job.job_name))}`, `${escaped(words(job.job_name))}, job ${job.event_id}, ${job.status}, created ${job.created_at}`];
  const metadata = Object.entries(job.metadata ?? {}).map(([name, value]) => `- ${oneLine(name)}: ${oneLine(value)}`);
  if (metadata.length) lines.push(metadata.join("\n"));
  if (job.error) lines.push(escaped(job.error.message));
  for (const part of parts(job, true)) lines.push(`## ${escaped(words(part.title))}`, written(part, ticksOf(job.event_id)));
  return `${lines.join("\n\n")}\n`;
}

/** The job's checklists alone. GitHub notifies whom a text mentions, and links its numbers: a comment prevents that. */
export function tasks(job) {
  const lists = parts(job).filter(isChecklist).map((part) => `## ${escaped(words(part.title))}\n\n${written(part, ticksOf(job.event_id))}`);
  return `${lists.join("\n\n").replace(/[@#](?=\w)/g, "$&<!\u002d- -->")}\n`;
}

function written(part, ticked) {
  const { form, value } = part;
  if (isChecklist(part)) return grouped(part).map((group) => ticks(group, part.fields, ticked)).join("\n\n");
  if (form === "table" && typeof value === "string") return value.trim(); // its texts are escaped
  if (form === "diagram" && typeof value === "string") return fenced("mermaid", value);
  return block(value);
}

const isPlain = (value) => value === null || typeof value !== "object";

function block(value) {
  if (isPlain(value)) return escaped(String(value ?? "–"));
  if (isRecords(value)) return table(value);
  if (Array.isArray(value)) return value.every(isPlain) ? value.map((entry) => `- ${oneLine(String(entry ?? "–"))}`).join("\n") : fenced("json", text(value));
  return Object.entries(value).map(([name, entry]) => `**${oneLine(words(name))}**\n\n${block(entry)}`).join("\n\n");
}

function table(rows) {
  const names = namesOf(rows);
  const line = (cells) => `| ${cells.map((cell) => oneLine(text(cell ?? "–"))).join(" | ")} |`;
  return [line(names.map(words)), line(names.map(() => "---")).replaceAll("\\", ""), ...rows.map((row) => line(names.map((name) => row[name])))].join("\n");
}

function fenced(language, content) {
  // Longer than any fence in the text.
  const fence = "`".repeat(3 + Math.max(0, ...(content.match(/`+/g) ?? []).map((run) => run.length)));
  return `${fence}${language}\n${content.trim()}\n${fence}`;
}

function ticks([heading, entries], fields, ticked) {
  const lines = entries.map(([entry, index]) => {
    const { text: first, tags, quotes } = said(entry, fields);
    const about = tags.length ? ` (${oneLine(tags.join(", "))})` : "";
    const sources = quotes.map((quote) => `  > ${oneLine(quote.text)}${quote.missing ? " *(not in the text)*" : ""}`);
    return [`- [${ticked.has(String(index)) ? "x" : " "}] ${oneLine(text(first))}${about}`, ...sources].join("\n");
  });
  return [...(heading ? [`### ${oneLine(heading)}`, ""] : []), ...lines].join("\n");
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const escaped = (words) => words.replace(/[\\`*_[\]<>#|~&!:+=-]/g, "\\$&").replace(/^(\s*\d+)([.)])/gm, "$1\\$2");
const oneLine = (words) => escaped(words.split(/\s+/).join(" "));
