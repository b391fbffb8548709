// Tables of a comparison: each job with its difference to the control, and the items on which jobs differ.
import { h, interval, named, number, percent, seconds, term, visible } from "../dom.js";

export const label = (job, id) => (job ? `${job.search.method} · ${job.model} …${id.slice(-4)}` : `…${id.slice(-8)}`);
const settings = (search) =>
  Object.entries(search)
    .filter(([name]) => name !== "method")
    .map(([name, value]) => `${name} ${typeof value === "object" ? JSON.stringify(value) : value}`)
    .join(", ");

export function summary(comparison) {
  const spread = (s) =>
    s
      ? `${s.mean > 0 ? "+" : ""}${percent(s.mean)}${s.low === null ? "" : ` [${(100 * s.low).toFixed(1)}, ${(100 * s.high).toFixed(1)}]`}`
      : "–";
  const row = (job) =>
    h(
      "tr",
      {},
      h(
        "td",
        { class: "id" },
        h("a", { href: `#/jobs/${encodeURIComponent(job.job)}` }, named(job.search.method)),
        h("div", { class: "sub" }, named(`${job.model} · ${settings(job.search)}`, 120)),
      ),
      h("td", { class: "num", "data-label": "Passed" }, interval(job.passed)),
      h(
        "td",
        { class: "num", "data-label": "Difference" },
        job.difference ? spread(job.difference.passed) : h("span", { class: "muted" }, term("control")),
      ),
      h(
        "td",
        { class: "num", "data-label": "Only here / only control" },
        job.difference ? `${job.difference.only_here} / ${job.difference.only_control}` : "–",
      ),
      h(
        "td",
        { class: "num", "data-label": "Evaluations an item" },
        number(job.cost.evaluations),
        job.evaluations_ratio === null
          ? null
          : h("div", { class: "sub" }, `× ${number(job.evaluations_ratio)}`, job.equal_budget ? "" : ", not equal"),
      ),
      h("td", { class: "num", "data-label": "Seconds an item" }, seconds(job.cost.seconds ?? 0)),
      h("td", { class: "num", "data-label": "Unscored" }, number(job.unscored)),
    );
  return h(
    "section",
    { class: "card" },
    h("h2", {}, "Outcomes by ", named(comparison.judge)),
    h(
      "div",
      { class: "scroll" },
      h(
        "table",
        { class: "stack", "data-testid": "compare-table" },
        h(
          "caption",
          {},
          `${number(comparison.items)} items; ${Math.round(100 * comparison.level)} % intervals, each for itself: of twenty equal jobs one is expected to seem different.`,
        ),
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("th", {}, "Job"),
            [
              ["passed", "Passed"],
              ["difference", "Difference"],
              ["only here", "Only here / only control"],
              ["ratio", "Evaluations an item"],
              ["seconds", "Seconds an item"],
              ["unscored", "Unscored"],
            ].map(([word, text]) => h("th", { class: "num" }, term(word, text))),
          ),
        ),
        h("tbody", {}, comparison.jobs.map(row)),
      ),
    ),
  );
}

/** Items on which the jobs differ. */
export function outcomes(comparison) {
  const places = comparison.jobs[0].outcomes
    .map((_, i) => i)
    .filter((i) => new Set(comparison.jobs.map((job) => job.outcomes[i]?.passed ?? null)).size > 1);
  const mark = (one) =>
    one?.passed === true
      ? h("span", { class: "verdict-mark yes" }, "✓")
      : one?.passed === false
        ? h("span", { class: "verdict-mark no" }, "✗")
        : h("span", { class: "muted", title: visible(one?.reason ?? "") }, "–");
  return h(
    "section",
    { class: "card" },
    h(
      "details",
      {},
      h("summary", {}, `Items on which they differ: ${places.length}`),
      h(
        "div",
        { class: "scroll" },
        h(
          "table",
          {},
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", {}, "Item"),
              comparison.jobs.map((job) => h("th", {}, named(label(job, job.job), 40))),
            ),
          ),
          h(
            "tbody",
            {},
            places.slice(0, 200).map((i) =>
              h(
                "tr",
                {},
                h("td", { class: "id" }, named(comparison.jobs[0].outcomes[i].item, 60)),
                comparison.jobs.map((job) => h("td", {}, mark(job.outcomes[i]))),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}
