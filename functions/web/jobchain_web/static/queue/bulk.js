/** `#/bulk?<filters>`: retries, cancels or deletes all jobs that match the filters. */

import { get } from "./api.js";
import { ACTIONS, Run } from "./bulk-run.js";
import { foreign, h } from "./dom.js";
import { filtersOf, told } from "./filters.js";
import { STATUSES, count, face, link, panel, shortId, words } from "./format.js";

const SHOWN = 10; // jobs of one reason

/** The change that runs, or that has run; it goes on while another page is shown. */
let run = null;

const jobs = (number) => `${count(number)} ${number === 1 ? "job" : "jobs"}`;

addEventListener("beforeunload", (event) => run?.isRunning && event.preventDefault());

export class View {
  title = "Retry, cancel or delete";
  #found = [];
  #cursor = "";

  /** @param {URLSearchParams} query the filters */
  constructor(page, query) {
    this.page = page;
    this.filters = filtersOf(query);
    if (run && !run.isRunning) run = null;
  }

  /** Counts the jobs, page by page; if it is interrupted, it goes on where it was. */
  async look(signal) {
    while (this.#cursor !== null && !run) {
      const { data } = await get(`jobs?${new URLSearchParams([...this.filters, ["limit", 100], ...(this.#cursor ? [["cursor", this.#cursor]] : [])])}`, signal);
      signal.throwIfAborted();
      this.#found.push(...data.jobs);
      this.#cursor = data.next_cursor;
      this.page.render();
    }
    return { busy: false, changed: false, retryAfter: 60_000 };
  }

  render() {
    return [h.h1(this.title), run ? this.#progress() : this.#choice(), h.p(link(`#/?${run?.filters ?? this.filters}`, "Back to the list"))];
  }

  #which() {
    const { filters } = this;
    const texts = [...["status", "job_name"].filter((name) => filters.has(name)).map((name) => `${name === "status" ? "status" : "chain"}: ${filters.get(name)}`),
      ...told(filters).map(([, text]) => text)];
    return texts.length ? texts.join(", ") : "all jobs: no filter is chosen";
  }

  #choice() {
    const found = this.#found;
    const isCounting = this.#cursor !== null;
    const of = STATUSES.map((status) => [status, found.filter((job) => job.status === status).length]).filter(([, number]) => number);
    if (!isCounting && !found.length) return face("No such jobs", this.#which());
    return panel("choice", isCounting ? `Counting: ${jobs(found.length)} so far` : jobs(found.length),
      h.p(foreign(this.#which())),
      h.p(of.map(([status, number], index) => [index > 0 && ", ", h.span({ class: status }, `${count(number)} ${status}`)])),
      h.ul({ class: "actions" }, ACTIONS.map((action) => {
        const fit = found.filter(action.fits);
        return h.li({ key: action.name },
          h.button({ class: action.isDanger ? "danger" : "", disabled: isCounting || !fit.length, onclick: () => this.#start(action, fit) }, `${action.name} ${isCounting ? "…" : count(fit.length)}`),
          h.span({ class: "muted" }, action.of));
      })),
      h.p({ class: "muted small" }, "Jobs that are created later are not changed."));
  }

  async #start(action, fit) {
    const about = `${action.does} ${this.#which()}.`;
    if (!(await this.page.ask(`${action.name} ${jobs(fit.length)}?`, about, `${action.name} ${count(fit.length)}`))) return;
    const { page, filters } = this;
    run = new Run(action, fit, filters, page.render);
    page.render();
    await run.start().catch(page.fail);
    page.say(run.sum);
    page.render();
  }

  #progress() {
    const { action, total, done, failed, isRunning, sum } = run;
    const again = () => {
      run = null;
      this.#found = [];
      this.#cursor = "";
      this.page.look();
    };
    return panel("progress", isRunning ? `${action.doing} ${jobs(total)}` : sum,
      h.progress({ max: total, value: done + failed.length, label: `${action.doing} ${jobs(total)}` }),
      h.p(isRunning ? `${count(done)} done, ${count(failed.length)} could not, ${count(total - done - failed.length)} to go` : run.detail),
      this.#reasons(),
      h.div({ class: "buttons" }, isRunning ? h.button({ key: "stop", onclick: () => run.stop() }, "Stop") : h.button({ key: "again", onclick: again }, "Count again")),
      isRunning && h.p({ class: "muted small" }, "It goes on while you look at other pages of this tab, and ends if the tab is closed."));
  }

  #reasons() {
    const groups = [...Map.groupBy(run.failed, ({ why }) => why)].sort(([, one], [, other]) => other.length - one.length);
    return groups.length > 0 && h.ul({ key: "reasons" }, groups.map(([why, of]) => h.li({ key: why },
      h.strong(jobs(of.length)), " could not: ", foreign(why), " ",
      h.span({ class: "small" }, of.slice(0, SHOWN).map(({ job }, index) => [index > 0 && ", ", h.a({ class: "link", href: `#/jobs/${job.event_id}` }, foreign(job.title ?? words(job.job_name)), " ", h.code(shortId(job.event_id)))]),
        of.length > SHOWN && ` and ${count(of.length - SHOWN)} more`))));
  }
}
