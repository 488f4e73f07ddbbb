// Charts of signals: lines with their interval, bars, shares, a heat map of drift; incidents and promotions are marked.
import { frame, ink, moment, when } from "./chartframe.js";

let data = { series: {}, marks: [], promotions: [] };
function read() {
  const source = document.getElementById("series-data");
  if (source) data = JSON.parse(source.textContent);
}

const DAY = 86_400_000;
const hues = () => ["--accent", "--k-dataset", "--k-endpoint", "--k-feature", "--bad", "--good", "--soft", "--faint"].map(ink);
const words = (name) => name.replaceAll("_", " ");

// Only what is on the picture: a mark before the first point would stretch the axis.
function reach(names) {
  const at = names.flatMap((name) => (data.series[name] ?? []).map((p) => p[0]));
  return at.length ? [Math.min(...at), Math.max(...at)] : [0, 0];
}

function incidentAreas([first, last], narrow = false) {
  return data.marks
    .map((m) => [Date.parse(m.since), m.until ? Date.parse(m.until) : last, m.name])
    .filter(([since, until]) => until >= first && since <= last)
    .map(([since, until, name]) => [
      { xAxis: Math.max(since, first), name, label: { color: ink("--bad"), fontSize: 11, position: "top", distance: 4, show: !narrow } },
      { xAxis: Math.min(until, last) },
    ]);
}

function marksOf(box, span) {
  const kept = data.promotions.filter(([at]) => at >= span[0] - DAY && at <= span[1]);
  return {
    markArea: { silent: true, itemStyle: { color: ink("--bad"), opacity: 0.12 }, data: incidentAreas(span, box.clientWidth < 520) },
    markLine: {
      silent: true, symbol: "none", lineStyle: { color: ink("--k-model"), type: [4, 3], width: 1.2 },
      label: { color: ink("--k-model"), fontSize: 11, formatter: (p) => p.name, position: "end", rotate: 0, distance: 4 },
      data: [
        ...kept.map(([at, version]) => ({ xAxis: Math.max(at, span[0]), name: `v${version}` })),
        ...(box.dataset.zero ? [{ yAxis: 0, name: "", lineStyle: { color: ink("--faint"), type: "solid", width: 1 } }] : []),
      ],
    },
  };
}

function band(option, name, points) {
  const known = points.filter((p) => p[2] !== null);
  const part = { type: "line", stack: `band-${name}`, stackStrategy: "all", symbol: "none", lineStyle: { opacity: 0 }, silent: true, tooltip: { show: false } };
  option.series.push({ ...part, data: known.map((p) => [p[0], p[2]]) });
  option.series.push({ ...part, data: known.map((p) => [p[0], p[3] - p[2]]), areaStyle: { color: ink("--accent"), opacity: 0.16 } });
}

function line(box) {
  const option = frame();
  option.xAxis.minInterval = DAY;
  const name = box.dataset.names;
  const points = data.series[name] ?? [];
  const share = Boolean(box.dataset.percent);
  const told = (v) => (share ? `${(100 * v).toFixed(1)} %` : v.toFixed(3));
  const banded = box.dataset.band && points.some((p) => p[2] !== null);
  option.series = [];
  if (banded) band(option, name, points);
  if (share) {
    option.yAxis.max = 1;
    option.yAxis.axisLabel.formatter = (v) => `${Math.round(100 * v)} %`;
  }
  option.tooltip.formatter = ([hit]) => {
    const p = points.find((each) => each[0] === hit.value[0]);
    const ends = p && !share && p[2] !== null ? `  [${told(p[2])}, ${told(p[3])}]` : "";
    return p ? `${when(p[0])}\n${told(p[1])}${ends}${p[4] ? `\nn = ${p[4].toLocaleString("en")}` : ""}` : "";
  };
  option.series.push({
    name: words(name), type: "line", symbol: "none", symbolSize: 6, showSymbol: points.length < 3, data: points.map((p) => [p[0], p[1]]),
    lineStyle: { color: ink("--accent"), width: 1.8 }, itemStyle: { color: ink("--accent") }, ...marksOf(box, reach([name])),
  });
  if (points.length < 3) option.series.at(-1).symbol = "circle";
  return option;
}

// Several lines with a legend: the columns of an incident.
function lines(box) {
  const option = frame();
  option.xAxis.minInterval = DAY;
  const names = Object.keys(data.series);
  const colours = hues();
  option.grid.top = 56;
  option.legend = { top: 0, left: 0, itemWidth: 14, itemHeight: 3, icon: "rect", textStyle: { color: ink("--soft"), fontSize: 12 } };
  option.tooltip.valueFormatter = (v) => Number(v).toFixed(3);
  option.series = names.map((name, i) => ({
    name: words(name.replace(/^(strange|drift)\./, "")), type: "line", symbol: "circle", symbolSize: 4, data: data.series[name].map((p) => [p[0], p[1]]),
    lineStyle: { color: colours[i % 8], width: 1.8 }, itemStyle: { color: colours[i % 8] }, ...(i ? {} : marksOf(box, reach(names))),
  }));
  return option;
}

function bars(box) {
  const option = frame();
  option.xAxis.minInterval = DAY;
  const points = data.series[box.dataset.names] ?? [];
  option.yAxis.scale = false;
  option.tooltip.axisPointer = { type: "shadow" };
  option.tooltip.formatter = ([hit]) => `${when(hit.value[0])}\n${hit.value[1].toLocaleString("en")}`;
  option.series = [{ type: "bar", data: points.map((p) => [p[0], p[1]]), itemStyle: { color: ink("--accent"), borderRadius: [2, 2, 0, 0] }, barMaxWidth: 14 }];
  return option;
}

function split() {
  const option = frame();
  option.xAxis.minInterval = DAY;
  const { versions, steps } = data.split;
  const colours = hues();
  const last = Math.max(steps.at(-1)[0], ...Object.values(data.series).flat().map((p) => p[0]));
  const drawn = [...steps, [Math.max(last, steps.at(-1)[0] + DAY), steps.at(-1)[1]]];
  option.grid.top = 34;
  option.legend = { top: 0, left: 0, itemWidth: 10, itemHeight: 10, icon: "roundRect", textStyle: { color: ink("--soft"), fontSize: 12 } };
  option.yAxis = { ...option.yAxis, min: 0, max: 100, interval: 50, axisLabel: { color: ink("--faint"), formatter: "{value} %" } };
  option.tooltip.valueFormatter = (v) => `${v} %`;
  option.series = versions.map((version, i) => ({
    name: `version ${version}`, type: "line", step: "end", stack: "all", symbol: "none", lineStyle: { width: 0 }, itemStyle: { color: colours[i % 8] },
    areaStyle: { color: colours[i % 8], opacity: 0.75 }, data: drawn.map(([at, routes]) => [at, routes[version] ?? 0]),
  }));
  return option;
}

const USUAL = 0.3; // half of all healthy days are below: they are left as ground, which also halves what is drawn
function heat(box) {
  const unusual = (p) => p[2] ?? 0;
  const top = (name) => Math.max(...data.series[name].map(unusual));
  const prefix = box.dataset.prefix;
  const names = Object.keys(data.series).filter((n) => n.startsWith(prefix) && data.series[n].length).sort((a, b) => top(a) - top(b));
  const narrow = box.clientWidth < 520;
  if (narrow) names.splice(0, names.length - 20);
  const stamps = [...new Set(names.flatMap((n) => data.series[n].map((p) => p[0])))].sort((a, b) => a - b);
  const at = new Map(stamps.map((ms, i) => [ms, i]));
  const cells = names.flatMap((n, row) => data.series[n].filter((p) => p[3] || unusual(p) >= USUAL).map((p) => ({
    value: [at.get(p[0]), row, Math.min(unusual(p), 6), p[1]], ...(p[3] ? { itemStyle: { borderColor: ink("--ink"), borderWidth: 1 } } : {}),
  })));
  box.style.height = `${Math.max(160, names.length * 15 + 84)}px`;
  box.chart.resize();
  const option = frame();
  option.grid = { left: narrow ? 150 : 210, right: 16, top: 20, bottom: 62 };
  option.xAxis = { type: "category", data: stamps.map(when), axisLabel: { color: ink("--faint"), fontSize: 11, hideOverlap: true, formatter: (v) => v.slice(0, -5) }, axisTick: { show: false }, axisLine: { lineStyle: { color: ink("--line") } } };
  option.yAxis = { type: "category", data: names.map((n) => words(n.slice(prefix.length))), axisLine: { show: false }, axisTick: { show: false },
    axisLabel: { color: ink("--soft"), fontSize: narrow ? 10 : 11, interval: 0, width: narrow ? 144 : 200, overflow: "truncate" } };
  const told = (p) => `${option.yAxis.data[p.value[1]]}\n${option.xAxis.data[p.value[0]]}\ndrift ${p.value[3].toFixed(3)}, −log₁₀ p ${p.value[2].toFixed(1)}`;
  option.tooltip = { ...option.tooltip, trigger: "item", formatter: told };
  option.visualMap = { min: 0, max: 6, dimension: 2, orient: "horizontal", left: "center", bottom: 0, itemHeight: 110, itemWidth: 10, text: ["very unusual", "usual"],
    inRange: { color: [ink("--panel"), ink("--heat"), ink("--bad")] }, textStyle: { color: ink("--faint"), fontSize: 11 }, hoverLink: false };
  const index = (iso) => stamps.findIndex((ms) => ms >= iso);
  const areas = incidentAreas([stamps[0], stamps.at(-1)]).map(([a, b]) => [{ ...a, xAxis: index(a.xAxis) }, { xAxis: Math.max(index(b.xAxis), index(a.xAxis)) }]);
  option.series = [{ type: "heatmap", data: cells, progressive: 0, progressiveThreshold: 1e6, markArea: { silent: true, itemStyle: { color: "transparent", borderColor: ink("--bad"), borderWidth: 1, borderType: "dashed" }, data: areas } }];
  return option;
}

function live(box) {
  const kept = (box.points ??= []);
  const option = frame();
  const now = kept.at(-1)?.[0] ?? 0;
  option.yAxis.min = 0;
  option.yAxis.scale = false;
  option.xAxis.max = now;
  option.xAxis.min = Math.min(kept[0]?.[0] ?? 0, now - 60_000);
  option.xAxis.axisLabel.formatter = (ms) => new Date(ms).toISOString().slice(11, 19);
  option.tooltip.formatter = ([hit]) => `${moment(hit.value[0])}\n${hit.value[1].toLocaleString("en")} a second`;
  option.series = [{ type: "line", symbol: "circle", symbolSize: 5, showSymbol: kept.length < 3, areaStyle: { color: ink("--accent"), opacity: 0.14 }, lineStyle: { color: ink("--accent"), width: 1.8 }, itemStyle: { color: ink("--accent") }, data: kept }];
  if (!kept.length) {
    option.xAxis.show = option.yAxis.show = false;
    option.graphic = { type: "text", left: "center", top: "middle", style: { text: "Quiet now. Requests are drawn as they arrive.", fill: ink("--faint"), fontSize: 13, fontFamily: ink("--sans") } };
  }
  return option;
}

const kinds = { line, lines, bars, split, heat };
const boxes = () => [...document.querySelectorAll("[data-chart], [data-live]")];
function draw() {
  read();
  for (const box of boxes()) {
    box.chart ??= echarts.init(box, null, { renderer: "canvas" });
    box.chart.setOption(box.dataset.live ? live(box) : kinds[box.dataset.chart](box), { notMerge: true });
  }
}
draw();
addEventListener("resize", () => boxes().forEach((box) => box.chart?.resize()));
addEventListener("themechange", draw);
addEventListener("contentchange", draw);

// -- the live rate --------------------------------------------------------------
let noted = 0;
function push(box, rate) {
  (box.points ??= []).push([Date.now(), Math.round(rate)]);
  if (box.points.length > 300) box.points.shift();
  box.chart.setOption(live(box), { notMerge: true });
}
addEventListener("livenote", ({ detail }) => {
  if (detail.rate === undefined) return;
  noted = Date.now();
  for (const box of document.querySelectorAll("[data-live]")) push(box, detail.rate);
});

// Where nobody tells of the rate, the server's own count of answered rows does, every two seconds.
const quoted = (text) => text.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
let before = null;
async function poll(box) {
  if (document.hidden || Date.now() - noted < 15_000) { before = null; return; }
  const answer = await fetch("/metrics");
  const start = `loopwright_prediction_rows_total{endpoint="${quoted(box.dataset.endpoint)}"} `;
  const found = answer.ok ? (await answer.text()).split("\n").find((text) => text.startsWith(start)) : undefined;
  if (found === undefined) return;
  const now = { at: Date.now(), rows: Number(found.slice(start.length)) };
  const rate = before ? (1000 * (now.rows - before.rows)) / (now.at - before.at) : 0;
  before = now;
  if (rate > 0 || box.points?.at(-1)?.[1]) {
    push(box, rate);
    dispatchEvent(new CustomEvent("rate", { detail: rate }));
  }
}
for (const box of document.querySelectorAll("[data-live][data-endpoint]")) setInterval(() => poll(box).catch(() => { before = null; }), 2000);
