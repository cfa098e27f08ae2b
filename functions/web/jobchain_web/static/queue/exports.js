/** Downloads of a job. Loaded when the first one is asked for. */

import { get } from "./api.js";
import { h } from "./dom.js";
import { shortId, withoutFormulas } from "./format.js";
import * as written from "./markdown.js";
import { tables } from "./result.js";

export function save(content, type, name) {
  const href = URL.createObjectURL(new Blob([content], { type }));
  h.a({ href, download: name }).click();
  setTimeout(URL.revokeObjectURL, 10_000, href);
}

const nameOf = (job, rest) => `job-${shortId(job.event_id)}${rest}`;

export const markdown = (job) => save(written.markdown(job), "text/markdown", nameOf(job, ".md"));

export const github = (job) => save(written.tasks(job), "text/markdown", nameOf(job, "-tasks.md"));

/** The whole job as the API gives it. */
export async function json(job) {
  const { data } = await get(`jobs/${encodeURIComponent(job.event_id)}?include=input,prompts,attempts`);
  save(JSON.stringify(data, null, 2), "application/json", nameOf(job, ".json"));
}

/** A table or list of the result, by its place in `tables`, as a spreadsheet reads it. */
export function csv(job, index) {
  const { title, rows } = tables(job)[index];
  const text = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));
  // A number may be negative.
  const safe = (value) => (typeof value === "number" ? text(value) : withoutFormulas(text(value)));
  const cell = (value) => `"${safe(value).replaceAll('"', '""')}"`;
  const lines = rows.map((row) => row.map((value) => (value == null ? "" : cell(value))).join(","));
  // With the mark by which Excel knows UTF-8.
  save(`\ufeff${lines.join("\r\n")}\r\n`, "text/csv", nameOf(job, `-${title.replace(/[^\w-]+/g, "_").slice(0, 40)}.csv`));
}
