/** `#/jobs/<event_id>`: one job, from its steps to its result. */

import { advice, canPass } from "./advice.js";
import { call, get } from "./api.js";
import { failedCalls, isPutOff, spending, waiting } from "./attempts.js";
import { decisions } from "./decisions.js";
import { foreign, h, morph } from "./dom.js";
import { age, ago, chip, dollars, duration, facts, isFinal, link, panel, shortId, skeleton, words } from "./format.js";
import { remember } from "./memory.js";
import { hasChecklist, sections, tables } from "./result.js";
import { stepOf, worked } from "./spans.js";
import { content, long } from "./step.js";
import { zone } from "./times.js";
import { waterfall } from "./waterfall.js";

const MOST_ANSWER = 500; // characters of a refusal

export class JobView {
  #job = null;
  #busy = false;
  #problem = null;
  /** What is open on the page. */
  #state = { open: new Set(), parts: new Set(), all: false };
  /** What was read of the steps that are open, and of the input, by name. */
  #told = new Map();
  /** The step whose form is to be opened once it is there. */
  #again = null;

  constructor(page, id) {
    this.page = page;
    this.id = id;
    this.path = `jobs/${encodeURIComponent(id)}`;
  }

  get title() {
    return this.#job ? `${words(this.#job.status)}: ${nameOf(this.#job)}` : `Job ${shortId(this.id)}`;
  }

  async look(signal) {
    const { data, changed, retryAfter } = await get(`${this.path}?include=attempts`, signal);
    if (this.#job && this.#job.status !== data.status) this.page.say(`The job is ${data.status}`);
    const ofStep = (job, name) => job?.steps?.find((step) => step.name === name)?.status;
    for (const name of this.#state.open) if (ofStep(this.#job, name) !== ofStep(data, name)) this.#read(name);
    this.#job = data;
    return { busy: !isFinal(data), changed, retryAfter };
  }

  render() {
    const job = this.#job;
    if (!job) return [h.h1(this.title), skeleton("rows")];
    const found = sections(job);
    const nothing = isFinal(job) ? "No step has completed." : "Each step adds to the result.";
    return [
      h.div({ class: "headline" }, h.h1(foreign(nameOf(job))), chip(job.status), this.#buttons(job)),
      this.#problem && h.p({ class: "banner", role: "alert" }, this.#problem.message),
      job.error && this.#failure(job),
      waiting(job),
      decisions(job, this.#busy, (step, body) => this.#decide(step, body), (detail) => this.#refuse(detail)),
      h.aside({ label: "About the job" }, details(job), waterfall(job, this.#state, (set, name) => this.#toggle(set, name))),
      job.status !== "completed" && failedCalls(job),
      found.length ? found : h.p({ class: "panel muted", key: "none" }, nothing),
      job.status === "completed" && failedCalls(job),
      h.details({ class: "panel", key: "input" }, h.summary({ onclick: () => this.#told.has("") || this.#read("") }, h.h2("Input")),
        h.div({ class: "opened", key: "opened", keep: true, "data-input": true })),
    ];
  }

  drawn(main) {
    const job = this.#job;
    if (!job) return;
    for (const place of main.querySelectorAll(".diagram")) import("./diagrams.js").then(({ draw }) => draw(place)).catch(this.page.fail);
    for (const place of main.querySelectorAll("[data-step], [data-input]")) {
      const name = place.dataset.step ?? "";
      const told = this.#told.get(name);
      if (place.job === job && place.told === told && place.zone === zone()) continue;
      Object.assign(place, { job, told, zone: zone() });
      const step = job.steps?.find((one) => one.name === name) ?? { name };
      morph(place, name ? content(job, step, told, this.page) : input(told));
      if (name && name === this.#again) this.#showForm(place);
    }
  }

  #showForm(place) {
    const form = place.querySelector("[data-key=again]");
    if (!form) return;
    this.#again = null;
    for (let around = form; around; around = around.parentElement.closest("details")) around.open = true;
    form.scrollIntoView({ block: "nearest" });
    form.querySelector("input, textarea").focus();
  }

  #failure(job) {
    const { error } = job;
    const { cause, answer } = job.failed_attempts?.findLast((attempt) => attempt.outcome === error.type) ?? {};
    const step = error.step && stepOf(error.step);
    return panel("error", "Why it failed", foreign(error.message, "p"),
      cause && cause !== error.message && h.p("The last cause: ", foreign(cause)),
      error.type === "model_refused" && answer && h.p("Its answer: ", foreign(answer.slice(0, MOST_ANSWER))),
      h.p({ class: "todo" }, h.strong("What to do: "), advice(error.type)),
      !canPass(error.type) && step && h.p(h.button({ class: "primary", onclick: () => this.#runAgain(step) }, "Run again from this step …")),
      foreign(`${error.type}${error.step ? `, in step ${error.step}` : ""}`, "p", "muted small"));
  }

  #toggle(set, name) {
    const state = this.#state;
    if (set === "all") state.all = true;
    else if (!state[set].delete(name)) state[set].add(name);
    if (set === "open" && state.open.has(name)) this.#read(name);
    this.page.render();
  }

  /** Opens the form that runs the step again. */
  #runAgain(step) {
    this.#again = step;
    this.#state.open.add(step);
    this.#read(step);
    this.page.render();
  }

  /** Reads the prompt of a step and the input; without a step the input alone. */
  async #read(step) {
    const query = step ? `include=input,prompts&step=${encodeURIComponent(step)}` : "include=input";
    const { shared } = this.page;
    // The form that runs a step again offers what the chain allows.
    if (step && !shared.chains) await get("chains").then(({ data }) => (shared.chains = data.chains), this.page.fail);
    const told = await get(`${this.path}?${query}`).then(({ data }) => ({ data }), (problem) => ({ problem }));
    this.#told.set(step, told);
    if (told.problem && !step) this.#told.delete(step);
    this.page.render();
  }

  #buttons(job) {
    const button = (name, act, kind) => h.button({ onclick: act, disabled: this.#busy, class: kind, key: name }, name);
    const hasResult = Object.keys(job.result ?? {}).length > 0;
    const save = (kind, ...more) => () => import("./exports.js").then((exports) => exports[kind](job, ...more)).catch(this.page.fail);
    const more = (name, act) => h.button({ class: "quiet", onclick: ({ target }) => act(target.closest("details").open = false), key: name }, foreign(name));
    return h.div({ class: "buttons" },
      !isFinal(job) && button("Cancel", () => this.#change("POST", "/cancel")),
      isFinal(job) && job.status !== "completed" && button("Retry", () => this.#change("POST", "/retry"), canPass(job.error?.type) && "primary"),
      isPutOff(job) && button("Retry now", () => this.#change("POST", "/retry"), "primary"),
      hasResult && button("Download Markdown", save("markdown")),
      h.details({ class: "menu", key: "more" }, h.summary({ class: "button" }, "More"),
        h.div({ class: "panel" },
          tables(job).map(({ title }, index) => more(`${words(title)} as CSV`, save("csv", index))),
          hasChecklist(job) && more("Checklist for GitHub", save("github")),
          more("All of the job as JSON", save("json")),
          hasResult && more("Print the result", () => print()))),
      job.forked_from?.replay && link(comparison(job), "Compare"),
      button("Copy as curl", () => this.#copy()),
      isFinal(job) && button("Delete", () => this.#delete(), "danger"));
  }

  async #decide(step, body) {
    const rejects = body.decision === "reject";
    if (rejects && !(await this.page.ask("Reject this step?", "The job fails. Its completed steps are kept, and a retry asks again.", "Reject"))) return;
    await this.#change("POST", `/steps/${encodeURIComponent(step)}/decision`, body);
    if (!this.#problem) this.page.say(rejects ? "The step is rejected" : "The step is approved");
  }

  #refuse(message) {
    this.#problem = { message };
    this.page.render();
  }

  async #change(method, path, body) {
    this.#busy = true;
    this.#problem = null;
    this.page.render();
    const job = await call(method, this.path + path, body).catch((problem) => {
      this.#problem = problem;
    });
    this.#busy = false;
    if (job) this.#job = { ...job, failed_attempts: this.#job?.failed_attempts, answered_calls: this.#job?.answered_calls };
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

/** What the job sets in place of its chain: a changed prompt is read where its step is. */
function own({ model, effort, changed_prompts: prompts }) {
  const told = [model && ["model ", foreign(model)], effort && ["effort ", foreign(effort)], prompts?.length > 0 && ["its own prompt of ", foreign(prompts.map(words).join(", "))]].filter(Boolean);
  return told.length > 0 && told.map((one, index) => [index > 0 && ", ", one]);
}

/** The job beside the one that it replays. */
const comparison = ({ event_id: id, forked_from: { replay } }) => `#/replays/${encodeURIComponent(replay)}?job=${encodeURIComponent(id)}`;

const forked = ({ event_id: id, from_step: step }) => [h.a({ class: "linked", href: `#/jobs/${encodeURIComponent(id)}` }, shortId(id)), ...(step ? [", step ", foreign(step)] : [", all steps"])];

const nameOf = (job) => job.title ?? words(job.job_name);

function input(told) {
  if (!told) return [h.p({ class: "muted" }, "Loading …")];
  if (told.problem) return [h.p({ class: "banner", role: "alert" }, told.problem.message)];
  return Object.entries(told.data.input ?? {}).map(([name, value]) => h.div({ key: name }, long(words(name), value, "the job's input")));
}

function details(job) {
  const models = new Set((job.steps ?? []).map((step) => step.model).filter(Boolean));
  const [all, busy] = [age(job), worked(job)];
  const pairs = [
    ["Chain", job.title && foreign(words(job.job_name))],
    ["Created", ago(job.created_at)],
    [isFinal(job) ? "Took" : "So far", [duration(all), all - busy > 1_000 && h.span({ class: "muted" }, `, of it at work: ${duration(busy)}`)]],
    ["Tokens, cost", job.usage && spending(job)],
    ["Cost limit", job.max_cost_usd && dollars(job.max_cost_usd)],
    ["Tier", job.tier],
    ["Model", models.size > 0 && foreign([...models].join(", "))],
    ["In place of the chain's", own(job)],
    ["Chain version", job.chain_version && foreign(job.chain_version, "code")],
    ["Model calls", job.calls],
    ["Retries", job.retries],
    ["Attempts", job.attempts],
    [job.forked_from?.replay ? "Replay of" : "Forked from", job.forked_from && forked(job.forked_from)],
    ["Replay", job.forked_from?.replay && h.a({ class: "linked", href: comparison(job) }, foreign(job.forked_from.replay))],
    ["Id", foreign(job.event_id, "code")],
    ...Object.entries(job.metadata ?? {}).map(([name, value]) => [foreign(name), foreign(value)]),
  ];
  return panel("details", "Details", facts(pairs.filter(([, value]) => value ?? false), "rows"));
}
