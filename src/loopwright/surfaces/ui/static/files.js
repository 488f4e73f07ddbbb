// The files of a run as a tree, and what is in them: text, tables and pictures here, pages and drawings in a sandbox.
const { runs: [run], files } = JSON.parse(document.getElementById("run-data").textContent);
const tree = document.getElementById("file-tree"), preview = document.getElementById("file-preview");
const START = `/api/v1/runs/${encodeURIComponent(run.id)}/artifacts`;
const MOST_TEXT = 262_144, MOST_ROWS = 300, PAGE = 1000;

const make = (tag, given = {}, ...inside) => { const made = Object.assign(document.createElement(tag), given); made.append(...inside); return made; };
const size = (n) => (n < 1000 ? `${n} B` : n < 1e6 ? `${(n / 1e3).toFixed(1)} kB` : n < 1e9 ? `${(n / 1e6).toFixed(1)} MB` : `${(n / 1e9).toFixed(1)} GB`);
const name = (path) => path.slice(path.lastIndexOf("/") + 1);
const ending = (path) => (name(path).includes(".") ? path.slice(path.lastIndexOf(".") + 1).toLowerCase() : "");
const content = (path) => `${START}/content?path=${encodeURIComponent(path)}`;

const pictures = new Set(["png", "jpg", "jpeg", "gif", "webp", "bmp", "avif"]);
const pages = new Set(["html", "htm", "svg"]);
const closed = new Set(["pkl", "joblib", "npy", "npz", "parquet", "onnx", "pt", "pth", "bin", "zip", "gz", "tar", "whl", "skops", "h5", "safetensors", "arrow", "feather", "pdf", "db"]);

async function list(path) {
  const found = [];
  let token = "";
  do {
    const answer = await fetch(`${START}?${new URLSearchParams({ path, limit: PAGE, ...(token && { token }) })}`);
    if (!answer.ok) throw new Error("the folder could not be read");
    const page = await answer.json();
    found.push(...page.items);
    token = page.next_token;
  } while (token && found.length < 10 * PAGE);
  return found;
}

function branch(entries) {
  return make("ul", { role: "group" }, ...entries.map((entry) => {
    const button = make("button", { type: "button" }, make("span", { textContent: name(entry.path) }));
    const item = make("li", { role: "none" }, button);
    button.setAttribute("role", "treeitem");
    button.dataset.path = entry.path;
    if (entry.is_folder) {
      button.className = "folder";
      button.setAttribute("aria-expanded", "false");
      button.addEventListener("click", () => unfold(button, item, entry));
    } else {
      button.append(make("small", { textContent: size(entry.size_bytes) }));
      button.addEventListener("click", () => show(entry, button));
    }
    return item;
  }));
}

async function unfold(button, item, entry) {
  const isOpen = button.getAttribute("aria-expanded") === "true";
  button.setAttribute("aria-expanded", String(!isOpen));
  if (isOpen) item.querySelector("ul")?.remove();
  else item.append(branch(await list(entry.path).catch(() => [])));
}

// The beginning of a file as text; the rest is not fetched.
async function beginning(path) {
  const answer = await fetch(content(path), { headers: { range: `bytes=0-${MOST_TEXT - 1}` } });
  if (!answer.ok) throw new Error("the file could not be read");
  return new TextDecoder().decode(await answer.arrayBuffer());
}

function rowsOf(text, comma) {
  const rows = [];
  let row = [], cell = "", isQuoted = false;
  for (let i = 0; i < text.length && rows.length <= MOST_ROWS; i += 1) {
    const c = text[i];
    if (isQuoted) {
      if (c === '"' && text[i + 1] === '"') { cell += '"'; i += 1; }
      else if (c === '"') isQuoted = false;
      else cell += c;
    } else if (c === '"') isQuoted = true;
    else if (c === comma) { row.push(cell); cell = ""; }
    else if (c === "\n") { row.push(cell.replace(/\r$/, "")); rows.push(row); row = []; cell = ""; }
    else cell += c;
  }
  if ((cell || row.length) && rows.length <= MOST_ROWS) rows.push([...row, cell]);
  return rows;
}

function table(text, comma, isCut) {
  const [head = [], ...rows] = rowsOf(text, comma);
  const cells = (row, tag) => make("tr", {}, ...row.slice(0, 100).map((each) => make(tag, { textContent: each, title: each })));
  const made = make("div", { className: "scroll", tabIndex: 0 }, make("table", {}, make("thead", {}, cells(head, "th")), make("tbody", {}, ...rows.slice(0, MOST_ROWS - 1).map((row) => cells(row, "td")))));
  const note = isCut || rows.length >= MOST_ROWS ? [make("p", { className: "small soft", textContent: `The first ${Math.min(rows.length, MOST_ROWS - 1)} rows.` })] : [];
  return [made, ...note];
}

function plain(text, isJson, isCut) {
  let said = text;
  if (isJson && !isCut) { try { said = JSON.stringify(JSON.parse(text), null, 2); } catch { said = text; } }
  if (said.includes("\u0000")) return [make("p", { className: "soft", textContent: "These are bytes, no text. Download the file to open it." })];
  const note = isCut ? [make("p", { className: "small soft", textContent: `The first ${size(MOST_TEXT)}.` })] : [];
  return [make("pre", { textContent: said, tabIndex: 0 }), ...note];
}

function picture(path) {
  const image = make("img", { src: content(path), alt: name(path) });
  image.addEventListener("error", () => image.replaceWith(make("p", { className: "soft", textContent: "This is no picture that can be shown." })));
  return [image];
}

function sandboxed(path) {
  const frame = make("iframe", { title: name(path) });
  frame.setAttribute("sandbox", "");
  frame.src = `/runs/${encodeURIComponent(run.id)}/frame?path=${encodeURIComponent(path)}`;
  return [frame, make("p", { className: "small soft", textContent: "Shown in a sandbox: no script of it runs, nothing is loaded." })];
}

async function inside(entry) {
  const kind = ending(entry.path), isCut = entry.size_bytes > MOST_TEXT;
  if (!entry.size_bytes) return [make("p", { className: "soft", textContent: "The file is empty." })];
  if (pictures.has(kind)) return picture(entry.path);
  if (pages.has(kind)) return sandboxed(entry.path);
  if (closed.has(kind)) return [make("p", { className: "soft", textContent: "There is no view of this kind of file. Download it to open it." })];
  const text = await beginning(entry.path);
  return kind === "csv" || kind === "tsv" ? table(text, kind === "csv" ? "," : "\t", isCut) : plain(text, kind === "json" || kind === "ipynb", isCut);
}

let wanted = null;
async function show(entry, button) {
  wanted = entry.path;
  for (const each of tree.querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
  button?.setAttribute("aria-current", "true");
  const head = make("div", { className: "title" }, make("b", { textContent: entry.path }), make("a", { className: "chip", href: content(entry.path), textContent: `Download ${size(entry.size_bytes)}` }));
  head.lastChild.setAttribute("download", "");
  const parts = await inside(entry).catch((error) => [make("p", { className: "soft", textContent: `${error.message}.` })]);
  if (wanted === entry.path) preview.replaceChildren(head, ...parts);
}

// What is told of code and environment in files of the run is shown beside it.
// A difference as git writes it: each file under its name with what came and went, each line with its number.
function difference(text) {
  const made = make("div", { className: "diff-of" });
  let body = null, count = null, old = 0, now = 0, came = 0, went = 0;
  const close = () => { if (count) count.textContent = `+${came} −${went}`; };
  const open = (title) => {
    close();
    [came, went] = [0, 0];
    body = make("pre", { className: "diff", tabIndex: 0 });
    count = make("small", { className: "soft" });
    made.append(make("h3", {}, make("span", { className: "mono", textContent: title }), " ", count), body);
  };
  for (const told of text.replace(/\n$/, "").split("\n").slice(0, 4000)) {
    const line = now && !told ? " " : told; // an empty line of which somebody took the space
    const file = /^diff --git "?a\/(.*?)"? "?b\/(.*?)"?$/.exec(line), place = /^@@ -(\d+)(?:,\d+)? \+(\d+)(?:,\d+)? @@/.exec(line);
    if (file) { open(file[1] === file[2] ? file[2] : `${file[1]} → ${file[2]}`); old = now = 0; continue; }
    if (!body) { if (!line.trim()) continue; open(""); }
    if (!now && !place && /^(index |--- |\+\+\+ )/.test(line)) continue;
    const kind = place ? "place" : now && line[0] === "+" ? "came" : now && line[0] === "-" ? "went" : "";
    if (place) [old, now] = [Number(place[1]), Math.max(1, Number(place[2]))];
    const said = make("span", { className: kind, textContent: `${line}\n` });
    if (kind === "came") came += 1;
    if (kind === "went") went += 1;
    if (kind === "came" || (now && line[0] === " ")) said.dataset.at = String(now++);
    else if (kind === "went") said.dataset.at = String(old);
    if (kind === "went" || (now && line[0] === " ")) old += 1;
    if (line || kind) body.append(said);
  }
  close();
  return made;
}

async function besides() {
  const place = document.getElementById("code-files");
  const inner = files.some((entry) => entry.is_folder && entry.path === "loopwright") ? await list("loopwright").catch(() => []) : [];
  for (const entry of [...files, ...inner]) {
    const isDiff = /(^|\/)[^/]*\.(diff|patch)$/.test(entry.path), isLock = /(^|\/)(requirements\.txt|environment\.lock(\.txt)?|conda\.yaml|python_env\.yaml)$/.test(entry.path);
    if (!place || !(isDiff || isLock)) continue;
    const text = await beginning(entry.path).catch(() => "");
    place.append(make("details", { className: "raw", open: isDiff }, make("summary", { textContent: entry.path }), isDiff ? difference(text) : make("pre", { textContent: text, tabIndex: 0 })));
  }
}

tree.append(branch(files));
besides();
