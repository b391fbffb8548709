// Who descends from whom, as a figure.
import { THEMES, alpha, layout } from "./layout.js";

/** Who descends from whom in one population, and its ESS at each resampling below. */
export function genealogyFigure(population, options = {}) {
  const theme = THEMES[options.theme ?? "light"];
  const splits = population.splits.filter((s) => s.parents.length);
  const first = splits.length ? Math.min(splits[0].step - 1, 0) : 0;
  const lines = { lives: { x: [], y: [] }, died: { x: [], y: [] } };
  let alive = new Set(Array.from({ length: population.particles }, (_, i) => i));
  for (let j = splits.length - 1; j >= 0; j--) {
    const { step, parents } = splits[j],
      before = j ? splits[j - 1].step : first;
    parents.forEach((parent, child) => {
      const to = alive.has(child) ? lines.lives : lines.died;
      to.x.push(before, step, null);
      to.y.push(parent + 1, child + 1, null);
    });
    alive = new Set([...alive].map((child) => parents[child]));
  }
  const data = [
    {
      ...lines.died,
      mode: "lines",
      line: { color: alpha(theme.model, 0.35), width: 1 },
      hoverinfo: "skip",
      name: "died out",
    },
    {
      ...lines.lives,
      mode: "lines",
      line: { color: theme.coverage, width: 1.8 },
      hoverinfo: "skip",
      name: "lead to an answer",
    },
    {
      x: splits.map((s) => s.step),
      y: splits.map((s) => s.ess),
      yaxis: "y2",
      mode: "lines+markers",
      line: { color: theme.selected, width: 1.8 },
      marker: { size: 5, color: theme.selected },
      name: "ESS",
      text: splits.map((s) => `step ${s.step}: ESS ${s.ess.toFixed(1)}`),
      hoverinfo: "text",
    },
  ];
  const made = layout(theme, { xtitle: "step", ytitle: "particle", log: false, height: options.height ?? 400 });
  Object.assign(made.yaxis, {
    domain: [0.34, 1],
    range: [0.5, population.particles + 0.5],
    tickformat: "d",
    showgrid: false,
  });
  const last = splits.at(-1)?.step ?? 1;
  Object.assign(made.xaxis, { anchor: "y2", dtick: Math.max(1, Math.ceil((last - first) / 10)) });
  made.yaxis2 = {
    ...made.yaxis,
    domain: [0, 0.24],
    range: [0, population.particles * 1.05],
    title: { text: "ESS", font: { size: 13, color: theme.soft } },
    tickformat: "",
    nticks: 3,
    showgrid: true,
  };
  return { data, layout: made };
}
