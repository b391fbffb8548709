// Particles and their parents.
import { alarm, get, path } from "../api.js";
import { genealogyFigure } from "../lineage.js";
import { fill, h, number, term } from "../dom.js";
import { chart, figureButtons, theme } from "../plot.js";

/** Populations of one item, one figure each. */
export async function genealogy(holder, job, item, signal) {
  try {
    const { data } = await get(path(["jobs", job.id, "items", String(item.number), "populations"]), signal);
    if (!data.length) return fill(holder, h("p", { class: "muted" }, "This method keeps no populations."));
    fill(
      holder,
      data.map((population, i) => one(population, i, job, item, signal)),
    );
  } catch (error) {
    if (!signal.aborted) alarm(holder, error);
  }
}

function one(population, i, job, item, signal) {
  const facts = h(
    "p",
    { class: "sub" },
    `Population ${i + 1}: ${number(population.particles)} particles, `,
    term("ess", "ESS"),
    ` ${number(population.ess)}, `,
    term("ancestors"),
    ` ${number(population.ancestors)}, `,
    term("log z", "log Z"),
    ` ${number(population.log_z)}`,
  );
  if (!population.splits.some((split) => split.parents.length)) {
    return h(
      "div",
      {},
      facts,
      h(
        "p",
        { class: "muted" },
        population.splits.length ? "Too many particles: parents were not kept." : "It was never resampled.",
      ),
    );
  }
  const surface = h("div", {
    "data-testid": "genealogy",
    role: "img",
    "aria-label": `Genealogy of ${population.particles} particles over ${population.splits.length} resamplings`,
  });
  const figure = h(
    "figure",
    {},
    h("div", { class: "row spread" }, facts),
    surface,
    h(
      "figcaption",
      {},
      term("genealogy", "Strong lines"),
      " lead to an answer, faint ones died out. Below: ",
      term("ess", "ESS"),
      " at each resampling.",
    ),
  );
  const plot = chart(surface, () => genealogyFigure(population, { theme: theme() }), signal);
  figure.firstChild.append(
    h("div", { class: "row" }, figureButtons(plot.surface, `${job.id}-genealogy-${item.number}-${i + 1}`)),
  );
  requestAnimationFrame(() => plot.draw());
  return figure;
}
