// The table of an experiment's runs: virtual rows, columns chosen and kept, the server's order and filter, groups, saved views, what runs now.
import { html, render, useEffect, useLayoutEffect, useMemo, useReducer, useRef, useState } from "/static/vendor/htm/preact-standalone.module.js";
import { field, isNumber, lasted, moment, number, param, split, tone } from "/static/cells.js";
import { RowStore } from "/static/rowstore.js";

const box = document.getElementById("runs");
const first = JSON.parse(document.getElementById("first-rows").textContent);
const HEIGHT = 34, SPARE = 8, MOST_COMPARED = 50;
const PARENT = "tags.`mlflow.parentRunId` IS NULL";

// -- what is kept: the address says it all; without it, what was chosen here last -----------------------
const place = `runs:${first.experiment}`;
const kept = () => { try { return JSON.parse(localStorage.getItem(place) ?? "{}"); } catch { return {}; } };
const keep = (change) => localStorage.setItem(place, JSON.stringify({ ...kept(), ...change }));

function start() {
  const asked = new URLSearchParams(location.search), own = asked.has("column") || asked.has("order") || asked.has("group") ? {} : kept();
  return {
    filter: asked.get("filter") ?? "",
    order: asked.has("order") ? asked.getAll("order") : own.order ?? [],
    columns: asked.has("column") ? asked.getAll("column") : own.columns ?? null,
    group: asked.get("group") ?? own.group ?? "",
    lifecycle: asked.get("lifecycle") ?? "",
  };
}

function address(view) {
  const query = new URLSearchParams();
  if (view.filter) query.set("filter", view.filter);
  for (const each of view.order) query.append("order", each);
  for (const each of view.columns ?? []) query.append("column", each);
  if (view.group) query.set("group", view.group);
  if (view.lifecycle) query.set("lifecycle", view.lifecycle);
  return query.size ? `?${query}` : location.pathname;
}

function question(view) {
  const nested = view.group === "parent";
  const filter = nested ? (view.filter.trim() ? `(${view.filter}\n) AND ${PARENT}` : PARENT) : view.filter;
  return { experiment: first.experiment, filter, order: view.order, columns: view.columns ?? (nested ? first.columns : undefined), group: nested ? "" : view.group, lifecycle: view.lifecycle };
}

// A plain word is looked for in names.
const plain = (text) => (/^[\p{L}\p{N}_ .-]+$/u.test(text) && !/\b(like|ilike|in|is|and|or|not)\b/i.test(text) ? `attributes.run_name ILIKE '%${text.trim()}%'` : text);

// -- rows as they are shown ------------------------------------------------------------------------
function groupsOf(store, view, folded) {
  const at = store.told?.indexOf(view.group) ?? -1, shown = [];
  let group = null;
  for (const row of store.rows) {
    const value = row.stamp === store.stamp ? row.values[at] ?? null : row.grouped ?? null;
    row.grouped = value;
    if (!group || group.value !== value) shown.push(group = { head: true, value, rows: [], key: `g${String(value)}` });
    group.rows.push(row);
    if (!folded.has(group.key)) shown.push(row);
  }
  if (group) group.isOpen = !store.isWhole;
  return shown;
}

function nestedOf(store, folded) {
  const shown = [];
  for (const row of store.rows) {
    if (row.parent && store.byId.has(row.parent)) continue;
    shown.push(row);
    if (!folded.has(row.id)) continue;
    const children = store.children.get(row.id);
    if (!children) shown.push({ note: "Loading its parts…", key: `n${row.id}` });
    else if (!children.length) shown.push({ note: "It has no parts.", key: `n${row.id}` });
    else for (const child of children) shown.push({ ...child, depth: 1 });
  }
  return shown;
}

const mean = (rows, at) => {
  const values = rows.map((row) => row.values[at]).filter((v) => typeof v === "number");
  return values.length ? values.reduce((a, b) => a + b, 0) / values.length : null;
};

// -- parts -------------------------------------------------------------------------------------------
const FIXED = [["attributes.run_name", "Run", innerWidth < 600 ? 158 : 250], ["attributes.status", "State", 92], ["attributes.start_time", "Started", 136], ["", "Took", 108], ["attributes.user_id", "By", 96]];
const width = (column) => (column.startsWith("metrics.") ? 118 : 128);

function Head({ view, columns, sort, all, chooseAll }) {
  const sign = (column) => { const now = view.order.find((each) => each.startsWith(field(column))); return now ? (now.endsWith(" DESC") ? "descending" : "ascending") : null; };
  const cell = (column, name, kind) => html`<th key=${column + name} class=${isNumber(column) && kind ? "num" : ""} aria-sort=${sign(column) ?? undefined} title=${kind ? column : undefined}>
    ${column ? html`<button type="button" onClick=${() => sort(column)}>${kind && html`<small>${kind}</small>`}<span>${name}</span>${sign(column) && html`<i>${sign(column) === "descending" ? "↓" : "↑"}</i>`}</button>` : html`<span>${name}</span>`}</th>`;
  return html`<thead><tr><th class="tick"><input type="checkbox" aria-label="Choose all rows in sight" checked=${all} onChange=${chooseAll} /></th>
    ${FIXED.map(([column, name]) => cell(column, name))}${columns.map((column) => { const [kind, key] = split(column); return cell(column, key, kind.slice(0, -1)); })}<th class="rest"></th></tr></thead>`;
}

function Row({ row, columns, store, view, chosen, choose, folded, fold, index }) {
  if (row.note) return html`<tr class="soft small"><td></td><td colspan=${FIXED.length + columns.length + 1}>${row.note}</td></tr>`;
  if (row.head) {
    const [kind, key] = split(view.group);
    const all = row.isOpen ? store.groupCount(row.value === null ? `${field(view.group)} IS NULL` : `${field(view.group)} = '${String(row.value).replaceAll("'", "''")}'`) : undefined;
    const count = all?.count ?? row.rows.length, isMore = all ? !all.is_all : row.isOpen;
    return html`<tr class="group" onClick=${() => fold(row.key)}><td class="tick"><button type="button" class="fold" aria-expanded=${!folded.has(row.key)} aria-label="Fold the group"></button></td>
      <td colspan=${FIXED.length}><span class="soft">${key}</span> <b>${row.value === null ? "none" : kind === "metrics" ? number(row.value) : row.value}</b> <span class="faint">${count.toLocaleString("en")}${isMore ? "+" : ""} ${count === 1 ? "run" : "runs"}</span></td>
      ${columns.map((column) => { const value = column.startsWith("metrics.") ? mean(row.rows, store.told.indexOf(column)) : null; return html`<td class="num faint" title=${value === null ? "" : row.isOpen ? `mean of the ${row.rows.length.toLocaleString("en")} that are loaded` : "mean of the group"}>${value === null ? "" : `ø ${number(value)}`}</td>`; })}<td class="rest"></td></tr>`;
  }
  const isFresh = row.stamp === store.stamp, nested = view.group === "parent" && !row.depth;
  return html`<tr class=${chosen.has(row.id) ? "chosen" : ""} aria-rowindex=${index + 2} data-run=${row.id}>
    <td class="tick"><input type="checkbox" aria-label=${`Choose ${row.name}`} checked=${chosen.has(row.id)} onClick=${(event) => choose(row, event)} /></td>
    <td class=${row.depth ? "part" : ""}>${nested && html`<button type="button" class="fold" aria-expanded=${folded.has(row.id)} aria-label="Show its parts" onClick=${() => fold(row.id)}></button>`}<a href=${`/runs/${encodeURIComponent(row.id)}`} title=${row.name}>${row.name}</a></td>
    <td><span class=${`pill ${tone(row.state)}`}>${row.state}</span></td><td>${moment(row.start)}</td><td>${row.end || row.state === "running" ? lasted(row.start, row.end) : "–"}</td><td class="soft" title=${row.by}>${row.by}</td>
    ${columns.map((column) => {
      const value = isFresh ? row.values[store.told.indexOf(column)] : undefined;
      return html`<td class=${column.startsWith("metrics.") ? "num" : ""} title=${value ?? ""}>${value === undefined ? html`<span class="faint">…</span>` : value === null ? html`<span class="faint">–</span>` : column.startsWith("metrics.") ? number(value) : param(value)}</td>`;
    })}<td class="rest"></td></tr>`;
}

// The place of an error in a filter, shown in the text itself.
function Failure({ failure, text }) {
  const at = Number(/^character (\d+)$/.exec(failure.where ?? "")?.[1] ?? 0) - 1;
  return html`<div class="failure" role="alert">${at >= 0 && html`<code class="at">${text.slice(Math.max(0, at - 60), at)}<mark>${text.slice(at, at + 1) || "␣"}</mark>${text.slice(at + 1, at + 60)}</code>`}<span><b>${failure.message}</b>${failure.where ? ` (${failure.where})` : ""}${failure.hint ? `: ${failure.hint}` : ""}</span></div>`;
}

function Columns({ dialog, names, columns, set }) {
  const [text, type] = useState("");
  const every = ["metrics", "params", "tags"].map((kind) => [kind, (names?.[kind] ?? []).map((key) => `${kind}.${key}`)]);
  const hits = (all) => [...columns.filter((c) => all[0]?.startsWith(split(c)[0]) && !all.includes(c)), ...all].filter((c) => c.toLowerCase().includes(text.toLowerCase()));
  const flip = (column) => set(columns.includes(column) ? columns.filter((c) => c !== column) : [...columns, column]);
  const typed = /^(metrics|params|tags)\..+$/.test(text.trim()) ? text.trim() : null;
  const move = (column, by) => { const at = columns.indexOf(column), to = at + by, next = [...columns]; if (to < 0 || to >= next.length) return; [next[at], next[to]] = [next[to], next[at]]; set(next); };
  return html`<dialog ref=${dialog} class="wide" aria-label="Columns" onClick=${(e) => e.target === dialog.current && dialog.current.close()}>
    <div class="title"><h2>Columns</h2><form method="dialog"><button class="chip" type="submit">Close</button></form></div>
    <p class="small soft">Shown, in order:</p><div class="filters shown">${columns.map((c) => html`<span class="chip" key=${c}><button type="button" aria-label=${`Move ${c} left`} onClick=${() => move(c, -1)}>‹</button>${c}<button type="button" aria-label=${`Move ${c} right`} onClick=${() => move(c, 1)}>›</button><button type="button" aria-label=${`Take ${c} away`} onClick=${() => flip(c)}>×</button></span>`)}${!columns.length && html`<span class="soft small">none</span>`}</div>
    <input class="find" type="search" placeholder="Find a metric, param or tag; or write one, such as metrics.auc" aria-label="Find a column" value=${text} onInput=${(e) => type(e.target.value)} />
    ${typed && !columns.includes(typed) && html`<button class="chip" type="button" onClick=${() => flip(typed)}>Show ${typed}</button>`}
    <div class="lists">${every.map(([kind, all]) => { const found = hits(all); return html`<div key=${kind}><h3>${kind} <span class="faint">${all.length}</span></h3>${found.slice(0, 200).map((c) => html`<label key=${c}><input type="checkbox" checked=${columns.includes(c)} onChange=${() => flip(c)} /> ${split(c)[1]}</label>`)}${found.length > 200 && html`<p class="small faint">${found.length - 200} more: write a part of the name</p>`}</div>`; })}</div></dialog>`;
}

function Views({ dialog, view, go }) {
  const [name, type] = useState(""), [views, set] = useState(null), [told, tell] = useState("");
  const place_ = `/api/v1/experiments/${encodeURIComponent(first.experiment)}/views`;
  const link = (each) => `${location.origin}${location.pathname}?view=${encodeURIComponent(each.id)}`;
  async function ask(path, given) {
    const answer = await fetch(`${place_}${path}`, given).catch(() => null), body = await answer?.json().catch(() => null);
    if (!answer?.ok) { tell((body?.error ?? body)?.message ?? "The server cannot be reached."); return null; }
    tell("");
    return body;
  }
  const load = async () => set((await ask("")) ?? []);
  useEffect(() => { const box_ = dialog.current, open = new MutationObserver(() => box_.open && load()); open.observe(box_, { attributes: true, attributeFilter: ["open"] }); return () => open.disconnect(); }, []);
  const save = async (event) => { event.preventDefault(); if (!name.trim()) return; const asked = address(view), query = asked.startsWith("?") ? asked.slice(1) : ""; if (await ask("", { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ name: name.trim(), query }) })) { type(""); load(); } };
  const drop = async (each) => { if (await ask(`/${encodeURIComponent(each.id)}`, { method: "DELETE" })) load(); };
  return html`<dialog ref=${dialog} aria-label="Views" onClick=${(e) => e.target === dialog.current && dialog.current.close()}><div class="title"><h2>Views</h2><form method="dialog"><button class="chip" type="submit">Close</button></form></div>
    <p class="small soft">A view is this table's filter, order, columns and grouping under a name. The server keeps yours; whoever has a view's link sees the same.</p>
    ${told && html`<p class="small" role="alert">${told}</p>`}
    <ul class="brief">${(views ?? []).map((each) => html`<li key=${each.id}><div><a href=${`?${each.query}`} onClick=${(e) => { e.preventDefault(); dialog.current.close(); go(each.query ? `?${each.query}` : location.pathname); }}>${each.name}</a><span><button class="chip" type="button" aria-label=${`Copy the link of ${each.name}`} onClick=${() => navigator.clipboard?.writeText(link(each))}>Copy link</button> <button class="chip" type="button" aria-label=${`Forget ${each.name}`} onClick=${() => drop(each)}>Forget</button></span></div></li>`)}</ul>
    <form class="filters" onSubmit=${save}><input class="field" maxlength="100" value=${name} onInput=${(e) => type(e.target.value)} placeholder="Name of this view" aria-label="Name of this view" /><button class="chip" type="submit">Save</button></form></dialog>`;
}

// -- the table -----------------------------------------------------------------------------------------
function Table() {
  const [view, setView] = useState(start), [text, setText] = useState(view.filter), [, again] = useReducer((n) => n + 1, 0);
  const [chosen, setChosen] = useState(() => new Map()), [folded, setFolded] = useState(() => new Set()), [window_, setWindow] = useState([0, 40]);
  const scroller = useRef(), columnsDialog = useRef(), viewsDialog = useRef(), lastChosen = useRef(null), names = useRef(first.names);
  const store = useMemo(() => new RowStore(() => again()), []);
  const begun = useRef(null);

  if (begun.current === null) {
    const wanted = question(view), isTold = !first.failure && view.group !== "parent" && (view.columns === null || String(view.columns) === String(first.columns)) && location.search === (new URLSearchParams(location.search).size ? address(view) : "") && (location.search || (!view.order.length && !view.group));
    begun.current = true;
    store.begin(wanted, isTold ? first : null);
    if (first.failure && first.failure.code) store.failure = first.failure;
    else if (!isTold) store.more();
  }
  if (store.names) names.current = store.names;
  const columns = store.question.columns ?? view.columns ?? [];
  const shown = view.group === "parent" ? nestedOf(store, folded) : view.group ? groupsOf(store, view, folded) : store.rows;

  function change(next, { isFresh = true } = {}) {
    const changed = { ...view, columns, ...next };
    if (!changed.columns.length && store.question.columns === undefined) changed.columns = null;
    setView(changed);
    history.replaceState(null, "", address(changed));
    keep({ order: changed.order, columns: changed.columns, group: changed.group });
    if (isFresh) { store.begin(question(changed)); scroller.current.scrollTop = 0; setFolded(new Set()); store.more(); again(); }
    else { store.restamp(changed.columns, changed.group === "parent" ? "" : changed.group); again(); }
  }
  function sort(column) {
    const name = field(column), now = view.order[0], usual = isNumber(column) ? "DESC" : "ASC", other = usual === "DESC" ? "ASC" : "DESC";
    change({ order: now === `${name} ${usual}` ? [`${name} ${other}`] : now === `${name} ${other}` ? [] : [`${name} ${usual}`] });
  }
  const fold = (key) => { const next = new Set(folded); if (!next.delete(key)) { next.add(key); if (view.group === "parent") store.unfold(key); } setFolded(next); };
  function choose(row, event) {
    const next = new Map(chosen), isOn = !next.has(row.id), rows = shown.filter((each) => each.id);
    const [a, b] = [rows.findIndex((r) => r.id === lastChosen.current), rows.findIndex((r) => r.id === row.id)];
    const span = event.shiftKey && a >= 0 ? rows.slice(Math.min(a, b), Math.max(a, b) + 1) : [row];
    for (const each of span) { if (isOn) next.set(each.id, each.name); else next.delete(each.id); }
    lastChosen.current = row.id;
    setChosen(next);
  }
  const seen = shown.slice(window_[0], window_[1]);
  const seenRuns = seen.filter((row) => row.id);
  const isAll = seenRuns.length > 0 && seenRuns.every((row) => chosen.has(row.id));
  const chooseAll = () => { const next = new Map(chosen); for (const row of seenRuns) { if (isAll) next.delete(row.id); else next.set(row.id, row.name); } setChosen(next); };

  function look() {
    const at = scroller.current, top = Math.max(0, Math.floor(at.scrollTop / HEIGHT) - SPARE), bottom = Math.ceil((at.scrollTop + at.clientHeight) / HEIGHT) + SPARE;
    setWindow((now) => (now[0] === top && now[1] === bottom ? now : [top, bottom]));
  }
  useLayoutEffect(look, []);
  useEffect(() => { const watch = new ResizeObserver(look); watch.observe(scroller.current); return () => watch.disconnect(); }, []);
  useEffect(() => {
    if (window_[1] > shown.length - 60) store.more();
    store.renew(seen.filter((row) => row.id && !row.depth).map((row) => store.byId.get(row.id))).catch(() => {});
  });

  // What runs now: lines of the journal say which runs begin and end; what goes on in sight is asked for every four seconds.
  const now = useRef({});
  now.current = { seenRuns, isTop: (scroller.current?.scrollTop ?? 0) < HEIGHT && !view.order.length && !view.group };
  useEffect(() => {
    const begun_ = new Set(), ended = new Set();
    let wait = null;
    const act = () => {
      wait = null;
      if (ended.size) store.patch([...ended]).catch(() => {});
      if (begun_.size) store.arrived([...begun_], now.current.isTop).catch(() => {});
      begun_.clear();
      ended.clear();
    };
    const hear = ({ detail }) => {
      if (!/^run\./.test(detail.kind)) return;
      const id = detail.subject.slice(4);
      if (store.byId.has(id)) ended.add(id);
      else if (detail.kind === "run.started") begun_.add(id);
      if (begun_.size || ended.size) wait ??= setTimeout(act, 600);
    };
    addEventListener("journalline", hear);
    const tick = setInterval(() => { const running = now.current.seenRuns.filter((row) => row.state === "running").map((row) => row.id); if (running.length && !document.hidden) store.patch(running).catch(() => {}); }, 4000);
    return () => { removeEventListener("journalline", hear); clearInterval(tick); };
  }, []);

  async function toTheEnd() {
    if (store.goal) { store.goal = false; again(); return; }
    if (await store.toTheEnd()) requestAnimationFrame(() => { scroller.current.scrollTop = scroller.current.scrollHeight; });
  }
  const apply = (event) => { event.preventDefault(); const filter = text.trim() ? plain(text.trim()) : ""; setText(filter); change({ filter }); };
  const go = (to) => { location.assign(to); };
  const groupable = [...(names.current?.params ?? []).map((key) => `params.${key}`), ...(names.current?.tags ?? []).map((key) => `tags.${key}`)].slice(0, 300);
  if (view.group && view.group !== "parent" && !groupable.includes(view.group)) groupable.unshift(view.group);
  const many = chosen.size, canCompare = many >= 2 && many <= MOST_COMPARED;
  const total = FIXED.reduce((sum, each) => sum + each[2], 40) + columns.reduce((sum, c) => sum + width(c), 0);
  const to = `/compare?${[...chosen.keys()].map((id) => `run=${encodeURIComponent(id)}`).join("&")}`;

  return html`<div class="table-tools">
      <form class="search" role="search" onSubmit=${apply}><input class="field" id="filter" type="search" spellcheck="false" autocomplete="off" value=${text} onInput=${(e) => setText(e.target.value)} placeholder="metrics.auc > 0.7 AND tags.team = 'blue', or a part of a name" aria-label="Filter of runs" aria-invalid=${store.failure ? "true" : undefined} /><button class="chip" type="submit">Filter</button></form>
      <label class="small soft">Group <select class="field" id="group" aria-label="Group by" value=${view.group} onChange=${(e) => change({ group: e.target.value })}><option value="">no</option><option value="parent">by parent</option>${groupable.map((c) => html`<option key=${c} value=${c}>${c}</option>`)}</select></label>
      <button class="chip" type="button" onClick=${() => columnsDialog.current.showModal()}>Columns <span class="faint">${columns.length}</span></button>
      <button class="chip" type="button" onClick=${() => viewsDialog.current.showModal()}>Views</button>
      <button class="chip" type="button" aria-pressed=${view.lifecycle === "deleted"} onClick=${() => change({ lifecycle: view.lifecycle === "deleted" ? "" : "deleted" })}>Trash</button>
    </div>
    ${store.failure && html`<${Failure} failure=${store.failure} text=${store.question.filter || text} />`}
    <div class="rows-box" ref=${scroller} onScroll=${look} tabindex="0" role="region" aria-label="Runs">
      <table class="rows" aria-rowcount=${store.isWhole ? shown.length + 1 : -1} style=${{ width: `max(100%, ${total}px)` }}><colgroup><col style=${{ width: "40px" }} />${FIXED.map(([, name, w]) => html`<col key=${name} style=${{ width: `${w}px` }} />`)}${columns.map((c) => html`<col key=${c} style=${{ width: `${width(c)}px` }} />`)}<col /></colgroup>
      <${Head} view=${view} columns=${columns} sort=${sort} all=${isAll} chooseAll=${chooseAll} />
      <tbody><tr class="space" aria-hidden="true" style=${{ height: `${Math.min(window_[0], shown.length) * HEIGHT}px` }}></tr>
      ${seen.map((row, i) => html`<${Row} key=${row.id ?? row.key} row=${row} columns=${columns} store=${store} view=${view} chosen=${chosen} choose=${choose} folded=${folded} fold=${fold} index=${window_[0] + i} />`)}
      <tr class="space" aria-hidden="true" style=${{ height: `${Math.max(0, shown.length - window_[1]) * HEIGHT}px` }}></tr></tbody></table>
      ${!shown.length && !store.loading && !store.failure && html`<div class="empty"><h2>No run here</h2><p>${view.filter ? "No run is what the filter asks for." : view.lifecycle ? "No run is in the trash." : "Runs appear as they begin."}</p></div>`}
    </div>
    <div class="table-foot"><span class="soft small" id="counted" role="status">${store.failure ? "" : html`${store.rows.length.toLocaleString("en")} ${store.rows.length === 1 ? "run" : "runs"} loaded${store.isWhole ? ", all there are" : html`${store.matches ? ` of ${store.matches.count.toLocaleString("en")}${store.matches.is_all ? "" : " and more"}` : ""}${store.goal || store.loading ? ", loading more…" : ", more as you scroll"}`}`}</span>
      <button class="chip" type="button" onClick=${() => { store.goal = false; scroller.current.scrollTop = 0; }} disabled=${!shown.length}>Start</button><button class="chip" type="button" aria-pressed=${store.goal} disabled=${!shown.length} onClick=${toTheEnd}>${store.goal ? "Stop" : "End"}</button>
      ${store.fresh.size > 0 && html`<button class="chip" type="button" id="fresh" onClick=${() => { store.fresh.clear(); change({}); }}>${store.fresh.size} new ${store.fresh.size === 1 ? "run" : "runs"} ↑</button>`}
      <span class="gap"></span>${many > 0 && html`<button class="chip" type="button" onClick=${() => setChosen(new Map())}>Clear</button>`}
      ${canCompare ? html`<a class="chip strong" id="compare" href=${to}>Compare ${many} runs</a>` : html`<span class="small faint">${many > MOST_COMPARED ? `${many} chosen: at most ${MOST_COMPARED} can be compared` : many === 1 ? "1 chosen: choose another to compare" : "Choose 2 to 50 runs to compare them"}</span>`}</div>
    <${Columns} dialog=${columnsDialog} names=${names.current} columns=${columns} set=${(next) => change({ columns: next }, { isFresh: false })} />
    <${Views} dialog=${viewsDialog} view=${{ ...view, columns }} go=${go} />`;
}

// A link to a view that somebody saved: its address takes the place of the link.
async function followed() {
  const id = new URLSearchParams(location.search).get("view");
  if (!id) return;
  const answer = await fetch(`/api/v1/experiments/${encodeURIComponent(first.experiment)}/views/${encodeURIComponent(id)}`).catch(() => null);
  const query = answer?.ok ? (await answer.json()).query : "";
  if (answer?.ok) { location.replace(`${location.pathname}${query ? `?${query}` : ""}`); await new Promise(() => {}); }
  history.replaceState(null, "", location.pathname);
}

await followed();
render(html`<${Table} />`, box);
box.dataset.ready = "1";
