// A job in one file: what service/report.py put beside this script, drawn by the same functions as the page.
import { curveFigure, gapFigure, outcomeFigure } from "./charts.js";
import { AXES, axesOf, csv, curveRows } from "./measures.js";
import { field, fill, foreign, h, interval, moment, named, number, percent, save, seconds, select, term, visible, watchTerms } from "./dom.js";

const data = JSON.parse(document.getElementById("data").textContent);
const darkness = window.matchMedia("(prefers-color-scheme: dark)");
const look = () => (darkness.matches ? "dark" : "light");

/** A heading and what belongs to it. */
const section = (id, title, ...children) => h("section", { class: "card", id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...children);

/** Pairs of a term and its value. */
const facts = (pairs) => h("dl", { class: "facts" }, pairs.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));

/** A figure that follows the theme; returns {element, draw}. */
function chart(figure, label) {
  const surface = h("div", { class: "plot", role: "img", "aria-label": label });
  const draw = () => {
    const { data: traces, layout } = figure();
    return window.Plotly.react(surface, traces, layout, { displayModeBar: false, responsive: true });
  };
  darkness.addEventListener("change", draw);
  return { element: h("figure", {}, surface), draw };
}

function header({ job, made_at: made }) {
  const names = (judges) => judges.map((j) => j.label || j.name).join(", ") || "none";
  const { spec } = job;
  return section("job", h("span", {}, "Job ", named(job.id)),
    facts([
      [term("state"), h("span", {}, job.state, job.stop_reason ? h("span", {}, ": ", named(job.stop_reason)) : null)],
      ["Model", named(job.model)],
      ["Method", named(spec.search.method)],
      [term("verifier", "Verifiers"), named(names(spec.verifiers))],
      [term("grader", "Graders"), named(names(spec.graders))],
      ["Seed", String(spec.seed)],
      ["Submitted", moment(job.created_at)],
      ["Report made", moment(made)],
    ]),
    job.error ? h("div", { class: "alert" }, foreign(job.error)) : null,
    h("details", {}, h("summary", {}, "The job as it was submitted"), foreign(JSON.stringify(spec, null, 2), { clamp: 3000, tag: "div" })));
}

function usage({ job: { counts, usage: used } }) {
  return section("usage", "Usage", facts([
    [term("items", "Items"), `${number(counts.done)} of ${number(counts.items)} done, ${number(counts.failed)} failed`],
    [term("candidates", "Candidates"), number(counts.candidates)],
    [term("unscored", "Unscored"), number(counts.unscored)],
    [term("evaluations", "Evaluations"), number(used.evaluations)],
    [term("previews", "Previews"), number(used.previews)],
    [term("verifier calls", "Verifier calls"), number(used.verifier_calls)],
    [term("verifier seconds", "Verifier seconds"), seconds(used.verifier_seconds)],
    [term("seconds", "Wall clock"), seconds(used.seconds)],
  ]));
}

function advice({ curve }) {
  const said = curve?.advice ?? [];
  return section("advice", term("advice", "Advice"),
    said.length ? h("ul", { class: "advice" }, said.map((one) => h("li", { "data-kind": one.kind }, foreign(one.text, { clamp: 4000 })))) : h("p", { class: "muted" }, "Nothing to advise on."));
}

function curves({ curve, no_curve: why }, later) {
  if (!curve?.points.length) return section("curve", "Curve", h("p", { class: "muted" }, "There is no curve: ", foreign(why ?? "no item has an answer yet.")));
  const options = { axis: "samples", interval: "set" };
  const drawn = (figure, label) => {
    const made = chart(() => figure(curve, { ...options, theme: look() }), label);
    later.push(made.draw);
    return made;
  };
  const all = drawn(curveFigure, "Coverage and selected accuracy against budget");
  const gap = curve.points.some((p) => p.selected) ? drawn(gapFigure, "Coverage against selected accuracy") : null;
  const ends = curve.points.some((p) => typeof p.right === "number") ? drawn(outcomeFigure, "Right, wrong and abstained against budget") : null;
  const again = (axis) => { options.axis = axis; for (const one of [all, gap, ends]) one?.draw(); };
  return section("curve", term("coverage", "Curve"),
    h("p", { class: "muted" }, "Right by ", named(curve.judge), ", selected by ", named(curve.verifier), `; ${number(100 * curve.level)} % intervals for another set of items like these; `,
      term("unscored"), ` ${percent(curve.unscored)}.`),
    h("div", { class: "controls" }, field("Against", select(axesOf(curve).filter((axis) => axis !== "cost").map((axis) => [axis, AXES[axis]]), "samples", again, { id: "axis" }))),
    all.element,
    gap ? [h("h3", {}, term("verifier gap", "Verifier gap")), gap.element] : null,
    ends ? [h("h3", {}, "Draw until the verifier accepts: ", term("right"), ", ", term("wrong"), ", ", term("abstain")), ends.element] : null,
    table(curve),
    h("div", { class: "row" }, h("button", { type: "button", class: "small", id: "csv", onclick: () => save("curve.csv", csv(curveRows(curve)), "text/csv") }, "CSV")));
}

function table({ points }) {
  const outcomes = points.some((p) => typeof p.right === "number") ? ["right", "wrong", "abstain"] : [];
  const estimates = ["selected", "majority"].filter((name) => points.some((p) => p[name]));
  const head = ["k", "items", "evaluations", "coverage", ...estimates, ...outcomes];
  const row = (p) => [p.k, p.items, p.evaluations].map((v) => number(v)).concat(["coverage", ...estimates].map((name) => interval(p[name])), outcomes.map((name) => percent(p[name])));
  return h("div", { class: "scroll", "data-testid": "curve-table", tabindex: "0", role: "region", "aria-label": "The curve as a table" }, h("table", {},
    h("thead", {}, h("tr", {}, head.map((name) => h("th", { class: "num", scope: "col" }, term(name))))),
    h("tbody", {}, points.map((p) => h("tr", {}, row(p).map((cell) => h("td", { class: "num" }, cell)))))));
}

function answer(candidate, artifacts) {
  const kept = candidate.artifact ? artifacts[candidate.artifact] : { text: typeof candidate.answer === "string" ? candidate.answer : JSON.stringify(candidate.answer) };
  const shown = kept?.picture ? h("img", { src: kept.picture, alt: "The answer as a picture" }) : foreign(kept?.text ?? "");
  return h("div", { class: "answer" }, shown, [...candidate.scores, ...candidate.grades].map(verdict),
    h("div", { class: "meta" }, `#${candidate.sample}`, h("br"), term("seed"), " ", named(candidate.seed)));
}

function verdict({ name, value, passed, reason }) {
  const mark = passed === null ? null : h("span", { class: passed ? "yes" : "no" }, passed ? " ✓ passes" : " ✗ fails");
  const unscored = value === null && passed === null;
  return h("div", { class: "verdict" }, named(name, 24), unscored ? h("span", {}, term("unscored"), " ", named(reason ?? "", 60)) : h("span", {}, value === null ? "" : number(value), mark));
}

function gallery({ items, job, artifacts }) {
  const left = job.counts.items - items.length;
  return section("gallery", "Best answers",
    left > 0 ? h("p", { class: "muted" }, `The first ${number(items.length)} of ${number(job.counts.items)} items.`) : null,
    h("div", { class: "section" }, items.map((item) => h("article", { class: "item" },
      h("h3", {}, named(item.id)),
      item.prompt ? h("p", {}, foreign(item.prompt)) : null,
      item.target === null ? null : h("p", { class: "muted" }, "Target: ", foreign(typeof item.target === "string" ? item.target : JSON.stringify(item.target))),
      item.error ? h("div", { class: "alert" }, foreign(item.error)) : null,
      item.best.length ? h("div", { class: "answers" }, item.best.map((candidate) => answer(candidate, artifacts))) : h("p", { class: "muted" }, "No answer that the job's rule accepts.")))));
}

const later = [];
fill(document.getElementById("report"), h("h1", {}, "Winnow report"), header(data), usage(data), advice(data), curves(data, later), gallery(data));
document.title = `Report of ${visible(data.job.id)} · Winnow`;
watchTerms();
for (const draw of later) draw();
