// Figures from the JSON of the API: pure functions to plotly's {data, layout}; no element is touched.
import { THEMES, alpha, layout, percents, ticksOf } from "./layout.js";
import { AXES, INTERVALS, place, plain } from "./measures.js";

/** One estimate against budget: its interval as a band, a line to k = n/2, and a dimmed line beyond. */
function line(curve, field, band, { name, colour, dash = "solid", group, symbol = "circle" }, options) {
  const points = curve.points.filter((p) => p[field]);
  const at = (p) => place(curve, p, options);
  const hover = (p) =>
    `${plain(name)}<br>k = ${p.k}: ${percents(p[field].mean)}${p[band] ? `<br>${Math.round(100 * curve.level)} %: ${percents(p[band].low)} to ${percents(p[band].high)}` : ""}<br>${p.items} items`;
  const traces = [];
  const banded = points.filter((p) => p[band]);
  if (banded.length) {
    traces.push({
      x: [...banded.map(at), ...banded.map(at).reverse()],
      y: [...banded.map((p) => p[band].high), ...banded.map((p) => p[band].low).reverse()],
      fill: "toself",
      fillcolor: alpha(colour, 0.14),
      line: { width: 0 },
      mode: "lines",
      hoverinfo: "skip",
      showlegend: false,
      legendgroup: group,
      name: `${plain(name)}, interval`,
    });
  }
  const half = curve.samples / 2;
  const sure = points.filter((p) => p.k <= half),
    dim = points.filter((p) => p.k > half);
  const style = (part, shown, opacity) => ({
    x: part.map(at),
    y: part.map((p) => p[field].mean),
    text: part.map(hover),
    hoverinfo: "text",
    mode: "lines+markers",
    name: plain(name),
    legendgroup: group,
    showlegend: shown,
    opacity,
    line: { color: colour, width: 2.4, dash },
    marker: { color: colour, size: 7, symbol },
  });
  if (sure.length) traces.push(style(sure, true, 1));
  if (dim.length) traces.push(style(sure.length ? [sure[sure.length - 1], ...dim] : dim, !sure.length, 0.42));
  return traces;
}

/** Models beyond n: their range, each of them dashed, and the floor that needs no model. */
function beyond(curve, theme, options) {
  const points = curve.beyond ?? [];
  if (!points.length || options.beyond === false || options.stopping) return [];
  const at = (p) => place(curve, p, options);
  const models = { beta_binomial: "beta-binomial", zero_inflated: "zero-inflated", power_law: "power law" };
  const known = (p) =>
    Object.keys(models)
      .map((m) => p[m])
      .filter((v) => v !== null && v !== undefined);
  const any = points.filter((p) => known(p).length);
  const common = { legendgroup: "beyond", hoverinfo: "text" };
  const traces = [
    {
      ...common,
      x: [...any.map(at), ...any.map(at).reverse()],
      y: [...any.map((p) => Math.max(...known(p))), ...any.map((p) => Math.min(...known(p))).reverse()],
      fill: "toself",
      fillcolor: alpha(theme.model, 0.1),
      line: { width: 0 },
      mode: "lines",
      name: "model range, not an interval",
      hoverinfo: "skip",
    },
  ];
  for (const [model, label] of Object.entries(models)) {
    const mine = points.filter((p) => p[model] !== null && p[model] !== undefined);
    if (mine.length)
      traces.push({
        ...common,
        x: mine.map(at),
        y: mine.map((p) => p[model]),
        mode: "lines",
        line: { color: theme.model, width: 1.3, dash: "dash" },
        name: label,
        showlegend: false,
        text: mine.map((p) => `${label}, k = ${p.k}: ${percents(p[model])}<br>model range, not an interval`),
      });
  }
  traces.push({
    ...common,
    legendgroup: "floor",
    x: points.map(at),
    y: points.map((p) => p.floor),
    mode: "lines",
    line: { color: theme.coverage, width: 1.3, dash: "dot" },
    name: "floor: coverage at n",
    text: points.map((p) => `at least ${percents(p.floor)}, without a model`),
  });
  return traces;
}

/** Lines of what comes back by a vote and by the verifier's choice, with their intervals if wanted. */
const returned = (curve, theme, intervals, options) =>
  [
    { name: "majority", colour: theme.majority, dash: "dashdot", symbol: "diamond" },
    { name: "selected", colour: theme.selected, symbol: "square" },
  ].flatMap((own) => line(curve, own.name, intervals ? own.name : "-", { ...own, group: own.name }, options));

/** Coverage, selected and majority against budget. options: {theme, axis, interval, prices, stopping, beyond, height}. */
export function curveFigure(curve, options = {}) {
  const theme = THEMES[options.theme ?? "light"],
    kind = INTERVALS[options.interval ?? "set"];
  const others = kind.field === "coverage"; // the other kinds of interval are coverage's alone
  const data = [
    ...beyond(curve, theme, options),
    ...line(curve, "coverage", kind.field, { name: "coverage", colour: theme.coverage, group: "coverage" }, options),
    ...returned(curve, theme, others, options),
  ];
  return {
    data,
    layout: layout(theme, {
      xtitle: AXES[options.axis ?? "samples"],
      ytitle: `right by ${plain(curve.judge, 30)}`,
      ticks: ticksOf([curve], options),
      height: options.height,
    }),
  };
}

/** Coverage against what the verifier makes of it: the gap between them is shaded. */
export function gapFigure(curve, options = {}) {
  const theme = THEMES[options.theme ?? "light"];
  const points = curve.points.filter((p) => p.selected);
  const at = (p) => place(curve, p, options);
  const gap = {
    x: [...points.map(at), ...points.map(at).reverse()],
    y: [...points.map((p) => p.coverage.mean), ...points.map((p) => p.selected.mean).reverse()],
    fill: "toself",
    fillcolor: alpha(theme.selected, 0.16),
    line: { width: 0 },
    mode: "lines",
    hoverinfo: "skip",
    name: "verifier gap",
  };
  const data = [
    ...(points.length ? [gap] : []),
    ...line(curve, "coverage", "-", { name: "coverage", colour: theme.coverage, group: "coverage" }, options),
    ...returned(curve, theme, false, options),
  ];
  return {
    data,
    layout: layout(theme, {
      xtitle: AXES[options.axis ?? "samples"],
      ytitle: "share of items",
      ticks: ticksOf([curve], { ...options, beyond: false }),
      height: options.height ?? 320,
    }),
  };
}

/** Right, wrong and abstained when one draws until the verifier accepts, as areas that sum to one. */
export function outcomeFigure(curve, options = {}) {
  const theme = THEMES[options.theme ?? "light"];
  const points = curve.points.filter((p) => [p.right, p.wrong, p.abstain].every((v) => v !== null && v !== undefined));
  const data = ["right", "wrong", "abstain"].map((field) => ({
    x: points.map((p) => place(curve, p, options)),
    y: points.map((p) => p[field]),
    text: points.map((p) => `${field}, k = ${p.k}: ${percents(p[field])}`),
    hoverinfo: "text",
    stackgroup: "all",
    mode: "lines",
    line: { width: 1, color: theme[field] },
    fillcolor: alpha(theme[field], field === "abstain" ? 0.5 : 0.72),
    name: field,
  }));
  const made = layout(theme, {
    xtitle: AXES[options.axis ?? "samples"],
    ytitle: "share of items",
    ticks: ticksOf([curve], { ...options, beyond: false }),
    height: options.height ?? 320,
    top: 1,
  });
  const at = data[0].x.filter((x) => x > 0);
  if (at.length) made.xaxis.range = [Math.log10(Math.min(...at) * 0.97), Math.log10(Math.max(...at) * 1.03)];
  return { data, layout: made };
}

/** Curves of several jobs in one figure. names: label of each. field: "coverage" or "selected". */
export function compareFigure(curves, names, options = {}) {
  const theme = THEMES[options.theme ?? "light"],
    field = options.field ?? "coverage";
  const dashes = ["solid", "dash", "dashdot", "dot"],
    symbols = ["circle", "square", "diamond", "triangle-up"];
  const data = curves.flatMap((curve, i) =>
    line(
      curve,
      field,
      field,
      {
        name: names[i],
        colour: theme.series[i % theme.series.length],
        dash: dashes[i % 4],
        symbol: symbols[i % 4],
        group: String(i),
      },
      options,
    ),
  );
  return {
    data,
    layout: layout(theme, {
      xtitle: AXES[options.axis ?? "samples"],
      ytitle: field === "selected" ? "selected" : "coverage",
      ticks: ticksOf(curves, { ...options, beyond: false }),
      height: options.height ?? 420,
    }),
  };
}
