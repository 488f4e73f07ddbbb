// The lineage graph: positions come from the server, so that a large graph costs the browser nothing to lay out.
const box = document.getElementById("graph");
const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const runs = new Set(["training", "trial", "evaluation", "retraining", "rollout", "incident", "replay", "ingestion", "run"]);
const READABLE = 0.78;

const family = (kind) => (runs.has(kind) ? "run" : kind.startsWith("feature") ? "feature" : ["dataset", "model", "endpoint"].includes(kind) ? kind : "other");
const short = (text, most) => (text.length > most ? `${text.slice(0, most - 8)}…${text.slice(-7)}` : text);
const plural = (kind) => `${kind.replaceAll("_", " ")}s`;

function label(node) {
  if (node.id.startsWith("fold:")) return `${node.label.split(" ")[0]} ${plural(node.kind)}\n${node.detail.length > 26 ? `${node.detail.slice(0, 25)}…` : node.detail}`;
  return `${short(node.label, 26)}\n${node.kind.replaceAll("_", " ")}`;
}

function address(id) {
  if (id.startsWith("fold:")) return "?all=1";
  return id.startsWith("run:") ? `/runs/${id.slice(4)}` : `/versions/${encodeURIComponent(id)}`;
}

function styles() {
  const sorts = ["dataset", "feature", "run", "model", "endpoint", "other"];
  return [
    { selector: "node", style: { shape: "round-rectangle", "corner-radius": 7, width: 196, height: 44, "background-color": ink("--panel"), "border-width": 1.2, label: "data(label)",
      "text-wrap": "wrap", "text-max-width": 188, "text-valign": "center", "font-size": 12, "font-family": ink("--sans"), color: ink("--ink"), "line-height": 1.3 } },
    ...sorts.map((sort) => ({ selector: `node[family = "${sort}"]`, style: { "border-color": ink(`--k-${sort}`), "background-color": ink(`--k-${sort}-soft`) } })),
    { selector: 'node[family = "run"]', style: { "corner-radius": 22 } },
    { selector: "node.folded", style: { "border-style": "dashed" } },
    { selector: "node.focus", style: { "border-width": 3, "font-weight": 700 } },
    { selector: "node.chosen", style: { "outline-color": ink("--accent"), "outline-width": 2.5, "outline-offset": 2.5 } },
    { selector: "edge", style: { width: 1.3, "line-color": ink("--edge"), "target-arrow-color": ink("--edge"), "target-arrow-shape": "triangle", "arrow-scale": 0.9,
      "curve-style": "round-taxi", "taxi-direction": "rightward", "taxi-turn": -30, "taxi-radius": 8, "source-endpoint": "90deg", "target-endpoint": "270deg" } },
    { selector: "edge.near", style: { width: 2, "line-color": ink("--accent"), "target-arrow-color": ink("--accent"), "z-index": 9 } },
  ];
}

function show(graph) {
  graph.resize();
  graph.fit(undefined, 20);
  if (graph.zoom() > 1.05) { graph.zoom(1.05); graph.center(); }
  if (graph.zoom() < READABLE) { graph.zoom(READABLE); graph.center(graph.nodes(".focus")); fill(graph); }
}

// A graph larger than its frame leaves no side of the frame empty; a smaller one stands in the middle.
function fill(graph) {
  const at = graph.elements().renderedBoundingBox(), edge = 20;
  const shift = (low, high, size) => (high - low <= size - 2 * edge ? (size - low - high) / 2 : low > edge ? edge - low : high < size - edge ? size - edge - high : 0);
  graph.panBy({ x: shift(at.x1, at.x2, box.clientWidth), y: shift(at.y1, at.y2, box.clientHeight) });
}

function choose(graph, node) {
  graph.nodes().removeClass("chosen");
  graph.edges().removeClass("near");
  if (!node) return;
  node.addClass("chosen").connectedEdges().addClass("near");
  document.getElementById("graph-said").textContent = node.data("told");
}

// The nearest node in the direction of an arrow key: along the direction counts once, across it twice.
function neighbour(graph, from, [across, down]) {
  const at = from.position();
  const ahead = graph.nodes().map((node) => {
    const dx = node.position().x - at.x, dy = node.position().y - at.y;
    return [node, across ? dx * across : dy * down, across ? Math.abs(dy) : Math.abs(dx)];
  }).filter(([, along]) => along > 1);
  return ahead.sort((a, b) => a[1] + 2 * a[2] - (b[1] + 2 * b[2]))[0]?.[0] ?? from;
}

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
function key(graph, event) {
  const zoom = { "+": "in", "=": "in", "-": "out", 0: "fit" }[event.key];
  const chosen = graph.nodes(".chosen")[0] ?? graph.nodes(".focus")[0] ?? graph.nodes()[0];
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (zoom) scale(graph, zoom);
  else if (arrows[event.key]) {
    const next = neighbour(graph, chosen, arrows[event.key]);
    choose(graph, next);
    const seen = next.renderedBoundingBox();
    if (seen.x1 < 0 || seen.y1 < 0 || seen.x2 > box.clientWidth || seen.y2 > box.clientHeight) graph.center(next);
  } else if (event.key === "Enter") location.href = address(chosen.id());
  else return;
  event.preventDefault();
}

function scale(graph, way) {
  if (way === "fit") graph.fit(undefined, 20);
  else graph.zoom({ level: graph.zoom() * (way === "in" ? 1.25 : 0.8), renderedPosition: { x: box.clientWidth / 2, y: box.clientHeight / 2 } });
}

function make() {
  const data = JSON.parse(document.getElementById("lineage-data").textContent);
  const graph = cytoscape({
    container: box,
    layout: { name: "preset" },
    minZoom: 0.15, maxZoom: 2, userZoomingEnabled: false, boxSelectionEnabled: false, autoungrabify: true, autounselectify: true,
    elements: [
      ...data.nodes.map((n) => ({ data: { id: n.id, label: label(n), family: family(n.kind), told: `${n.kind.replaceAll("_", " ")} ${n.label} ${n.detail}` }, position: { x: n.x, y: n.y },
        classes: `${n.id === data.focus ? "focus" : ""} ${n.id.startsWith("fold:") ? "folded" : ""}` })),
      ...data.edges.map((e, i) => ({ data: { id: `e${i}`, source: e.source, target: e.target } })),
    ],
    style: styles(),
  });
  show(graph);
  graph.on("tap", "node", (event) => { location.href = address(event.target.id()); });
  graph.on("mouseover", "node", (event) => { choose(graph, event.target); box.classList.add("over"); });
  graph.on("mouseout", "node", () => { choose(graph, null); box.classList.remove("over"); });
  box.addEventListener("keydown", (event) => key(graph, event));
  box.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    scale(graph, event.deltaY < 0 ? "in" : "out");
  }, { passive: false });
  for (const button of document.querySelectorAll("[data-zoom]")) button.addEventListener("click", () => scale(graph, button.dataset.zoom));
  addEventListener("resize", () => show(graph));
  addEventListener("themechange", () => graph.style(styles()));
  box.graph = graph;
}
if (box) make();
