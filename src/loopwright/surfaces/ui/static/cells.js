// How values of runs look: numbers, times, states, fields of a search.
const whole = new Intl.NumberFormat("en");
export const number = (v) => {
  if (typeof v !== "number") return v ?? "";
  if (Number.isInteger(v) && Math.abs(v) < 1e9) return whole.format(v);
  const size = Math.abs(v);
  return size !== 0 && (size < 1e-3 || size >= 1e6) ? v.toExponential(3) : v.toPrecision(5).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "");
};
export const moment = (ms) => (ms == null || Number.isNaN(new Date(ms).getTime()) ? "–" : new Date(ms).toISOString().slice(0, 16).replace("T", " "));
export function lasted(start, end) {
  if (start == null) return "–";
  const s = Math.max(0, Math.round(((end ?? Date.now()) - start) / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86_400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86_400)} d ${Math.floor((s % 86_400) / 3600)} h`;
}
export const tone = (state) => ({ finished: "good", failed: "bad", killed: "bad", running: "accent" })[state] ?? "";

// A column is `metrics.val/auc`, `params.lr` or `tags.team`; in a search its key stands in backticks.
export const split = (column) => { const at = column.indexOf("."); return [column.slice(0, at), column.slice(at + 1)]; };
export const field = (column) => { const [kind, key] = split(column); return kind === "attributes" ? column : `${kind}.\`${key.replaceAll("`", "``")}\``; };
export const isNumber = (column) => column.startsWith("metrics.") || /^attributes\.(start|end)_time$/.test(column);

// Whether less of a metric is better, as its name tells; null where it tells nothing.
export function isLowBetter(key) {
  const name = key.toLowerCase();
  if (/loss|error|(^|[^a-z])(rmse|mse|mae|mape|brier|nll|ece|latency|seconds|ms|perplexity|wer|cer)([^a-z]|$)|_gap$/.test(name)) return true;
  if (/acc|auc|f1|precision|recall|(^|[^a-z])r2([^a-z]|$)|score|ndcg|map|iou|bleu|rouge/.test(name)) return false;
  return null;
}
