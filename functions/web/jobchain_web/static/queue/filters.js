/** The filters of the list: in the page's address as in the API's query, and as the fields of a form. */

import { foreign, h } from "./dom.js";
import { STATUSES, fromInput, stamp, toInput, words } from "./format.js";
import { now } from "./times.js";

const TIMES = ["created_after", "created_before"];
const NAMES = ["status", "job_name", "title", ...TIMES];
const SPANS = { 1: "last hour", 24: "last 24 hours", 168: "last 7 days", 720: "last 30 days" }; // by hours
const ID = /^[0-9a-f]{8}(-[0-9a-f]{0,4}){0,3}(-[0-9a-f]{0,12})?$/i;

/** The filters of an address; of one that is there twice, the last. @param {URLSearchParams} query */
export const filtersOf = (query) =>
  new URLSearchParams([...new Map([...query].filter(([name, value]) => value && (NAMES.includes(name) || /^metadata\../.test(name))))]);

const time = (text) => (isNaN(new Date(text)) ? text : stamp(text));

/** The filters other than status and chain, as a person reads them: [name, text] each. */
export const told = (filters) => [...filters].filter(([name]) => !["status", "job_name"].includes(name)).map(([name, value]) => {
  if (name === "title") return [name, `title has “${value}”`];
  if (name === "created_after") return [name, `created from ${time(value)}`];
  if (name === "created_before") return [name, `created before ${time(value)}`];
  return [name, `${name.slice("metadata.".length)} = ${value}`];
});

/** The form. @param page what views can call @param {URLSearchParams} filters those in force @param {string[]} chains their names */
export function form(page, filters, chains) {
  const go = (changes) => {
    const next = new URLSearchParams(filters);
    for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
    page.go(`#/?${next}`);
  };
  const select = (label, name, values, text, change = ({ target }) => go({ [name]: target.value })) =>
    h.label(label, h.select({ name, onchange: change }, h.option({ value: "", key: "all" }, name === "span" ? "any time" : "all"),
      values.map((value) => h.option({ value, key: value }, text(value)))));
  const withChosen = (values, name) => [...new Set([...values, ...filters.getAll(name)])];
  const span = ({ target: { value } }) => value !== "chosen" && go({
    created_after: value && new Date(now() - value * 3_600_000).toISOString().replace(/\d\d\.\d+/, "00"), created_before: "",
  });
  const hasTime = filters.has("created_after") || filters.has("created_before");
  const submit = (event) => {
    event.preventDefault();
    const { title, entry, ...times } = Object.fromEntries(new FormData(event.target));
    const text = title.trim();
    const [name, ...value] = entry.split("=");
    const changes = { title: text, ...(entry && { [`metadata.${name.trim()}`]: value.join("=") }) };
    for (const one of TIMES) if (times[one] !== toInput(filters.get(one))) changes[one] = fromInput(times[one]);
    if (!ID.test(text) || text === filters.get("title")) return go(changes);
    import("./find.js").then(({ find }) => find(page, text.toLowerCase(), () => go(changes))).catch(page.fail);
  };
  const time = (label, name) => h.label(label, h.input({ name, type: "datetime-local", step: "any" }));
  return [
    h.form({ class: "filters", key: "filters", onsubmit: submit }, h.h2("Jobs"),
      select("Status", "status", withChosen(STATUSES, "status"), String),
      select("Chain", "job_name", withChosen(chains, "job_name"), words),
      select("Created", "span", [...Object.keys(SPANS), ...(hasTime ? ["chosen"] : [])], (value) => SPANS[value] ?? "as chosen", span),
      h.label({ class: "search" }, "Title or id", h.input({ name: "title", type: "search", maxlength: 200, dir: "auto" })),
      h.details({ key: "more" }, h.summary("More filters"), h.div({ class: "filters" },
        h.label("Metadata", h.input({ name: "entry", placeholder: "key=value", pattern: "[^=]+=.+", title: "key=value", dir: "auto" })),
        time("Created from", "created_after"), time("before", "created_before"))),
      h.button("Search")),
    chips(filters, go),
  ];
}

function chips(filters, go) {
  const shown = told(filters);
  return shown.length > 0 && h.p({ class: "buttons", key: "chips" },
    shown.map(([name, text]) => h.button({ class: "small", key: name, onclick: () => go({ [name]: "" }), label: `Remove the filter: ${text}` }, foreign(text), " ×")),
    h.a({ href: "#/", class: "link small" }, "Show all"));
}

/** Puts the filters that are in force into the fields; into those that a person writes in only if the page `isNew`. */
export function fill({ elements }, filters, isNew) {
  const hasTime = filters.has("created_after") || filters.has("created_before");
  const put = (name, value) => elements[name].value === value || (elements[name].value = value);
  for (const name of ["status", "job_name"]) put(name, filters.get(name) ?? "");
  put("span", hasTime ? "chosen" : "");
  if (!isNew) return;
  put("title", filters.get("title") ?? "");
  put("entry", "");
  for (const name of TIMES) put(name, toInput(filters.get(name)));
}
