/** `#/replays/<id>?job=<event_id>`: a replay, and one of its jobs beside the job that it replays. */

import { Problem, get } from "./api.js";
import { foreign, h } from "./dom.js";
import { count, face, isFinal, link, panel, scroll, skeleton, stamp } from "./format.js";
import { article, draw } from "./replay-pair.js";
import { ordered, pairOf } from "./replay-pairs.js";
import { answered, cost, heading, seconds, settings, sumRows, verdicts } from "./replay-words.js";

const PAGE = 100; // jobs of one request
const PARALLEL = 6; // reads at a time
const STEP = 100; // pairs that are read before a person asks for more

/** What a reader may want to see, with the pairs that are shown then. */
const CHOICES = {
  all: ["All", () => true],
  worse: ["Worse or mixed", ({ verdict }) => ["worse", "mixed"].includes(verdict)],
  better: ["Better or mixed", ({ verdict }) => ["better", "mixed"].includes(verdict)],
  changed: ["Answer changed", ({ changed }) => changed.length > 0],
  unchanged: ["Answer the same", ({ replay, changed }) => replay && !changed.length],
  "ended-badly": ["Not completed", ({ replay }) => !replay?.completed],
};

export class ReplayView {
  kind = "replay";
  /** The jobs of the replay as lists have them; what was read of each pair, by the id of the replay's job. */
  #jobs = null;
  #read = new Map();
  #pairs = [];
  #most = STEP;
  #show = "all";
  #job = null;

  constructor(page, id) {
    this.page = page;
    this.id = id;
  }

  /** Shows the replay, or one of its pairs. @param {URLSearchParams} query */
  shown(query) {
    const job = query.get("job");
    this.isMoved = job !== this.#job;
    this.#job = job;
    return this;
  }

  get title() {
    const pair = this.#shown();
    return pair ? `${pair.verdict}: ${pair.title}` : `Replay ${this.id}`;
  }

  async look(signal) {
    const { jobs, ...seen } = await this.#list(signal);
    if (!jobs.length) throw new Problem(404);
    this.#jobs = jobs;
    // The one that is shown comes first.
    const wanted = jobs.filter(({ event_id: id }, index) => index < this.#most || id === this.#job).sort((one, other) => (other.event_id === this.#job) - (one.event_id === this.#job));
    const left = wanted.filter((job) => this.#read.get(job.event_id)?.stamp !== stampOf(job));
    await Promise.all(Array.from({ length: PARALLEL }, async () => {
      for (let job = left.shift(); job; job = left.shift()) await this.#readPair(job, signal);
    }));
    this.#compare();
    return { ...seen, busy: jobs.some((job) => !isFinal(job)) };
  }

  async #list(signal) {
    const jobs = [];
    let [cursor, changed, retryAfter] = [null, false, 0];
    do {
      const query = new URLSearchParams({ replay: this.id, limit: PAGE, ...(cursor && { cursor }) });
      const answer = await get(`jobs?${query}`, signal);
      jobs.push(...answer.data.jobs);
      cursor = answer.data.next_cursor;
      changed ||= answer.changed;
      retryAfter = Math.max(retryAfter, answer.retryAfter);
    } while (cursor);
    return { jobs, changed, retryAfter };
  }

  async #readPair(job, signal) {
    const read = (id) => get(`jobs/${encodeURIComponent(id)}?include=attempts`, signal).then(({ data }) => data, gone);
    const known = this.#read.get(job.event_id);
    const [source, replay] = await Promise.all([known?.source ?? read(job.forked_from.event_id), isFinal(job) ? read(job.event_id) : job]);
    signal.throwIfAborted();
    const pair = source && replay && { ...pairOf(source, isFinal(job) ? replay : null, isFinal(job) ? "" : `it is ${job.status}`), id: job.event_id, both: [source, replay] };
    this.#read.set(job.event_id, { stamp: stampOf(job), source, pair });
    this.#compare();
    this.page.render();
  }

  #compare() {
    const found = this.#jobs.map(({ event_id: id }) => this.#read.get(id)?.pair).filter(Boolean);
    this.#pairs = ordered(found);
  }

  #shown() {
    return this.#job && this.#pairs.find(({ id }) => id === this.#job);
  }

  render() {
    if (!this.#jobs) return [h.h1(this.title), skeleton("rows")];
    if (!this.#job) return this.#all();
    const pair = this.#shown();
    if (pair) return article(pair, this.id, this.#pairs, this.page);
    const isRead = this.#read.has(this.#job) || !this.#jobs.some(({ event_id: id }) => id === this.#job);
    return [h.h1(this.title), isRead ? face("Nothing to compare", "This job is not a part of the replay, or the job that it replays was deleted.", link(`#/replays/${this.id}`, "The whole replay")) : skeleton("rows")];
  }

  drawn(main) {
    const pair = this.#shown();
    if (pair) draw(main, pair);
  }

  #all() {
    const [jobs, pairs] = [this.#jobs, this.#pairs];
    const wanted = Math.min(jobs.length, this.#most);
    const read = jobs.slice(0, this.#most).filter(({ event_id: id }) => this.#read.has(id)).length;
    const lost = jobs.filter(({ event_id: id }) => this.#read.has(id) && !this.#read.get(id).pair).length;
    const shown = pairs.filter(CHOICES[this.#show][1]);
    return [
      h.h1(foreign(heading(jobs.map((job) => job.job_name)))),
      h.div({ key: "about" }, pairs.length > 0 && [foreign(settings(pairs.map(({ both }) => both)), "p"), foreign(answered(pairs), "p")],
        h.p({ class: "muted small" }, "Replay ", foreign(this.id), `, ${stamp(jobs.at(-1).created_at)}. ${count(jobs.filter(isFinal).length)} of ${count(jobs.length)} jobs have ended.`)),
      panel("summary", "Summary", read < wanted && h.p({ class: "muted", key: "reading" }, `Reading: ${count(read)} of ${count(wanted)} jobs.`),
        lost > 0 && h.p({ key: "lost" }, `${count(lost)} left out: the jobs that they replay were deleted.`),
        h.p(verdicts(pairs)), summary(pairs)),
      panel("pairs", "Jobs",
        h.div({ class: "filters" }, h.label("Show", h.select({ onchange: ({ target }) => this.#choose(target.value) }, Object.entries(CHOICES).map(([name, [text]]) => h.option({ value: name, key: name }, text))))),
        shown.length ? overview(shown, this.id) : h.p({ class: "muted", key: "none" }, "No such job.")),
      wanted < jobs.length && h.div({ class: "more", key: "more" }, h.button({ onclick: () => this.#more() }, "More"), h.p({ class: "muted small" }, `These are ${count(wanted)} of ${count(jobs.length)} jobs.`)),
    ];
  }

  #choose(name) {
    this.#show = name;
    this.page.render();
  }

  #more() {
    this.#most += STEP;
    this.page.look();
  }
}

/** Tells the states of a job apart: an ended job is changed by a retry alone. */
const stampOf = (job) => `${job.status} ${job.updated_at}`;

/** Null for what was deleted. */
function gone(problem) {
  if (problem.status !== 404) throw problem;
  return null;
}

function summary(pairs) {
  const ended = pairs.filter(({ replay }) => replay).length;
  const caption = `The sums of the ${ended} jobs whose replays have ended; only of steps that ran again.`;
  const head = ["Before", "Replay", "Change"].map((name) => h.th({ scope: "col", class: "number" }, name));
  return [h.p({ class: "muted small" }, caption), scroll("Summary", h.table({ class: "sums" }, h.thead(h.tr(h.td(), head)),
    h.tbody(sumRows(pairs).map(([name, ...cells]) => h.tr({ key: name }, h.th({ scope: "row" }, name), cells.map((cell) => h.td({ class: "number" }, cell)))))))];
}

function overview(pairs, id) {
  const heads = ["Job", "By the checks", "Changed", "US dollars", "Seconds", "Tokens out"];
  const both = ({ source, replay }, show) => replay && `${show(source)} → ${show(replay)}`;
  const row = (pair) => h.tr({ key: pair.id },
    h.td({ class: "free" }, h.a({ class: "linked", href: `#/replays/${encodeURIComponent(id)}?job=${encodeURIComponent(pair.id)}` }, foreign(pair.title))),
    h.td(h.span({ class: `verdict ${pair.verdict.replace(" ", "-")}` }, pair.verdict)),
    h.td({ class: "free" }, pair.problem || foreign(pair.changed.map(({ title }) => title).join(", ") || "nothing")),
    [({ cost: amount }) => cost(amount), (side) => seconds(side.seconds), ({ output }) => String(output)].map((show) => h.td({ class: "number" }, both(pair, show))));
  return [h.p({ class: "muted small" }, "The worst first. Numbers are before → replay."), scroll("Jobs", h.table({ class: "pairs" },
    h.thead(h.tr(heads.map((name, index) => h.th({ scope: "col", class: index > 2 && "number" }, name)))), h.tbody(pairs.map(row))))];
}
