// Reads a JSON list of flowcharts from standard input and writes what Mermaid has read in each.
import fs from "node:fs";
import { JSDOM } from "jsdom";

const { window } = new JSDOM("<body></body>");
globalThis.window = window;
globalThis.document = window.document;
const { default: mermaid } = await import("mermaid");

const found = [];
for (const text of JSON.parse(fs.readFileSync(0, "utf8"))) {
  await mermaid.parse(text);
  const { db } = await mermaid.mermaidAPI.getDiagramFromText(text);
  found.push({
    nodes: [...db.getVertices().values()].map(({ id, text, classes }) => ({ id, text, classes })),
    edges: db.getEdges().map(({ start, end, text, stroke }) => ({ start, end, text, stroke })),
    subgraphs: db.getSubGraphs().map(({ title, nodes }) => ({ title, nodes })),
  });
}
process.stdout.write(JSON.stringify(found));
