/** What is known of one step: its prompt, its input, its answer and its calls; and a form that runs it again. */

import { call } from "./api.js";
import { list } from "./attempts.js";
import { foreign, h } from "./dom.js";
import { EFFORTS, allows, count, facts, moment, scroll, words } from "./format.js";
import { callsOf, isPart, stepOf } from "./spans.js";

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

/** A text that can be long, with its size; `of` is what it belongs to. */
export const long = (title, value, of) => [
  h.h3(foreign(title), " ", h.span({ class: "muted small" }, `${count([...text(value)].length)} characters`)),
  scroll(`${title}: ${of}`, foreign(text(value), "pre")),
];

/** @param told the job with its prompts and its input, or `{ problem }`; undefined until it is read */
export function content(job, step, told, page) {
  const calls = callsOf(job, step).reverse();
  return [
    told?.problem && h.p({ class: "banner", role: "alert" }, told.problem.message),
    about(step),
    h.div({ key: "answer" }, answer(job, step)),
    h.div({ key: "prompt" }, told ? told.data && prompt(told.data, step) : h.p({ class: "muted" }, "Loading the prompt …")),
    h.div({ key: "calls" }, calls.length > 0 && [h.h3(`Calls of the model (${count(calls.length)})`), list(calls)]),
    told?.data && again(told.data, step, page),
  ];
}

function about({ model, tier, prompt_version: version, request_id: request, started_at: started }) {
  const pairs = [["Model", model && foreign(model)], ["Tier", tier], ["Started", started && moment(started)],
    ["Prompt version", version && foreign(version, "code")], ["Request id", request && foreign(request, "code")]];
  return facts(pairs.filter(([, value]) => value), "small");
}

function answer({ result, result_view: view }, step) {
  if (step.status !== "completed") return null;
  if (step.name !== stepOf(step.name)) return [h.h3("Answer"), h.p({ class: "muted" }, `The API gives no answers of parts. ${isPart(step.name) ? "That of the step was made of this one and of the others." : ""}`)];
  const fuller = view?.find(({ name }) => name === step.name)?.same_as;
  const value = result?.[fuller] ?? result?.[step.name];
  return value === undefined ? null : long("Answer", value, step.name);
}

const SAME = new Map([
  [true, "This is what was sent."],
  [false, "This is not what was sent: the chain has changed since. It is what the chain would send now."],
  [null, "Prompts are not stored: this one is made again, from the payload and the answers of earlier steps."],
]);

function prompt({ prompts }, step) {
  const found = prompts?.find(({ step: name }) => name === step.name);
  if (!found) return h.p({ class: "muted" }, step.model === null && step.status === "completed" ? "This step is code, and calls no model." : "This step has not called the model yet.");
  if (found.problem) return [h.h3("Prompt"), foreign(found.problem, "p", "muted")];
  return [h.p({ class: "muted small" }, SAME.get(found.same_as_sent)), long("Prompt", found.instructions ?? "", step.name), long("Input", found.input ?? "", step.name)];
}

/** A form that makes a fork of the job: it runs from this step on. */
function again(job, step, page) {
  const name = stepOf(step.name);
  const prompt = job.prompts?.find(({ step: stored }) => stored === name)?.instructions ?? null;
  const send = async (event) => {
    event.preventDefault();
    const form = event.target;
    const note = form.querySelector("[role=alert]");
    note.textContent = "";
    form.lastChild.firstChild.disabled = true;
    try {
      const { event_id: id } = await call("POST", `jobs/${encodeURIComponent(job.event_id)}/fork`, asked(job, name, prompt, form), { "Idempotency-Key": (form.key ??= `web-${crypto.getRandomValues(new Uint32Array(4)).join("-")}`) });
      page.say("The fork is accepted");
      page.go(`#/jobs/${id}`);
    } catch (problem) {
      note.textContent = problem.message;
    }
    form.lastChild.firstChild.disabled = false;
  };
  const fields = Object.entries(job.input ?? {});
  const chain = page.shared.chains?.find((one) => one.name === job.job_name);
  return h.details({ key: "again" }, h.summary("Run again from this step"),
    h.form({ class: "form", onsubmit: send, oninput: ({ currentTarget }) => (currentTarget.key = null) },
      h.p({ class: "muted small" }, "A new job runs this step and those that need it. It copies the answers of the others at no cost."),
      h.label("Title", h.input({ name: "title", maxlength: 200, dir: "auto", value: job.title ?? "" })),
      h.label("Cost limit, US dollars", h.input({ name: "max_cost_usd", type: "number", min: 0, step: "any", value: job.max_cost_usd ?? "" })),
      allows(chain, "model") && h.label("Model of its calls", h.input({ name: "model", maxlength: 200, placeholder: "as before", spellcheck: "false" })),
      allows(chain, "effort") && h.label("Effort of reasoning", h.select({ name: "effort" }, h.option({ value: "" }, "as before"), EFFORTS.map((effort) => h.option({ value: effort }, effort)))),
      prompt !== null && allows(chain, "prompt") && h.label("Prompt of this step", h.textarea({ name: "prompt", rows: 8, dir: "auto" }, prompt)),
      fields.map(([field, value]) => h.label(foreign(words(field)), h.textarea({ name: `payload.${field}`, rows: typeof value === "string" ? 6 : 3, dir: "auto" }, text(value)))),
      h.p({ class: "failed", role: "alert" }),
      h.div(h.button({ class: "primary" }, "Run the fork"))));
}

/** The request for the fork: with a payload only if a field was changed. */
function asked(job, name, prompt, form) {
  const { title, max_cost_usd: limit, model, effort, prompt: written, ...given } = Object.fromEntries(new FormData(form));
  const lines = (value) => value.replace(/\r\n?/g, "\n"); // a form sends other line ends than it was given
  const isSame = ([field, value]) => lines(given[`payload.${field}`]) === lines(text(value));
  const fields = Object.entries(job.input ?? {});
  const payload = () => Object.fromEntries(fields.map(([field, value]) => [field, isSame([field, value]) ? value : changed(field, value, lines(given[`payload.${field}`]))]));
  const isNew = prompt !== null && written !== undefined && lines(written) !== lines(prompt);
  return { from_step: name, ...(title && { title }), ...(model && { model }), ...(effort && { effort }), ...(isNew && { prompt: lines(written) }), ...(limit && { max_cost_usd: Number(limit) }), ...(!fields.every(isSame) && { payload: payload() }) };
}

function changed(field, before, value) {
  if (typeof before === "string") return value;
  try {
    return JSON.parse(value);
  } catch {
    throw new Error(`${field}: must be JSON, as it was`);
  }
}
