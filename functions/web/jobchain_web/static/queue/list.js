/** `#/`: the job counts and daily usage, the charts, and the list of jobs, newest first. */

import { get } from "./api.js";
import * as charts from "./charts.js";
import { foreign, h } from "./dom.js";
import { fill, form } from "./filters.js";
import { FINAL, STATUSES, age, ago, bound, chip, count, dollars, duration, face, facts, isFinal, link, shortId, skeleton, words } from "./format.js";
import { zone } from "./times.js";
import { waited } from "./waits.js";

const LIVE = 50;
const MOST = 100; // of one request
const MOST_PAGES = 50;

/** The position of a job in the list. */
const place = (job) => `${job.created_at}#${job.event_id}`;

/** The list with certain filters. It keeps its rows when another page is shown in between. */
export class ListView {
  title = "Queue";
  #jobs = null;
  #cursor = null;
  #measured = null;
  #loading = false;
  /** Whether rows were read long ago, so that they are all read again. */
  #isStale = false;
  /** The zone of the times in the fields; null before they are filled. */
  #filled = null;

  /** @param {URLSearchParams} filters */
  constructor(page, filters) {
    this.page = page;
    this.filters = filters;
    // A batch has up to 100 jobs, which are to be seen together.
    this.live = filters.size ? MOST : LIVE;
  }

  /** Called when the page is shown, and when it is shown again. */
  shown() {
    this.#isStale = this.#jobs?.length > this.live;
    this.#filled = null;
  }

  async look(signal) {
    const { shared } = this.page;
    const paths = ["stats", this.#path(this.live), "chains"].slice(0, shared.chains ? 2 : 3);
    const [stats, list, chains] = await Promise.all(paths.map((path) => get(path, signal)));
    signal.throwIfAborted();
    shared.stats = stats.data;
    if (chains) shared.chains = chains.data.chains;
    if (list.changed || !this.#jobs) this.#merge(list.data.jobs, list.data.next_cursor);
    if (this.#isStale) await this.#readAgain(signal);
    const { pending, processing } = shared.stats.jobs;
    this.title = pending + processing ? `${count(pending + processing)} to do` : "Queue";
    const busy = pending + processing > 0 || this.#jobs.some((job) => !isFinal(job));
    return { busy, changed: stats.changed || list.changed, retryAfter: Math.max(stats.retryAfter, list.retryAfter) };
  }

  /** Replaces the jobs of the newest page's time span; older jobs stay as they were read. */
  #merge(jobs, cursor) {
    const known = this.#jobs ?? [];
    const older = cursor && jobs.length ? known.filter((job) => place(job) < place(jobs.at(-1))) : [];
    // If no job is in both, there may be unread jobs in between.
    if (older.length && older.length === known.length) this.#isStale = true;
    this.#set([...jobs, ...older], older.length ? this.#cursor : cursor);
  }

  /** Reads as many jobs again as are shown: some of them may have changed, or been deleted. */
  async #readAgain(signal) {
    const jobs = [];
    let cursor;
    for (let pages = 0; cursor !== null && jobs.length < this.#jobs.length && pages < MOST_PAGES; pages += 1) {
      const { data } = await get(this.#path(MOST, cursor), signal);
      signal.throwIfAborted();
      jobs.push(...data.jobs);
      cursor = data.next_cursor;
    }
    this.#isStale = false;
    this.#set(jobs, cursor);
  }

  #set(jobs, cursor) {
    this.#jobs = jobs;
    this.#cursor = cursor;
    this.#measured = charts.measure(jobs);
  }

  #path(limit, cursor) {
    return `jobs?${new URLSearchParams([...this.filters, ["limit", limit], ...(cursor ? [["cursor", cursor]] : [])])}`;
  }

  async #more() {
    this.#loading = true;
    this.page.render();
    try {
      const { data } = await get(this.#path(MOST, this.#cursor));
      const known = new Set(this.#jobs.map(place));
      this.#set([...this.#jobs, ...data.jobs.filter((job) => !known.has(place(job)))], data.next_cursor);
    } catch (problem) {
      this.page.fail(problem);
    }
    this.#loading = false;
    this.page.render();
  }

  render() {
    const { stats, chains = [] } = this.page.shared;
    return [
      h.h1({ class: "unseen" }, "Queue"),
      stats ? numbers(stats) : skeleton("numbers"),
      this.#jobs ? charts.figures(this.#measured) : skeleton("charts"),
      form(this.page, this.filters, chains.map((chain) => chain.name)),
      this.#jobs ? this.#list() : skeleton("rows"),
    ];
  }

  drawn(main) {
    charts.draw(this.#measured);
    fill(main.querySelector("form.filters"), this.filters, this.#filled !== zone());
    this.#filled = zone();
  }

  #list() {
    const more = this.#cursor && h.div({ class: "more" },
      h.button({ onclick: () => this.#more(), disabled: this.#loading }, "More"),
      this.#jobs.length > this.live && h.p({ class: "muted small" }, `The newest ${this.live} are live.`));
    if (this.#jobs.length) return [totals(this.#jobs, this.#cursor, this.filters), table(this.#jobs), more];
    if (this.#cursor) return [face("None so far", "No recent job matches the filters."), more];
    if (this.filters.size) return face("No such jobs", "No job matches the filters.", link("#/", "Show all"));
    return face("No jobs yet", "Create a job from a text, and follow it step by step.", link("#/new", "New job", "primary"));
  }
}

const counts = (numbers, ...names) =>
  names.map((name) => [words(name), h.span({ class: numbers[name] && /failed|dead/.test(name) && "failed" }, count(numbers[name]))]);

const cost = (spent) => [spent.cost_usd > 0 && bound(spent), dollars(spent.cost_usd)];

const tokens = ({ usage }) => usage?.input_tokens + usage?.output_tokens || 0;

function numbers({ jobs, today, queue }) {
  const group = (title, ...pairs) => h.section(h.h2(title), facts(pairs));
  return h.div({ class: "numbers", key: "numbers" },
    group("Now", ...counts(jobs, "pending", "processing")),
    queue && group("Queue", ...counts(queue, "waiting", "in_flight", "delayed", "dead_letters")),
    group("Today (UTC)", ...counts(today, "created"), ...counts(jobs, ...FINAL), ["Tokens", [bound(today), count(tokens(today))]],
      ["Cost", cost(today)]));
}

/** How far the listed jobs are, and what they cost: that of a batch, with a filter that all its jobs match. */
function totals(jobs, isMore, filters) {
  const of = new Map(STATUSES.map((status) => [status, jobs.filter((job) => job.status === status).length]).filter(([, number]) => number));
  const spent = jobs.reduce((sum, job) => ({
    cost_usd: sum.cost_usd + (job.cost_usd ?? 0), estimated: job.estimated?.calls ? job.estimated : sum.estimated, tokens: sum.tokens + tokens(job),
  }), { cost_usd: 0, tokens: 0 });
  const ended = FINAL.reduce((sum, status) => sum + (of.get(status) ?? 0), 0);
  return h.div({ class: "totals", key: "totals" },
    h.span({ class: "shares", "aria-hidden": "true" }, [...of].reverse().map(([status, number]) => h.span({ class: status, key: status, style: { flexGrow: number } }))),
    h.p(h.strong(isMore ? `Newest ${count(jobs.length)}` : count(jobs.length), jobs.length === 1 ? " job" : " jobs"), ": ",
      [...of].reverse().map(([status, number], index) => [index > 0 && ", ", h.span({ class: status }, `${count(number)} ${status}`)]),
      ended < jobs.length && ended > 0 && ` (${count(ended)} of ${count(jobs.length)} ended)`,
      h.span({ class: "muted" }, " · ", bound(spent), count(spent.tokens), " tokens · ", cost(spent), jobs.some((job) => job.cost_usd == null) && " and calls of unknown price")),
    link(`#/bulk?${filters}`, "Retry, cancel or delete…", "small"));
}

const HEADS = ["Status", "Job", "Created", "Took", "Tokens", "Cost"];

function table(jobs) {
  const heads = HEADS.map((name, index) => h.th({ scope: "col", class: (index > 2 && "number wide") || (index > 1 && "wide") }, name));
  return h.table({ class: "jobs", key: "jobs" }, h.thead(h.tr(heads)), h.tbody(jobs.map(row)));
}

function row(job) {
  const number = (value) => h.td({ class: "number wide" }, value);
  const { event_id: id, title, forked_from: source } = job;
  return h.tr({ key: id },
    h.td(chip(job.status), job.waiting_for && job.waiting_for.reason !== "queue" && h.div({ class: "muted small" }, waited(job.waiting_for))),
    h.td({ class: "name" },
      h.a({ href: `#/jobs/${encodeURIComponent(id)}` }, foreign(title ?? words(job.job_name)), " ", h.code(shortId(id))),
      h.div({ class: "muted small" }, title && foreign(words(job.job_name)), h.span({ class: "narrow" }, title && " · ", ago(job.created_at))),
      source && h.div({ class: "muted small" }, "fork of ", h.code(shortId(source.event_id)), source.from_step ? [", from ", foreign(words(source.from_step))] : ", all steps"),
      job.error && foreign(job.error.message, "p", "why")),
    h.td({ class: "muted wide" }, ago(job.created_at)),
    number(duration(age(job))),
    number([bound(job), count(tokens(job))]),
    number(cost(job)));
}
