// Charts of signals: lines with their interval, bars, a heat map of drift; incidents and promotions are marked.
const source = document.getElementById("series-data");
const data = source ? JSON.parse(source.textContent) : { series: {}, marks: [], promotions: [] };
const charts = [];

const ink = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const day = (ms) => new Date(ms).toISOString().slice(0, 10);

function frame() {
  return {
    animation: false,
    textStyle: { fontFamily: ink("--sans"), color: ink("--soft") },
    grid: { left: 52, right: 16, top: 18, bottom: 30 },
    tooltip: { trigger: "axis", renderMode: "richText", backgroundColor: ink("--panel"), borderColor: ink("--line"),
      textStyle: { color: ink("--ink"), fontSize: 12 }, confine: true },
    xAxis: { type: "time", axisLine: { lineStyle: { color: ink("--line") } }, axisLabel: { color: ink("--faint"), hideOverlap: true }, splitLine: { show: false } },
    yAxis: { type: "value", scale: true, axisLabel: { color: ink("--faint") }, splitLine: { lineStyle: { color: ink("--line") } } },
  };
}

function incidentAreas() {
  return data.marks.map((m) => [
    { xAxis: Date.parse(m.since), name: m.name, label: { color: ink("--bad"), fontSize: 11, position: "insideTopLeft" } },
    { xAxis: m.until ? Date.parse(m.until) : Date.now() },
  ]);
}

function line(box) {
  const option = frame();
  option.series = [];
  for (const name of box.dataset.names.split(" ")) {
    const points = data.series[name] ?? [];
    if (box.dataset.band && points.some((p) => p[2] !== null)) {
      const band = { type: "line", stack: `band-${name}`, symbol: "none", lineStyle: { opacity: 0 }, silent: true, tooltip: { show: false } };
      const known = points.filter((p) => p[2] !== null);
      const floor = Math.min(...known.map((p) => p[2]));
      option.series.push({ ...band, stackStrategy: "all", data: known.map((p) => [p[0], p[2]]) });
      option.series.push({ ...band, stackStrategy: "all", data: known.map((p) => [p[0], p[3] - p[2]]), areaStyle: { color: ink("--accent"), opacity: 0.14 } });
      option.yAxis.min = (v) => Math.floor(Math.min(v.min, floor) * 50) / 50;
    }
    option.series.push({
      name: name.replaceAll("_", " "), type: "line", symbol: "none", data: points.map((p) => [p[0], p[1]]),
      lineStyle: { color: ink("--accent"), width: 1.8 }, itemStyle: { color: ink("--accent") },
      tooltip: { valueFormatter: (v) => Number(v).toFixed(4) },
      markArea: { silent: true, itemStyle: { color: ink("--bad"), opacity: 0.1 }, data: incidentAreas() },
      markLine: {
        silent: true, symbol: "none", lineStyle: { color: ink("--good"), type: "dashed", width: 1 },
        label: { color: ink("--good"), fontSize: 11, formatter: (p) => p.name, position: "insideEndTop" },
        data: [
          ...data.promotions.map(([at, version]) => ({ xAxis: at, name: `v${version}` })),
          ...(box.dataset.zero ? [{ yAxis: 0, name: "", lineStyle: { color: ink("--faint"), type: "solid" } }] : []),
        ],
      },
    });
  }
  return option;
}

function bars(box) {
  const option = frame();
  const points = data.series[box.dataset.names] ?? [];
  option.yAxis.scale = false;
  option.series = [{ type: "bar", data: points.map((p) => [p[0], p[1]]), itemStyle: { color: ink("--accent") }, barMaxWidth: 14 }];
  return option;
}

function heat(box) {
  const names = Object.keys(data.series).filter((n) => n.startsWith(box.dataset.prefix)).sort();
  const stamps = [...new Set(names.flatMap((n) => data.series[n].map((p) => p[0])))].sort((a, b) => a - b);
  const at = new Map(stamps.map((ms, i) => [ms, i]));
  const cells = names.flatMap((n, row) => data.series[n].map((p) => [at.get(p[0]), row, p[1]]));
  const option = frame();
  box.classList.toggle("tall", true);
  option.grid = { left: 190, right: 16, top: 10, bottom: 56 };
  option.xAxis = { type: "category", data: stamps.map(day), axisLabel: { color: ink("--faint") }, axisLine: { lineStyle: { color: ink("--line") } } };
  option.yAxis = { type: "category", data: names.map((n) => n.slice(box.dataset.prefix.length)), axisLabel: { color: ink("--soft"), fontSize: 11 }, axisLine: { show: false }, axisTick: { show: false } };
  option.tooltip = { ...option.tooltip, trigger: "item", formatter: (p) => `${option.yAxis.data[p.value[1]]}\n${option.xAxis.data[p.value[0]]}: ${p.value[2].toFixed(3)}` };
  const most = Math.max(0.2, ...cells.map((c) => c[2]));
  option.visualMap = { min: 0, max: Math.min(1, most), orient: "horizontal", left: "center", bottom: 0, itemHeight: 90, itemWidth: 10,
    inRange: { color: [ink("--panel"), ink("--warn"), ink("--bad")] }, textStyle: { color: ink("--faint") } };
  option.series = [{ type: "heatmap", data: cells, progressive: 0 }];
  return option;
}

function live(box) {
  const kept = (box.points ??= []);
  const option = frame();
  option.yAxis.min = 0;
  option.series = [{ type: "line", symbol: "none", areaStyle: { color: ink("--accent"), opacity: 0.12 }, lineStyle: { color: ink("--accent"), width: 1.8 }, data: kept }];
  if (!kept.length) {
    option.graphic = { type: "text", left: "center", top: "middle", style: { text: "waiting for requests", fill: ink("--faint"), fontSize: 13 } };
  }
  return option;
}

const kinds = { line, bars, heat };
function draw() {
  for (const box of document.querySelectorAll("[data-chart], [data-live]")) {
    box.chart ??= echarts.init(box, null, { renderer: "canvas" });
    box.chart.setOption(box.dataset.live ? live(box) : kinds[box.dataset.chart](box), { notMerge: true });
    charts.push(box.chart);
  }
}
draw();
addEventListener("resize", () => charts.forEach((chart) => chart.resize()));
addEventListener("themechange", draw);
addEventListener("livenote", ({ detail }) => {
  if (detail.rate === undefined) return;
  for (const box of document.querySelectorAll("[data-live]")) {
    (box.points ??= []).push([Date.now(), Math.round(detail.rate)]);
    if (box.points.length > 300) box.points.shift();
    box.chart.setOption(live(box), { notMerge: true });
  }
});
