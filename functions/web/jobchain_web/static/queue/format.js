/** Numbers, times and names, formatted for people. */

import { foreign, h } from "./dom.js";
import { formatter, now, zone } from "./times.js";

export const FINAL = ["completed", "failed", "cancelled"];
export const STATUSES = ["pending", "processing", ...FINAL];
/** How much a model can be told to reason. */
export const EFFORTS = ["none", "minimal", "low", "medium", "high", "xhigh", "max"];
/** Whether a job may set this in place of its chain; an API that does not tell is asked. */
export const allows = (chain, name) => chain?.overrides?.includes(name) ?? true;
export const isFinal = (job) => FINAL.includes(job.status);

const TIME = { hour: "2-digit", minute: "2-digit" };
const days = formatter({ ...TIME, day: "numeric", month: "short" });
const dates = formatter({ dateStyle: "short" });

export const clock = formatter({ ...TIME, second: "2-digit" });
export const count = (number) => (number ?? 0).toLocaleString("en");
export const shortId = (id) => id.slice(0, 8);
/** `guideline_checklist` as "Guideline checklist". */
export const words = (name) => String(name).replaceAll("_", " ").replace(/^./u, (first) => first.toUpperCase());

/** A cost in US dollars: 0 for a free model, null for a model of unknown price. */
export function dollars(cost) {
  if (cost == null) return h.span({ class: "muted", title: "prices.json has no price for this model" }, "unknown price");
  const digits = cost > 0 && cost < 0.1 ? { maximumSignificantDigits: 2 } : {};
  return cost.toLocaleString("en", { style: "currency", currency: "USD", ...digits });
}

/** What comes before a number of which a part is an estimate: it is an upper bound. */
export const bound = ({ estimated }) => (estimated?.calls ? "≤ " : "");

/** Milliseconds as "3.2 s" or "4 min 10 s". */
export function duration(milliseconds) {
  const seconds = Math.max(0, milliseconds) / 1000;
  if (seconds < 60) return `${seconds < 9.95 ? seconds.toFixed(1) : Math.floor(seconds)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** From creation to the end, or until now; milliseconds. */
export const age = (job) => (Date.parse(job.finished_at) || now()) - Date.parse(job.created_at);

/** A moment: the time if it is of today, else the day too, with the exact time in its title. */
export function moment(iso) {
  const at = new Date(iso);
  const format = dates(at) === dates(now()) ? clock : days;
  return h.time({ datetime: iso, title: iso }, format(at));
}

/** A time as a person reads it, with its day. */
export const stamp = (moment) => days(new Date(moment));

/** A time as a field of the type `datetime-local` has it, in the chosen zone; of none, an empty text. */
export function toInput(iso) {
  const at = new Date(iso ?? "");
  if (isNaN(at)) return "";
  return new Date(at - (zone() === "UTC" ? 0 : at.getTimezoneOffset() * 60_000)).toISOString().slice(0, 16);
}

/** The time that such a field has, in UTC. */
export const fromInput = (text) => (text ? new Date(zone() === "UTC" ? `${text}Z` : text).toISOString() : "");

/** How long ago, with the exact time in its title. */
export function ago(iso) {
  const seconds = (now() - Date.parse(iso)) / 1000;
  let text = days(Date.parse(iso) || 0);
  if (seconds < 60) text = seconds < 10 ? "just now" : "a moment ago";
  else if (seconds < 3600) text = `${Math.floor(seconds / 60)} min ago`;
  return h.time({ datetime: iso, title: iso }, text);
}

/** The status of a job or step. */
export const chip = (status) => foreign(status, "span", `chip ${status}`);

/** Labels with their values. @param {[string, any][]} pairs */
export const facts = (pairs, kind = "") =>
  h.dl({ class: `facts ${kind}` }, pairs.map(([name, value]) => h.div(h.dt(name), h.dd(value))));

/** A notice in place of missing content. */
export const face = (title, text, ...more) =>
  h.section({ class: "face" }, h.h2(title), h.p({ dir: "auto" }, text), more);

export const skeleton = (kind) => h.div({ class: `skeleton ${kind}`, "aria-hidden": "true", key: `no-${kind}` });

export const link = (hash, text, kind = "") => h.a({ class: `button ${kind}`, href: hash }, text);

/** Content that can be wider than the page; it scrolls with the keyboard too. */
export const scroll = (label, ...content) =>
  h.div({ class: "scroll", tabindex: "0", role: "region", label: label }, content);

/** A part of a page, with its title. */
export const panel = (key, title, ...content) => h.section({ class: "panel", key }, h.h2(title), content);

/**
 * A text that no spreadsheet runs as a formula: an apostrophe is in front of what would begin one. Where the comma is for decimals, as in most of
 * Europe, a file is split at semicolons, and so a formula can begin after each of them; some split at tabs too.
 */
export const withoutFormulas = (text) => text.replace(/(^|[;\t\r\n])(?=[=+\-@\t\r])/g, "$1'");
