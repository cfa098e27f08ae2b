/** `#/jobs/<event_id>`: one job, from its steps to its result. */

import { call, get } from "./api.js";
import { failedCalls, isPutOff, isUsed, spending, waiting } from "./attempts.js";
import { foreign, h } from "./dom.js";
import { age, ago, chip, clock, count, dollars, duration, facts, isFinal, panel, shortId, skeleton, words } from "./format.js";
import { remember } from "./memory.js";
import { sections } from "./result.js";
import { waited } from "./waits.js";

export class JobView {
  #job = null;
  #busy = false;
  #problem = null;

  constructor(page, id) {
    this.page = page;
    this.id = id;
    this.path = `jobs/${encodeURIComponent(id)}`;
  }

  get title() {
    return this.#job ? `${words(this.#job.status)}: ${words(this.#job.job_name)}` : `Job ${shortId(this.id)}`;
  }

  async look(signal) {
    const { data, changed, retryAfter } = await get(`${this.path}?include=attempts`, signal);
    if (this.#job && this.#job.status !== data.status) this.page.say(`The job is ${data.status}`);
    this.#job = data;
    return { busy: !isFinal(data), changed, retryAfter };
  }

  render() {
    const job = this.#job;
    if (!job) return [h.h1(this.title), skeleton("rows")];
    const found = sections(job);
    const nothing = isFinal(job) ? "No step has completed." : "Each step adds to the result.";
    return [
      h.div({ class: "headline" }, h.h1(foreign(words(job.job_name))), chip(job.status), this.#buttons(job)),
      this.#problem && h.p({ class: "banner", role: "alert" }, this.#problem.message),
      job.error && panel("error", "Why it failed", foreign(job.error.message, "p"),
        foreign(`${job.error.type}${job.error.step ? `, in step ${job.error.step}` : ""}`, "p", "muted small")),
      waiting(job),
      h.div({ class: "columns" },
        h.aside({ label: "About the job" }, timeline(job), details(job)),
        h.div(
          job.status !== "completed" && failedCalls(job),
          found.length ? found : h.p({ class: "panel muted", key: "none" }, nothing),
          job.status === "completed" && failedCalls(job))),
    ];
  }

  drawn(main) {
    for (const place of main.querySelectorAll(".diagram")) import("./diagrams.js").then(({ draw }) => draw(place)).catch(this.page.fail);
  }

  #buttons(job) {
    const button = (name, act, kind) => h.button({ onclick: act, disabled: this.#busy, class: kind, key: name }, name);
    return h.div({ class: "buttons" },
      !isFinal(job) && button("Cancel", () => this.#change("POST", "/cancel")),
      isFinal(job) && job.status !== "completed" && button("Retry", () => this.#change("POST", "/retry"), "primary"),
      isPutOff(job) && button("Retry now", () => this.#change("POST", "/retry"), "primary"),
      button("Copy as curl", () => this.#copy()),
      Object.keys(job.result ?? {}).length > 0 && button("Download Markdown", () => import("./markdown.js").then(({ download }) => download(job)).catch(this.page.fail)),
      isFinal(job) && button("Delete", () => this.#delete(), "danger"));
  }

  async #change(method, path) {
    this.#busy = true;
    this.#problem = null;
    this.page.render();
    const job = await call(method, this.path + path).catch((problem) => {
      this.#problem = problem;
    });
    this.#busy = false;
    if (job) this.#job = { ...job, failed_attempts: this.#job?.failed_attempts };
    if (path === "/cancel" && job && !isFinal(job)) this.page.say("The job is cancelled before its next step");
    if (job || this.#problem) this.page.look();
  }

  async #delete() {
    if (!(await this.page.ask("Delete this job?", "The job and all that it stored are deleted permanently.", "Delete"))) return;
    await this.#change("DELETE", "");
    if (this.#problem) return;
    remember("localStorage", `ticks:${this.id}`, "");
    this.page.say("The job is deleted");
    this.page.go("#/");
  }

  #copy() {
    const url = new URL(this.path, document.baseURI).href.replaceAll("'", "%27");
    const command = `curl '${url}' -H "Authorization: Bearer $API_KEY"`;
    const byHand = () => this.page.ask("Copy this", command);
    navigator.clipboard?.writeText(command).then(() => this.page.say("Copied"), byHand) ?? byHand();
  }
}

/** Waiting and steps as bars on one scale. A step that runs began where the last one ended, or when it was claimed. */
function timeline(job) {
  const [created, started, finished, updated] = [job.created_at, job.started_at, job.finished_at, job.updated_at].map(Date.parse);
  const now = finished || Date.now();
  const steps = job.steps ?? [];
  const waits = job.waiting_for;
  const ends = steps.filter(({ status }) => status === "completed").map((step) => Date.parse(step.finished_at) || 0);
  const last = Math.max(started, job.status === "processing" ? updated || 0 : 0, ...ends);
  const scale = (time) => `${Math.min(100, Math.max(0, (100 * time) / (now - created || 1)))}%`;
  const bar = (name, status, from, to, more = {}) => {
    const said = [more.said, from > 0 ? duration(to - from) : !more.said && status].filter(Boolean).join(", ");
    return h.li({ class: status }, foreign(words(name)),
      h.span({ class: "muted small" }, said, h.span({ class: "unseen" }, ` ${status}`)),
      h.span({ class: "track" }, from > 0 && h.span({ style: { left: scale(from - created), width: scale(to - from) } })),
      more.spent && h.span({ class: "muted small" }, more.spent));
  };
  const step = ({ name, status, started_at: from, finished_at: to, failed_tries: tries, ...used }) => {
    const isDone = status === "completed";
    const failed = !isDone && used.calls > 0 && `failed calls: ${count(used.calls)}`;
    const spent = used.usage && [failed, failed && isUsed(used) && ", ", (!failed || isUsed(used)) && spending(used)];
    const next = tries > 0 && !isDone && !isFinal(job) && `try ${tries + 1}`;
    if (status === "processing") return bar(name, status, last, now, { spent, said: next });
    if (next) return bar(name, status, 0, 0, { spent, said: waits?.until ? [next, "at", clock(Date.parse(waits.until))].join(" ") : next });
    return bar(name, status, Date.parse(from), Date.parse(to) || now, { spent });
  };
  const wait = waits && waits.reason !== "queue" && bar(waited(waits), "pending", Date.parse(waits.since), now);
  return panel("steps", "Steps", h.ol({ class: "timeline" }, bar("waiting", "", created, started || now), steps.map(step), wait));
}

function details(job) {
  const models = new Set((job.steps ?? []).map((step) => step.model).filter(Boolean));
  const pairs = [
    ["Created", ago(job.created_at)],
    [isFinal(job) ? "Took" : "So far", duration(age(job))],
    ["Tokens, cost", job.usage && spending(job)],
    ["Cost limit", job.max_cost_usd && dollars(job.max_cost_usd)],
    ["Tier", job.tier],
    ["Model", models.size > 0 && foreign([...models].join(", "))],
    ["Model calls", job.calls],
    ["Retries", job.retries],
    ["Attempts", job.attempts],
    ["Id", foreign(job.event_id, "code")],
    ...Object.entries(job.metadata ?? {}).map(([name, value]) => [foreign(name), foreign(value)]),
  ];
  return panel("details", "Details", facts(pairs.filter(([, value]) => value ?? false), "rows"));
}
