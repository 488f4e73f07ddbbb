// The curves of one run: a picture a metric, several in one when chosen; while it runs, what is in sight grows.
import { Panel, hue, settingsKept, tools } from "/static/curves.js";

const { runs: [run], metrics } = JSON.parse(document.getElementById("run-data").textContent);
const MOST = 12, EVERY = 2500;
const own = metrics.filter((key) => !key.startsWith("system/")), system = metrics.filter((key) => key.startsWith("system/"));
const place = document.getElementById("curve-panels"), machine = document.getElementById("system-panels");
let settings = settingsKept(), panels = [];

const line = (key, at = 0) => ({ key, id: run.id, name: key, colour: () => hue(at) });
// What the machine did has nothing to do with steps: it is drawn over time, as it was.
const settingsOf = (lines) => (lines[0].key.startsWith("system/") ? { ...settings, across: settings.across === "time" ? "time" : "since", smooth: 0, logX: false, logY: false } : settings);
const titled = (key) => (key.startsWith("system/") ? key.slice(7).replaceAll("_", " ").replace(/ (bytes|megabytes|percent|percentage)$/, "") : key);
function add(where, title, lines, isWhole = false) {
  const box = document.createElement("div");
  if (isWhole) box.classList.add("whole");
  where.append(box);
  const panel = new Panel(box, title, lines, settingsOf(lines));
  panels.push(panel);
  return panel;
}

// Keys of which several are drawn together.
let together = new Set(new URLSearchParams(location.search).getAll("key").filter((key) => own.includes(key)));
function overlay() {
  document.getElementById("together")?.remove();
  panels = panels.filter((panel) => panel.box.id !== "together");
  const address = new URL(location.href);
  address.searchParams.delete("key");
  for (const key of together) address.searchParams.append("key", key);
  history.replaceState(null, "", address);
  if (together.size < 2) return;
  const panel = add(place, "Together", [...together].map((key, at) => line(key, at)), true);
  panel.box.id = "together";
  place.prepend(panel.box);
}

function chips(where) {
  if (own.length < 2) return;
  const bar = document.createElement("div");
  bar.className = "keys-of";
  const said = Object.assign(document.createElement("span"), { className: "small soft", textContent: "Draw together:" });
  bar.append(said, ...own.slice(0, 200).map((key) => {
    const chip = Object.assign(document.createElement("button"), { type: "button", className: "chip", textContent: key });
    chip.setAttribute("aria-pressed", String(together.has(key)));
    chip.addEventListener("click", () => { if (!together.delete(key)) together.add(key); chip.setAttribute("aria-pressed", String(together.has(key))); overlay(); });
    return chip;
  }));
  where.before(bar);
}

function more(where, keys, from) {
  for (const key of keys.slice(from, from + MOST)) add(where, titled(key), [line(key)]);
  if (from + MOST >= keys.length) return;
  const button = Object.assign(document.createElement("button"), { type: "button", className: "chip", textContent: `${keys.length - from - MOST} more` });
  button.addEventListener("click", () => { button.remove(); more(where, keys, from + MOST); });
  where.append(button);
}

if (place) { tools(document.getElementById("curve-tools"), settings, (now) => { settings = now; for (const panel of panels) panel.set(settingsOf(panel.lines)); }); chips(place); more(place, own, 0); overlay(); }
if (machine) more(machine, system, 0);
addEventListener("themechange", () => { for (const panel of panels) panel.set(settingsOf(panel.lines)); });

let isGoing = run.state === "running";
addEventListener("runstate", ({ detail }) => { isGoing = detail === "running"; for (const panel of panels) if (panel.asked) panel.load(); });
setInterval(() => { if (isGoing && !document.hidden) for (const panel of panels) if (panel.isSeen && panel.asked) panel.load(); }, EVERY);
