// What every page has: theme, keyboard, the finder, and the live feed.
const byId = (id) => document.getElementById(id);

byId("theme").addEventListener("click", () => {
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = document.documentElement.dataset.theme || (dark ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  localStorage.setItem("theme", next);
  dispatchEvent(new CustomEvent("themechange"));
});

// -- finder -------------------------------------------------------------------
const pages = [...document.querySelectorAll(".nav a")].map((a) => ({ name: a.textContent, href: a.getAttribute("href") }));
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
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName ?? "");
  if ((event.key === "/" && !typing) || (event.key === "k" && (event.ctrlKey || event.metaKey))) {
    event.preventDefault();
    openFinder();
  }
});

// -- live feed ----------------------------------------------------------------
const told = new Set(["alias.moved", "decision.made", "endpoint.routed", "incident.opened", "incident.resolved", "quarantine.added", "run.failed"]);
let refresh = null;

function say(text, on) {
  byId("live-text").textContent = text;
  byId("live-dot").classList.toggle("on", on);
}

function note(body) {
  if (body.instant && byId("clock")) byId("clock").textContent = body.instant.replace("T", " ").slice(0, 16);
  if (body.said && byId("progress")) byId("progress").textContent = body.said;
  if (body.rate !== undefined && byId("rate")) {
    byId("rate").textContent = `${Math.round(body.rate).toLocaleString("en")}/s`;
  }
  dispatchEvent(new CustomEvent("livenote", { detail: body }));
}

// A page is asked for again, at most every two seconds, and only its content is put in place: the place on the page stays.
function renew() {
  if (refresh || finder.open) return;
  refresh = setTimeout(async () => {
    refresh = null;
    if (!byId("timeline") || document.hidden) return;
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    byId("main").replaceWith(fresh.getElementById("main"));
  }, 2000);
}

function listen() {
  const feed = new EventSource("/api/v1/events");
  feed.onopen = () => say("live", true);
  feed.onerror = () => say("reconnecting", false);
  const take = (message) => {
    const item = JSON.parse(message.data);
    if (item.topic) note(item.body);
    else if (told.has(item.kind)) renew();
  };
  feed.onmessage = take;
  feed.addEventListener("note", take);
  feed.addEventListener("event", take);
  addEventListener("pagehide", () => feed.close());
}
listen();
