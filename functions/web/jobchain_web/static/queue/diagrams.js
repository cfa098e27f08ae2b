/** Shows diagrams: Mermaid runs in a frame without an origin, and gets only the diagram's text. */

import { h } from "./dom.js";
import { scroll } from "./format.js";

const PATIENCE = 20_000; // milliseconds; Mermaid is large
/** The smallest scale in which a diagram is fitted: smaller letters can't be read. */
const READABLE = 0.6;
const [SMALLEST, LARGEST, STEP] = [0.1, 4, 1.25];

const frames = new WeakMap();

addEventListener("message", ({ source, data }) => frames.get(source)?.(data));

/** Draws the text of `place` in its colours, or fits the existing drawing into it. */
export function draw(place) {
  place.fit ??= open(place);
  place.fit();
}

function open(place) {
  const frame = h.iframe({ src: "queue-diagram", sandbox: "allow-scripts", title: "Diagram", tabindex: "-1" });
  const note = h.p({ class: "muted", "aria-live": "polite" }, "Drawing …");
  const percent = h.span({ class: "muted small" });
  const view = scroll("Diagram", frame);
  const late = setTimeout(show, PATIENCE, {});
  let ready, drawn, size, save;
  /** The chosen scale; null fits the drawing into its place. */
  let chosen = null;

  const fitting = () => {
    const wide = view.clientWidth / size.width;
    return Math.min(1, place.matches("[popover]") ? Math.min(wide, view.clientHeight / size.height) : Math.max(READABLE, wide));
  };
  const choose = (scale) => () => {
    chosen = scale();
    fit();
  };
  const zoom = (factor) => choose(() => Math.min(LARGEST, Math.max(SMALLEST, (chosen ?? fitting()) * factor)));
  const button = (label, text, onclick) => h.button({ class: "small", onclick, label, title: label }, text);
  const full = () => {
    const isOpen = place.toggleAttribute("popover");
    if (isOpen) place.showPopover();
    fit();
  };
  const download = (kind) => () => {
    save = kind;
    frame.contentWindow.postMessage({ save: true }, "*");
  };
  const tools = h.div({ class: "buttons tools", hidden: true },
    button("Smaller", "−", zoom(1 / STEP)), percent, button("Larger", "+", zoom(STEP)),
    button("Fit the diagram into the page", "Fit", choose(() => null)), button("Actual size", "Actual size", choose(() => 1)),
    button("Full window, or back", "Full window", full),
    button("Download the diagram as SVG", "SVG", download("svg")), button("Download the diagram as PNG", "PNG", download("png")));

  function fit() {
    const dark = /\d+/.exec(getComputedStyle(place).color)[0] > 128; // light letters
    if (ready && drawn !== dark) {
      drawn = dark;
      frame.contentWindow.postMessage({ text: place.dataset.text, dark }, "*"); // it has no origin to name
    }
    if (!size) return;
    const scale = chosen ?? fitting();
    Object.assign(frame.style, { width: `${Math.ceil(size.width * scale)}px`, height: `${Math.ceil(size.height * scale)}px` });
    percent.textContent = `${Math.round(scale * 100)} %`;
  }

  function show(answer) {
    size = answer.width > 0 && answer.height > 0 ? answer : null;
    note.textContent = size ? "" : "This diagram can't be drawn. Its text is below.";
    view.hidden = tools.hidden = !size;
  }

  async function keep(svg) {
    const { saveSvg, savePng } = await import("./pictures.js");
    await (save === "png" ? savePng : saveSvg)(svg, drawn);
    note.textContent = "";
  }

  // Escape closes it too.
  place.addEventListener("toggle", ({ newState }) => {
    if (newState !== "closed") return;
    place.removeAttribute("popover");
    fit();
  });
  place.append(note, tools, view);
  frames.set(frame.contentWindow, (answer) => {
    clearTimeout(late);
    if (answer.ready) ready = true;
    else if ("svg" in answer) keep(answer.svg).catch(({ message }) => (note.textContent = `This diagram can't be downloaded: ${message}`));
    else show(answer);
    if (place.isConnected) fit();
  });
  return fit;
}
