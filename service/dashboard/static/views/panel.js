// A card with one figure, its buttons and a sentence.
import { fill, h, term } from "../dom.js";
import { chart, figureButtons } from "../plot.js";

/** Returns {element, update}. word: the term of its title; name: that of its files and of its test id. */
export function panel(word, title, name, figure, text, job, signal) {
  const holder = h("div", { "data-testid": `${name}-chart` }),
    caption = h("figcaption");
  const plot = chart(holder, figure, signal);
  return {
    element: h(
      "section",
      { class: "card" },
      h(
        "div",
        { class: "row spread" },
        h("h2", {}, term(word, title)),
        h("div", { class: "row" }, figureButtons(plot.surface, `${job.id}-${name}`)),
      ),
      h("figure", {}, holder, caption),
    ),
    update: () => {
      fill(caption, text());
      return plot.draw();
    },
  };
}
