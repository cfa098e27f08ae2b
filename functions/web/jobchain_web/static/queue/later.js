/** Loads the scripts that are not in the page: `bundle` in inline.py makes them of modules that only `import()` names. */

import { Problem, getText } from "./api.js";

const PAUSE = 10_000; // ms between two tries

const outdated = { title: "This page is outdated", detail: "A newer version of the dashboard is deployed: reload the page." };

const loads = new Map();

/** The exports of the script at `path`. It gets the modules of the page, and adds its own. */
export function later(path, modules) {
  if (!loads.has(path)) {
    loads.set(path, load(path, modules));
    loads.get(path).catch(() => setTimeout(() => loads.delete(path), PAUSE));
  }
  return loads.get(path);
}

async function load(path, modules) {
  const text = await getText(path).catch((problem) => {
    throw problem.status === 404 ? new Problem(409, outdated) : problem;
  });
  // Inline, since the page's policy names it by its hash.
  const script = Object.assign(document.createElement("script"), { textContent: text });
  document.head.append(script);
  script.remove();
  if (!script.make) throw new Problem(409, outdated);
  return script.make(modules);
}

/** Adds a stylesheet of such a script. */
export function style(text) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  document.adoptedStyleSheets.push(sheet);
}
