// Reads diagrams with Mermaid itself: a JSON string per line on stdin, and for each one line of JSON on stdout:
// {"ok": true, "nodes": [["n1", "a label"], …], "edges": [["n1", "", "n2"], …]} or {"ok": false, "error": "why"}.
//
// What was read is told, because Mermaid also takes a broken label without a complaint, for something else.

import { createInterface } from 'node:readline';
import { JSDOM } from 'jsdom';

// Mermaid cleans labels with DOMPurify, which looks for a document once, when it is loaded.
const { window } = new JSDOM('');
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import('mermaid');

// Mermaid draws a longer text as an error; it looks at this when it draws, not when it parses.
const longest = mermaid.mermaidAPI.defaultConfig.maxTextSize;

// Entity codes are spelled otherwise inside Mermaid; here as in the diagram.
const label = (text) => (text ?? '').replace(/ﬂ°°(\d+)¶ß/g, '#$1;');

async function check(text) {
  if (text.length > longest) {
    return { ok: false, error: `${text.length} characters: Mermaid draws at most ${longest}` };
  }
  try {
    await mermaid.parse(text);
    const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
    const nodes = [...db.getVertices().values()].map((node) => [node.id, label(node.text)]);
    const edges = db.getEdges().map((edge) => [edge.start, label(edge.text), edge.end]);
    return { ok: true, nodes, edges };
  } catch (error) {
    return { ok: false, error: error.message };
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  console.log(JSON.stringify(await check(JSON.parse(line))));
}
