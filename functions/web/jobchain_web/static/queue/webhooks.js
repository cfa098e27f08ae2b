/** `#/webhooks?endpoint_id=…&state=…`: the endpoints, and the deliveries to them; `delivery=…` is one of these. */

import { Problem, call, get } from "./api.js";
import { DeliveryView, STATES, answer, stateChip } from "./delivery.js";
import { foreign, h } from "./dom.js";
import { EndpointForm, SecretBox, endpointList } from "./endpoints.js";
import { ago, count, face, link, panel, shortId, skeleton } from "./format.js";

const LIVE = 50;
const FILTERS = ["endpoint_id", "state"];

/** The position of a delivery in the list. */
const place = (delivery) => `${delivery.created_at}#${delivery.webhook_id}`;

class ListView {
  title = "Webhooks";
  #isOff = false;
  #endpoints = null;
  #deliveries = null;
  #cursor = null;
  #loading = false;

  constructor(page, query) {
    this.page = page;
    this.filters = new URLSearchParams(FILTERS.filter((name) => query.get(name)).map((name) => [name, query.get(name)]));
    // It stays until it is put away, whatever page is shown meanwhile.
    this.secret = page.shared.secret ??= new SecretBox(page);
    this.form = new EndpointForm(page, (made) => this.#made(made));
  }

  async look(signal) {
    try {
      const paths = ["webhooks", this.#path(), "chains"];
      const [endpoints, list, chains] = await Promise.all(paths.map((path) => get(path, signal)));
      signal.throwIfAborted();
      this.#endpoints = endpoints.data.endpoints;
      this.form.chains = chains.data.chains.map(({ name }) => name);
      if (list.changed || !this.#deliveries) this.#merge(list.data.deliveries, list.data.next_cursor);
      const busy = this.#deliveries.some(({ state }) => state === "waiting");
      return { busy, changed: endpoints.changed || list.changed, retryAfter: 0 };
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status !== 409) throw problem;
      this.#isOff = true;
      return { busy: false, changed: false, retryAfter: 60_000 };
    }
  }

  #path(cursor) {
    return `deliveries?${new URLSearchParams([...this.filters, ["limit", LIVE], ...(cursor ? [["cursor", cursor]] : [])])}`;
  }

  /** Replaces the deliveries of the newest page's time span; older ones stay as they were read. */
  #merge(found, cursor) {
    const older = cursor && found.length ? (this.#deliveries ?? []).filter((one) => place(one) < place(found.at(-1))) : [];
    this.#deliveries = [...found, ...older];
    if (!older.length) this.#cursor = cursor;
  }

  async #more() {
    this.#loading = true;
    this.page.render();
    try {
      const { data } = await get(this.#path(this.#cursor));
      const known = new Set(this.#deliveries.map(place));
      this.#deliveries.push(...data.deliveries.filter((one) => !known.has(place(one))));
      this.#cursor = data.next_cursor;
    } catch (problem) {
      this.page.fail(problem);
    }
    this.#loading = false;
    this.page.render();
  }

  /** Shows the secret of a new endpoint, or of a rotated one. */
  #made({ endpoint_id: id, url, secret }) {
    this.secret.show(secret, url ?? id);
    this.page.look();
  }

  /** Does something to an endpoint; `show` gets the answer. */
  async #change(method, path, show) {
    try {
      show(await call(method, path));
    } catch (problem) {
      this.page.fail(problem);
    }
    this.page.look();
  }

  #actions = {
    test: ({ endpoint_id: id }) => this.#change("POST", `webhooks/${id}/test`, ({ webhook_id: sent }) => this.page.go(`#/webhooks?delivery=${sent}`)),
    enable: ({ endpoint_id: id }) => this.#change("POST", `webhooks/${id}/enable`, () => this.page.say("The endpoint is enabled")),
    rotate: async (endpoint) => {
      const text = "Its events have signatures of both secrets for 24 hours. Give the new one to the receiver in that time.";
      if (!(await this.page.ask("Replace the secret?", text, "Rotate"))) return;
      await this.#change("POST", `webhooks/${endpoint.endpoint_id}/rotate`, ({ secret }) => this.#made({ ...endpoint, secret }));
    },
    remove: async ({ endpoint_id: id, url }) => {
      if (!(await this.page.ask("Delete the endpoint?", `${url ?? id} gets no more events. What waits for it is given up.`, "Delete"))) return;
      await this.#change("DELETE", `webhooks/${id}`, () => this.page.say("The endpoint is deleted"));
    },
  };

  render() {
    if (this.#isOff) return [h.h1(this.title), face("Webhooks are off", "This deployment sends none: its operator switches them on with the parameter Webhooks=on.", link("#/", "All jobs"))];
    if (!this.#endpoints) return [h.h1(this.title), skeleton("rows")];
    return [
      h.h1(this.title),
      this.secret.render(),
      panel("endpoints", "Endpoints", this.#endpoints.length > 0 ? endpointList(this.#endpoints, this.#actions)
        : h.p({ class: "muted" }, "An endpoint is a URL that is told when your jobs end. There is none yet."), this.form.render()),
      this.#choice(),
      this.#list(),
    ];
  }

  #choice() {
    const select = (label, name, values) => h.label(label, h.select({ onchange: ({ target }) => this.#filter(name, target.value) },
      [["", "all"], ...values].map(([value, text]) => h.option({ value, key: value || "all", selected: value === (this.filters.get(name) ?? "") }, text))));
    const chosen = this.filters.get("endpoint_id");
    const known = this.#endpoints.map(({ endpoint_id: id, url }) => [id, url ?? "URLs that jobs name"]);
    if (chosen && !known.some(([id]) => id === chosen)) known.push([chosen, chosen]);
    return h.div({ class: "filters", key: "filters" }, h.h2("Deliveries"),
      select("Endpoint", "endpoint_id", known), select("State", "state", Object.entries(STATES)));
  }

  #filter(name, value) {
    const next = new URLSearchParams(this.filters);
    value ? next.set(name, value) : next.delete(name);
    this.page.go(`#/webhooks${next.size ? `?${next}` : ""}`);
  }

  #list() {
    const more = this.#cursor && h.div({ class: "more" }, h.button({ onclick: () => this.#more(), disabled: this.#loading }, "More"),
      this.#deliveries.length > LIVE && h.p({ class: "muted small" }, `The newest ${count(LIVE)} are live.`));
    if (this.#deliveries.length) return [this.#table(), more];
    if (this.#cursor) return [face("None so far", "No recent delivery matches the filters."), more];
    if (this.filters.size) return face("No such deliveries", "No delivery matches the filters.", link("#/webhooks", "Show all"));
    return face("No deliveries yet", "Each end of a job is delivered to the endpoints that want it. “Test” sends an event at once.");
  }

  #table() {
    const urls = new Map(this.#endpoints.map(({ endpoint_id: id, url }) => [id, url]));
    const heads = ["State", "Event", "Tries", "Created"].map((name, index) => h.th({ scope: "col", class: ["", "", "number wide", "wide"][index] }, name));
    const row = (one) => h.tr({ key: one.webhook_id },
      h.td(stateChip(one.state)),
      h.td({ class: "name" },
        h.a({ href: `#/webhooks?delivery=${encodeURIComponent(one.webhook_id)}` }, foreign(one.type), one.event_id && [" ", h.code(shortId(one.event_id))]),
        h.div({ class: "muted small" }, foreign(one.url ?? urls.get(one.endpoint_id) ?? one.endpoint_id), h.span({ class: "narrow" }, " · ", ago(one.created_at))),
        one.last_at && one.state !== "delivered" && foreign(answer(one), "p", "why")),
      h.td({ class: "number wide" }, count(one.tries)),
      h.td({ class: "muted wide" }, ago(one.created_at)));
    return h.table({ class: "jobs", key: "deliveries" }, h.thead(h.tr(heads)), h.tbody(this.#deliveries.map(row)));
  }
}

/** Either of the two pages. */
export function View(page, query) {
  const id = query.get("delivery");
  return id ? new DeliveryView(page, id) : new ListView(page, query);
}
