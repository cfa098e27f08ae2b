/** A job as a Markdown file. Loaded when the first one is downloaded. */

import { h } from "./dom.js";
import { shortId, words } from "./format.js";
import { grouped, parts, said } from "./result.js";

/** Downloads the job as a file. */
export function download(job) {
  const href = URL.createObjectURL(new Blob([markdown(job)], { type: "text/markdown" }));
  h.a({ href, download: `job-${shortId(job.event_id)}.md` }).click();
  setTimeout(URL.revokeObjectURL, 10_000, href);
}

/** The job as Markdown; its texts are escaped. */
function markdown(job) {
  const lines = [`# ${escaped(words(job.job_name))}`, `Job ${job.event_id}, ${job.status}, created ${job.created_at}`];
  if (job.error) lines.push(escaped(job.error.message));
  for (const part of parts(job, true)) lines.push(`## ${escaped(words(part.title))}`, written(part));
  return `${lines.join("\n\n")}\n`;
}

function written(part) {
  const { form, value } = part;
  if (form === "checklist" && Array.isArray(value)) return grouped(part).map((group) => ticks(group, part.fields)).join("\n\n");
  if (form === "table" && typeof value === "string") return value.trim(); // its texts are escaped
  if (typeof value === "string" && form !== "diagram") return escaped(value);
  const content = text(value);
  // Longer than any fence in the text.
  const fence = "`".repeat(3 + Math.max(0, ...(content.match(/`+/g) ?? []).map((run) => run.length)));
  return `${fence}${form === "diagram" ? "mermaid" : "json"}\n${content.trim()}\n${fence}`;
}

function ticks([heading, entries], fields) {
  const lines = entries.map(([entry]) => {
    const { text: first, tags, quotes } = said(entry, fields);
    const about = tags.length ? ` (${oneLine(tags.join(", "))})` : "";
    const sources = quotes.map((quote) => `  > ${oneLine(quote.text)}${quote.missing ? " *(not in the text)*" : ""}`);
    return [`- [ ] ${oneLine(text(first))}${about}`, ...sources].join("\n");
  });
  return [...(heading ? [`### ${oneLine(heading)}`, ""] : []), ...lines].join("\n");
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const escaped = (words) => words.replace(/[\\`*_[\]<>#|~&!:+=-]/g, "\\$&").replace(/^(\s*\d+)([.)])/gm, "$1\\$2");
const oneLine = (words) => escaped(words.split(/\s+/).join(" "));
