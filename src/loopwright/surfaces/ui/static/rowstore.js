// Rows of a search, page by page by key tokens. What is loaded stays in its place until another question is asked;
// values of rows that are shown are asked for again when columns change or a run goes on.
const FIRST = 100, MOST = 1000;

export class RowStore {
  constructor(changed) {
    this.changed = changed;
    this.begin({});
  }

  begin(question, first = null) {
    this.question = question;
    this.round = (this.round ?? 0) + 1;
    this.stamp = 1;
    this.rows = [];
    this.pages = [];
    this.byId = new Map();
    this.children = new Map();
    this.next = "";
    this.isWhole = false;
    this.failure = null;
    this.loading = null;
    this.fresh = new Set();
    this.matches = null;
    this.groups = new Map();
    this.goal = false;
    if (question.experiment) this.count();
    if (first) this.take(first, "", FIRST);
    return this;
  }

  address(extra) {
    const query = new URLSearchParams({ experiment: this.question.experiment });
    for (const name of ["filter", "group", "lifecycle"]) if (this.question[name]) query.set(name, this.question[name]);
    for (const each of this.question.order ?? []) query.append("order", each);
    for (const each of this.question.columns ?? []) query.append("column", each);
    for (const [name, value] of Object.entries(extra)) { if (value === "") query.delete(name); else query.set(name, value); }
    return `/rows?${query}`;
  }

  async ask(extra) {
    const round = this.round;
    const answer = await fetch(this.address(extra));
    const told = await answer.json();
    if (round !== this.round) return null;
    if (!answer.ok) throw Object.assign(new Error(told.message), { told });
    return told;
  }

  // How many runs the filter is about; nothing is told where that cannot be found out.
  async count() {
    const round = this.round, query = new URLSearchParams({ experiment: this.question.experiment });
    for (const name of ["filter", "lifecycle"]) if (this.question[name]) query.set(name, this.question[name]);
    const answer = await fetch(`/api/v1/runs:count?${query}`).catch(() => null);
    if (!answer?.ok || round !== this.round) return;
    this.matches = await answer.json();
    this.changed();
  }

  // How many runs a group has that is not loaded whole; undefined until that is known.
  groupCount(condition) {
    if (this.groups.has(condition)) return this.groups.get(condition);
    this.groups.set(condition, undefined);
    const round = this.round, own = this.question.filter?.trim(), query = new URLSearchParams({ experiment: this.question.experiment, filter: own ? `(${own}\n) AND ${condition}` : condition });
    if (this.question.lifecycle) query.set("lifecycle", this.question.lifecycle);
    fetch(`/api/v1/runs:count?${query}`).then((answer) => (answer.ok ? answer.json() : null)).then((told) => {
      if (!told || round !== this.round) return;
      this.groups.set(condition, told);
      this.changed();
    }).catch(() => {});
    return undefined;
  }

  // Page after page until the last one, or until somebody goes elsewhere.
  async toTheEnd() {
    const round = this.round;
    this.goal = true;
    this.changed();
    while (this.goal && round === this.round && !this.isWhole && !this.failure) await this.more();
    const isThere = this.goal && round === this.round && this.isWhole;
    if (round === this.round) { this.goal = false; this.changed(); }
    return isThere;
  }

  take(told, token, limit) {
    const page = this.pages.length;
    this.pages.push({ token, limit, stamp: this.stamp });
    for (const row of told.rows) {
      if (this.byId.has(row.id)) continue;
      Object.assign(row, { page, stamp: this.stamp });
      this.byId.set(row.id, row);
      this.rows.push(row);
    }
    this.question.columns ??= told.columns;
    this.told = told.told;
    if (told.names) this.names = told.names;
    this.next = told.next;
    this.isWhole = !told.next;
  }

  // The next page; pages grow while somebody keeps going down.
  more() {
    if (this.loading || this.isWhole || this.failure) return this.loading;
    const limit = Math.min(MOST, FIRST * 2 ** Math.max(0, this.pages.length - 2)), token = this.next;
    const work = this.ask({ token, limit }).then((told) => { if (told) this.take(told, token, limit); })
      .catch((error) => { this.failure = error.told ?? { message: "The server cannot be reached.", hint: "" }; })
      .finally(() => { if (this.loading === work) this.loading = null; this.changed(); });
    this.loading = work;
    return work;
  }

  // Other columns: rows keep their place, values of those in sight are asked for again.
  restamp(columns, group = this.question.group) {
    Object.assign(this.question, { columns, group });
    this.stamp += 1;
  }

  async renew(rows) {
    const stale = new Set(rows.filter((row) => row.stamp !== this.stamp && row.page >= 0).map((row) => row.page));
    const ids = rows.filter((row) => row.stamp !== this.stamp && row.page < 0).map((row) => row.id);
    if (ids.length) await this.patch(ids);
    for (const at of stale) {
      const page = this.pages[at];
      if (page.stamp === this.stamp) continue;
      page.stamp = this.stamp;
      const told = await this.ask({ token: page.token, limit: page.limit });
      if (told) this.put(told);
    }
    if (stale.size) this.changed();
  }

  put(told) {
    this.told = told.told;
    for (const row of told.rows) {
      const known = this.byId.get(row.id);
      if (known) Object.assign(known, row, { stamp: this.stamp });
    }
  }

  async patch(ids) {
    const told = await this.ask({ runs: ids.slice(0, FIRST).join(" "), limit: MOST, lifecycle: "all" });
    if (told) { this.put(told); this.changed(); }
  }

  // Which of some new runs belong here; they are put on top at once, or told of and shown when asked.
  async arrived(ids, atOnce) {
    const told = await this.ask({ runs: ids.slice(0, FIRST).join(" "), limit: MOST });
    const rows = (told?.rows ?? []).filter((row) => !this.byId.has(row.id));
    if (atOnce) this.prepend(rows);
    else for (const row of rows) this.fresh.add(row.id);
    if (rows.length) this.changed();
  }

  prepend(rows) {
    for (const row of rows) { Object.assign(row, { page: -1, stamp: this.stamp }); this.byId.set(row.id, row); }
    this.rows.unshift(...rows);
  }

  async unfold(id) {
    if (this.children.has(id)) return;
    this.children.set(id, null);
    const told = await this.ask({ parent: id, limit: MOST, group: "", filter: "" });
    const rows = (told?.rows ?? []).map((row) => this.byId.get(row.id) ?? Object.assign(row, { page: -1, stamp: this.stamp }));
    for (const row of rows) this.byId.set(row.id, row);
    this.children.set(id, rows);
    this.changed();
  }
}
