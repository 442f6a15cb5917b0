// Draws every <div class="chart" data-chart="NAME"> from the JSON of #runs: [{ name, charts: { NAME: [{ label, x, y, style }] } }].
// style: "faint" (single measurements), "line", "points" (a line with its points).
(() => {
  const runs = JSON.parse(document.getElementById("runs").textContent);
  const colors = ["--c1", "--c5", "--c4", "--c3", "--c2", "--c0"];
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const number = v => v == null ? "–" : Math.abs(v) >= 1e5 ? Math.round(v).toLocaleString("en") : String(Number(v.toPrecision(5)));
  let charts = [];

  function series(line, run, index) {
    // One run has its lines in different colours; several have one colour each.
    const color = css(colors[(runs.length > 1 ? run : index) % colors.length]);
    const faint = line.style === "faint", points = line.style === "points";
    return {
      label: runs.length > 1 ? `${runs[run].name}${line.label ? ", " + line.label : ""}` : line.label,
      stroke: faint ? color + "66" : color, width: faint ? 1 : 2, points: { show: points, size: 6, fill: color }, dash: points && runs.length > 1 ? [6, 4] : undefined,
      spanGaps: points, value: (_, v) => number(v),
    };
  }

  function draw() {
    for (const chart of charts) chart.destroy();
    charts = [...document.querySelectorAll(".chart")].map(place => {
      const lines = runs.flatMap((run, r) => (run.charts[place.dataset.chart] ?? []).map((line, i) => ({ line, r, i })));
      const axis = { stroke: css("--quiet"), grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 } };
      const options = {
        width: place.clientWidth, height: 240, scales: { x: { time: false } }, cursor: { sync: { key: "step" }, drag: { x: true, y: false } },
        axes: [{ ...axis }, { ...axis, size: 70, values: (_, ticks) => ticks.map(number) }],
        series: [{ label: "step", value: (_, v) => number(v) }, ...lines.map(l => series(l.line, l.r, l.i))],
      };
      return new uPlot(options, uPlot.join(lines.map(l => [l.line.x, l.line.y])), place);
    });
    document.documentElement.dataset.charts = charts.length;
  }

  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
  addEventListener("resize", () => charts.forEach(chart => chart.setSize({ width: chart.root.parentElement.clientWidth, height: 240 })));
})();
