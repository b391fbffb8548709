// The part of the form for verifiers or graders.
import { field, fill, h, term } from "../dom.js";
import { choice, schemaField } from "../forms.js";

/** Verifiers or graders, as many as wanted. given: those of a job, with their settings, to begin with. */
export function judges(loc, title, word, plugins, schemas, least, changed, given = []) {
  const rows = [],
    list = h("div", { class: "section" });
  const renumber = () => rows.forEach((row, i) => row.number(i));
  const add = (wanted) => {
    const row = judge(loc, plugins, schemas, wanted, changed, () => {
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
    { type: "button", class: "small", "data-testid": `add-${loc}`, onclick: () => add({ name: usual }) },
    `Add a ${word}`,
  );
  const whole = h("div", { class: "field", "data-loc": loc }, h("p", { class: "wrong", role: "alert", hidden: true }));
  for (const one of given) add(one);
  while (rows.length < least) add({ name: usual });
  return {
    element: h("fieldset", {}, h("legend", {}, term(word, title)), list, whole, h("div", {}, more)),
    value: () => (rows.length || least ? { [loc]: rows.map((row) => row.value()) } : {}),
  };
}

function judge(loc, plugins, schemas, { name: wanted, ...given }, changed, remove) {
  const properties = schemas.components.schemas.JudgeRef.properties;
  const common = h("div", { class: "fields" });
  let place = "?",
    shared = [];
  const chosen = (_, settings) => {
    shared = ["threshold", "label"].map((name) => [
      name,
      schemaField(name, properties[name], schemas, { loc: `${place}.${name}`, changed, given: settings[name] }),
    ]);
    fill(
      common,
      shared.map(([, part]) => part.element),
    );
  };
  const mine = choice(plugins, wanted, { id: loc, where: () => place, chosen, changed, given });
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
    common,
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
