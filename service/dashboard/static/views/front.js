// The answers of one item under two of its verifiers, and those that no other beats.
import { alarm, get, path } from "../api.js";
import { frontFigure } from "../fronts.js";
import { fill, h, number, select, term } from "../dom.js";
import { chart, figureButtons, theme } from "../plot.js";

const PAGE = 100,
  MOST = 2000;

/** A scatter of an item's answers, with a choice of the two verifiers. */
export async function front(holder, job, item, signal) {
  const wrong = h("div"),
    surface = h("div", { "data-testid": "front", role: "img", "aria-label": "Answers under two verifiers" });
  fill(holder, wrong, h("p", { class: "muted" }, "Reading answers…"));
  try {
    const answers = [];
    for (let after = "-1:-1"; after && answers.length < MOST; ) {
      const page = await get(path(["jobs", job.id, "candidates"], { item: item.number, limit: PAGE, after }), signal);
      answers.push(...page.data);
      after = page.next;
    }
    const names = answers[0]?.scores.map((score) => score.name) ?? [];
    const shown = { x: 0, y: 1 };
    const figure = () => frontFigure(answers, names, { ...shown, theme: theme() });
    const choice = (axis) =>
      select(
        names.map((name, i) => [String(i), name]),
        String(shown[axis]),
        (value) => {
          shown[axis] = Number(value);
          drawn.draw();
        },
        { "data-testid": `front-${axis}`, "aria-label": `${axis} axis` },
      );
    const drawn = chart(surface, figure, signal);
    fill(
      holder,
      wrong,
      h(
        "figure",
        {},
        h("div", { class: "row spread" }, h("span", {}, choice("x"), " against ", choice("y")), h("span", {}, figureButtons(drawn.surface, `${job.id}-${item.number}-front`))),
        surface,
        h(
          "figcaption",
          {},
          term("front", "Large marks"),
          " are the front of all verifiers. ",
          answers.length < item.drawn ? `The first ${number(answers.length)} answers of ${number(item.drawn)}. ` : "",
          `${number(answers.filter((a) => a.scores.some((s) => s.value === null)).length)} `,
          term("unscored"),
          ".",
        ),
      ),
    );
    await drawn.draw();
  } catch (error) {
    if (!signal.aborted) alarm(wrong, error);
  }
}
