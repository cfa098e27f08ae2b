/** `#/replays`: the replays, the newest first. */

import { get } from "./api.js";
import { foreign, h } from "./dom.js";
import { ago, count, dollars, face, isFinal, link, skeleton, words } from "./format.js";

const PAGE = 100; // jobs of one request
const MOST_PAGES = 20;

export class View {
  title = "Replays";
  #jobs = null;
  #pages = 1;
  #cursor = null;

  constructor(page) {
    this.page = page;
  }

  async look(signal) {
    const jobs = [];
    let [cursor, changed, retryAfter] = [null, false, 0];
    for (let number = 0; number < this.#pages && (number === 0 || cursor); number += 1) {
      const query = new URLSearchParams({ replays: "only", limit: PAGE, ...(cursor && { cursor }) });
      const answer = await get(`jobs?${query}`, signal);
      jobs.push(...answer.data.jobs);
      cursor = answer.data.next_cursor;
      changed ||= answer.changed;
      retryAfter = Math.max(retryAfter, answer.retryAfter);
    }
    [this.#jobs, this.#cursor] = [jobs, cursor];
    return { busy: jobs.some((job) => !isFinal(job)), changed, retryAfter };
  }

  render() {
    if (!this.#jobs) return [h.h1(this.title), skeleton("rows")];
    const found = [...Map.groupBy(this.#jobs, (job) => job.forked_from.replay)];
    const more = this.#cursor && h.div({ class: "more" }, this.#pages < MOST_PAGES
      ? h.button({ onclick: () => this.#more() }, "More")
      : h.p({ class: "muted small" }, `These are the newest ${count(this.#jobs.length)} jobs of replays.`));
    return [
      h.h1(this.title),
      h.p({ class: "muted", key: "what" }, "A replay runs jobs that have ended once more, with another model, effort or prompt, and compares the answers."),
      found.length ? table(found, Boolean(this.#cursor)) : !this.#cursor && face("No replays yet", "Start one from a terminal. It never costs more than you allow:",
        h.code("jobchain replay --last 10 --model NAME --max-cost-usd 1"), link("#/", "All jobs")),
      more,
    ];
  }

  #more() {
    this.#pages += 1;
    this.page.look();
  }
}

const HEADS = ["Replay", "Jobs", "Created", "Cost"];

/** @param isCut whether older jobs are not read yet: the oldest replay may have more of them */
function table(found, isCut) {
  const heads = HEADS.map((name, index) => h.th({ scope: "col", class: (index === 3 && "number wide") || (index > 1 && "wide") }, name));
  return h.table({ class: "jobs", key: "replays" }, h.thead(h.tr(heads)), h.tbody(found.map(([id, jobs], index) => row(id, jobs, isCut && index === found.length - 1))));
}

function row(id, jobs, isCut) {
  const chains = [...new Set(jobs.map((job) => job.job_name))].map(words);
  const [spent, unknown] = [jobs.reduce((sum, job) => sum + (job.cost_usd ?? 0), 0), jobs.some((job) => job.cost_usd == null)];
  const first = jobs.at(-1).created_at;
  return h.tr({ key: id },
    h.td({ class: "name" },
      h.a({ href: `#/replays/${encodeURIComponent(id)}` }, foreign(id)),
      h.div({ class: "muted small" }, foreign(chains.join(", ")), h.span({ class: "narrow" }, " · ", ago(first))),
      h.div({ class: "muted small" }, foreign(own(jobs)))),
    h.td(isCut && "≥ ", count(jobs.length), jobs.length === 1 ? " job" : " jobs", h.div({ class: "muted small" }, statuses(jobs))),
    h.td({ class: "muted wide" }, ago(first)),
    h.td({ class: "number wide" }, isCut && "≥ ", dollars(spent), unknown && h.div({ class: "muted small" }, "and calls of unknown price")));
}

/** What the jobs of a replay name of their own. */
function own(jobs) {
  const all = (of) => [...new Set(jobs.flatMap(of))].filter(Boolean).join(", ");
  const told = [["model", (job) => job.model], ["effort", (job) => job.effort], ["prompt of step", (job) => job.changed_prompts], ["from step", (job) => job.forked_from.from_step]];
  return told.map(([name, of]) => [name, all(of)]).filter(([, value]) => value).map(([name, value]) => `${name} ${value}`).join(" · ") || "nothing changed";
}

const statuses = (jobs) => [...Map.groupBy(jobs, (job) => job.status)].flatMap(([status, some], index) => [index > 0 && ", ", h.span({ class: status }, `${count(some.length)} ${status}`)]);
