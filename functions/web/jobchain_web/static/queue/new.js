/** `#/new`: a form, made from a chain's payload schema. */

import { call, get } from "./api.js";
import { foreign, h } from "./dom.js";
import { count, skeleton, words } from "./format.js";

const MOST_BYTES = 256 * 1024;
const SHORT = 500; // characters; a longer field gets a text area

const length = (text) => [...text.trim()].length;

export class NewView {
  title = "New job";
  #chains = null;
  #chosen = "";
  #key = "";
  #problem = null;
  #sending = false;

  constructor(page) {
    this.page = page;
  }

  async look(signal) {
    this.#chains = (await get("chains", signal)).data.chains;
    return { busy: false, changed: false, retryAfter: 60_000 };
  }

  render() {
    const chain = this.#chains?.find(({ name }) => name === this.#chosen) ?? this.#chains?.[0];
    if (!chain) return [h.h1(this.title), skeleton("rows")];
    const { properties = {}, required = [] } = chain.payload_schema;
    const choose = ({ target }) => {
      this.#chosen = target.value;
      this.page.render();
    };
    const choices = this.#chains.map(({ name }) => h.option({ value: name, selected: name === chain.name }, words(name)));
    return [
      h.h1(this.title),
      h.form({ class: "panel form", key: chain.name, onsubmit: (event) => this.#submit(event), oninput: () => (this.#key = "") },
        h.label("Chain", h.select({ name: "job_name", onchange: choose }, choices)),
        h.p({ class: "about" }, foreign(chain.description), chain.steps.map(({ name }) => foreign(words(name), "span", "tag"))),
        Object.entries(properties).map(([name, schema]) => field(name, schema, required.includes(name))),
        h.details(h.summary("Options"),
          h.label("Cost limit, US dollars", h.input({ name: "max_cost_usd", type: "number", min: 0, step: "any" })),
          h.label("Tier", h.select({ name: "tier" }, h.option({ value: "" }, "standard"), h.option("flex")))),
        this.#problem && h.p({ class: "banner", role: "alert" }, this.#problem.message),
        h.div(h.button({ class: "primary", disabled: this.#sending }, "Run"))),
    ];
  }

  async #submit(event) {
    event.preventDefault();
    const { job_name, tier, max_cost_usd: limit, ...payload } = Object.fromEntries([...new FormData(event.target)].filter(([, value]) => value));
    const body = { job_name, payload, ...(tier && { tier }), ...(limit && { max_cost_usd: Number(limit) }) };
    // The key stays the same until the form changes: a repeated request after a lost answer creates no second job.
    this.#key ||= `web-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`;
    this.#sending = true;
    this.page.render();
    try {
      const { event_id: id } = await call("POST", "jobs", body, { "Idempotency-Key": this.#key });
      this.page.say("The job is accepted");
      this.page.go(`#/jobs/${id}`);
    } catch (problem) {
      this.#problem = problem;
    }
    this.#sending = false;
    this.page.render();
  }
}

function field(name, { maxLength: most = 100_000, default: value = "" }, required) {
  const id = `field-${name}`;
  const label = h.label({ for: id }, words(name));
  if (most <= SHORT) return h.div(label, h.input({ id, name, required, value, maxlength: most, dir: "auto" }));
  const note = `${id}-note`;
  const tell = (text, bad) =>
    Object.assign(document.getElementById(note), { textContent: text, className: bad ? "failed small" : "muted small" });
  const size = (text) => tell(`${count(length(text))} of ${count(most)} characters`, length(text) > most);
  const take = async (event, file) => {
    event.preventDefault();
    if (!file) return;
    const { text, fault } = await read(file, most);
    if (fault) return tell(`${file.name} ${fault}`, true);
    const area = document.getElementById(id);
    area.value = text;
    area.dispatchEvent(new Event("input", { bubbles: true }));
  };
  return h.div({ key: name, ondragover: (event) => event.preventDefault(), ondrop: (event) => take(event, event.dataTransfer.files[0]) },
    label,
    h.textarea({ id, name, required, rows: 10, dir: "auto", "aria-describedby": note, oninput: ({ target }) => size(target.value) }, value),
    h.div({ class: "under" },
      h.span({ class: "muted small", id: note, keep: true, key: note }, `Type, or drop a .txt or .md file: up to ${count(most)} characters`),
      h.label({ class: "button small" }, "Choose a file",
        h.input({ type: "file", class: "unseen", accept: ".txt,.md", onchange: (event) => take(event, event.target.files[0]) }))));
}

async function read(file, most) {
  if (!/\.(txt|md)$/i.test(file.name)) return { fault: "is no .txt or .md: jobchain submit reads PDFs" };
  if (file.size > MOST_BYTES) return { fault: "is too large: the most is 256 KiB" };
  const text = await file.arrayBuffer().then((bytes) => new TextDecoder("utf-8", { fatal: true }).decode(bytes)).catch(() => "\0");
  if (text.includes("\0")) return { fault: "is not a text in UTF-8" };
  if (!length(text) || length(text) > most) return { fault: `has ${count(length(text))} characters: give 1 to ${count(most)}` };
  return { text };
}
