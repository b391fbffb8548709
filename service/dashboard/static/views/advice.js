// Advice in words with its numbers, and the stakes it is computed for.
import { field, fill, h, number, term, visible } from "../dom.js";

const STAKES = [
  ["value", "value", "Right is worth"],
  ["loss", "loss", "Wrong costs"],
  ["cost", "sample cost", "A sample costs"],
  ["target", "target", "Wanted coverage"],
];

const figure = (value) =>
  typeof value === "number"
    ? number(value)
    : Array.isArray(value)
      ? `[${value.map(figure).join(", ")}]`
      : value === null
        ? "–"
        : visible(value);

/** The sentences as a list. */
export function adviceList(advice) {
  if (!advice?.length) return h("p", { class: "muted" }, "The numbers support no advice yet.");
  return h(
    "ul",
    { class: "advice" },
    advice.map((one) =>
      h(
        "li",
        { "data-kind": one.kind },
        h("bdi", {}, visible(one.text)),
        h(
          "span",
          { class: "figures" },
          Object.entries(one.numbers ?? {})
            .filter(([, v]) => v !== null && !(Array.isArray(v) && v.length > 4))
            .map(([name, value]) => `${visible(name).replace(/_/g, " ")} ${figure(value)}`)
            .join(" · "),
        ),
      ),
    ),
  );
}

/** A panel whose inputs change `asked` and call `refresh`. Returns {element, update(advice)}. */
export function advicePanel(asked, refresh) {
  const list = h("div");
  let timer = 0;
  const input = ([name, word, label]) =>
    field(
      term(word, label),
      h("input", {
        type: "number",
        min: 0,
        step: "any",
        ...(name === "target" ? { max: 1 } : {}),
        value: asked[name],
        "data-testid": `stake-${name}`,
        oninput: (event) => {
          if (event.target.value === "" || !event.target.checkValidity()) return;
          asked[name] = event.target.value;
          clearTimeout(timer);
          timer = setTimeout(refresh, 300);
        },
      }),
    );
  return {
    element: h(
      "section",
      { class: "card", "data-testid": "advice" },
      h("h2", {}, term("advice", "Advice")),
      list,
      h("div", { class: "controls" }, STAKES.map(input)),
    ),
    update: (advice) => fill(list, adviceList(advice)),
  };
}
