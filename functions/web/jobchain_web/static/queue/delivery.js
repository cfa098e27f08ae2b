/** `#/webhooks?delivery=…`: one delivery, with what its receiver answered last, and the body that is sent. */

import { Problem, call, get } from "./api.js";
import { foreign, h } from "./dom.js";
import { count, face, facts, link, moment, panel, skeleton } from "./format.js";

/** The states of deliveries, in words. */
export const STATES = { waiting: "waiting for a try", delivered: "delivered", dead: "given up" };
const KINDS = { waiting: "pending", delivered: "completed", dead: "failed" };

export const stateChip = (state) => foreign(state === "dead" ? "given up" : state, "span", `chip ${KINDS[state] ?? ""}`);

/** What the receiver answered last, or why it did not. */
export const answer = ({ last_status: status, last_message: message }) => [status, message].filter(Boolean).join(": ") || "no answer";

export class DeliveryView {
  title = "Delivery";
  #delivery = null;
  #url = null;
  #isGone = false;

  constructor(page, id) {
    this.page = page;
    this.path = `deliveries/${encodeURIComponent(id)}`;
  }

  async look(signal) {
    try {
      const [delivery, endpoints] = await Promise.all([this.path, "webhooks"].map((path) => get(path, signal)));
      signal.throwIfAborted();
      this.#delivery = delivery.data;
      this.#url = this.#delivery.url ?? endpoints.data.endpoints.find(({ endpoint_id: id }) => id === this.#delivery.endpoint_id)?.url;
      return { busy: this.#delivery.state === "waiting", changed: delivery.changed, retryAfter: 0 };
    } catch (problem) {
      if (!(problem instanceof Problem) || problem.status !== 404) throw problem;
      this.#isGone = true;
      return { busy: false, changed: false, retryAfter: 60_000 };
    }
  }

  async #again() {
    try {
      await call("POST", `${this.path}/redeliver`);
      this.page.say("It is sent again");
    } catch (problem) {
      this.page.fail(problem);
    }
    this.page.look();
  }

  render() {
    const back = link("#/webhooks", "All deliveries");
    if (this.#isGone) return [h.h1(this.title), face("There is no such delivery", "It may have expired, belong to another key, or be mistyped.", back)];
    const one = this.#delivery;
    if (!one) return [h.h1(this.title), skeleton("rows")];
    return [
      h.div({ class: "headline" }, h.h1(foreign(one.type)), stateChip(one.state),
        h.div({ class: "buttons" }, h.button({ onclick: () => this.#again(), key: "again" }, one.state === "waiting" ? "Try now" : "Redeliver"), back)),
      panel("facts", "Delivery", facts([
        ["To", [foreign(this.#url ?? "a deleted endpoint"), " ", h.code(one.endpoint_id)]],
        ["webhook-id", h.code({ class: "foreign" }, one.webhook_id)],
        ...(one.event_id ? [["Job", h.a({ class: "link", href: `#/jobs/${encodeURIComponent(one.event_id)}` }, h.code({ class: "foreign" }, one.event_id))]] : []),
        ["Created", moment(one.created_at)],
        ["Tries", count(one.tries)],
        ...(one.next_at ? [["Next try", moment(one.next_at)]] : []),
      ], "rows")),
      panel("answer", "Last answer", one.last_at ? [
        h.p({ class: "muted small" }, moment(one.last_at), ", ", one.last_status ? `status ${one.last_status}` : "without a status"),
        one.last_message ? foreign(one.last_message, "pre") : h.p({ class: "muted" }, "The answer has no text."),
      ] : h.p({ class: "muted" }, "It was not tried yet.")),
      panel("body", "Body", foreign(JSON.stringify(one.body, null, 2), "pre")),
    ];
  }
}
