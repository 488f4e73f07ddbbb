// Curves of metrics: histories sampled by the server, drawn by uPlot; smoothing, scales and steps or time are the viewer's.
import { ink } from "/static/chartframe.js";
import { moment, number } from "/static/cells.js";

const SAMPLED = 320, SAMPLED_ONE = 1000;
const HISTORY = "/ajax-api/2.0/mlflow/metrics/get-history-bulk-interval";
const SYNC = "curves";

// Eight hues of the theme, then as many more as there are runs.
const named = ["--accent", "--k-endpoint", "--k-dataset", "--bad", "--k-feature", "--good", "--heat", "--soft"];
const dark = () => { const [r, g, b] = [1, 3, 5].map((i) => parseInt(ink("--bg").slice(i, i + 2), 16)); return r + g + b < 384; };
export const hue = (at) => (at < named.length ? ink(named[at]) : `hsl(${Math.round((at * 137.508) % 360)} 52% ${dark() ? 64 : 42}%)`);

const value = (text) => (typeof text === "number" ? text : { NaN: NaN, Infinity, "-Infinity": -Infinity }[text] ?? Number(text));

// Points of one metric of several runs, by run: [step, milliseconds, value], by step.
export async function histories(key, ids) {
  const query = new URLSearchParams({ metric_key: key, max_results: String(ids.length === 1 ? SAMPLED_ONE : SAMPLED) });
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
  since: (points) => points.map((p) => (p[1] - points[0][1]) / 1000),
};

function laid(points, settings) {
  const order = settings.across === "step" ? points : [...points].sort((a, b) => a[1] - b[1]);
  const at = across[settings.across](order), kept = new Map();
  order.forEach((point, i) => { if (!settings.logX || at[i] > 0) kept.set(at[i], Number.isFinite(point[2]) && (!settings.logY || point[2] > 0) ? point[2] : null); });
  const xs = [...kept.keys()].sort((a, b) => a - b);
  return [xs, xs.map((x) => kept.get(x))];
}

const spent = (s) => (s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);

// One picture: lines of `{ key, id, name, colour }`, of one metric and several runs or of one run and several metrics.
export class Panel {
  constructor(box, title, lines, settings) {
    Object.assign(this, { box, lines, settings, points: new Map(), isSeen: false });
    const head = document.createElement("h3"), small = document.createElement("small");
    head.append(document.createTextNode(title), small);
    this.last = small;
    this.place = document.createElement("div");
    this.place.className = "plot";
    this.said = document.createElement("div");
    this.said.className = "said";
    this.said.textContent = "…";
    this.tip = document.createElement("div");
    this.tip.className = "tip";
    this.tip.hidden = true;
    this.place.append(this.said, this.tip);
    box.classList.add("curve");
    box.append(head, this.place);
    box.panel = this;
    new IntersectionObserver((seen) => { this.isSeen = seen.at(-1).isIntersecting; if (this.isSeen && !this.asked) this.load(); }, { rootMargin: "200px" }).observe(box);
    new ResizeObserver(() => this.plot?.setSize(this.size())).observe(this.place);
  }

  size() { return { width: this.place.clientWidth, height: this.place.clientHeight }; }

  async load() {
    this.asked = true;
    try {
      const keys = new Map();
      for (const line of this.lines) keys.set(line.key, [...(keys.get(line.key) ?? []), line]);
      for (const [key, lines] of keys) {
        const found = await histories(key, lines.map((line) => line.id));
        for (const line of lines) this.points.set(line, found.get(line.id) ?? []);
      }
      this.draw();
    } catch { this.asked = Boolean(this.plot); this.say(this.plot ? "" : "The points could not be read."); }
  }

  say(text) { this.said.textContent = text; this.said.hidden = !text; }

  set(settings) { this.settings = settings; if (this.asked && this.points.size) this.draw(); }

  data() {
    const drawn = this.lines.filter((line) => !this.settings.hidden?.has(line.id) && this.points.get(line)?.length);
    const tables = drawn.map((line) => laid(this.points.get(line), this.settings)).map(([xs, ys]) => (this.settings.smooth ? [xs, ys, smoothed(ys, this.settings.smooth)] : [xs, ys]));
    return [drawn, tables];
  }

  draw() {
    const [drawn, tables] = this.data();
    const whole = drawn.flatMap((line) => this.points.get(line).slice(-1).map((p) => p[2]));
    this.last.textContent = drawn.length === 1 ? number(whole[0]) : "";
    this.plot?.destroy();
    this.plot = null;
    if (!tables.some(([, ys]) => ys.some((y) => y !== null))) { this.say(drawn.length ? "Nothing to draw on this scale." : "No points."); return; }
    this.say("");
    if (drawn.length === 1 && tables[0][0].length === 1) { this.say("one point"); this.box.classList.add("one"); return; }
    this.box.classList.remove("one");
    const single = tables.every(([xs]) => xs.length < 2), isSmooth = this.settings.smooth > 0;
    const series = drawn.flatMap((line) => {
      const one = { label: line.name, stroke: line.colour(), width: 1.6, spanGaps: true, points: { show: single, size: 6 } };
      return isSmooth ? [{ ...one, width: 1, alpha: 0.25 }, one] : [one];
    });
    const axis = { stroke: ink("--faint"), font: `11px ${ink("--sans")}`, grid: { stroke: ink("--line"), width: 1 }, ticks: { show: false } };
    const labels = this.settings.across === "since" ? (u, all) => all.map((v) => (v === null ? "" : spent(v))) : undefined;
    const isTime = this.settings.across === "time";
    this.drawn = drawn;
    this.plot = new uPlot({
      ...this.size(), legend: { show: false }, padding: [8, 10, 0, 0],
      tzDate: (ts) => uPlot.tzDate(new Date(ts * 1000), "UTC"),
      scales: { x: { time: isTime, distr: this.settings.logX && !isTime ? 3 : 1 }, y: this.settings.logY ? { distr: 3, range: (u, low, high) => (low > 0 && high > low ? uPlot.rangeLog(low, high, 10, false) : uPlot.rangeLog(low || 1, (high || 1) * 10, 10, true)) } : { distr: 1 } },
      cursor: { sync: { key: `${SYNC}${this.settings.across}`, setSeries: false }, points: { size: 6 }, drag: { x: true, y: false } },
      axes: [{ ...axis, grid: { show: false }, size: 28, values: labels, space: 60 }, { ...axis, size: 52, values: (u, all) => all.map((v) => (v === null ? "" : number(v))) }],
      series: [{}, ...series],
      hooks: { setCursor: [(u) => this.tell(u)] },
    }, uPlot.join(tables), this.place);
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
      return [line, ys[near]];
    }).filter(([, y]) => y != null);
    rows.sort((a, b) => Math.abs(u.valToPos(a[1], "y") - u.cursor.top) - Math.abs(u.valToPos(b[1], "y") - u.cursor.top));
    const x = u.data[0][at], said = { step: `step ${number(x)}`, time: `${moment(x * 1000)} UTC`, since: `after ${spent(x)}` }[this.settings.across];
    const line = (text, bold) => { const row = document.createElement("div"); row.append(...(bold ? [Object.assign(document.createElement("b"), { textContent: text })] : [text])); return row; };
    this.tip.replaceChildren(line(said, false), ...rows.slice(0, 5).map(([each, y]) => {
      const row = line(`${each.name}  ${number(y)}`, true), mark = document.createElement("span");
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
