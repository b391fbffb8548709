// How figures look: colours, axes and ticks. Imports only what a report can hold too.
import { place } from "./measures.js";

export const THEMES = {
  light: {
    ink: "#23272b",
    soft: "#667078",
    line: "#dfe3e6",
    paper: "#ffffff",
    coverage: "#2563a8",
    selected: "#c4501b",
    majority: "#6f4fa3",
    right: "#2f8f5b",
    wrong: "#c23b3b",
    abstain: "#b9c0c6",
    model: "#7b858d",
    series: ["#2563a8", "#c4501b", "#2f8f5b", "#8a4fa3", "#9a7b12", "#3a8fa3", "#a33a63", "#5a6470"],
  },
  dark: {
    ink: "#e6e8ea",
    soft: "#9aa4ac",
    line: "#343b41",
    paper: "#1b1f23",
    coverage: "#6ea8ea",
    selected: "#f08a55",
    majority: "#b59be6",
    right: "#57bd86",
    wrong: "#ec7272",
    abstain: "#5b656d",
    model: "#98a2aa",
    series: ["#6ea8ea", "#f08a55", "#57bd86", "#c59be6", "#d9b84a", "#6bc4d8", "#e67ba4", "#a9b3bb"],
  },
};

export const alpha = (hex, share) =>
  `rgba(${[1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)).join(",")},${share})`;
export const percents = (value) => `${(100 * value).toFixed(1)} %`;

export function layout(theme, { xtitle, ytitle, log = true, ticks = null, height = 400, top = 1.02 }) {
  const axis = {
    gridcolor: theme.line,
    linecolor: theme.line,
    zeroline: false,
    tickfont: { color: theme.soft },
    ticks: "",
  };
  return {
    height,
    margin: { l: 64, r: 14, t: 12, b: 48 },
    paper_bgcolor: theme.paper,
    plot_bgcolor: theme.paper,
    font: { family: "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", size: 13, color: theme.ink },
    hovermode: "closest",
    hoverlabel: { bgcolor: theme.paper, bordercolor: theme.line, font: { color: theme.ink }, align: "left" },
    legend: { orientation: "h", x: 0, y: -75 / (height - 60), yanchor: "top", xanchor: "left", font: { size: 12 } },
    xaxis: {
      ...axis,
      type: log ? "log" : "linear",
      title: { text: xtitle, font: { size: 13, color: theme.soft } },
      showgrid: false,
      ...(ticks ? { tickvals: ticks, ticktext: ticks.map(short) } : {}),
    },
    yaxis: {
      ...axis,
      title: { text: ytitle, font: { size: 13, color: theme.soft } },
      range: [0, top],
      tickformat: ".0%",
    },
  };
}

/** Positions on the x axis that are in use, rounded for reading: powers of two for samples, else 1, 2 and 5 times a power of ten. */
export function ticksOf(curves, options) {
  const used = (c) => [...c.points, ...(options.beyond === false || options.stopping ? [] : (c.beyond ?? []))];
  const at = curves.flatMap((c) => used(c).map((p) => place(c, p, options))).filter((x) => x > 0);
  if (!at.length) return null;
  const least = Math.min(...at) * 0.999,
    most = Math.max(...at) * 1.001,
    base2 = (options.axis ?? "samples") === "samples";
  const ticks = [];
  if (base2) for (let k = 1; k <= most; k *= 2) ticks.push(k);
  else
    for (let e = Math.floor(Math.log10(least)); e <= Math.log10(most); e++)
      ticks.push(...[1, 2, 5].map((m) => Number((m * 10 ** e).toPrecision(2))));
  const seen = ticks.filter((x) => x >= least && x <= most);
  const few = seen.length > 9 ? seen.filter((_, i) => i % Math.ceil(seen.length / 9) === 0) : seen;
  return few.length > 1 ? few : at.length < 10 ? [...new Set(at.map((x) => Number(x.toPrecision(2))))] : null;
}

const short = (x) => (x >= 1e6 ? `${x / 1e6} M` : x >= 1e4 ? `${x / 1e3} k` : String(x));
