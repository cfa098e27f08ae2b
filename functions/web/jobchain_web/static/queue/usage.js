/** `#/usage?from=…&to=…&by=chain`: jobs, tokens and cost day by day, as a chart and as tables. */

import { get } from "./api.js";
import { foreign, h } from "./dom.js";
import { bound, count, dollars, face, facts, link, panel, scroll, skeleton, words } from "./format.js";
import { MEASURES, colourOf, draw, groupsOf, nameOf, summary } from "./usage-chart.js";
import { now } from "./times.js";
import { download } from "./usage-csv.js";

const DAY = 86_400_000; // ms
const SPANS = { 7: "last 7 days", 30: "last 30 days", 90: "last 90 days" };
const GROUPS = { chain: "chain", key: "API key", model: "model" };

const day = (moment) => new Date(moment).toISOString().slice(0, 10);

export class View {
  title = "Usage";
  #data = null;

  /** @param {URLSearchParams} query `from`, `to`, `by` as in the API, and `show`, what the chart shows */
  constructor(page, query) {
    this.page = page;
    this.query = query;
  }

  /** What the chart shows: unless it is chosen, tokens where nothing cost anything. */
  get show() {
    const chosen = this.query.get("show");
    if (Object.hasOwn(MEASURES, chosen)) return chosen;
    return this.#data.groups.total.cost_usd === 0 ? "tokens" : "cost";
  }

  async look(signal) {
    const query = new URLSearchParams(["from", "to", "by"].filter((name) => this.query.get(name)).map((name) => [name, this.query.get(name)]));
    const days = [];
    let following = null;
    let changed = false;
    let last;
    do {
      if (following) query.set("from", following);
      last = await get(`usage?${query}`, signal);
      signal.throwIfAborted();
      days.push(...last.data.days);
      following = last.data.next_from;
      changed ||= last.changed;
    } while (following);
    if (changed || !this.#data) this.#data = { days, by: last.data.by, from: days[0]?.date, to: last.data.to, groups: groupsOf(days) };
    return { busy: false, changed, retryAfter: Math.max(last.retryAfter, 15_000) };
  }

  #go(changes) {
    const next = new URLSearchParams(this.query);
    for (const [name, value] of Object.entries(changes)) value ? next.set(name, value) : next.delete(name);
    this.page.go(`#/usage?${next}`);
  }

  render() {
    const data = this.#data;
    if (!data) return [h.h1(this.title), skeleton("rows")];
    return [
      h.div({ class: "headline" }, h.h1(this.title), this.#form(data)),
      sums(data),
      h.figure({ key: "figure" },
        h.figcaption(h.strong(MEASURES[this.show].title), " ", h.span({ class: "muted" }, summary(data, this.show))),
        h.div({ class: "chart tall", id: "usage-chart", keep: true, key: `${this.show} ${data.by}`, role: "img", label: `${MEASURES[this.show].title}: ${summary(data, this.show)}` })),
      data.by && panel("groups", `By ${GROUPS[data.by]}`, groupTable(data)),
      panel("days", "By day (UTC)", dayTable(data),
        h.div({ class: "buttons" }, h.button({ onclick: () => download(data) }, "Download CSV"))),
    ];
  }

  drawn(main) {
    if (this.#data) draw(main.querySelector("#usage-chart"), this.#data, this.show);
  }

  #form({ from, to, by }) {
    const select = (label, values, chosen, change) => h.label(label, h.select({ onchange: ({ target }) => change(target.value) },
      Object.entries(values).map(([value, text]) => h.option({ value, key: value || "none", selected: value === chosen }, text))));
    const span = this.query.get("from") || this.query.get("to") ? "" : "30";
    const spans = { ...SPANS, ...(span ? {} : { "": "as chosen" }) };
    const choose = (days) => days && this.#go({ from: days === "30" ? "" : day(now() - (days - 1) * DAY), to: "" });
    const date = (label, name, value) => h.label(label, h.input({ type: "date", value, key: `${name} ${value}`, min: day(now() - 400 * DAY), max: day(now()),
      onchange: ({ target }) => /^20/.test(target.value) && this.#go({ from, to, [name]: target.value }) }));
    return h.div({ class: "filters", key: "filters" },
      select("Period", spans, span, choose),
      date("From", "from", from), date("to", "to", to),
      select("Split by", { "": "nothing", ...GROUPS }, by ?? "", (value) => this.#go({ by: value })),
      select("Chart", Object.fromEntries(Object.entries(MEASURES).map(([name, { title }]) => [name, title])), this.show, (value) => this.#go({ show: value })));
  }
}

const tokensOf = ({ usage }) => usage.input_tokens + usage.output_tokens;

/** The sum of all days. */
function sums({ groups: { total } }) {
  return h.div({ class: "numbers whole", key: "numbers" }, h.section(h.h2("In this period"), facts([
    ["Created", count(total.created)],
    ...["completed", "failed", "cancelled"].map((name) => [words(name), h.span({ class: name === "failed" && total.failed && "failed" }, count(total[name]))]),
    ["Calls", count(total.calls)],
    ["Tokens in", [bound(total), count(total.usage.input_tokens)]],
    ["Tokens out", [bound(total), count(total.usage.output_tokens)]],
    ["Cost", [total.cost_usd > 0 && bound(total), dollars(total.cost_usd)]],
  ])));
}

const NUMBERS = {
  Created: (one) => one.created, Completed: (one) => one.completed, Failed: (one) => one.failed, Cancelled: (one) => one.cancelled, Calls: (one) => one.calls,
  "Tokens in": (one) => one.usage.input_tokens, Cached: (one) => one.usage.cached_tokens, "Tokens out": (one) => one.usage.output_tokens,
};

const numbersOf = (one, names) => names.map((name) => h.td({ class: "number" },
  /token/i.test(name) && bound(one), count(NUMBERS[name](one))));

const costOf = (one) => h.td({ class: "number" }, one.cost_usd > 0 && bound(one), dollars(one.cost_usd));

const head = (first, names) => h.thead(h.tr(h.th({ scope: "col" }, first),
  [...names, "Cost"].map((name) => h.th({ scope: "col", class: "number" }, name))));

function groupTable({ by, groups: { names, sums: of }, from }) {
  const shown = Object.keys(NUMBERS).filter((name) => name !== "Created");
  const named = (name) => (by === "chain" && name ? h.a({ class: "link", href: `#/?${new URLSearchParams({ job_name: name, created_after: from })}` }, foreign(nameOf(by, name))) : foreign(nameOf(by, name)));
  return scroll(`Usage by ${GROUPS[by]}`, h.table({ class: "usage" }, head(words(GROUPS[by]), shown),
    h.tbody(names.map((name) => h.tr({ key: `of ${name}` },
      h.th({ scope: "row" }, h.span({ class: "swatch", style: { background: colourOf(names, name) } }), named(name)), numbersOf(of[name], shown), costOf(of[name]))))));
}

function dayTable({ days, groups: { total } }) {
  const shown = Object.keys(NUMBERS);
  const until = (date) => day(Date.parse(date) + DAY);
  const row = (one) => h.tr({ key: one.date },
    h.th({ scope: "row" }, one.created ? h.a({ class: "link", href: `#/?${new URLSearchParams({ created_after: one.date, created_before: until(one.date) })}` }, one.date) : one.date),
    numbersOf(one, shown), costOf(one));
  const used = days.filter((one) => one.created + one.completed + one.failed + one.cancelled + one.calls > 0).reverse();
  if (!used.length) return face("Nothing was used", "There was no job in these days.", link("#/new", "New job"));
  return scroll("Usage by day", h.table({ class: "usage" }, head("Day", shown), h.tbody(used.map(row)),
    h.tfoot(h.tr(h.th({ scope: "row" }, "All"), numbersOf(total, shown), costOf(total)))),
  used.length < days.length && h.p({ class: "muted small" }, `${count(days.length - used.length)} days without usage are left out; they are in the CSV.`));
}
