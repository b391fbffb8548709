// What is said beside the curve: its caption, its table, and a sentence for each panel.
import { INTERVALS } from "../measures.js";
import { h, interval, named, number, percent, term } from "../dom.js";

const RULES = {
  pool: "over all subsets of each item's answers",
  prefix: "over each item's first draws",
  population: "over whole populations, whose answers depend on each other",
};

export function said(curve, options) {
  const kind = { set: "interval set", exact: "interval exact", band: "interval band" }[options.interval];
  const rule = RULES[curve.estimator];
  return [
    `${Math.round(100 * curve.level)} % `,
    term(kind, `intervals for ${INTERVALS[options.interval].label}`),
    `; ${number(curve.points[0].items)} items of ${number(curve.samples)} answers, `,
    term("estimator", rule),
    ". ",
    curve.points.some((p) => p.k > curve.samples / 2)
      ? [term("dimmed", "Faint"), " above half of the answers. "]
      : null,
    curve.beyond?.length
      ? [term("beyond", "Dashed"), ": model range, not an interval; ", term("floor", "dotted"), ": the floor. "]
      : null,
    curve.unscored ? [term("unscored", `Unscored ${percent(curve.unscored)}`), ", counted as failures."] : null,
  ];
}

export function tableOf(curve) {
  const columns = [
    ["coverage", "coverage", "Coverage", (p) => interval(p.coverage)],
    ["exact", "interval exact", "Exactly these", (p) => interval(p.exact)],
    ["band", "interval band", "Band", (p) => interval(p.band)],
    ["selected", "selected", "Selected", (p) => interval(p.selected)],
    ["majority", "majority", "Majority", (p) => interval(p.majority)],
    ["ignored", "ignored", "Unscored left out", (p) => interval(p.ignored)],
    ["draws", "draws", "Draws to the first", (p) => number(p.draws)],
    ["right", "right", "Right", (p) => percent(p.right)],
    ["wrong", "wrong", "Wrong", (p) => percent(p.wrong)],
    ["abstain", "abstain", "Abstain", (p) => percent(p.abstain)],
  ].filter(([name]) => curve.points.some((p) => p[name] !== null && p[name] !== undefined));
  return h(
    "table",
    {},
    h("caption", {}, "Means over items, with intervals in per cent; right by ", named(curve.judge), "."),
    h(
      "thead",
      {},
      h(
        "tr",
        {},
        h("th", { class: "num" }, term("k")),
        h("th", { class: "num" }, term("items", "Items")),
        h("th", { class: "num" }, term("evaluations", "Evaluations")),
        columns.map(([, word, label]) => h("th", { class: "num" }, term(word, label))),
      ),
    ),
    h(
      "tbody",
      {},
      curve.points.map((p) =>
        h(
          "tr",
          {},
          h("td", { class: "num" }, number(p.k)),
          h("td", { class: "num" }, number(p.items)),
          h("td", { class: "num" }, number(p.evaluations)),
          columns.map(([, , , show]) => h("td", { class: "num" }, show(p))),
        ),
      ),
    ),
  );
}

export function gapText(curve) {
  const points = curve.points.filter((p) => p.selected);
  const most = points.reduce((a, b) => (b.coverage.mean - b.selected.mean > a.coverage.mean - a.selected.mean ? b : a));
  return [
    "Widest at ",
    term("k"),
    ` = ${most.k}: a right answer was drawn for ${percent(most.coverage.mean)} of the items, and `,
    named(curve.verifier),
    ` picked one for ${percent(most.selected.mean)}.`,
  ];
}

export function outcomeText(curve) {
  const end = curve.points.filter((p) => p.right !== null && p.right !== undefined).at(-1);
  return [
    "Draw until ",
    named(curve.verifier),
    " accepts, at most ",
    term("k"),
    ` times. At k = ${end.k}: `,
    term("right"),
    ` ${percent(end.right)}, `,
    term("wrong"),
    ` ${percent(end.wrong)}, `,
    term("abstain"),
    ` ${percent(end.abstain)}.`,
  ];
}
