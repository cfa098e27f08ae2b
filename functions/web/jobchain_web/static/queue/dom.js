/** Declarative pages in two functions: `h` makes elements, `morph` updates the page to match them. */

const HANDLERS = ["onclick", "onchange", "oninput", "onsubmit"];

const SHORT = { key: "data-key", keep: "data-keep", label: "aria-label" };

/**
 * `h.p({ class: "x" }, "text")` makes an element; the properties are optional. Functions become handlers, `style`
 * holds style properties, all others become attributes: true is an empty one, false and null are none. A text child is
 * never read as HTML.
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

/** A text from a caller or a model: it has its own direction, and can't break the layout. */
export const foreign = (text, tag = "bdi", kind = "") => h[tag]({ dir: "auto", class: `foreign ${kind}` }, String(text));

/**
 * Changes the children of `parent` to match `children` with as few changes as possible, so that focus, scrolling and
 * open details stay. `key` identifies a child among its siblings; an existing child with `keep` is not changed.
 */
export function morph(parent, children) {
  const wanted = solid(children);
  const keys = new Set(wanted.map((next) => next.dataset?.key));
  // Removed first: an element that is moved past them would lose its focus.
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
    // The policy forbids style attributes, but not the style properties below.
    if (name !== "style" && old.getAttribute(name) !== value) old.setAttribute(name, value);
  }
  for (const { name } of [...old.attributes]) {
    // An opened element stays open.
    if (!next.hasAttribute(name) && name !== "open") old.removeAttribute(name);
  }
  if (old.style.cssText !== next.style.cssText) old.style.cssText = next.style.cssText;
  for (const name of HANDLERS) old[name] = next[name];
  morph(old, [...next.childNodes]);
}
