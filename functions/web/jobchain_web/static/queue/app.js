/** The dashboard: routes, the loop that keeps a page current, and what all pages share. */

import { Problem, hasKey, useKey } from "./api.js";
import { h, morph } from "./dom.js";
import { filtersOf } from "./filters.js";
import { face, link, skeleton } from "./format.js";
import { ListView } from "./list.js";
import { forget, remember } from "./memory.js";
import { Poller } from "./poll.js";
import { changeZone, zone } from "./times.js";

const THEMES = { auto: "◐", light: "☀", dark: "☾" };

const part = (id) => document.getElementById(id);
const main = part("main");

/** The pages whose code is loaded when they are first shown. */
const LATER = {
  new: ["New job", () => import("./new.js")],
  usage: ["Usage", () => import("./usage.js")],
  replays: ["Replays", () => import("./replays.js")],
  webhooks: ["Webhooks", () => import("./webhooks.js")],
  bulk: ["Change jobs", () => import("./bulk.js")],
};
const MOST_LISTS = 5;

let view;
/** The lists that are kept, by their filters: the way back finds their rows. */
const lists = new Map();
/** How far down a person was, by the id of the entry in the browser's history. */
const heights = new Map();
let entry = "";
let address = location.hash;
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
const page = { render, look, say, ask, fail, shared: {}, go: (hash) => (location.hash === hash ? route() : (location.hash = hash)) };

const unknownPage = { title: "Not found", look: () => Promise.reject(new Problem(404)) };

function listOf(filters) {
  const name = String(filters);
  const list = lists.get(name) ?? new ListView(page, filters);
  lists.delete(name);
  lists.set(name, list);
  if (lists.size > MOST_LISTS) lists.delete(lists.keys().next().value);
  list.shown();
  return list;
}

function route() {
  const from = address;
  heights.set(entry, scrollY);
  address = location.hash;
  entry = history.state?.entry;
  page.isBack = heights.has(entry) && from !== address;
  if (!entry) history.replaceState({ entry: (entry = crypto.getRandomValues(new Uint32Array(2)).join()) }, "");
  const before = view;
  view = viewOf(...address.slice(1).split("?"));
  trouble = undefined;
  look();
  // A filter that is chosen keeps the focus.
  if (!before || (before === view && !view.isMoved) || (before instanceof ListView && view instanceof ListView && !page.isBack)) return;
  const link = page.isBack && main.querySelector(`a[href="${CSS.escape(from)}"]`);
  (link || main).focus({ preventScroll: true });
  scrollTo(0, page.isBack ? heights.get(entry) : 0);
}

function viewOf(path, text) {
  const query = new URLSearchParams(text);
  const [, section = "", id = ""] = path.split("/");
  if (!section) return listOf(filtersOf(query));
  if (section === "jobs" && /^[\w-]{1,64}$/.test(id)) return later("Job", () => import("./job.js").then(({ JobView }) => new JobView(page, id)));
  if (section === "replays" && /^[\w-]{1,64}$/.test(id)) return replayOf(id, query);
  if (Object.hasOwn(LATER, section) && !id) return later(LATER[section][0], () => LATER[section][1]().then(({ View }) => new View(page, query)));
  return unknownPage;
}

/** The page of a replay. The last one is kept: the way back from one of its jobs finds the list. */
function replayOf(id, query) {
  const { shared } = page;
  if (shared.replay?.id === id) return shared.replay.shown(query);
  return later("Replay", () => import("./replay.js").then(({ ReplayView }) => (shared.replay = new ReplayView(page, id)).shown(query)));
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
  for (const to of document.querySelectorAll("nav a")) to.ariaCurrent = to.hash === here || here.startsWith(`${to.hash}/`) ? "page" : null;
  document.title = `${view.title} · Jobchain`;
  if (!stopped) view.drawn?.(main);
}

const secondsLeft = () => Math.max(1, Math.ceil((retryAt - Date.now()) / 1_000));

/** Shown in place of a view. */
function problemPage() {
  const { status, title, message } = trouble;
  if (status === 401) return [h.h1({ class: "unseen" }, "Jobchain"), keyForm(message)];
  const text = status === 404 ? "It may have been deleted, belong to another key, or be mistyped." : message;
  const heads = { 403: "No access", 404: `There is no such ${view.kind ?? (view.id ? "job" : "page")}` };
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
  forget("sessionStorage", "draft:");
  view = null;
  page.shared = {};
  lists.clear();
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

history.scrollRestoration = "manual";
addEventListener("hashchange", route);
document.querySelector(".skip").onclick = (event) => {
  event.preventDefault();
  main.focus();
};
matchMedia("(prefers-color-scheme: dark)").onchange = render;
setInterval(() => document.hidden || render(), 1_000);
route();
