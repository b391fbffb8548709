// Parts that forms of new jobs share: each has its element, and gives its piece of the job.
import { h } from "../dom.js";
import { schemaFields } from "../forms.js";

/** Fields under a title. */
export const part = (title, help, fields) =>
  h("fieldset", {}, h("legend", {}, title), help ? h("p", { class: "help muted" }, help) : null, fields.element);

/** `{[name]: object}` where the object holds anything. */
export const filled = (name, object) => (Object.keys(object).length ? { [name]: object } : {});

export function budgetPart(schemas, changed) {
  const fields = schemaFields(schemas.components.schemas.Budget, { loc: "budget", changed, root: schemas });
  return {
    element: part("Budget", "Hard limits of the whole job; an empty field is no limit.", fields),
    value: () => filled("budget", fields.value()),
  };
}

/** What a schema has beside the fields `named`. */
export function restPart(schema, named, schemas, changed) {
  const fields = schemaFields(schema, { loc: "", changed, skip: named, root: schemas });
  return { element: part("Everything else", "", fields), value: fields.value };
}
