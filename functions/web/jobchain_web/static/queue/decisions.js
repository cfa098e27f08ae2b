/** Steps that a person decides: what is shown, the form that decides it, and what was decided. */

import { foreign, h } from "./dom.js";
import { isFinal, moment, panel, scroll, words } from "./format.js";
import { recall, remember } from "./memory.js";

const SAID = { approve: "Approved", reject: "Rejected", edit: "Approved with changes" };

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));
// A form sends other line ends than it was given.
const lines = (value) => value.replace(/\r\n?/g, "\n");

/**
 * A panel for each step of the job that a person decides, or has decided.
 * @param {(step: string, body: object) => void} decide
 * @param {(problem: string) => void} refuse called with what is wrong with an edit
 */
export const decisions = (job, busy, decide, refuse) => (job.steps ?? []).filter(({ approval }) => approval).map(({ name, approval }) =>
  approval.decision || isFinal(job)
    ? decided(name, approval)
    : panel(`decide-${name}`, foreign(approval.title),
      h.p({ class: "muted small" }, `Step ${words(name).toLowerCase()}: without a decision until `, moment(approval.until), approval.on_deadline === "approve" ? " it is approved." : " it is rejected."),
      form(name, approval, busy, decide, refuse)));

function decided(name, { title, shown, value, decision, by, key_id: key, comment, decided_at: at, at_deadline: late }) {
  if (!decision) return null;
  const who = late ? "no decision came in time" : (by ?? (key && `key ${key}`));
  return panel(`decided-${name}`, foreign(title),
    h.p(h.strong(SAID[decision] ?? words(decision)), who && [late ? ": " : " by ", foreign(who)], ", ", moment(at)),
    comment && foreign(comment, "p", "text"),
    h.details({ key: "shown" }, h.summary("What was shown"), scroll(`What was shown: ${title}`, foreign(text(shown), "pre"))),
    decision === "edit" && h.details({ key: "edit" }, h.summary("What was approved"), scroll(`What was approved: ${title}`, foreign(text(value), "pre"))));
}

/** The texts that were changed on the page: it is drawn each second. */
const changed = new Set();

function form(name, { shown, title, since }, busy, decide, refuse) {
  const before = text(shown);
  const id = `${name} ${since}`;
  const said = ({ by, comment }) => ({ ...(by.trim() && { by: by.trim() }), ...(comment.trim() && { comment: comment.trim() }) });
  const send = (decision) => ({ target }) => {
    const fields = Object.fromEntries(new FormData(target.closest("form")));
    remember("localStorage", "decides", fields.by);
    const edit = lines(fields.value);
    if (decision === "reject" || edit === lines(before)) return decide(name, { decision, ...said(fields) });
    try {
      decide(name, { decision: "edit", value: typeof shown === "string" ? edit : JSON.parse(edit), ...said(fields) });
    } catch {
      refuse("What is approved must be JSON, as it is shown.");
    }
  };
  const approve = () => (changed.has(id) ? "Approve with changes" : "Approve");
  const tell = ({ currentTarget: form }) => {
    changed[lines(form.elements.value.value) === lines(before) ? "delete" : "add"](id);
    form.querySelector("button").textContent = approve();
  };
  return h.form({ class: "form", onsubmit: (event) => event.preventDefault(), oninput: tell },
    h.label("What is approved", h.textarea({ name: "value", rows: Math.min(24, Math.max(5, before.split("\n").length + 1)), dir: "auto", class: typeof shown === "string" ? "" : "code", "aria-description": title }, before)),
    h.label("Your name (optional)", h.input({ name: "by", maxlength: 100, dir: "auto", value: recall("localStorage", "decides") ?? "" })),
    h.label("Comment (optional)", h.input({ name: "comment", maxlength: 1000, dir: "auto" })),
    h.div({ class: "buttons" },
      h.button({ type: "button", class: "primary", disabled: busy, onclick: send("approve") }, approve()),
      h.button({ type: "button", class: "danger", disabled: busy, onclick: send("reject") }, "Reject")));
}
