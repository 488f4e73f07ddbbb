// The lineage graph: positions come from the server, so that a large graph costs the browser nothing to lay out.
const box = document.getElementById("graph");
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function draw() {
  const data = JSON.parse(document.getElementById("lineage-data").textContent);
  const runs = new Set(["training", "trial", "evaluation", "retraining", "rollout", "incident", "replay", "ingestion"]);
  const shape = (kind) => (runs.has(kind) ? "ellipse" : "round-rectangle");
  const graph = cytoscape({
    container: box,
    layout: { name: "preset" },
    minZoom: 0.15, maxZoom: 2, userZoomingEnabled: true, boxSelectionEnabled: false, autoungrabify: true,
    elements: [
      ...data.nodes.map((n) => ({ data: { id: n.id, label: n.label, kind: n.kind, shape: shape(n.kind) }, position: { x: n.x, y: n.y }, classes: n.id === data.focus ? "focus" : "" })),
      ...data.edges.map((e, i) => ({ data: { id: `e${i}`, source: e.source, target: e.target } })),
    ],
    style: [
      { selector: "node", style: { shape: "data(shape)", width: 150, height: 38, "background-color": ink("--panel"), "border-width": 1, "border-color": ink("--line"),
        label: (n) => `${n.data("label")}\n${n.data("kind").replaceAll("_", " ")}`, "text-wrap": "wrap", "text-max-width": 142, "text-valign": "center",
        "font-size": 10, "font-family": ink("--sans"), color: ink("--ink"), "line-height": 1.25 } },
      { selector: "node.focus", style: { "border-color": ink("--accent"), "border-width": 2, "background-color": ink("--accent-soft") } },
      { selector: "edge", style: { width: 1.2, "line-color": ink("--faint"), "target-arrow-color": ink("--faint"), "target-arrow-shape": "triangle", "arrow-scale": 0.8, "curve-style": "bezier" } },
    ],
  });
  graph.fit(undefined, 24);
  if (graph.zoom() > 1.1) { graph.zoom(1.1); graph.center(); }
  graph.on("tap", "node", (event) => {
    const id = event.target.id();
    location.href = id.startsWith("run:") ? `/runs/${id.slice(4)}` : `/versions/${encodeURIComponent(id)}`;
  });
}
if (box) { draw(); addEventListener("themechange", draw); }
