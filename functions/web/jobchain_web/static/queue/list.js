/** `#/`: the job counts and daily usage, the charts, and the list of jobs, newest first. */

import { get } from "./api.js";
import * as charts from "./charts.js";
import { foreign, h } from "./dom.js";
import { FINAL, STATUSES, age, ago, bound, chip, count, dollars, duration, face, facts, isFinal, link, shortId, skeleton, words } from "./format.js";
import { waited } from "./waits.js";

const LIVE = 50;
const FILTERS = ["status", "job_name"];

/** The position of a job in the list. */
const place = (job) => `${job.created_at}#${job.event_id}`;

export class ListView {
  title = "Queue";
  #jobs = null;
  #cursor = null;
  #stats = null;
  #chains = [];
  #measured = null;
  #loading = false;

  constructor(page) {
    this.page = page;
  }

  /** @param {URLSearchParams} query the query of the page's address */
  filter(query) {
    this.filters = new URLSearchParams([...query].filter(([name, value]) => value && FILTERS.includes(name)));
    this.#jobs = this.#measured = null;
  }

  async look(signal) {
    const paths = ["stats", this.#path(), "chains"].slice(0, this.#chains.length ? 2 : 3);
    const [stats, list, chains] = await Promise.all(paths.map((path) => get(path, signal)));
    signal.throwIfAborted();
    this.#stats = stats.data;
    if (chains) this.#chains = chains.data.chains;
    if (list.changed || !this.#jobs) this.#merge(list.data.jobs, list.data.next_cursor);
    const { pending, processing } = this.#stats.jobs;
    this.title = pending + processing ? `${count(pending + processing)} to do` : "Queue";
    const busy = pending + processing > 0 || this.#jobs.some((job) => !isFinal(job));
    return { busy, changed: stats.changed || list.changed, retryAfter: Math.max(stats.retryAfter, list.retryAfter) };
  }

  /** Replaces the jobs of the newest page's time span; older jobs stay as they were read. */
  #merge(jobs, cursor) {
    const known = this.#jobs ?? [];
    const older = cursor && jobs.length ? known.filter((job) => place(job) < place(jobs.at(-1))) : [];
    // If no job is in both, there may be unread jobs in between.
    const kept = older.length < known.length ? older : [];
    this.#set([...jobs, ...kept], kept.length ? this.#cursor : cursor);
  }

  #set(jobs, cursor) {
    this.#jobs = jobs;
    this.#cursor = cursor;
    this.#measured = charts.measure(jobs);
  }

  #path(cursor) {
    return `jobs?${new URLSearchParams([...this.filters, ["limit", LIVE], ...(cursor ? [["cursor", cursor]] : [])])}`;
  }

  async #more() {
    this.#loading = true;
    this.page.render();
    try {
      const { filters } = this;
      const { data } = await get(this.#path(this.#cursor));
      const known = new Set(this.#jobs?.map(place));
      const older = data.jobs.filter((job) => !known.has(place(job)));
      if (filters === this.filters && this.#jobs) this.#set([...this.#jobs, ...older], data.next_cursor);
    } catch ({ message }) {
      this.page.say(message);
    }
    this.#loading = false;
    this.page.render();
  }

  render() {
    return [
      h.h1({ class: "unseen" }, "Queue"),
      this.#stats ? numbers(this.#stats) : skeleton("numbers"),
      this.#jobs ? charts.figures(this.#measured) : skeleton("charts"),
      h.div({ class: "filters", key: "filters" }, h.h2("Jobs"),
        this.#choice("Status", "status", STATUSES, String),
        this.#choice("Chain", "job_name", this.#chains.map((chain) => chain.name), words)),
      this.#jobs ? this.#list() : skeleton("rows"),
    ];
  }

  drawn() {
    charts.draw(this.#measured);
  }

  #choice(label, name, values, text) {
    const chosen = this.filters.get(name);
    const choose = ({ target }) => {
      this.filters.delete(name);
      if (target.value) this.filters.set(name, target.value);
      this.page.go(`#/?${this.filters}`);
    };
    const options = chosen && !values.includes(chosen) ? [...values, chosen] : values;
    return h.label(label, h.select({ name, onchange: choose }, h.option({ value: "" }, "all"),
      options.map((value) => h.option({ value, selected: value === chosen }, text(value)))));
  }

  #list() {
    const more = this.#cursor && h.div({ class: "more" },
      h.button({ onclick: () => this.#more(), disabled: this.#loading }, "More"),
      this.#jobs.length > LIVE && h.p({ class: "muted small" }, `The newest ${LIVE} are live.`));
    if (this.#jobs.length) return [table(this.#jobs), more];
    if (this.#cursor) return [face("None so far", "No recent job matches the filters."), more];
    if (this.filters.size) return face("No such jobs", "No job matches the filters.", link("#/", "Show all"));
    return face("No jobs yet", "Create a job from a text, and follow it step by step.", link("#/new", "New job", "primary"));
  }
}

const counts = (numbers, ...names) =>
  names.map((name) => [words(name), h.span({ class: numbers[name] && /failed|dead/.test(name) && "failed" }, count(numbers[name]))]);

const cost = (spent) => [spent.cost_usd > 0 && bound(spent), dollars(spent.cost_usd)];

function numbers({ jobs, today, queue }) {
  const tokens = today.usage.input_tokens + today.usage.output_tokens;
  const group = (title, ...pairs) => h.section(h.h2(title), facts(pairs));
  return h.div({ class: "numbers", key: "numbers" },
    group("Now", ...counts(jobs, "pending", "processing")),
    queue && group("Queue", ...counts(queue, "waiting", "in_flight", "delayed", "dead_letters")),
    group("Today (UTC)", ...counts(today, "created"), ...counts(jobs, ...FINAL), ["Tokens", [bound(today), count(tokens)]],
      ["Cost", cost(today)]));
}

const HEADS = ["Status", "Job", "Created", "Took", "Tokens", "Cost"];

function table(jobs) {
  const heads = HEADS.map((name, index) => h.th({ scope: "col", class: index > 2 && "number wide" }, name));
  return h.table({ class: "jobs", key: "jobs" }, h.thead(h.tr(heads)), h.tbody(jobs.map(row)));
}

function row(job) {
  const number = (value) => h.td({ class: "number wide" }, value);
  return h.tr({ key: job.event_id },
    h.td(chip(job.status), job.waiting_for && job.waiting_for.reason !== "queue" && h.div({ class: "muted small" }, waited(job.waiting_for))),
    h.td({ class: "name" },
      h.a({ href: `#/jobs/${encodeURIComponent(job.event_id)}` }, foreign(words(job.job_name)), " ", h.code(shortId(job.event_id))),
      job.error && foreign(job.error.message, "p", "why")),
    h.td({ class: "muted" }, ago(job.created_at)),
    number(duration(age(job))),
    number([bound(job), count(job.usage?.input_tokens + job.usage?.output_tokens || 0)]),
    number(cost(job)));
}
