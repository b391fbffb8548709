// The curve of a job with its switches, the verifier gap, what becomes of answers, and advice.
import { alarm, get, path } from "../api.js";
import { curveFigure, gapFigure, outcomeFigure } from "../charts.js";
import { field, fill, h, save, select, term } from "../dom.js";
import { AXES, INTERVALS, axesOf, csv, curveRows } from "../measures.js";
import { chart, figureButtons, theme } from "../plot.js";
import { advicePanel } from "./advice.js";
import { panel } from "./panel.js";
import { gapText, outcomeText, said, tableOf } from "./curve_words.js";

const PRICES = {
  evaluations: "an evaluation",
  tokens: "a token",
  verifier_seconds: "a verifier second",
  seconds: "a second",
};

/** Panels under `holder`. Returns {refresh, due(milliseconds)}: ask the service again, now or if that long has passed. */
export function curvePanels(holder, job, signal) {
  const judges = [...(job.spec.graders ?? []), ...(job.spec.verifiers ?? [])].map((j) => j.label || j.name);
  const asked = { judge: judges[0], level: "0.95", value: "1", loss: "1", cost: "0", target: "0.9" };
  const options = {
    axis: "samples",
    interval: "set",
    stopping: false,
    beyond: true,
    prices: { evaluations: 1, tokens: 0, verifier_seconds: 0, seconds: 0 },
  };
  const wrong = h("div"),
    panels = h("div", { class: "section" });
  fill(holder, wrong, panels);
  let curve = null,
    drawn = null,
    last = 0;

  async function refresh() {
    last = Date.now();
    try {
      const fresh = await get(path(["jobs", job.id, "curve"], asked), signal);
      fill(wrong);
      const same = drawn && shape(fresh) === shape(curve);
      curve = fresh;
      if (!curve.points.length)
        return fill(
          panels,
          h(
            "section",
            { class: "card" },
            h("h2", {}, term("coverage", "Coverage")),
            h("p", { class: "muted" }, "No answer has a verdict yet."),
          ),
        );
      if (!same) drawn = build();
      await drawn.update();
    } catch (error) {
      if (signal.aborted) return;
      if (!curve) fill(panels);
      alarm(wrong, error);
    }
  }

  function build() {
    const parts = [main(() => curve, options, asked, judges, job, refresh, signal)];
    const advice = advicePanel(asked, refresh);
    const gap = curve.points.some((p) => p.selected)
      ? panel(
          "verifier gap",
          "Verifier gap",
          "gap",
          () => gapFigure(curve, { ...options, theme: theme() }),
          () => gapText(curve),
          job,
          signal,
        )
      : null;
    const outcome = curve.points.some((p) => p.right !== null && p.right !== undefined)
      ? panel(
          "right",
          "Right, wrong, abstain",
          "outcome",
          () => outcomeFigure(curve, { ...options, stopping: false, theme: theme() }),
          () => outcomeText(curve),
          job,
          signal,
        )
      : null;
    parts.push(...[gap, outcome].filter(Boolean));
    parts[0].others = parts.slice(1);
    fill(
      panels,
      parts[0].element,
      advice.element,
      gap && outcome ? h("div", { class: "pair" }, gap.element, outcome.element) : (gap ?? outcome)?.element,
    );
    return {
      update: () => {
        advice.update(curve.advice);
        return Promise.all(parts.map((part) => part.update()));
      },
    };
  }
  return { refresh, due: (wait) => (Date.now() - last >= wait ? refresh() : Promise.resolve()) };
}

/** What decides which panels and switches there are. */
const shape = (curve) =>
  JSON.stringify([
    curve?.points.length > 0,
    curve && axesOf(curve),
    ["selected", "exact", "band", "right"].map((f) => curve?.points.some((p) => p[f] !== null && p[f] !== undefined)),
    curve?.beyond?.length > 0,
  ]);

function main(curveOf, options, asked, judges, job, refresh, signal) {
  const holder = h("div", { "data-testid": "curve-chart" }),
    table = h("div", { class: "scroll" }),
    caption = h("figcaption");
  const curve = curveOf();
  const plot = chart(holder, () => curveFigure(curveOf(), { ...options, theme: theme() }), signal);
  const part = { others: [] };
  const redraw = () => Promise.all([plot.draw(), ...part.others.map((other) => other.update())]);
  const prices = h(
    "div",
    { class: "controls", hidden: options.axis !== "cost" },
    Object.entries(PRICES)
      .filter(([name]) => name !== "tokens" || axesOf(curve).includes(name))
      .map(([name, label]) =>
        field(
          `Price of ${label}`,
          h("input", {
            type: "number",
            min: 0,
            step: "any",
            value: options.prices[name],
            oninput: (event) => {
              options.prices[name] = Number(event.target.value) || 0;
              redraw();
            },
          }),
        ),
      ),
  );
  const kinds = Object.entries(INTERVALS).filter(
    ([name, kind]) => name === "set" || curve.points.some((p) => p[kind.field]),
  );
  const check = (label, name, word) =>
    h(
      "label",
      { class: "row" },
      h("input", {
        type: "checkbox",
        checked: options[name],
        "data-testid": `${name}-check`,
        onchange: (event) => {
          options[name] = event.target.checked;
          redraw();
        },
      }),
      term(word, label),
    );
  const controls = h(
    "div",
    { class: "controls" },
    field(
      term("judge", "Right by"),
      select(
        judges.map((j) => [j, j.slice(0, 60)]),
        asked.judge,
        (value) => {
          asked.judge = value;
          refresh();
        },
        { "data-testid": "judge-select" },
      ),
    ),
    field(
      term("budget", "Budget in"),
      select(
        axesOf(curve).map((axis) => [axis, AXES[axis].replace(" an item", "")]),
        options.axis,
        (value) => {
          options.axis = value;
          prices.hidden = value !== "cost";
          redraw();
        },
        { "data-testid": "axis-select" },
      ),
    ),
    field(
      term("level", "Interval for"),
      select(
        kinds.map(([name, kind]) => [name, kind.label]),
        options.interval,
        (value) => {
          options.interval = value;
          fill(caption, said(curveOf(), options));
          redraw();
        },
        { "data-testid": "interval-select" },
      ),
    ),
    curve.points.some((p) => p.draws !== null && p.draws !== undefined)
      ? check("Stop at the first right answer", "stopping", "draws")
      : null,
    curve.beyond?.length ? check("Beyond what was drawn", "beyond", "beyond") : null,
  );
  part.element = h(
    "section",
    { class: "card" },
    h(
      "div",
      { class: "row spread" },
      h("h2", {}, term("coverage", "Coverage"), " against ", term("budget", "budget")),
      h(
        "div",
        { class: "row" },
        figureButtons(plot.surface, `${job.id}-curve`),
        h(
          "button",
          {
            type: "button",
            class: "small",
            "data-testid": "download-csv",
            onclick: () => save(`${job.id}-curve.csv`, csv(curveRows(curveOf())), "text/csv"),
          },
          "CSV",
        ),
      ),
    ),
    controls,
    prices,
    h("figure", {}, holder, caption),
    h("details", { "data-testid": "curve-table" }, h("summary", {}, "The curve as a table"), table),
  );
  part.update = () => {
    fill(caption, said(curveOf(), options));
    fill(table, tableOf(curveOf()));
    return plot.draw();
  };
  return part;
}
