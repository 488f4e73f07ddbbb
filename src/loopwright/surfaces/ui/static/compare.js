// Several runs side by side: what they were given, what came of it, their curves, any value against any other.
import { html, render, useEffect, useMemo, useRef, useState } from "/static/vendor/htm/preact-standalone.module.js";
import { isLowBetter, number, param, tone } from "/static/cells.js";
import { frame, ink } from "/static/chartframe.js";
import { Panel, hue, settingsKept, tools } from "/static/curves.js";

const told = JSON.parse(document.getElementById("compare-data").textContent);
const runs = told.runs.map((run, at) => ({ ...run, at, colour: () => hue(at) }));
const every = (part) => [...new Set(runs.flatMap((run) => Object.keys(run[part])))].sort();
const isMachine = (key) => key.startsWith("system/"), last = (is) => (a, b) => is(a) - is(b);
const params = every("params"), metrics = every("metrics").sort(last(isMachine)), tags = every("tags"), facts = ["experiment", "started", "took", "by", "commit", "digest of changes", "command", "data"].filter((key) => runs.some((run) => key in run.facts));
const stepped = new Set(told.stepped), curved = [...metrics].sort(last((key) => !stepped.has(key))).sort(last(isMachine));
const differs = (part, key) => new Set(runs.map((run) => run[part][key] ?? null)).size > 1;
const MOST_ROWS = 400;

// What somebody looks at is kept in the address, so that a link shows the same.
const asked = new URLSearchParams(location.search);
function note(name, values) {
  const address = new URL(location.href);
  address.searchParams.delete(name);
  for (const each of [values].flat()) if (each !== "" && each != null) address.searchParams.append(name, each);
  history.replaceState(null, "", address);
}

const Swatch = ({ run }) => { const place = useRef(); useEffect(() => { const paint = () => { place.current.style.background = run.colour(); }; paint(); addEventListener("themechange", paint); return () => removeEventListener("themechange", paint); }, [run.id]); return html`<i class="swatch" ref=${place}></i>`; };

function Heads({ hidden, hide }) {
  const without = (id) => `/compare?${runs.filter((run) => run.id !== id).map((run) => `run=${encodeURIComponent(run.id)}`).join("&")}`;
  return html`<section class="panel"><div class="runs-of">${runs.map((run) => html`<span key=${run.id}><label><input type="checkbox" aria-label=${`Draw ${run.name}`} checked=${!hidden.has(run.id)} onChange=${() => hide(run.id)} /> <${Swatch} run=${run} /></label><a href=${`/runs/${encodeURIComponent(run.id)}`} title=${run.told}>${run.name}</a> <span class=${`pill ${tone(run.state)}`}>${run.state}</span><a class="faint" href=${without(run.id)} aria-label=${`Leave ${run.name} out`}> ×</a></span>`)}</div></section>`;
}

function Side({ title, part, keys, hidden, best }) {
  const [onlyDiffering, flip] = useState(asked.get("same") !== "1"), [text, type] = useState("");
  const shown = runs.filter((run) => !hidden.has(run.id));
  const differing = useMemo(() => keys.filter((key) => differs(part, key)), []);
  const found = (onlyDiffering ? differing : keys).filter((key) => key.toLowerCase().includes(text.toLowerCase()));
  if (!keys.length) return null;
  return html`<section class="panel" id=${part}><div class="title"><h2>${title}</h2><div class="picks"><label><input type="checkbox" id=${`${part}-differing`} checked=${onlyDiffering} onChange=${() => { note("same", onlyDiffering ? "1" : ""); flip(!onlyDiffering); }} /> only what differs</label><span>${differing.length} of ${keys.length} differ</span>${keys.length > 12 && html`<input class="field" type="search" placeholder="Name holds…" aria-label=${`Find in ${title}`} value=${text} onInput=${(e) => type(e.target.value)} />`}</div></div>
    ${found.length ? html`<div class="scroll side-box" tabindex="0" role="region" aria-label=${title}><table class="side"><thead><tr><th>Name</th>${shown.map((run) => html`<th key=${run.id} class=${best ? "num" : ""}><span class="of"><${Swatch} run=${run} /><a href=${`/runs/${encodeURIComponent(run.id)}`} title=${run.told}>${run.name}</a></span></th>`)}</tr></thead><tbody>${found.slice(0, MOST_ROWS).map((key) => html`<${Line} key=${key} part=${part} name=${key} shown=${shown} best=${best} />`)}</tbody></table></div>${found.length > MOST_ROWS && html`<p class="small faint">${found.length - MOST_ROWS} more: write a part of the name</p>`}` : html`<p class="soft">${onlyDiffering ? "Nothing differs." : "None of this name."}</p>`}</section>`;
}

const ways = { low: "↓ less is better", high: "↑ more is better", none: "– no best" };
const waysKept = () => { try { return JSON.parse(localStorage.getItem("ways") ?? "{}"); } catch { return {}; } };
function Line({ part, name, shown, best }) {
  const [way, turn] = useState(() => waysKept()[name] ?? { true: "low", false: "high", null: "none" }[isLowBetter(name)]);
  const values = shown.map((run) => run[part][name]);
  const numbers = best ? values.filter((v) => typeof v === "number") : [];
  const top = numbers.length > 1 && way !== "none" ? (way === "low" ? Math.min(...numbers) : Math.max(...numbers)) : null;
  const next = () => { const to = { high: "low", low: "none", none: "high" }[way]; localStorage.setItem("ways", JSON.stringify({ ...waysKept(), [name]: to })); turn(to); };
  return html`<tr class=${differs(part, name) ? "" : "same"}><th scope="row">${name}${best && html`<button type="button" class="way" title=${ways[way]} aria-label=${`${name}: ${ways[way]}`} onClick=${next}>${ways[way][0]}</button>`}</th>${values.map((v, i) => html`<td key=${shown[i].id} title=${v ?? ""} class=${`${best ? "num" : "mono"} ${top !== null && v === top ? "best" : ""}`}>${v === undefined ? html`<span class="faint">–</span>` : best ? number(v) : param(v)}</td>`)}</tr>`;
}

function Curves({ hidden }) {
  const place = useRef(), bar = useRef(), panels = useRef(new Map()), settings = useRef(settingsKept());
  const [keys, choose] = useState(() => { const own = asked.getAll("key").filter((key) => metrics.includes(key)); return own.length ? own : curved.filter((key) => !isMachine(key) && (stepped.has(key) || !stepped.size)).slice(0, 6); });
  const apply = () => { for (const panel of panels.current.values()) panel.set({ ...settings.current, hidden }); };
  useEffect(() => { tools(bar.current, settings.current, (now) => { settings.current = now; dispatchEvent(new CustomEvent("curvesettings")); }); }, []);
  useEffect(() => { addEventListener("themechange", apply); addEventListener("curvesettings", apply); apply(); return () => { removeEventListener("themechange", apply); removeEventListener("curvesettings", apply); }; }, [hidden]);
  useEffect(() => {
    for (const [key, panel] of panels.current) if (!keys.includes(key)) { panel.box.remove(); panels.current.delete(key); }
    for (const key of keys) if (!panels.current.has(key)) {
      const box = document.createElement("div");
      place.current.append(box);
      panels.current.set(key, new Panel(box, key, runs.filter((run) => key in run.metrics).map((run) => ({ key, id: run.id, name: run.name, colour: run.colour })), { ...settings.current, hidden }));
    }
  }, [keys]);
  useEffect(() => { const tick = setInterval(() => { if (!document.hidden && runs.some((run) => run.state === "running")) for (const panel of panels.current.values()) if (panel.isSeen && panel.asked) panel.load(); }, 4000); return () => clearInterval(tick); }, []);
  const flip = (key) => { const next = keys.includes(key) ? keys.filter((each) => each !== key) : [...keys, key]; note("key", next); choose(next); };
  if (!metrics.length) return null;
  return html`<section class="panel" id="curves"><div class="title"><h2>Curves</h2><div class="curve-tools" ref=${bar}></div></div>
    <div class="keys-of">${curved.slice(0, 200).map((key) => html`<button key=${key} type="button" class="chip" aria-pressed=${keys.includes(key)} onClick=${() => flip(key)}>${key}</button>`)}</div><div class="panels" ref=${place}></div></section>`;
}

// -- any value against any other -------------------------------------------------------------------------
const values = [...metrics.map((key) => `metrics.${key}`), ...params.map((key) => `params.${key}`)];
const valueOf = (run, name) => { const at = name.indexOf("."), v = run[name.slice(0, at)]?.[name.slice(at + 1)]; return v === undefined || typeof v === "number" ? v : v !== "" && Number.isFinite(Number(v)) ? Number(v) : v; };
const isText = (name) => runs.some((run) => typeof valueOf(run, name) === "string");
const levels = (name) => [...new Set(runs.map((run) => valueOf(run, name)).filter((v) => v !== undefined).map(String))].sort();
const bare = (name) => name.slice(name.indexOf(".") + 1);

function Chart({ option, label, isLow }) {
  const place = useRef(), chart = useRef();
  useEffect(() => {
    chart.current = echarts.init(place.current, null, { renderer: "canvas" });
    const size = new ResizeObserver(() => chart.current.resize());
    size.observe(place.current);
    return () => { size.disconnect(); chart.current.dispose(); };
  }, []);
  useEffect(() => { const draw = () => chart.current.setOption(option(), { notMerge: true }); draw(); addEventListener("themechange", draw); return () => removeEventListener("themechange", draw); });
  return html`<div class=${`chart ${isLow ? "low" : ""}`} ref=${place} role="img" aria-label=${label}></div>`;
}

function Pick({ id, said, value, set, every: all = values }) {
  return html`<label>${said} <select class="field" id=${id} value=${value} onChange=${(e) => set(e.target.value)}>${all.map((name) => html`<option key=${name} value=${name}>${name}</option>`)}</select></label>`;
}

// What tells most runs apart; and whether numbers are so far apart that a scale of their own size hides most.
const telling = (names) => names.map((name) => [new Set(runs.map((run) => valueOf(run, name))).size, name]).sort((a, b) => b[0] - a[0])[0]?.[1];
const isWide = (name) => { if (!name || isText(name)) return false; const found = runs.map((run) => valueOf(run, name)).filter((v) => v !== undefined); return found.length > 1 && Math.min(...found) > 0 && Math.max(...found) / Math.min(...found) >= 100; };

function Scatter({ hidden }) {
  const usual = values.filter((name) => differs(...[name.slice(0, name.indexOf(".")), bare(name)]));
  const [x, setX] = useState(values.includes(asked.get("x")) ? asked.get("x") : telling(usual.filter((n) => n.startsWith("params.") && !isText(n))) ?? usual[0] ?? values[0]);
  const [y, setY] = useState(values.includes(asked.get("y")) ? asked.get("y") : usual.find((n) => n.startsWith("metrics.")) ?? values[0]);
  const [log, setLog] = useState(asked.get("log"));
  const isLog = log ? log === "1" : isWide(x);
  if (values.length < 2) return null;
  const option = () => {
    const made = frame();
    const axis = (name, place) => ({ ...made.yAxis, splitNumber: 5, type: isText(name) ? "category" : isLog && place === "x" ? "log" : "value", data: isText(name) ? levels(name) : undefined, name: bare(name), nameLocation: "middle", nameGap: place === "x" ? 28 : 46, nameTextStyle: { color: ink("--soft") }, splitLine: { lineStyle: { color: ink("--line") } } });
    const points = runs.filter((run) => !hidden.has(run.id)).map((run) => [run, valueOf(run, x), valueOf(run, y)]).filter(([, a, b]) => a !== undefined && b !== undefined && !(isLog && !isText(x) && a <= 0));
    return { ...made, grid: { left: 64, right: 24, top: 16, bottom: 48 }, xAxis: axis(x, "x"), yAxis: axis(y, "y"),
      tooltip: { ...made.tooltip, trigger: "item", formatter: (p) => `${p.data.run}\n${bare(x)} ${number(p.value[0])}\n${bare(y)} ${number(p.value[1])}` },
      series: [{ type: "scatter", symbolSize: 10, data: points.map(([run, a, b]) => ({ value: [isText(x) ? String(a) : a, isText(y) ? String(b) : b], run: run.name, itemStyle: { color: run.colour(), opacity: 0.85 } })) }] };
  };
  const keep = (name, set) => (value) => { note(name, value); set(value); };
  return html`<section class="panel" id="scatter"><h2>One against another</h2><div class="picks"><${Pick} id="scatter-x" said="across" value=${x} set=${keep("x", setX)} /><${Pick} id="scatter-y" said="up" value=${y} set=${keep("y", setY)} /><label><input type="checkbox" checked=${isLog} onChange=${() => { const to = isLog ? "0" : "1"; note("log", to); setLog(to); }} /> log</label></div><${Chart} option=${option} label=${`${y} against ${x}`} /></section>`;
}

function Parallel({ hidden }) {
  const usual = () => { const own = asked.getAll("axis").filter((name) => values.includes(name)); if (own.length) return own; const differing = values.filter((name) => differs(name.slice(0, name.indexOf(".")), bare(name)) && !name.startsWith("metrics.system/")); return [...differing.filter((n) => n.startsWith("params.")).slice(0, 5), ...differing.filter((n) => n.startsWith("metrics.")).slice(0, 3)]; };
  const [axes, choose] = useState(usual), [by, colour] = useState(asked.get("by") ?? "");
  if (values.length < 2) return null;
  const end = by && axes.includes(by) ? by : axes.at(-1);
  const option = () => {
    const made = frame(), shown = runs.filter((run) => !hidden.has(run.id));
    const numbers = shown.map((run) => valueOf(run, end)).filter((v) => typeof v === "number"), hasScale = end && !isText(end) && numbers.length > 1;
    const said = { color: ink("--soft"), fontSize: 11, fontFamily: ink("--sans") };
    return { animation: false, textStyle: made.textStyle, tooltip: { ...made.tooltip, trigger: "item", formatter: (p) => `${p.name}\n${axes.map((name, i) => `${bare(name)} ${number(p.value[i])}`).join("\n")}` },
      parallel: { left: 70, right: 90, top: 44, bottom: hasScale ? 56 : 24, parallelAxisDefault: { nameTextStyle: said, axisLabel: { ...said, color: ink("--faint") }, axisLine: { lineStyle: { color: ink("--edge") } }, axisTick: { show: false }, areaSelectStyle: { color: ink("--accent"), borderColor: ink("--accent"), opacity: 0.18 } } },
      parallelAxis: axes.map((name, dim) => ({ dim, name: bare(name).length > 18 ? `${bare(name).slice(0, 17)}…` : bare(name), type: isText(name) ? "category" : isWide(name) ? "log" : "value", data: isText(name) ? levels(name) : undefined, scale: true, splitNumber: 4 })),
      ...(hasScale && { visualMap: { min: Math.min(...numbers), max: Math.max(...numbers), dimension: axes.indexOf(end), orient: "horizontal", left: "center", bottom: 0, itemHeight: 120, itemWidth: 10, calculable: false, text: [`${bare(end)} ${number(Math.max(...numbers))}`, number(Math.min(...numbers))], inRange: { color: [ink("--k-dataset"), ink("--heat"), ink("--bad")] }, textStyle: said } }),
      series: [{ type: "parallel", lineStyle: { width: 1.6, opacity: 0.75 }, data: shown.map((run) => ({ name: run.name, value: axes.map((name) => { const v = valueOf(run, name); return v === undefined ? "-" : isText(name) ? String(v) : v; }), ...(!hasScale && { lineStyle: { color: run.colour() } }) })) }] };
  };
  const flip = (name) => { const next = axes.includes(name) ? axes.filter((each) => each !== name) : [...axes, name]; note("axis", next); choose(next); };
  return html`<section class="panel" id="parallel"><div class="title"><h2>All at once</h2><div class="picks">${axes.length > 0 && html`<${Pick} id="parallel-by" said="coloured by" value=${end} set=${(value) => { note("by", value); colour(value); }} every=${axes} />`}<span>Drag along an axis to pick a stretch of it.</span></div></div>
    <div class="keys-of">${values.slice(0, 200).map((name) => html`<button key=${name} type="button" class="chip" aria-pressed=${axes.includes(name)} onClick=${() => flip(name)}>${name}</button>`)}</div>${axes.length > 1 ? html`<${Chart} key=${axes.join()} option=${option} label="Params and metrics of each run as one line" />` : html`<p class="soft">Choose two axes or more.</p>`}</section>`;
}

function Compare() {
  const [hidden, setHidden] = useState(() => new Set());
  const hide = (id) => { const next = new Set(hidden); if (!next.delete(id)) next.add(id); setHidden(next); };
  return html`<${Heads} hidden=${hidden} hide=${hide} /><${Side} title="Metrics" part="metrics" keys=${metrics} hidden=${hidden} best=${true} /><${Side} title="Parameters" part="params" keys=${params} hidden=${hidden} /><${Curves} hidden=${hidden} /><${Scatter} hidden=${hidden} /><${Parallel} hidden=${hidden} /><${Side} title="Code, data and times" part="facts" keys=${facts} hidden=${hidden} /><${Side} title="Tags" part="tags" keys=${tags} hidden=${hidden} />`;
}
const place = document.getElementById("compare");
render(html`<${Compare} />`, place);
place.dataset.ready = "1";
