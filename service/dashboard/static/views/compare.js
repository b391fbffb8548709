// Jobs on the same items side by side: a table with paired differences, their curves in one figure, advice.
import { alarm, get, path } from "../api.js";
import { compareFigure } from "../charts.js";
import { field, fill, h, named, number, select, term } from "../dom.js";
import { AXES, axesOf } from "../measures.js";
import { chart, figureButtons, theme } from "../plot.js";
import { adviceList } from "./advice.js";
import { label, outcomes, summary } from "./compare_tables.js";

/** Jobs of `query.jobs`; without, which ones may be chosen. */
export async function show(main, { query, signal }) {
  const ids = (query.get("jobs") ?? "").split(",").filter(Boolean);
  const wrong = h("div"),
    holder = h("div", { class: "section" });
  fill(
    main,
    h("div", { class: "head" }, h("h1", { class: "grow" }, "Compare")),
    await chooser(ids, signal),
    wrong,
    holder,
  );
  if (ids.length < 2) return;
  const [compared, ...curves] = await Promise.allSettled([
    get(path(["compare"], { jobs: ids.join(",") }), signal),
    ...ids.map((id) => get(path(["jobs", id, "curve"]), signal)),
  ]);
  if (signal.aborted) return;
  if (compared.status === "rejected") alarm(wrong, compared.reason);
  const comparison = compared.value;
  const found = curves.filter((c) => c.status === "fulfilled" && c.value.points.length).map((c) => c.value);
  const names = found.map((curve) =>
    label(
      comparison?.jobs.find((job) => job.job === curve.job),
      curve.job,
    ),
  );
  fill(
    holder,
    comparison ? summary(comparison) : null,
    found.length ? figure(found, names, signal) : null,
    comparison
      ? h(
          "section",
          { class: "card", "data-testid": "advice" },
          h("h2", {}, term("advice", "Advice")),
          adviceList(comparison.advice),
        )
      : null,
    comparison ? outcomes(comparison) : null,
  );
}

/** Recent jobs as check boxes. */
async function chooser(ids, signal) {
  const { data } = await get(path(["jobs"], { limit: 20 }), signal);
  const ended = data.filter((job) => job.finished_at);
  const chosen = new Set(ids);
  const go = h(
    "button",
    {
      type: "button",
      class: "main small",
      disabled: chosen.size < 2,
      onclick: () => {
        location.hash = `#/compare?jobs=${[...chosen].map(encodeURIComponent).join(",")}`;
      },
    },
    "Compare",
  );
  const box = (job) =>
    h(
      "label",
      { class: "row" },
      h("input", {
        type: "checkbox",
        checked: chosen.has(job.id),
        onchange: (event) => {
          event.target.checked ? chosen.add(job.id) : chosen.delete(job.id);
          go.disabled = chosen.size < 2;
        },
      }),
      named(job.model),
      h("span", { class: "sub" }, `…${job.id.slice(-8)}, ${number(job.counts.items)} items`),
    );
  return h(
    "details",
    { class: "card", open: ids.length < 2 },
    h("summary", {}, "Choose jobs that ran the same items"),
    ended.length ? h("div", { class: "fields" }, ended.map(box)) : h("p", { class: "muted" }, "No job has ended yet."),
    h("div", { class: "bar" }, go),
  );
}

function figure(curves, names, signal) {
  const options = { axis: "evaluations", field: "coverage", stopping: false };
  const holder = h("div", { "data-testid": "compare-chart" });
  const plot = chart(holder, () => compareFigure(curves, names, { ...options, theme: theme() }), signal);
  const axes = axesOf(curves[0]).filter(
    (axis) => axis !== "cost" && curves.every((curve) => axesOf(curve).includes(axis)),
  );
  requestAnimationFrame(() => plot.draw());
  return h(
    "section",
    { class: "card" },
    h(
      "div",
      { class: "row spread" },
      h("h2", {}, term("coverage", "Coverage"), " against ", term("budget", "budget")),
      h("div", { class: "row" }, figureButtons(plot.surface, "compare")),
    ),
    h(
      "div",
      { class: "controls" },
      field(
        term("budget", "Budget in"),
        select(
          axes.map((axis) => [axis, AXES[axis].replace(" an item", "")]),
          options.axis,
          (value) => {
            options.axis = value;
            plot.draw();
          },
          { "data-testid": "axis-select" },
        ),
      ),
      curves.some((curve) => curve.points.some((p) => p.selected))
        ? field(
            "Curve",
            select(
              [
                ["coverage", "coverage"],
                ["selected", "selected"],
              ],
              "coverage",
              (value) => {
                options.field = value;
                plot.draw();
              },
            ),
          )
        : null,
    ),
    h("figure", {}, holder),
  );
}
