/** The dashboard: routes, the loop that keeps a page current, and what all pages share. */

import { Problem, hasKey, useKey } from "./api.js";
import { h, morph } from "./dom.js";
import { face, link, skeleton } from "./format.js";
import { ListView } from "./list.js";
import { remember } from "./memory.js";
import { NewView } from "./new.js";
import { Poller } from "./poll.js";
import { changeZone, zone } from "./times.js";

const THEMES = { auto: "◐", light: "☀", dark: "☾" };

const part = (id) => document.getElementById(id);
const main = part("main");

let view;
/** The problem of the last poll; null after a successful one, undefined before the first. */
let trouble;
/** When the next poll starts, in milliseconds since 1970. */
let retryAt = 0;

const poller = new Poller((problem, next) => {
  retryAt = next;
  if (trouble?.passes && !problem) say("Connected again");
  trouble = problem;
  render();
});

/** What views can call. */
const page = { render, look, say, ask, fail, go: (hash) => (location.hash === hash ? route() : (location.hash = hash)) };

const unknownPage = { title: "Not found", look: () => Promise.reject(new Problem(404)) };

function route() {
  const [path, query] = location.hash.slice(1).split("?");
  const [, section = "", id = ""] = path.split("/");
  const before = view;
  if (!section) view = before instanceof ListView ? before : new ListView(page);
  else if (section === "new" && !id) view = new NewView(page);
  else if (section === "jobs" && /^[\w-]{1,64}$/.test(id)) view = later("Job", () => import("./job.js").then(({ JobView }) => new JobView(page, id)));
  else view = unknownPage;
  view.filter?.(new URLSearchParams(query));
  trouble = undefined;
  look();
  if (!before || before === view) return;
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
}

/** Stands for a view until its code is loaded. */
const later = (title, load) => ({
  title,
  render: () => skeleton("rows"),
  look: async (signal) => {
    const made = await load();
    signal.throwIfAborted();
    view = made;
    return view.look(signal);
  },
});

/** Renders the current data, and polls for new data. */
function look() {
  render();
  poller.start((signal) => view.look(signal));
}

function render() {
  const stopped = trouble && !trouble.passes;
  let state = h.span({ class: "dot" }, trouble?.status === 401 ? "signed out" : stopped ? "stopped" : "loading");
  if (trouble === null) state = h.span({ class: "dot good" }, "live");
  if (trouble?.passes) state = h.span({ class: "dot bad" }, "reconnecting");
  const banner = trouble && h.p({ class: "banner", key: "trouble" }, trouble.message, ` Retrying automatically in ${secondsLeft()} s.`);
  morph(main, stopped ? problemPage() : [banner, view.render?.()]);
  morph(part("connection"), [state]);
  morph(part("tools"), [hasKey() && h.button({ class: "quiet", key: "key", onclick: () => enter("") }, "Sign out"), times(), theme()]);
  const here = location.hash.split("?")[0] || "#/";
  for (const to of document.querySelectorAll("nav a")) to.ariaCurrent = to.hash === here ? "page" : null;
  document.title = `${view.title} · Jobchain`;
  if (!stopped) view.drawn?.(main);
}

const secondsLeft = () => Math.max(1, Math.ceil((retryAt - Date.now()) / 1_000));

/** Shown in place of a view. */
function problemPage() {
  const { status, title, message } = trouble;
  if (status === 401) return [h.h1({ class: "unseen" }, "Jobchain"), keyForm(message)];
  const text = status === 404 ? "It may have been deleted, belong to another key, or be mistyped." : message;
  const heads = { 403: "No access", 404: `There is no such ${view.id ? "job" : "page"}` };
  return [h.h1({ class: "unseen" }, view.title), face(heads[status] ?? title, text, link("#/", "All jobs"))];
}

function keyForm(message) {
  const submit = (event) => {
    event.preventDefault();
    enter(new FormData(event.target).get("key").trim());
  };
  return h.form({ class: "face", onsubmit: submit, key: "key" }, h.h2(hasKey() ? "Invalid API key" : "An API key is required"), hasKey() && h.p(message),
    h.label("API key ", h.input({ type: "password", name: "key", required: true, autocomplete: "off", pattern: "[ -~]+" })),
    h.button({ class: "primary" }, "Sign in"),
    h.p({ class: "muted" }, "The key is kept in this tab only."));
}

function enter(key) {
  useKey(key);
  view = null;
  route();
}

function theme() {
  const { dataset } = document.documentElement;
  const change = () => {
    dataset.theme = { auto: "light", light: "dark", dark: "auto" }[dataset.theme];
    remember("localStorage", "theme", dataset.theme);
    render();
  };
  const label = `Colours: ${dataset.theme}`;
  return h.button({ class: "quiet", onclick: change, label, title: label }, THEMES[dataset.theme]);
}

function times() {
  const change = () => {
    changeZone();
    render();
  };
  return h.button({ class: "quiet small", onclick: change, label: `Times: ${zone()}`, title: `Times: ${zone()}`, key: "zone" }, zone() === "UTC" ? "UTC" : "Local");
}

let silence;

function say(text) {
  clearTimeout(silence);
  part("status").textContent = text;
  silence = setTimeout(() => say(""), 5_000);
}

/** Says why a part of the page could not be loaded. */
function fail(problem) {
  if (!(problem instanceof Problem)) throw problem;
  say(problem.message);
}

/** Shows a dialog; resolves to whether `yes` was chosen. Without `yes` it only shows the text. */
function ask(title, text, yes) {
  const dialog = part("dialog");
  dialog.returnValue = "";
  dialog.replaceChildren(h.form({ method: "dialog" }, h.h2({ id: "dialog-title" }, title), h.p({ class: "foreign" }, text),
    h.div({ class: "buttons" }, h.button("Close"), ...(yes ? [h.button({ class: "danger", value: "yes" }, yes)] : []))));
  dialog.showModal();
  return new Promise((resolve) => (dialog.onclose = () => resolve(dialog.returnValue === "yes")));
}

addEventListener("hashchange", route);
document.querySelector(".skip").onclick = (event) => {
  event.preventDefault();
  main.focus();
};
matchMedia("(prefers-color-scheme: dark)").onchange = render;
setInterval(() => document.hidden || render(), 1_000);
route();
