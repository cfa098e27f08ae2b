// The page in the frame: it draws the text that its parent sends, and returns the size. It has no origin: no module can load.
(() => {
  const { origin } = new URL(location.href);
  const answer = (message) => parent.postMessage(message, origin);

  const config = (dark) => ({
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
    flowchart: { useMaxWidth: true },
  });

  let last = 0;

  async function draw({ text, dark }) {
    const number = ++last;
    try {
      mermaid.initialize(config(dark));
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

  addEventListener("message", (event) => {
    if (event.source === parent && event.origin === origin) draw(event.data);
  });
  answer({ ready: true });
})();
