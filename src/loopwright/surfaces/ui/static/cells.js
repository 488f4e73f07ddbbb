// How values of runs look: numbers, times, states, fields of a search.
const whole = new Intl.NumberFormat("en");
export const number = (v) => {
  if (typeof v !== "number") return v ?? "";
  if (Number.isInteger(v) && Math.abs(v) < 1e9) return whole.format(v + 0);
  const size = Math.abs(v);
  if (size >= 1e4 && size < 1e6) return v.toLocaleString("en", { maximumFractionDigits: 1 });
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? v.toExponential(3).replace(/\.?0+e/, "e") : v.toPrecision(5).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
};
// A value of a metric in the unit its name tells; sizes in what they are read in.
const SIZES = [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]];
export function measured(key, v) {
  if (typeof v !== "number" || !Number.isFinite(v)) return number(v);
  const bytes = /(^|[_/.])bytes$/.test(key) ? v : /(^|[_/.])megabytes$/.test(key) ? v * 1e6 : null;
  if (bytes !== null) { const [by, unit] = SIZES.find(([least]) => Math.abs(bytes) >= least) ?? [1, "B"]; return `${Number((bytes / by).toPrecision(4))} ${unit}`; }
  return /^system\/.*(_|\b)(percent|percentage)$/.test(key) ? `${number(v)} %` : number(v);
}
export const moment = (ms) => (ms == null || Number.isNaN(new Date(ms).getTime()) ? "–" : new Date(ms).toISOString().slice(0, 16).replace("T", " "));
export function lasted(start, end) {
  if (start == null) return "–";
  const ms = Math.max(0, (end ?? Date.now()) - start), s = Math.round(ms / 1000);
  if (ms < 1000 && end != null) return `${ms} ms`;
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}
export const tone = (state) => ({ finished: "good", failed: "bad", killed: "bad", running: "accent" })[state] ?? "";

// A column is `metrics.val/auc`, `params.lr` or `tags.team`; in a search its key stands in backticks.
export const split = (column) => { const at = column.indexOf("."); return [column.slice(0, at), column.slice(at + 1)]; };
export const field = (column) => { const [kind, key] = split(column); return kind === "attributes" ? column : `${kind}.\`${key.replaceAll("`", "``")}\``; };
// A param as it was given; a long number in as many digits as can be told apart.
export const param = (v) => (typeof v === "string" && v.length > 9 && /^-?\d*\.\d+(e[+-]?\d+)?$/i.test(v) ? number(Number(v)) : v);
export const isNumber = (column) => column.startsWith("metrics.") || /^attributes\.(start|end)_time$/.test(column);

// Whether less of a metric is better, as its name tells; null where it tells nothing.
export function isLowBetter(key) {
  const name = key.toLowerCase();
  if (/loss|error|(^|[^a-z])(rmse|mse|mae|mape|brier|nll|ece|latency|seconds|ms|perplexity|wer|cer)([^a-z]|$)|_gap$/.test(name)) return true;
  if (/acc|auc|f1|precision|recall|(^|[^a-z])r2([^a-z]|$)|score|ndcg|map|iou|bleu|rouge/.test(name)) return false;
  return null;
}
