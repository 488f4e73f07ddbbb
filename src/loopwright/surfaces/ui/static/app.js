// What every page has: theme, keyboard, the finder, and the live feed.
const byId = (id) => document.getElementById(id);

function switchTheme() {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  dispatchEvent(new CustomEvent("themechange"));
}
byId("theme").addEventListener("click", switchTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new CustomEvent("themechange")));

// On a narrow screen the row of pages is longer than the screen: the page one is on is in sight.
const row = document.querySelector(".nav"), current = row.querySelector("[aria-current]");
if (current) row.scrollLeft = current.offsetLeft - row.offsetLeft - (row.clientWidth - current.offsetWidth) / 2;

// -- finder -------------------------------------------------------------------
const pages = [...document.querySelectorAll(".nav a")].map((a) => ({ name: a.textContent, href: a.getAttribute("href"), key: a.dataset.key }));
const finder = byId("find");

function candidates(text) {
  const found = pages.filter((p) => p.name.toLowerCase().includes(text.toLowerCase()));
  const address = /^([a-z_]+):(.+)$/.exec(text.trim());
  if (address) {
    const [, kind, name] = address;
    const direct = { run: "/runs/", incident: "/incidents/", decision: "/decisions/", endpoint: "/endpoints/" }[kind];
    const bare = /[@#]/.test(name) ? `/versions/${encodeURIComponent(text.trim())}` : `/assets/${kind}/${encodeURIComponent(name)}`;
    found.unshift({ name: text.trim(), href: direct ? direct + encodeURIComponent(name) : bare });
  }
  return found;
}

function showFound() {
  const list = byId("find-list");
  list.replaceChildren(...candidates(byId("find-text").value).map(({ name, href }) => {
    const item = document.createElement("li"), link = document.createElement("a");
    link.href = href;
    link.textContent = name;
    item.append(link);
    return item;
  }));
}

function openFinder() {
  byId("find-text").value = "";
  showFound();
  finder.showModal();
  byId("find-text").focus();
}

byId("find-open").addEventListener("click", openFinder);
byId("find-text").addEventListener("input", showFound);
byId("find-text").addEventListener("keydown", (event) => {
  if (event.key === "Enter") byId("find-list").querySelector("a")?.click();
  if (event.key === "ArrowDown") { event.preventDefault(); byId("find-list").querySelector("a")?.focus(); }
});
byId("find-list").addEventListener("keydown", (event) => {
  const item = event.target.closest("li");
  const next = { ArrowDown: item?.nextElementSibling, ArrowUp: item?.previousElementSibling }[event.key];
  if (event.key === "ArrowDown" || event.key === "ArrowUp") { event.preventDefault(); (next?.querySelector("a") ?? byId("find-text")).focus(); }
});
for (const dialog of [finder, byId("help")]) dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
byId("help-open").addEventListener("click", () => byId("help").showModal());

// -- keyboard -----------------------------------------------------------------
function moveRow(step) {
  const rows = [...document.querySelectorAll("main .rows tbody tr, main .line li")].filter((row) => row.querySelector("a"));
  const now = rows.indexOf(document.activeElement?.closest("tr, li"));
  const next = rows[now < 0 ? (step > 0 ? 0 : rows.length - 1) : Math.min(rows.length - 1, Math.max(0, now + step))];
  next?.querySelector("a").focus();
}

let going = 0;
const plain = { "?": () => byId("help").showModal(), t: switchTheme, j: () => moveRow(1), k: () => moveRow(-1), g: () => { going = Date.now(); } };
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if ((event.key === "/" && !typing && !document.querySelector("dialog[open]")) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
    event.preventDefault();
    byId("help").close();
    if (!finder.open) openFinder();
    return;
  }
  if (typing || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  const page = Date.now() - going < 1500 && pages.find((p) => p.key === event.key);
  going = 0;
  if (page) location.href = page.href;
  else if (plain[event.key]) { event.preventDefault(); plain[event.key](); }
});

// -- copying --------------------------------------------------------------------
async function copied(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = Object.assign(document.createElement("textarea"), { value: text }); // over plain HTTP
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}
addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-copy]");
  if (!button) return;
  await copied(button.dataset.copy).catch(() => {});
  button.classList.add("done");
  setTimeout(() => button.classList.remove("done"), 1500);
});

// -- live feed ----------------------------------------------------------------
let refresh = null;

function say(text, on) {
  byId("live-text").textContent = text;
  byId("live-dot").classList.toggle("on", on);
}

function tell(id, text) {
  const place = byId(id);
  if (!place || text === undefined) return;
  place.dataset.still ??= place.textContent;
  place.textContent = text;
  place.dataset.told = "1";
}

// A rate is true for a moment: without news for ten seconds its place shows again what it showed before.
let stale = null;
function calm() {
  const place = byId("rate");
  if (!place?.dataset.told) return;
  place.textContent = place.dataset.still;
  delete place.dataset.told;
}

function hurry(rate) {
  tell("rate", `${Math.round(rate).toLocaleString("en")}/s`);
  clearTimeout(stale);
  stale = setTimeout(calm, 10_000);
}
addEventListener("rate", ({ detail }) => hurry(detail));

let day = null;
function note(body) {
  tell("clock", body.instant?.replace("T", " ").slice(0, 16));
  tell("progress", body.said);
  if (body.rate !== undefined) hurry(body.rate);
  dispatchEvent(new CustomEvent("livenote", { detail: body }));
  const now = body.instant?.slice(0, 10);
  if (now && now !== day) {
    const wait = Number(byId("main").dataset.renewDays ?? 0);
    if (day && wait) renew(1000 * wait);
    day = now;
  }
}

// A page says which kinds of event change it. It is asked for again, at most every two seconds (for a new day, as seldom as the page says), and its content is
// put in place: the place on the page, the focus, what is unfolded and what is drawn stay.
const drawing = (box) => `[data-names="${box.dataset.names}"][data-chart="${box.dataset.chart}"]`;
function keep(old, fresh) {
  const live = old.querySelector("[data-live]"), place = fresh.querySelector("[data-live]");
  if (live && place) place.replaceWith(live);
  for (const box of old.querySelectorAll("[data-chart]")) fresh.querySelector(box.dataset.names ? drawing(box) : `[data-chart="${box.dataset.chart}"]`)?.replaceWith(box);
  for (const id of ["rate", "progress", "clock"]) {
    const kept = old.querySelector(`#${id}[data-told]`), put = fresh.querySelector(`#${id}`);
    if (kept && put) put.replaceWith(kept);
  }
  old.querySelectorAll("details").forEach((each, i) => { const same = fresh.querySelectorAll("details")[i]; if (same) same.open = each.open; });
}

async function replace() {
  const answer = await fetch(location.href, { headers: { accept: "text/html" } });
  if (!answer.ok) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
  const old = byId("main"), focused = old.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
  keep(old, fresh);
  old.replaceWith(fresh);
  if (focused) [...fresh.querySelectorAll("a")].find((link) => link.getAttribute("href") === focused)?.focus({ preventScroll: true });
  dispatchEvent(new CustomEvent("contentchange"));
}

function renew(wait = 2000) {
  refresh ??= setTimeout(async () => {
    if (!document.hidden && !document.querySelector("dialog[open]")) await replace().catch(() => say("reconnecting", false));
    refresh = null;
  }, wait);
}

const changes = (kind) => (byId("main").dataset.renew ?? "").split(" ").some((start) => start && (start === "*" || kind.startsWith(start)));

function listen() {
  const feed = new EventSource("/api/v1/events");
  feed.onopen = () => say("live", true);
  feed.onerror = () => say("reconnecting", false);
  const take = (message) => {
    const item = JSON.parse(message.data);
    if (item.topic) note(item.body);
    else {
      dispatchEvent(new CustomEvent("journalline", { detail: item }));
      if (changes(item.kind)) renew();
    }
  };
  feed.onmessage = take;
  feed.addEventListener("note", take);
  feed.addEventListener("event", take);
  feed.addEventListener("resync", () => { if (byId("main").dataset.renew) renew(); });
  addEventListener("pagehide", () => feed.close());
}
listen();
