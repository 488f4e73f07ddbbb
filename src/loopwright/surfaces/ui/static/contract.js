// The editor of a contract: what a dry run found is told beneath it, the inferred one can be taken over.
const byId = (id) => document.getElementById(id);

function cell(row, text, name = "") {
  const made = row.insertCell();
  made.textContent = text;
  made.className = name;
  return made;
}

function pill(place, text, tone) {
  const made = document.createElement("span");
  made.className = `pill ${tone}`;
  made.textContent = text;
  place.append(made);
}

const keys = (first) => first.slice(0, 3).map((key) => Object.entries(key).map(([name, value]) => `${name} ${value}`).join(", ")).join("; ");

function line(table, rule) {
  const row = table.insertRow(), tone = rule.severity === "block" ? "bad" : "warn";
  cell(row, rule.rule, "clip");
  pill(cell(row, "", "nowrap"), rule.held ? "holds" : "broken", rule.held ? "good" : tone);
  cell(row, rule.severity, "soft");
  cell(row, rule.figures ? `${rule.found} (${rule.figures})` : rule.found, "clip");
  cell(row, rule.failed.toLocaleString("en"), "num");
  cell(row, keys(rule.first), "clip small soft");
}

function show(report) {
  const place = byId("report"), broken = report.rules.filter((rule) => !rule.held);
  const denied = report.verdict === "deny";
  byId("report-said").textContent = `${report.subject}, ${report.rows.toLocaleString("en")} rows: ` + (broken.length
    ? `${broken.length} of ${report.rules.length} rules are broken${denied ? ", and such a batch would be refused" : ""}.`
    : `all ${report.rules.length} rules hold.`);
  const body = byId("report-rules");
  body.replaceChildren();
  for (const rule of [...broken, ...report.rules.filter((each) => each.held)]) line(body, rule);
  place.hidden = false;
  byId("report-said").focus();
}

addEventListener("acted", ({ detail }) => { if (detail.what === "report") show(detail.told); });
byId("take")?.addEventListener("click", () => {
  byId("contract").value = JSON.parse(byId("inferred-data").textContent);
  byId("contract").focus();
});
