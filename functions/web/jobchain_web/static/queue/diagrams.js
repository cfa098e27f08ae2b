/** Shows diagrams: Mermaid runs in a frame without an origin, and gets only the diagram's text. */

import { h } from "./dom.js";
import { scroll } from "./format.js";

const PATIENCE = 20_000; // milliseconds; Mermaid is large

const frames = new WeakMap();

addEventListener("message", ({ source, data }) => frames.get(source)?.(data));

/** Draws the text of `place` in its colours, or fits the existing drawing into it. */
export function draw(place) {
  place.fit ??= open(place);
  place.fit();
}

function open(place) {
  const frame = h.iframe({ src: "queue-diagram", sandbox: "allow-scripts", title: "Diagram", tabindex: "-1" });
  const note = h.p({ class: "muted" }, "Drawing …");
  const whole = h.input({ type: "checkbox", onchange: fit });
  const zoom = h.label({ class: "muted small", hidden: true }, whole, " Actual size");
  const view = scroll("Diagram", frame);
  const late = setTimeout(show, PATIENCE, {});
  let ready, drawn, size;

  function fit() {
    const dark = /\d+/.exec(getComputedStyle(place).color)[0] > 128; // light letters
    if (ready && drawn !== dark) {
      drawn = dark;
      frame.contentWindow.postMessage({ text: place.dataset.text, dark }, "*"); // it has no origin to name
    }
    if (!size) return;
    const width = whole.checked ? size.width : Math.min(size.width, view.clientWidth);
    Object.assign(frame.style, { width: `${width}px`, height: `${Math.ceil((size.height * width) / size.width)}px` });
    zoom.hidden = size.width <= view.clientWidth;
  }

  function show(answer) {
    size = answer.width > 0 && answer.height > 0 ? answer : null;
    note.textContent = size ? "" : "This diagram can't be drawn. Its text is below.";
    view.hidden = !size;
  }

  place.append(note, view, zoom);
  frames.set(frame.contentWindow, (answer) => {
    clearTimeout(late);
    if (answer.ready) ready = true;
    else show(answer);
    if (place.isConnected) fit();
  });
  return fit;
}
