/** The endpoints of webhooks: the list, the form of a new one, and the secret that is shown once. */

import { Problem, call } from "./api.js";
import { foreign, h } from "./dom.js";
import { ago, facts, words } from "./format.js";

const EVENTS = ["job.completed", "job.failed", "job.cancelled", "job.waiting"];

const named = (names) => (names.length ? names.map((name, index) => [index > 0 && ", ", foreign(name)]) : "all");

/** @param {Object<string, (endpoint) => void>} actions `test`, `rotate`, `enable` and `remove` */
export function endpointList(endpoints, { test, rotate, enable, remove }) {
  return h.ul({ class: "endpoints", key: "list" }, endpoints.map((endpoint) => {
    const { endpoint_id: id, url, events, chains, created_at: at, disabled_at: off, disabled_because: why } = endpoint;
    const name = url ?? "URLs that jobs name";
    const button = (text, act, kind = "") => h.button({ key: text, class: kind, onclick: () => act(endpoint), label: `${text}: ${name}` }, text);
    return h.li({ key: id },
      h.p({ class: "about" }, h.strong(foreign(name)), h.span({ class: `chip ${off ? "failed" : "completed"}` }, off ? "disabled" : "enabled")),
      off && h.p({ class: "small" }, "Disabled ", ago(off), why && [": ", foreign(why)]),
      facts([["Id", h.code(id)], ["Events", named(events)], ["Chains", named(chains)], ["Created", ago(at)]]),
      h.div({ class: "buttons" }, url && !off && button("Test", test), off && button("Enable", enable), button("Rotate secret", rotate), button("Delete", remove, "danger")));
  }));
}

/** Shows a secret until it is put away: the API does not tell it again. */
export class SecretBox {
  #secret = "";
  #of = "";

  constructor(page) {
    this.page = page;
  }

  show(secret, of) {
    [this.#secret, this.#of] = [secret, of];
    this.page.render();
    document.getElementById("secret")?.focus();
  }

  render() {
    if (!this.#secret) return null;
    const copy = () => {
      const field = document.getElementById("secret");
      const byHand = () => field.select();
      navigator.clipboard?.writeText(this.#secret).then(() => this.page.say("Copied"), byHand) ?? byHand();
    };
    return h.section({ class: "panel secret", key: `secret ${this.#secret}` }, h.h2("Secret"),
      h.p("This is shown once and never again: store it where the receiver of ", foreign(this.#of), " can read it."),
      h.input({ id: "secret", readonly: true, value: this.#secret, label: "Secret", spellcheck: "false", size: 60 }),
      h.div({ class: "buttons" }, h.button({ class: "primary", onclick: copy }, "Copy"), h.button({ onclick: () => this.show("", "") }, "I have stored it")));
  }
}

/** The form of a new endpoint. */
export class EndpointForm {
  chains = [];
  #problem = "";
  #sending = false;

  /** @param {(made) => void} done gets the new endpoint with its secret */
  constructor(page, done) {
    this.page = page;
    this.done = done;
  }

  render() {
    const boxes = (legend, name, values, text) => h.fieldset(h.legend(legend, h.span({ class: "muted" }, " none: all")),
      values.map((value) => h.label({ key: value }, h.input({ type: "checkbox", name, value }), " ", foreign(text(value)))));
    return h.details({ key: "new" }, h.summary("New endpoint"), h.form({ class: "endpoint", onsubmit: (event) => this.#submit(event) },
      h.label("URL", h.input({ name: "url", type: "url", required: true, maxlength: 1024, placeholder: "https://hooks.example.com/jobchain", autocomplete: "off", spellcheck: "false" })),
      boxes("Events", "events", EVENTS, String), boxes("Chains", "chains", this.chains, words),
      this.#problem && h.p({ class: "banner foreign", role: "alert" }, this.#problem),
      h.div({ class: "buttons" }, h.button({ class: "primary", disabled: this.#sending }, "Create"))));
  }

  async #submit(event) {
    event.preventDefault();
    const form = event.target;
    const data = new FormData(form);
    this.#sending = true;
    this.#problem = "";
    this.page.render();
    try {
      const made = await call("POST", "webhooks", { url: data.get("url").trim(), events: data.getAll("events"), chains: data.getAll("chains") });
      form.reset();
      form.closest("details").open = false;
      this.done(made);
    } catch (problem) {
      if (!(problem instanceof Problem)) throw problem;
      // It may exist, and its secret is lost.
      this.#problem = problem.status ? problem.message : `${problem.message} Look whether the endpoint exists, and delete it then.`;
      this.page.look();
    } finally {
      this.#sending = false;
      this.page.render();
    }
  }
}
