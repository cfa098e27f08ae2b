// The page in the frame: it draws the text that its parent sends, and returns the size. It has no origin: no module can load.
(() => {
  const { origin } = new URL(location.href);
  const answer = (message) => parent.postMessage(message, origin);

  // From left to right boxes are stacked: low and close ones, so that twenty of them fit into a window.
  const flowchart = (text) => ({
    useMaxWidth: true,
    ...(/^\s*(flowchart|graph)\s+(LR|RL)\b/m.test(text) && { wrappingWidth: 400, nodeSpacing: 20 }),
  });

  const config = (text, dark) => ({
    startOnLoad: false,
    securityLevel: "strict",
    // What a diagram's text can't change, in addition to Mermaid's own list.
    secure: [
      ...["secure", "securityLevel", "startOnLoad", "maxTextSize", "maxEdges", "suppressErrorRendering"],
      ...["themeCSS", "dompurifyConfig"],
    ],
    suppressErrorRendering: true,
    theme: dark ? "dark" : "neutral",
    darkMode: dark,
    fontFamily: "system-ui, sans-serif",
    // Labels as HTML, Mermaid's default: in other labels it does not decode entities, and a label with a quote needs
    // one. Of HTML only tags that mark words are allowed.
    htmlLabels: true,
    dompurifyConfig: { ALLOWED_TAGS: ["p", "br", "b", "i", "em", "strong"], ALLOWED_ATTR: [] },
    flowchart: flowchart(text),
  });

  let last = 0;

  async function draw({ text, dark }) {
    const number = ++last;
    try {
      mermaid.initialize(config(text, dark));
      const { svg } = await mermaid.render(`drawing-${number}`, text);
      if (number !== last) return;
      // Parsed as HTML, as Mermaid writes it: in XML its <br> would be an error.
      const drawing = new DOMParser().parseFromString(svg, "text/html").querySelector("svg");
      document.documentElement.style.colorScheme = dark ? "dark" : "light";
      document.getElementById("diagram").replaceChildren(drawing);
      const { width, height } = drawing.viewBox.baseVal;
      answer({ width, height });
    } catch (error) {
      answer({ error: String(error?.message ?? error).slice(0, 500) });
    }
  }

  /** Lines of words as a reader sees them, each with its middle and its baseline. */
  function linesOf(label) {
    const lines = new Map();
    const walker = document.createTreeWalker(label, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      for (const { segment, index } of new Intl.Segmenter().segment(node.data)) {
        const range = document.createRange();
        range.setStart(node, index);
        range.setEnd(node, index + segment.length);
        const box = range.getBoundingClientRect();
        if (!box.height) continue;
        const place = Math.round(box.top);
        const line = lines.get(place) ?? { text: "", left: box.left, right: box.right, middle: (box.top + box.bottom) / 2 };
        lines.set(place, { ...line, text: line.text + segment, left: Math.min(line.left, box.left), right: Math.max(line.right, box.right) });
      }
    }
    return [...lines.values()].filter(({ text }) => text.trim());
  }

  const make = (name, attributes, ...content) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...content);
    return element;
  };

  /** The drawing for other programs, which do not know HTML in an SVG: its labels are texts of SVG. */
  function svg() {
    const drawing = document.querySelector("#diagram svg");
    const copy = drawing.cloneNode(true);
    const labels = copy.querySelectorAll("foreignObject");
    drawing.querySelectorAll("foreignObject").forEach((label, index) => {
      const box = label.getBoundingClientRect();
      const scale = box.width ? label.width.baseVal.value / box.width : 1;
      const words = label.querySelector("p, span, div") ?? label;
      const { color, fontFamily, fontSize, backgroundColor } = getComputedStyle(words);
      const lines = linesOf(label).map(({ text, left, right, middle }) =>
        make("text", {
          x: ((left + right) / 2 - box.left) * scale, y: (middle - box.top) * scale, fill: color, "text-anchor": "middle", "dominant-baseline": "central",
          "font-family": fontFamily, "font-size": fontSize, style: `fill: ${color}; text-anchor: middle`,
        }, text.trim()));
      const isSolid = lines.length && !/, 0\)$|transparent/.test(backgroundColor);
      const back = isSolid ? [make("rect", { width: label.width.baseVal.value, height: label.height.baseVal.value, style: `fill: ${backgroundColor}; stroke: none` })] : [];
      labels[index].replaceWith(make("g", {}, ...back, ...lines));
    });
    return new XMLSerializer().serializeToString(copy);
  }

  addEventListener("message", (event) => {
    if (event.source !== parent || event.origin !== origin) return;
    if (event.data.save) answer({ svg: svg() });
    else draw(event.data);
  });
  answer({ ready: true });
})();
