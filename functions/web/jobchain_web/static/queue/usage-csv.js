/** Daily usage as a table for a spreadsheet. */

import { withoutFormulas } from "./format.js";

const HEADS = ["created", "completed", "failed", "cancelled", "calls", "retries"];
const TOKENS = ["input_tokens", "cached_tokens", "cache_write_tokens", "output_tokens", "reasoning_tokens"];
const ESTIMATED = ["input_tokens", "output_tokens", "cost_usd"];

const cell = (value) => {
  const text = withoutFormulas(String(value ?? ""));
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** One line for each day, and for each group of a day. */
export function csv({ days, by }) {
  const line = (date, name, one) => [date, ...(by ? [name] : []), ...HEADS.map((head) => one[head]), ...TOKENS.map((token) => one.usage[token]), one.cost_usd, ...ESTIMATED.map((part) => one.estimated[part])];
  const heads = ["date", ...(by ? [by] : []), ...HEADS, ...TOKENS, "cost_usd", ...ESTIMATED.map((part) => `estimated_${part}`)];
  const lines = days.flatMap((one) => [line(one.date, "(whole day)", one), ...Object.entries(one.groups ?? {}).map(([name, group]) => line(one.date, name, group))]);
  return [heads, ...lines].map((cells) => `${cells.map(cell).join(",")}\r\n`).join("");
}

/** Saves it as a file. */
export function download(data) {
  const url = URL.createObjectURL(new Blob([csv(data)], { type: "text/csv" }));
  Object.assign(document.createElement("a"), { href: url, download: `usage-${data.from}-${data.to}${data.by ? `-by-${data.by}` : ""}.csv` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
