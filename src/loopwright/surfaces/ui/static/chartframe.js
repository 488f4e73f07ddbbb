// What all charts have in common: colours of the theme, axes, the tooltip, dates in UTC.
export const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
export const when = (ms) => { const d = new Date(ms); return `${d.getUTCDate()} ${months[d.getUTCMonth()]} ${d.getUTCFullYear()}`; };
export const moment = (ms) => new Date(ms).toISOString().slice(11, 19);

export function frame() {
  return {
    animation: false,
    useUTC: true,
    textStyle: { fontFamily: ink("--sans"), color: ink("--soft") },
    grid: { left: 46, right: 14, top: 26, bottom: 28 },
    tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: ink("--panel"), borderColor: ink("--line"), borderWidth: 1, padding: [7, 10],
      textStyle: { color: ink("--ink"), fontSize: 12, lineHeight: 18 }, confine: true, axisPointer: { lineStyle: { color: ink("--faint"), width: 1, type: "solid" } } },
    xAxis: { type: "time", axisLine: { lineStyle: { color: ink("--line") } }, axisTick: { show: false }, splitLine: { show: false },
      axisLabel: { color: ink("--faint"), fontSize: 11, hideOverlap: true, formatter: { year: "{yyyy}", month: "{MMM} {yyyy}", day: "{d} {MMM}", hour: "{HH}:{mm}", minute: "{HH}:{mm}", second: "{HH}:{mm}:{ss}" } } },
    yAxis: { type: "value", scale: true, splitNumber: 4, axisLabel: { color: ink("--faint"), fontSize: 11 }, splitLine: { lineStyle: { color: ink("--line") } } },
  };
}
