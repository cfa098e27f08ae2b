/** `#/new`: a form, made from a chain's payload schema. What is typed is kept by the tab until the job is created. */

import { Problem, call, get } from "./api.js";
import { field, payloadOf } from "./fields.js";
import { foreign, h } from "./dom.js";
import { EFFORTS, allows, skeleton, words } from "./format.js";
import { recall, remember } from "./memory.js";

const MOST_TITLE = 200; // characters
const UNITS = { minutes: 60, hours: 3_600, days: 86_400 };
const DRAFT = "draft:"; // and the name of the chain

const asJson = (text) => {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
};

export class View {
  title = "New job";
  #chains = null;
  #chosen;
  #key = "";
  #problem = null;
  #sending = false;
  /** The form whose fields have been filled. */
  #filled = null;

  /** @param {URLSearchParams} query may name the chain */
  constructor(page, query) {
    this.page = page;
    this.#chosen = query.get("chain") ?? recall("sessionStorage", `${DRAFT}chain`);
  }

  async look(signal) {
    this.#chains = (await get("chains", signal)).data.chains;
    return { busy: false, changed: false, retryAfter: 60_000 };
  }

  get #chain() {
    return this.#chains?.find(({ name }) => name === this.#chosen) ?? this.#chains?.[0];
  }

  render() {
    const chain = this.#chain;
    if (!chain) return [h.h1(this.title), skeleton("rows")];
    const schema = chain.payload_schema;
    const choose = ({ target }) => {
      this.#chosen = target.value;
      this.#problem = null;
      remember("sessionStorage", `${DRAFT}chain`, target.value);
      this.page.render();
    };
    const names = this.#chains.map(({ name }) => h.option({ value: name, selected: name === chain.name }, words(name)));
    const keep = ({ currentTarget }) => {
      this.#key = "";
      this.#keep(currentTarget);
    };
    return [
      h.h1(this.title),
      h.form({ class: "panel form", key: chain.name, onsubmit: (event) => this.#submit(event), oninput: keep, onchange: keep },
        h.label("Chain", h.select({ name: "job.chain", onchange: choose }, names)),
        h.p({ class: "about" }, foreign(chain.description), chain.steps.map(({ name }) => foreign(words(name), "span", "tag"))),
        Object.entries(schema.properties ?? {}).map(([name, part]) => field(name, part, schema, (file) => this.#name(name, file))),
        h.label("Title", h.input({ name: "job.title", maxlength: MOST_TITLE, dir: "auto", placeholder: "what the job is called in lists; optional" })),
        h.details({ key: "options" }, h.summary("Options"), h.div({ class: "options" },
          allows(chain, "model") && h.label({ key: "model" }, "Model, for all its calls", h.input({ name: "job.model", maxlength: 200, placeholder: "not set", spellcheck: "false" })),
          allows(chain, "effort") && h.label({ key: "effort" }, "Effort of reasoning", h.select({ name: "job.effort" }, h.option({ value: "" }, "not set"), EFFORTS.map((effort) => h.option({ value: effort }, effort)))),
          h.label("Cost limit, US dollars", h.input({ name: "job.max_cost_usd", type: "number", min: 0.000001, max: 10_000, step: "any" })),
          h.label("Tier", h.select({ name: "job.tier" }, h.option({ value: "" }, "standard"), h.option({ value: "flex" }, "flex: half the price, may wait"))),
          h.div(h.label({ for: "deadline" }, "Fails if it has not ended after"), h.div({ class: "buttons" },
            h.input({ id: "deadline", name: "job.deadline", type: "number", min: 1, step: "any", placeholder: "not set" }),
            h.select({ name: "job.unit", label: "Unit of the time" }, Object.keys(UNITS).map((unit) => h.option({ value: unit, selected: unit === "hours" }, unit))))),
          h.label("Metadata, one key=value per line", h.textarea({ cols: 40, name: "job.metadata", rows: 2, dir: "auto", placeholder: "team=legal" })))),
        this.#problem && h.p({ class: "banner foreign", role: "alert" }, this.#problem),
        h.div({ class: "buttons" }, h.button({ class: "primary", disabled: this.#sending }, "Run"),
          h.button({ type: "button", class: "quiet", onclick: ({ target }) => this.#clear(target.form) }, "Clear"))),
    ];
  }

  /** Puts what was typed before into the fields, once for each form. */
  drawn(main) {
    const form = main.querySelector("form");
    if (!form || form === this.#filled) return;
    this.#filled = form;
    const { values, isSent } = asJson(recall("sessionStorage", DRAFT + this.#chain.name)) ?? {};
    // The way back leads to what was sent, a new form is empty.
    if (isSent && !this.page.isBack) return;
    for (const [name, value] of Object.entries(values ?? {})) {
      const found = form.elements.namedItem(name);
      if (!found || found.value === value) continue;
      found.value = value;
      if (found.closest("details")) found.closest("details").open = true;
    }
  }

  #keep(form, isSent = false) {
    const fields = [...form.elements].filter(({ name }) => name && name !== "job.chain");
    const values = Object.fromEntries(fields.map((one) => [one.name, one.value]));
    remember("sessionStorage", DRAFT + this.#chain.name, JSON.stringify({ values, isSent }));
  }

  #clear(form) {
    remember("sessionStorage", DRAFT + this.#chain.name, "");
    form.reset();
    this.#problem = null;
    this.page.render();
  }

  /** A job is called by its file, and so is a text, where the chain wants to know what it is called. */
  #name(field, { name }) {
    for (const one of ["job.title", `${field}_name`].map((other) => this.#filled.elements.namedItem(other))) {
      if (one && one.value === one.defaultValue) one.value = name.slice(0, MOST_TITLE);
    }
  }

  /** The request of the form; raises Problem for what the API would not understand. */
  #body(form) {
    const [title, model, effort, limit, tier, deadline, unit, metadata] = ["title", "model", "effort", "max_cost_usd", "tier", "deadline", "unit", "metadata"]
      .map((name) => form.elements.namedItem(`job.${name}`)?.value ?? "");
    const lines = metadata.split("\n").filter((line) => line.trim());
    const wrong = lines.find((line) => !/^[^=]+=/.test(line));
    if (wrong) throw new Problem(422, { detail: `Metadata: “${wrong}” is no key=value` });
    const entries = lines.map((line) => [line.split("=")[0].trim(), line.slice(line.indexOf("=") + 1).trim()]);
    return {
      job_name: this.#chain.name,
      payload: payloadOf(form.elements, this.#chain.payload_schema),
      ...(title.trim() && { title }),
      ...(model.trim() && { model: model.trim() }),
      ...(effort && { effort }),
      ...(tier && { tier }),
      ...(limit && { max_cost_usd: Number(limit) }),
      ...(deadline && { deadline_seconds: Math.round(deadline * UNITS[unit]) }),
      ...(lines.length > 0 && { metadata: Object.fromEntries(entries) }),
    };
  }

  async #submit(event) {
    event.preventDefault();
    const form = event.target;
    // The key stays the same until the form changes: a repeated request after a lost answer creates no second job.
    this.#key ||= `web-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    this.#sending = true;
    this.page.render();
    try {
      const { event_id: id } = await call("POST", "jobs", this.#body(form), { "Idempotency-Key": this.#key });
      this.#keep(form, true);
      this.page.say("The job is accepted");
      this.page.go(`#/jobs/${id}`);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      this.#problem = problem.message;
    } finally {
      this.#sending = false;
      this.page.render();
    }
  }
}
