// Fields from JSON Schemas: each knows its value, and undefined where it says nothing but the default.
// A form of them is sent by `sends`, which puts refusals beside the fields.
import { Refused, alarm } from "./api.js";
import { field, fill, h, select } from "./dom.js";

/** The part of a schema that says what a person may enter, its references followed, and whether null is allowed. */
function resolved(schema, root) {
  if (schema.$ref) return resolved({ ...lookup(schema.$ref, root), ...without(schema, "$ref") }, root);
  if (schema.allOf?.length === 1) return resolved({ ...schema.allOf[0], ...without(schema, "allOf") }, root);
  const choices = schema.anyOf ?? schema.oneOf;
  if (!choices) return { ...schema, nullable: schema.type === "null" };
  const real = choices.map((one) => resolved(one, root)).filter((one) => one.type !== "null");
  const nullable = real.length < choices.length;
  if (real.length === 1) return { ...real[0], ...without(without(schema, "anyOf"), "oneOf"), nullable };
  const plain = real.every((one) => ["string", "integer", "number"].includes(one.type));
  return { ...without(without(schema, "anyOf"), "oneOf"), type: plain ? "scalar" : "json", nullable };
}

const without = (object, name) => Object.fromEntries(Object.entries(object).filter(([key]) => key !== name));
const lookup = (ref, root) =>
  ref
    .replace(/^#\//, "")
    .split("/")
    .reduce((here, part) => here?.[part], root) ?? {};
const same = (a, b) => JSON.stringify(a) === JSON.stringify(b);

/** One field of a schema. Returns {element, value()}. loc: where refusals name it; given: what it stands at, if not
 * at its default. */
export function schemaField(name, schema, root, { loc, required = false, changed, given }) {
  const one = resolved(schema, root);
  const { control, read } = controlOf(one, given === undefined ? one.default : given, changed);
  const first = read();
  const label =
    (one.title ?? name).toLowerCase() === name.replace(/_/g, " ").toLowerCase() ? name.replace(/_/g, " ") : name;
  control.dataset.field = name;
  const value = () => {
    const seen = read();
    const kept = given !== undefined && same(seen, first); // exactly as it was, also what a control cannot show
    const none = one.nullable && (one.default ?? null) !== null ? null : undefined; // emptied
    const now = kept ? given : (seen ?? none);
    return now === undefined || (!required && same(now, one.default)) ? undefined : now;
  };
  return { element: field(label, control, { help: one.description ?? "", loc, required }), value };
}

/** start: what it stands at. */
function controlOf(one, start, changed) {
  const listen = { oninput: changed, onchange: changed };
  if (one.const !== undefined)
    return { control: h("input", { type: "text", value: one.const, readonly: true }), read: () => one.const };
  if (one.enum) {
    const options = [
      ...(one.nullable || one.default === undefined ? [["", "—"]] : []),
      ...one.enum.map((v) => [JSON.stringify(v), String(v)]),
    ];
    const control = select(options, (start ?? null) === null ? "" : JSON.stringify(start), changed);
    return { control, read: () => (control.value === "" ? undefined : JSON.parse(control.value)) };
  }
  if (one.type === "boolean") {
    const control = h("input", { type: "checkbox", checked: start === true, ...listen });
    return { control, read: () => control.checked };
  }
  if (one.type === "integer" || one.type === "number") {
    const least = one.minimum ?? one.exclusiveMinimum,
      most = one.maximum ?? one.exclusiveMaximum;
    const control = h("input", {
      type: "number",
      step: one.type === "integer" ? 1 : "any",
      min: least > -1e15 ? least : null,
      max: most < 1e15 ? most : null,
      placeholder: one.nullable ? "none" : null,
      value: start ?? "",
      ...listen,
    });
    return { control, read: () => (control.value === "" ? undefined : Number(control.value)) };
  }
  if (one.type === "string") {
    const control = h("input", { type: "text", value: start ?? "", maxlength: one.maxLength, ...listen });
    return { control, read: () => (control.value === "" ? undefined : control.value) };
  }
  if (one.type === "scalar") {
    const control = h("input", { type: "text", value: start ?? "", ...listen });
    return { control, read: () => scalar(control.value) };
  }
  const control = h("textarea", {
    class: "mono",
    rows: 2,
    spellcheck: "false",
    value: (start ?? null) === null ? "" : JSON.stringify(start),
    placeholder: "JSON",
    ...listen,
  });
  return { control, read: () => parsed(control.value) };
}

/** JSON where it is JSON; else the text itself, for the service to refuse with a reason. */
export function parsed(text) {
  if (text.trim() === "") return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}

const scalar = (text) => (text === "" ? undefined : /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : text);

/** All fields of an object schema. Returns {element, value()}: the given fields as an object. skip: names left out;
 * given: an object whose fields they stand at. */
export function schemaFields(schema, { loc, changed, skip = [], root = schema, given = {} }) {
  const needed = new Set(schema.required ?? []);
  const parts = Object.entries(schema.properties ?? {})
    .filter(([name]) => !skip.includes(name))
    .map(([name, one]) => [
      name,
      schemaField(name, one, root, {
        loc: loc ? `${loc}.${name}` : name,
        required: needed.has(name),
        changed,
        given: given[name],
      }),
    ]);
  return {
    element: parts.length
      ? h(
          "div",
          { class: "fields" },
          parts.map(([, part]) => part.element),
        )
      : h("p", { class: "help muted" }, "No settings of its own."),
    value: () =>
      Object.fromEntries(parts.map(([name, part]) => [name, part.value()]).filter(([, value]) => value !== undefined)),
  };
}

/** A choice among plug-ins, each with its own fields. where(): its place in the job; given: settings of the wanted one;
 * chosen(plugin, settings): told what was chosen, with those that were given for it. */
export function choice(plugins, wanted, { id, where, chosen, changed, given = {} }) {
  const own = h("div");
  let name, fields;
  const choose = (next) => {
    name = next;
    const found = plugins.find((p) => p.name === name);
    const mine = name === wanted ? given : {};
    chosen?.(found, mine);
    fields = schemaFields(found?.config ?? {}, { loc: where(), changed, given: mine });
    fill(own, fields.element);
    changed();
  };
  const known = plugins.map((p) => p.name);
  const names = [...known, ...(known.includes(wanted) || !wanted ? [] : [wanted])].map((one) => [one, one]); // a lost one is refused
  const control = select(names, wanted, choose, { "data-testid": `${id}-select` });
  choose(wanted);
  return { control, own, name: () => name, value: () => fields.value() };
}

/** Do `work` when `form` is sent, with `button` off meanwhile. A refusal stands beside the fields it names, or in `wrong`. */
export function sends(form, button, wrong, signal, work) {
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    button.disabled = true;
    fill(wrong);
    clearErrors(form);
    try {
      await work();
    } catch (error) {
      button.disabled = false;
      if (signal.aborted) return;
      if (document.activeElement === document.body) button.focus(); // a button that is off loses it
      const left = error instanceof Refused ? showErrors(form, error.errors) : [];
      if (!error.errors?.length || left.length)
        alarm(
          wrong,
          left.length ? new Refused(error.status, left.map((e) => `${e.loc.join(".")}: ${e.msg}`).join("; ")) : error,
        );
    }
  });
}

/** Show refusals beside the fields they name; returns those that no field owns. errors: [{loc, msg}]. */
export function showErrors(form, errors) {
  clearErrors(form);
  const left = [];
  for (const { loc, msg } of errors) {
    const parts = loc.map(String);
    let owner = null;
    for (let n = parts.length; n > 0 && !owner; n--)
      owner = form.querySelector(`[data-loc="${CSS.escape(parts.slice(0, n).join("."))}"]`);
    if (!owner) {
      left.push({ loc, msg });
      continue;
    }
    const place = owner.querySelector(":scope > .wrong");
    place.hidden = false;
    place.textContent += `${place.textContent ? "; " : ""}${owner.dataset.loc === parts.join(".") ? "" : `${parts.join(".")}: `}${msg}`;
    owner.classList.add("bad");
    owner.querySelector("input, select, textarea")?.setAttribute("aria-invalid", "true");
  }
  form.querySelector(".field.bad input, .field.bad select, .field.bad textarea")?.focus();
  return left;
}

export function clearErrors(form) {
  for (const place of form.querySelectorAll(".wrong")) {
    place.textContent = "";
    place.hidden = true;
  }
  for (const owner of form.querySelectorAll(".field.bad")) owner.classList.remove("bad");
  for (const control of form.querySelectorAll("[aria-invalid]")) control.removeAttribute("aria-invalid");
}
