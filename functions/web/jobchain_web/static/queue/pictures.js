/** A diagram as a file. Loaded when the first one is downloaded. */

import { save } from "./exports.js";

const SVG = "http://www.w3.org/2000/svg";
const ELEMENTS = ["svg", "g", "path", "rect", "polygon", "polyline", "circle", "ellipse", "line", "text", "tspan", "defs", "marker", "title", "desc"];
/** In place of `style`, as an attribute and as an element: the page's policy forbids them, also in a document that is not shown. */
const STYLE = "jobchain-style";
const hidden = (text) => text.replace(/(\s|<\/?)style(?=[=\s>])/g, `$1${STYLE}`);
const shown = (text) => text.replaceAll(STYLE, "style");
const MARGIN = 16;
const MOST_PIXELS = 8_000; // on a side: browsers refuse larger canvases
const SHARP = 2; // pixels of the picture for one of the page

/** The drawing with nothing in it that could run or load something: it comes from the frame, which is not trusted. */
function clean(text, dark) {
  const drawing = new DOMParser().parseFromString(hidden(text), "image/svg+xml").documentElement;
  if (drawing.namespaceURI !== SVG || drawing.localName !== "svg") throw new Error("it is no SVG");
  for (const element of [...drawing.querySelectorAll("*")]) {
    if (element.namespaceURI !== SVG || ![...ELEMENTS, STYLE].includes(element.localName)) element.remove();
  }
  for (const element of [drawing, ...drawing.querySelectorAll("*")]) {
    for (const { name, value } of [...element.attributes]) {
      if (/^on|href|^src/i.test(name)) element.removeAttribute(name);
      else if (value !== local(value)) element.setAttribute(name, local(value));
    }
    if (element.localName === STYLE) element.textContent = local(element.textContent);
  }
  return framed(drawing, dark);
}

/** A style without what it would load. It needs no escapes, which could hide that. */
const local = (style) => style.replaceAll("\\", "").replace(/@import[^;]*;?|url\((?!\s*["']?#)[^)]*\)|image-set\([^)]*\)/gi, "")
  // What is left was hidden in what is gone, or has no end. Its name becomes one that means nothing, and can't make another.
  .replace(/@import|(?:image-set|image|src)\(|url\((?!\s*["']?#)/gi, "none-");

function framed(drawing, dark) {
  const [x, y, width, height] = drawing.getAttribute("viewBox").split(/[\s,]+/).map(Number);
  const box = { x: x - MARGIN, y: y - MARGIN, width: width + 2 * MARGIN, height: height + 2 * MARGIN };
  const back = document.createElementNS(SVG, "rect");
  for (const [name, value] of Object.entries({ ...box, fill: dark ? "#171c22" : "#fff" })) back.setAttribute(name, value);
  drawing.prepend(back);
  drawing.removeAttribute(STYLE);
  drawing.setAttribute("viewBox", Object.values(box).join(" "));
  drawing.setAttribute("width", box.width);
  drawing.setAttribute("height", box.height);
  return { ...box, text: shown(new XMLSerializer().serializeToString(drawing)) };
}

export const saveSvg = (text, dark) => save(clean(text, dark).text, "image/svg+xml", "diagram.svg");

export async function savePng(text, dark) {
  const picture = clean(text, dark);
  const scale = Math.min(SHARP, MOST_PIXELS / Math.max(picture.width, picture.height));
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture.text)}`;
  await image.decode();
  const canvas = Object.assign(document.createElement("canvas"), { width: Math.ceil(picture.width * scale), height: Math.ceil(picture.height * scale) });
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  save(await new Promise((resolve) => canvas.toBlob(resolve)), "image/png", "diagram.png");
}
