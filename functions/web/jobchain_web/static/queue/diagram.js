// The page in the frame: it draws what its parent sends, and tells the size. It has no origin, so no module can load.
(() => {
  const { origin } = new URL(location.href);
  const answer = (message) => parent.postMessage(message, origin);

  const config = (dark) => ({
    startOnLoad: false,
    securityLevel: "strict",
    // What no text may change, beyond what Mermaid keeps to itself.
    secure: [
      ...["secure", "securityLevel", "startOnLoad", "maxTextSize", "maxEdges", "suppressErrorRendering"],
      ...["themeCSS", "dompurifyConfig"],
    ],
    suppressErrorRendering: true,
    theme: dark ? "dark" : "neutral",
    darkMode: dark,
    fontFamily: "system-ui, sans-serif",
    // Labels as HTML, which is Mermaid's default: in others it shows entity codes as they are, and a label that holds
    // a quote can't be written without one. Of HTML itself no more than what sets words apart is let through.
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
      // As HTML, which Mermaid writes: in XML its <br> would be an error.
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
