// The state of a run while one looks at it, and the newest values of its metrics.
import { lasted, number, tone } from "/static/cells.js";

const place = document.getElementById("run-state");
const { run: id } = place.dataset;
let state = place.dataset.state;
const since = document.getElementById("running-for");
const tick = () => { if (since && state === "running") since.textContent = lasted(Number(since.dataset.since), null); };
tick();
setInterval(tick, 1000);
const ADDRESS = `/api/v1/runs/${encodeURIComponent(id)}`;

async function look() {
  const answer = await fetch(ADDRESS);
  if (!answer.ok) return;
  const { run, metrics } = await answer.json();
  for (const box of document.querySelectorAll("[data-latest]")) if (metrics[box.dataset.latest]) box.textContent = number(metrics[box.dataset.latest].value);
  if (run.state === state) return;
  state = run.state;
  since?.replaceChildren(lasted(run.started_at && Date.parse(run.started_at), run.ended_at && Date.parse(run.ended_at)));
  place.dataset.state = state;
  place.replaceChildren(Object.assign(document.createElement("span"), { className: `pill ${tone(state)}`, textContent: state }));
  dispatchEvent(new CustomEvent("runstate", { detail: state }));
}
addEventListener("journalline", ({ detail }) => { if (detail.subject === `run:${id}`) look().catch(() => {}); });
setInterval(() => { if (state === "running" && !document.hidden) look().catch(() => {}); }, 3000);
