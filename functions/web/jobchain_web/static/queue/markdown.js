/** A job as a Markdown file. Loaded when the first one is downloaded. */

import { h } from "./dom.js";
import { shortId, words } from "./format.js";
import { parts } from "./result.js";

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
  for (const [name, value] of parts(job.result)) lines.push(`## ${escaped(words(name))}`, written(name, value));
  return `${lines.join("\n\n")}\n`;
}

function written(name, value) {
  if (name === "checklist" && Array.isArray(value)) return value.map((item) => `- [ ] ${escaped(text(item))}`).join("\n");
  if (typeof value === "string" && name !== "diagram") return escaped(value);
  const content = text(value);
  // Longer than any fence in the text.
  const fence = "`".repeat(3 + Math.max(0, ...(content.match(/`+/g) ?? []).map((run) => run.length)));
  return `${fence}${name === "diagram" ? "mermaid" : "json"}\n${content.trim()}\n${fence}`;
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
const escaped = (words) => words.replace(/[\\`*_[\]<>#|~&!:+=-]/g, "\\$&").replace(/^(\s*\d+)([.)])/gm, "$1\\$2");
