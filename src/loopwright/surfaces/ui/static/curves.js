// Curves of metrics: histories sampled by the server, drawn by uPlot; smoothing, scales and steps or time are the viewer's.
import { ink } from "/static/chartframe.js";
import { measured, moment, number } from "/static/cells.js";

const SAMPLED = 320, SAMPLED_ONE = 1000;
const HISTORY = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval";
const SYNC = "curves";
const isMachine = (key) => key.startsWith("system/");

// Eight hues of the theme, then as many more as there are runs.
const named = ["--accent", "--k-endpoint", "--k-dataset", "--bad", "--k-feature", "--good", "--heat", "--soft"];
const dark = () => { const [r, g, b] = [1, 3, 5].map((i) => parseInt(ink("--bg").slice(i, i + 2), 16)); return r + g + b < 384; };
export const hue = (at) => (at < named.length ? ink(named[at]) : `hsl(${Math.round((at * 137.508) % 360)} 52% ${dark() ? 64 : 42}%)`);

const value = (text) => (typeof text === "number" ? text : { NaN: NaN, Infinity, "-Infinity": -Infinity }[text] ?? Number(text));

// Points of one metric of several runs, by run: [step, milliseconds, value], by step; of some steps alone, more of them.
export async function histories(key, ids, steps = null) {
  const query = new URLSearchParams({ metric_key: key, max_results: String(ids.length === 1 ? SAMPLED_ONE : SAMPLED), ...(steps && { start_step: steps[0], end_step: steps[1] }) });
  for (const id of ids) query.append("run_ids", id);
  const answer = await fetch(`${HISTORY}?${query}`);
  if (!answer.ok) throw new Error("no history");
  const found = new Map(ids.map((id) => [id, []]));
  for (const point of (await answer.json()).metrics ?? []) found.get(point.run_id)?.push([point.step ?? 0, point.timestamp, value(point.value)]);
  return found;
}

// Exponential smoothing without the bias of its beginning; what is no number is left out.
export function smoothed(values, weight) {
  if (!weight) return values;
  let last = 0, mass = 0;
  return values.map((v) => {
    if (v == null || !Number.isFinite(v)) return v;
    last = last * weight + (1 - weight) * v;
    mass = mass * weight + (1 - weight);
    return last / mass;
  });
}

const across = {
  step: (points) => points.map((p) => p[0]),
  time: (points) => points.map((p) => p[1] / 1000),
  since: (points, start = points[0][1]) => points.map((p) => (p[1] - start) / 1000),
};

function laid(points, settings, start) {
  const order = settings.across === "step" ? points : [...points].sort((a, b) => a[1] - b[1]);
  const at = across[settings.across](order, start), kept = new Map();
  order.forEach((point, i) => { if (!settings.logX || at[i] > 0) kept.set(at[i], Number.isFinite(point[2]) && (!settings.logY || point[2] > 0) ? point[2] : null); });
  const xs = [...kept.keys()].sort((a, b) => a - b);
  return [xs, xs.map((x) => kept.get(x))];
}

// Values that differ by less than a millionth are drawn as a line, not as the noise of their last digits.
const ranged = (u, low, high) => {
  if (low === null || high === null) return [0, 1];
  const least = 1e-6 * Math.max(Math.abs(low), Math.abs(high)), middle = (low + high) / 2;
  return high > low && high - low < least ? [middle - least, middle + least] : uPlot.rangeNum(low, high, 0.1, true);
};
// The words of a tick: as many digits as tell it from the next one.
export function tick(key, v, step) {
  const said = measured(key, v), size = Math.abs(v);
  if (!step || said !== number(v) || size >= 1e6 || (size !== 0 && size < 1e-3)) return said;
  const digits = Number(step.toPrecision(3)).toFixed(12).replace(/0+$/, "").split(".")[1].length;
  return v.toLocaleString("en", { maximumFractionDigits: digits });
}
const spent = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);

// One picture: lines of `{ key, id, name, colour }`, of one metric and several runs or of one run and several metrics.
// A stretch that is dragged over is shown alone, by points of its own where the whole was sampled; all pictures of a kind go along.
export class Panel {
  constructor(box, title, lines, settings) {
    Object.assign(this, { box, lines, settings, points: new Map(), fine: null, zoom: null, isSeen: false });
    const machine = isMachine(lines[0]?.key ?? "");
    this.kind = `${SYNC}${machine ? "system" : ""}`;
    const make = (tag, className, given = {}) => Object.assign(document.createElement(tag), { className, ...given });
    const head = make("h3", ""), acts = make("span", "acts");
    this.last = document.createElement("small");
    this.whole = make("button", "way", { type: "button", textContent: "whole", title: "Show all of it again (or press twice on the picture)", hidden: true });
    this.whole.addEventListener("click", () => this.tellZoom(null));
    this.grow = make("button", "way", { type: "button", textContent: "⤢", title: "Larger, or smaller again" });
    this.grow.setAttribute("aria-label", `${title}: larger`);
    this.grow.addEventListener("click", () => this.grow.setAttribute("aria-pressed", String(box.classList.toggle("whole"))));
    acts.append(this.whole, this.last, this.grow);
    head.append(document.createTextNode(title), acts);
    head.title = title;
    this.place = make("div", "plot");
    this.said = make("div", "said", { textContent: "…" });
    this.tip = make("div", "tip", { hidden: true });
    this.place.append(this.said, this.tip);
    this.legend = make("div", "legend", { hidden: new Set(lines.map((line) => line.key)).size < 2 });
    box.classList.add("curve");
    box.append(head, this.legend, this.place);
    box.panel = this;
    new IntersectionObserver((seen) => { this.isSeen = seen.at(-1).isIntersecting; if (this.isSeen && !this.asked) this.load(); else if (this.isSeen && this.zoom && !this.fine) this.zoomTo(this.zoom); }, { rootMargin: "200px" }).observe(box);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
    addEventListener("curvezoom", ({ detail }) => { if (box.isConnected && detail.kind === this.kind && detail.across === this.settings.across) this.zoomTo(detail.zoom); });
  }

  size() { return { width: this.place.clientWidth, height: this.place.clientHeight }; }

  async read(steps = null) {
    const keys = new Map(), points = new Map();
    for (const line of this.lines) keys.set(line.key, [...(keys.get(line.key) ?? []), line]);
    for (const [key, lines] of keys) {
      const found = await histories(key, lines.map((line) => line.id), steps);
      for (const line of lines) points.set(line, found.get(line.id) ?? []);
    }
    return points;
  }

  async load() {
    this.asked = true;
    try {
      this.points = await this.read();
      this.draw();
    } catch { this.asked = Boolean(this.plot); this.say(this.plot ? "" : "The points could not be read."); }
  }

  say(text) { this.said.textContent = text; this.said.hidden = !text; }

  set(settings) {
    if (settings.across !== this.settings.across) { this.zoom = null; this.fine = null; }
    this.settings = settings;
    if (this.asked && this.points.size) this.draw(true);
  }

  // -- a stretch of it -------------------------------------------------------------------------
  tellZoom(zoom) { dispatchEvent(new CustomEvent("curvezoom", { detail: { kind: this.kind, across: this.settings.across, zoom } })); }

  async zoomTo(zoom) {
    this.zoom = zoom;
    this.fine = null;
    if (this.plot) this.draw();
    const steps = zoom && this.isSeen && this.steps(zoom);
    if (!steps) return;
    const points = await this.read(steps).catch(() => null);
    if (points && this.zoom === zoom) { this.fine = points; this.draw(); }
  }

  // The steps of a stretch, where more of them are there than were drawn; null where all are.
  steps([low, high]) {
    const most = this.lines.length === 1 ? SAMPLED_ONE : SAMPLED;
    const sampled = [...this.points.values()].filter((points) => points.length >= most * 0.9);
    if (!sampled.length) return null;
    if (this.settings.across === "step") return [Math.max(0, Math.floor(low)), Math.ceil(high)];
    const at = across[this.settings.across], within = sampled.flatMap((points) => { const xs = at(points); return points.filter((p, i) => xs[i] >= low && xs[i] <= high).map((p) => p[0]); });
    return within.length ? [Math.min(...within), Math.max(...within)] : null;
  }

  // -- drawing -----------------------------------------------------------------------------------
  data() {
    const of = (line) => { const fine = this.fine?.get(line); return fine?.length ? fine : this.points.get(line); };
    const drawn = this.lines.filter((line) => !this.settings.hidden?.has(line.id) && this.points.get(line)?.length);
    const since = (line) => this.points.get(line)[0][1];
    const tables = drawn.map((line) => laid(of(line), this.settings, since(line))).map(([xs, ys]) => (this.settings.smooth ? [xs, ys, smoothed(ys, this.settings.smooth)] : [xs, ys]));
    return [drawn, tables];
  }

  draw(isAnew = false) {
    const [drawn, tables] = this.data();
    const whole = drawn.flatMap((line) => this.points.get(line).slice(-1).map((p) => p[2]));
    this.last.textContent = drawn.length === 1 ? measured(this.lines[0].key, whole[0]) : "";
    this.whole.hidden = !this.zoom;
    this.name(drawn);
    const made = isAnew ? "" : JSON.stringify([this.settings, drawn.map((line) => [line.id, line.key])]), same = this.plot && made && made === this.made;
    if (same && tables.some(([, ys]) => ys.some((y) => y !== null))) { this.drawn = drawn; this.renew(uPlot.join(tables)); return; }
    this.plot?.destroy();
    this.plot = null;
    this.made = JSON.stringify([this.settings, drawn.map((line) => [line.id, line.key])]);
    if (!tables.some(([, ys]) => ys.some((y) => y !== null))) { this.say(drawn.length ? "Nothing to draw on this scale." : "No points."); return; }
    this.say("");
    this.grow.hidden = drawn.length === 1 && tables[0][0].length === 1 && !this.zoom;
    if (this.grow.hidden) { this.say("one point"); this.box.classList.add("one"); return; }
    this.box.classList.remove("one");
    this.drawn = drawn;
    this.plot = new uPlot(this.options(drawn, tables), uPlot.join(tables), this.place);
    if (this.zoom) this.scale(this.plot, this.zoom);
  }

  name(drawn) {
    if (this.legend.hidden) return;
    this.legend.replaceChildren(...drawn.map((line) => { const one = document.createElement("span"), mark = document.createElement("i"); mark.className = "swatch"; mark.style.background = line.colour(); one.append(mark, line.name); return one; }));
  }

  // Other points in the same picture: what is under the pointer, and the stretch that is shown, stay.
  renew(data) {
    this.plot.batch(() => {
      this.plot.setData(data, false);
      this.scale(this.plot, this.zoom ?? [data[0][0], data[0].at(-1)]);
    });
    this.tell(this.plot);
  }

  scale(u, [min, max]) { u.setScale("x", { min, max: max > min ? max : min + 1 }); }

  options(drawn, tables) {
    const { across: over, logX, logY } = this.settings, isSmooth = this.settings.smooth > 0, isTime = over === "time", key = drawn[0].key;
    const single = tables.every(([xs]) => xs.length < 2);
    const series = drawn.flatMap((line) => {
      const one = { label: line.name, stroke: line.colour(), width: 1.6, spanGaps: true, points: { show: single, size: 6 } };
      return isSmooth ? [{ ...one, width: 1, alpha: 0.25 }, one] : [one];
    });
    const axis = { stroke: ink("--faint"), font: `11px ${ink("--sans")}`, grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false } };
    const clock = over === "since" ? { incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14_400, 21_600, 43_200, 86_400, 172_800, 432_000, 864_000] } : {};
    const labels = over === "since" ? (u, all) => all.map((v) => (v === null ? "" : spent(v))) : undefined;
    const same = drawn.every((line) => line.key === key) ? key : "";
    return {
      ...this.size(), legend: { show: false }, padding: [8, 10, 0, 0],
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "UTC"),
      scales: { x: { time: isTime, distr: logX && !isTime ? 3 : 1 }, y: logY ? { distr: 3, range: (u, low, high) => (low > 0 && high > low ? uPlot.rangeLog(low, high, 10, false) : uPlot.rangeLog(low || 1, (high || 1) * 10, 10, true)) } : { distr: 1, range: ranged } },
      cursor: { y: false, points: { size: 6 }, drag: { x: true, y: false, setScale: false }, bind: { dblclick: () => () => { this.tellZoom(null); return null; } },
        sync: { key: `${this.kind}${over}`, setSeries: false, filters: { pub: (type) => type === "mousemove" || type === "mouseleave" } } },
      axes: [{ ...axis, ...clock, grid: { show: false }, size: 28, values: labels, space: 60 },
        { ...axis, size: (u, all) => Math.max(40, 14 + 6.5 * Math.max(0, ...(all ?? []).map((v) => (v ?? "").length))), values: (u, all, axis_, space, step) => all.map((v) => (v === null ? "" : tick(same, v, logY ? 0 : step))) }],
      series: [{}, ...series],
      hooks: { setCursor: [(u) => this.tell(u)], setSelect: [(u) => { if (u.select.width > 4) { const zoom = [u.posToVal(u.select.left, "x"), u.posToVal(u.select.left + u.select.width, "x")]; u.setSelect({ width: 0, height: 0 }, false); this.tellZoom(zoom); } }] },
    };
  }

  // The nearest line under the pointer, and of few lines all of them.
  tell(u) {
    const at = u.cursor.idx, over = u.over.matches(":hover");
    if (at == null || !over || u.cursor.left < 0) { this.tip.hidden = true; return; }
    const step = this.settings.smooth > 0 ? 2 : 1;
    const rows = this.drawn.map((line, i) => {
      const ys = u.data[step * (i + 1)];
      let near = at;
      for (let by = 0; by < 40 && ys[near] == null; by += 1) near = at + (by % 2 ? -1 : 1) * Math.ceil(by / 2);
      return [line, ys[near], step === 2 ? u.data[2 * i + 1][near] : null];
    }).filter(([, y]) => y != null);
    rows.sort((a, b) => Math.abs(u.valToPos(a[1], "y") - u.cursor.top) - Math.abs(u.valToPos(b[1], "y") - u.cursor.top));
    const x = u.data[0][at], said = { step: `step ${number(x)}`, time: `${moment(x * 1000)} UTC`, since: `after ${spent(x)}` }[this.settings.across];
    const line = (text, bold) => { const row = document.createElement("div"); row.append(...(bold ? [Object.assign(document.createElement("b"), { textContent: text })] : [text])); return row; };
    this.tip.replaceChildren(line(said, false), ...rows.slice(0, 5).map(([each, y, raw]) => {
      const row = line(`${each.name}  ${measured(each.key, y)}${raw === null || raw === y ? "" : ` (as it was: ${measured(each.key, raw)})`}`, true), mark = document.createElement("span");
      mark.className = "swatch";
      mark.style.background = each.colour();
      row.prepend(mark);
      return row;
    }));
    this.tip.hidden = false;
    const left = u.cursor.left + 64, far = left + this.tip.offsetWidth + 12 > this.place.clientWidth;
    this.tip.style.left = `${far ? Math.max(0, left - this.tip.offsetWidth - 24) : left}px`;
    this.tip.style.top = `${Math.min(Math.max(0, u.cursor.top), this.place.clientHeight - this.tip.offsetHeight - 6)}px`;
  }
}

// The viewer's settings of all curves on a page, kept.
export const usual = { across: "step", smooth: 0, logX: false, logY: false };
export function settingsKept() { try { return { ...usual, ...JSON.parse(localStorage.getItem("curves") ?? "{}") }; } catch { return { ...usual }; } }

export function tools(place, settings, changed) {
  const make = (label, control) => { const all = document.createElement("label"); all.append(label, control); place.append(all); return control; };
  const choice = document.createElement("select");
  choice.className = "field";
  choice.id = "across";
  for (const [name, said] of [["step", "step"], ["since", "time since start"], ["time", "time"]]) choice.append(new Option(said, name, false, settings.across === name));
  make("over", choice);
  const range = Object.assign(document.createElement("input"), { type: "range", min: "0", max: "0.99", step: "0.01", value: String(settings.smooth), id: "smooth" });
  make("smooth", range);
  const box = (said, name) => make(said, Object.assign(document.createElement("input"), { type: "checkbox", checked: settings[name], id: name }));
  const [x, y] = [box("log x", "logX"), box("log y", "logY")];
  const tell = () => {
    const now = { across: choice.value, smooth: Number(range.value), logX: x.checked, logY: y.checked };
    localStorage.setItem("curves", JSON.stringify(now));
    changed(now);
  };
  for (const each of [choice, x, y]) each.addEventListener("change", tell);
  range.addEventListener("input", tell);
}
