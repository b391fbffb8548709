// The part of the form for verifiers or graders.
import { field, h, term } from "../dom.js";
import { choice, schemaField } from "../forms.js";

/** Verifiers or graders, as many as wanted. */
export function judges(loc, title, word, plugins, schemas, least, changed) {
  const rows = [],
    list = h("div", { class: "section" });
  const renumber = () => rows.forEach((row, i) => row.number(i));
  const add = (name) => {
    const row = judge(loc, plugins, schemas, name, changed, () => {
      rows.splice(rows.indexOf(row), 1);
      row.element.remove();
      renumber();
      changed();
    });
    rows.push(row);
    list.append(row.element);
    renumber();
    changed();
  };
  const usual = plugins.find((p) => p.name === "digit_classifier")?.name ?? plugins[0]?.name;
  const more = h(
    "button",
    { type: "button", class: "small", "data-testid": `add-${loc}`, onclick: () => add(usual) },
    `Add a ${word}`,
  );
  const whole = h("div", { class: "field", "data-loc": loc }, h("p", { class: "wrong", role: "alert", hidden: true }));
  for (let i = 0; i < least; i++) add(usual);
  return {
    element: h("fieldset", {}, h("legend", {}, term(word, title)), list, whole, h("div", {}, more)),
    value: () => (rows.length || least ? { [loc]: rows.map((row) => row.value()) } : {}),
  };
}

function judge(loc, plugins, schemas, wanted, changed, remove) {
  const properties = schemas.components.schemas.JudgeRef.properties;
  const shared = ["threshold", "label"].map((name) => [
    name,
    schemaField(name, properties[name], schemas, { loc: `?.${name}`, changed }),
  ]);
  let place = "?";
  const mine = choice(plugins, wanted, { id: loc, where: () => place, changed });
  const element = h(
    "div",
    { class: "plug" },
    h(
      "div",
      { class: "row spread" },
      field("name", mine.control, { loc: "?", required: true }),
      h("button", { type: "button", class: "small", onclick: remove }, "Remove"),
    ),
    mine.own,
    h(
      "div",
      { class: "fields" },
      shared.map(([, part]) => part.element),
    ),
  );
  const number = (i) => {
    const now = `${loc}.${i}`;
    for (const one of element.querySelectorAll("[data-loc]"))
      one.dataset.loc = now + one.dataset.loc.slice(place.length);
    place = now;
  };
  const value = () => ({
    name: mine.name(),
    ...mine.value(),
    ...Object.fromEntries(shared.map(([key, part]) => [key, part.value()]).filter(([, v]) => v !== undefined)),
  });
  return { element, value, number };
}
