/** Declarative pages in two functions: `h` makes elements, `morph` makes what is there look like them. */

const HANDLERS = ["onclick", "onchange", "oninput", "onsubmit"];

const SHORT = { key: "data-key", keep: "data-keep", label: "aria-label" };

/**
 * `h.p({ class: "x" }, "text")` makes an element; the properties may be left out. Functions become handlers, `style`
 * holds properties, all else are attributes; true stands for an empty one, false and null for none. Children that are
 * texts stay texts, whatever they hold.
 */
export const h = new Proxy({}, { get: (_, tag) => (...content) => element(tag, content) });

function element(tag, content) {
  const made = document.createElement(tag);
  const props = content[0]?.constructor === Object ? content.shift() : {};
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") made[name] = value;
    else if (name === "style") Object.assign(made.style, value);
    else if (value !== false && value != null) made.setAttribute(SHORT[name] ?? name, value === true ? "" : value);
  }
  made.append(...solid(content));
  return made;
}

const solid = (children) => children.flat(Infinity).filter((child) => child !== false && child != null);

/** A text that somebody else wrote: it has its own direction, and can't break the layout. */
export const foreign = (text, tag = "bdi", kind = "") => h[tag]({ dir: "auto", class: `foreign ${kind}` }, String(text));

/**
 * Changes the children of `parent` as little as it takes to look like `children`, so that focus, scrolling and open
 * details stay. `key` names a child among its siblings; one with `keep` is left as it is once it is there.
 */
export function morph(parent, children) {
  const wanted = solid(children);
  const keys = new Set(wanted.map((next) => next.dataset?.key));
  // First, as what is moved past them would lose its focus.
  for (const child of [...parent.children]) if (!keys.has(child.dataset.key)) child.remove();
  let at = parent.firstChild;
  for (const next of wanted) {
    const old = counterpart(at, next);
    if (old === at && at) at = at.nextSibling;
    else parent.insertBefore(old ?? next, at);
    if (old) update(old, next);
  }
  while (at) {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  }
}

function counterpart(at, next) {
  const key = next.dataset?.key;
  if (!key) return at?.nodeName === next.nodeName && !at.dataset?.key ? at : null;
  while (at && at.dataset?.key !== key) at = at.nextSibling;
  return at;
}

function update(old, next) {
  if (old.nodeType === Node.TEXT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  if ("keep" in old.dataset) return;
  for (const { name, value } of next.attributes) {
    // The policy forbids style attributes, not the properties below.
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // What a person has opened stays open.
    if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  if (old.style.cssText !== next.style.cssText) old.style.cssText = next.style.cssText;
  for (const name of HANDLERS) old[name] = next[name];
  morph(old, [...next.childNodes]);
}
