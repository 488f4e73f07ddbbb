// Exploration documents: words, rows and charts of what the server ran; texts of others are only ever set as text.
import { frame, ink, when } from "./chartframe.js";
import { lead } from "./hints.js";

const byId = (id) => document.getElementById(id);
const make = (tag, name = "", text = "") => { const made = document.createElement(tag); if (name) made.className = name; if (text) made.textContent = text; return made; };

// -- words ----------------------------------------------------------------------
const INLINE = /(`[^`]+`|\*\*[^*]+\*\*|\*[^*]+\*)/;
function spoken(place, text) {
  for (const part of text.split(INLINE)) {
    if (part.length > 2 && part.startsWith("`")) place.append(make("code", "", part.slice(1, -1)));
    else if (part.length > 4 && part.startsWith("**")) place.append(make("strong", "", part.slice(2, -2)));
    else if (part.length > 2 && part.startsWith("*") && part.endsWith("*")) place.append(make("em", "", part.slice(1, -1)));
    else if (part) place.append(part);
  }
  return place;
}

function words(source) {
  const place = make("div", "words");
  let open = null; // the paragraph or list that goes on
  for (const line of source.split("\n")) {
    const head = /^(#{1,4})\s+(.*)/.exec(line), item = /^\s*(?:[-*]|(\d+)\.)\s+(.*)/.exec(line);
    if (!line.trim()) open = null;
    else if (head) { place.append(spoken(make(`h${Math.min(head[1].length + 1, 5)}`), head[2])); open = null; }
    else if (item) {
      const tag = item[1] ? "OL" : "UL";
      if (open?.tagName !== tag) place.append(open = make(tag));
      open.append(spoken(make("li"), item[2]));
    } else if (open?.tagName === "P") { open.append(" "); spoken(open, line.trim()); }
    else place.append(open = spoken(make("p"), line.trim()));
  }
  return place;
}

// -- rows -----------------------------------------------------------------------
const shown = (value) => value === null ? "–" : typeof value === "number" ? (Number.isInteger(value) ? value.toLocaleString("en") : Number(value.toPrecision(6)).toLocaleString("en", { maximumFractionDigits: 12 })) : String(value);

function rows(cell) {
  const panel = make("section", "panel"), title = make("div", "title");
  title.append(make("h2", "", cell.name), make("span", "soft small", `${cell.rows.length.toLocaleString("en")} ${cell.rows.length === 1 ? "row" : "rows"}${cell.is_cut ? ", the first of more" : ""}`));
  const code = make("details", "soft small");
  code.append(make("summary", "", "Query"), make("pre", "mono", cell.source));
  panel.append(title, code);
  if (!cell.digest) return panel;
  const scroll = make("div", "scroll result"), table = make("table", "rows"), names = Object.entries(cell.columns);
  scroll.tabIndex = 0; scroll.setAttribute("role", "region"); scroll.setAttribute("aria-label", `Rows of ${cell.name}`);
  const isNumber = names.map(([, kind]) => kind === "int" || kind === "float");
  const head = table.createTHead().insertRow(), body = table.createTBody();
  names.forEach(([name], i) => head.append(make("th", isNumber[i] ? "num" : "", name)));
  for (const row of cell.rows.slice(0, 500)) {
    const line = body.insertRow();
    row.forEach((value, i) => { const at = line.insertCell(); at.textContent = shown(value); at.className = isNumber[i] ? "num" : "nowrap"; });
  }
  scroll.append(table);
  panel.append(scroll);
  if (cell.rows.length > 500) panel.append(make("p", "soft small", "The first 500 are shown."));
  return panel;
}

// -- charts ---------------------------------------------------------------------
const hues = () => ["--accent", "--k-dataset", "--k-endpoint", "--k-feature", "--bad", "--good", "--soft", "--faint"].map(ink);
const axis = (name) => ({ name, nameLocation: "middle", nameGap: 26, nameTextStyle: { color: ink("--soft"), fontSize: 12 } });

function option(chart) {
  const made = frame(), colours = hues();
  made.grid = { left: 58, right: 18, top: chart.series?.length > 1 ? 38 : 18, bottom: 44 };
  made.tooltip.valueFormatter = (value) => (typeof value === "number" ? shown(value) : value);
  if (chart.kind === "histogram") {
    const told = (i) => `${shown(chart.edges[i])} … ${shown(chart.edges[i + 1])}`;
    made.xAxis = { ...made.xAxis, ...axis(chart.x.name), type: "category", data: chart.counts.map((_, i) => shown(Number(((chart.edges[i] + chart.edges[i + 1]) / 2).toPrecision(3)))), axisLabel: { color: ink("--faint"), fontSize: 11, hideOverlap: true } };
    made.yAxis.scale = false;
    made.tooltip.formatter = ([hit]) => `${told(hit.dataIndex)}\n${shown(hit.value)}`;
    made.series = [{ type: "bar", data: chart.counts, barCategoryGap: "8%", itemStyle: { color: colours[0], borderRadius: [2, 2, 0, 0] } }];
    return made;
  }
  const kind = { instant: "time", number: chart.kind === "bar" ? "category" : "value", text: "category" }[chart.x.type];
  if (kind !== "time") made.xAxis.axisLabel = { color: ink("--faint"), fontSize: 11, hideOverlap: true };
  made.xAxis = { ...made.xAxis, ...axis(chart.x.name), type: kind, scale: true, axisLine: { onZero: false, lineStyle: { color: ink("--line") } }, ...(kind === "category" ? { data: chart.x.values.map((value) => (value === null ? "–" : String(value))) } : {}) };
  made.yAxis = { ...made.yAxis, scale: chart.kind !== "bar", axisLine: { show: false } };
  if (chart.series.length === 1) made.yAxis = { ...made.yAxis, ...axis(chart.series[0].name), nameGap: 44 };
  else made.legend = { top: 0, left: 0, itemWidth: 12, itemHeight: 8, textStyle: { color: ink("--soft"), fontSize: 12 } };
  if (chart.kind === "scatter") made.tooltip = { ...made.tooltip, trigger: "item", formatter: (hit) => `${chart.x.name} ${chart.x.type === "instant" ? when(hit.value[0]) : shown(hit.value[0])}\n${hit.seriesName} ${shown(hit.value[1])}` };
  made.series = chart.series.map((series, i) => ({
    name: series.name, type: chart.kind, symbol: "circle", symbolSize: chart.kind === "scatter" ? 5 : 4, showSymbol: chart.kind === "scatter" || series.values.length < 40,
    data: kind === "category" ? series.values : series.values.map((value, at) => [chart.x.values[at], value]), barMaxWidth: 34,
    lineStyle: { color: colours[i % 8], width: 1.8 }, itemStyle: { color: colours[i % 8], opacity: chart.kind === "scatter" ? 0.6 : 1, borderRadius: chart.kind === "bar" ? [2, 2, 0, 0] : 0 },
  }));
  return made;
}

const drawn = [];
function picture(cell) {
  const panel = make("section", "panel"), box = make("div", "picture");
  if (cell.chart?.title) panel.append(make("h2", "", cell.chart.title));
  if (!cell.chart) return make("div");
  box.setAttribute("role", "img");
  box.setAttribute("aria-label", `${cell.chart.kind} chart of ${cell.chart.of}${cell.chart.title ? `: ${cell.chart.title}` : ""}`);
  panel.append(box);
  drawn.push([box, cell.chart]);
  return panel;
}
function draw() {
  for (const [box, chart] of drawn) {
    box.chart ??= echarts.init(box, null, { renderer: "canvas" });
    box.chart.setOption(option(chart), { notMerge: true });
  }
}

const KINDS = { text: (cell) => words(cell.source), sql: rows, chart: picture };
function show(explored) {
  drawn.splice(0).forEach(([box]) => box.chart?.dispose());
  byId("document").replaceChildren(...explored.cells.filter((cell) => cell.kind !== "text" || cell.source.trim()).map((cell) => KINDS[cell.kind](cell)));
  draw();
}

// -- asking ---------------------------------------------------------------------
function say(text, tone = "") { const place = byId("said"); place.textContent = text; place.classList.toggle("bad", tone === "bad"); place.classList.toggle("good", tone === "good"); if (tone === "bad") lead(place); }
async function asked(at, body, type = "text/markdown") {
  const answer = await fetch(at, { method: "POST", headers: { "content-type": type }, body });
  const told = await answer.json().catch(() => ({}));
  if (answer.ok) return told;
  const error = told.error ?? told;
  throw new Error([error.message ?? "The server refused it.", error.hint].filter(Boolean).join(": "));
}
async function during(button, work) {
  button.disabled = true;
  try { await work(); } catch (error) { say(error.message, "bad"); } finally { button.disabled = false; }
}

byId("editor")?.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = byId("text").value, name = byId("name").value.trim(), isSave = event.submitter?.value === "save";
  during(event.submitter, async () => {
    if (isSave && !name) { byId("name").focus(); throw new Error("A document is saved under a name."); }
    say("Running …");
    if (isSave) {
      const made = await asked(`/api/v1/explorations/${encodeURIComponent(name)}`, text);
      location.assign(`/explorations/${encodeURIComponent(made.name)}?version=${made.number}`);
      return;
    }
    const explored = await asked("/api/v1/exploration-runs", text);
    show(explored);
    say(`Read ${Object.values(explored.pins).map((pin) => pin.address).join(", ") || "nothing"}.`);
  });
});
byId("rerun")?.addEventListener("click", (event) => during(event.target, async () => {
  say("Running …");
  const found = await asked(event.target.dataset.at, JSON.stringify({ version: event.target.dataset.version }), "application/json");
  const renewed = found.renewed.length ? ` Rows were erased from ${found.renewed.join(", ")} since.` : "";
  if (found.outcome === "same") say(`The same: every query gives the very rows it gave.${renewed}`, "good");
  else { show(found.explored); say(`Different: ${found.changed.join(", ")} gives other rows now, shown below.${renewed}`, "bad"); }
}));
const kept = byId("explored");
if (kept) addEventListener("DOMContentLoaded", () => show(JSON.parse(kept.textContent)));
addEventListener("resize", () => drawn.forEach(([box]) => box.chart?.resize()));
addEventListener("themechange", draw);
