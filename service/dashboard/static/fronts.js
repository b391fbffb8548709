// The front of several verifiers as a scatter: pure functions to plotly's {data, layout}.
import { THEMES, layout } from "./layout.js";
import { plain } from "./measures.js";

/** Whether each row of values is beaten by none: by no other that is at least as good in all and better in one. */
export const unbeaten = (rows) =>
  rows.map((one) => !rows.some((other) => other.every((v, i) => v >= one[i]) && other.some((v, i) => v > one[i])));

/** Answers under verifiers number x and y; the front is that of all verifiers. Unscored answers are left out. */
export function frontFigure(answers, names, options = {}) {
  const theme = THEMES[options.theme ?? "light"];
  const read = answers.filter((answer) => answer.scores.every((score) => score.value !== null));
  const rows = read.map((answer) => answer.scores.map((score) => score.value));
  const best = unbeaten(rows);
  const trace = (name, wanted, marker) => {
    const mine = read.map((_, i) => i).filter((i) => best[i] === wanted);
    return {
      x: mine.map((i) => rows[i][options.x ?? 0]),
      y: mine.map((i) => rows[i][options.y ?? 1]),
      text: mine.map((i) => {
        const said = typeof read[i].answer === "string" ? `<br>${plain(read[i].answer.slice(0, 80))}` : "";
        return `sample ${read[i].sample}${said}<br>${names.map((n, k) => `${plain(n)} ${Number(rows[i][k].toPrecision(4))}`).join("<br>")}`;
      }),
      hoverinfo: "text",
      mode: "markers",
      name,
      marker,
    };
  };
  const made = layout(theme, {
    xtitle: plain(names[options.x ?? 0] ?? ""),
    ytitle: plain(names[options.y ?? 1] ?? ""),
    log: false,
    height: options.height ?? 380,
  });
  made.yaxis = { ...made.yaxis, range: undefined, tickformat: "" };
  return {
    data: [
      trace("beaten", false, { color: theme.abstain, size: 6, opacity: 0.7 }),
      trace("front", true, { color: theme.selected, size: 11, line: { color: theme.paper, width: 1 } }),
    ],
    layout: made,
  };
}
