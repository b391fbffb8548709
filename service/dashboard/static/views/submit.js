// A job from a form whose fields come from the catalog's schemas; the JSON it makes is shown, and may be edited.
import { get, path, post } from "../api.js";
import { field, fill, h, lead, select, term } from "../dom.js";
import { choice, parsed, sends } from "../forms.js";
import { judges } from "./judges.js";
import { budgetPart, restPart } from "./parts.js";

/** The form. Its parts each give one piece of the job. */
export async function show(main, { signal }) {
  const [models, verifiers, methods, api] = await Promise.all([
    ...["models", "verifiers", "methods"].map((kind) => get(path([kind]), signal)),
    get("/openapi.json", signal),
  ]);
  const schemas = { components: api.components };
  const spec = api.components.schemas.JobSpec;
  const json = h("textarea", {
    class: "code",
    spellcheck: "false",
    "data-testid": "spec-json",
    "aria-label": "The job as JSON",
    oninput: () => edited(true),
  });
  const wrong = h("div"),
    send = h("button", { type: "submit", class: "main", "data-testid": "submit-button" }, "Submit");
  const back = h(
    "button",
    {
      type: "button",
      class: "link",
      hidden: true,
      onclick: () => {
        edited(false);
        changed();
      },
    },
    "Take the form's values again",
  );
  let byHand = false,
    parts = [];
  const edited = (now) => {
    byHand = now;
    back.hidden = !now;
  };
  const changed = () => {
    if (!byHand) json.value = JSON.stringify(Object.assign({}, ...parts.map((part) => part.value())), null, 2);
  };

  parts = [
    plugin("model", "Model", models.data, "digits", "name", changed),
    itemsPart(changed),
    plugin("search", "Search", methods.data, "best_of_n", "method", changed),
    judges("verifiers", "Verifiers", "verifier", verifiers.data, schemas, 1, changed),
    judges("graders", "Graders", "grader", verifiers.data, schemas, 0, changed),
    budgetPart(schemas, changed),
    restPart(spec, ["model", "items", "search", "verifiers", "graders", "budget"], schemas, changed),
  ];
  const form = h(
    "form",
    {
      class: "form",
      novalidate: true,
      "data-testid": "submit-form",
    },
    h(
      "div",
      { class: "column" },
      parts.map((part) => h("section", { class: "card" }, part.element)),
    ),
    h(
      "div",
      { class: "column sticky" },
      h(
        "section",
        { class: "card" },
        h("h2", {}, "What will be sent"),
        h("p", { class: "help muted" }, "Fields left at their defaults are left out. You may edit this."),
        json,
        back,
        wrong,
        h("div", { class: "row" }, send),
      ),
    ),
  );
  sends(form, send, wrong, signal, async () => {
    const job = await post(path(["jobs"]), json.value, signal);
    location.hash = `#/jobs/${encodeURIComponent(job.id)}`;
  });
  fill(main, h("div", { class: "head" }, h("h1", { class: "grow" }, "Submit a job")), form);
  changed();
}

/** A choice of plug-in with its own fields. key: how the job names it. */
function plugin(loc, title, plugins, wanted, key, changed) {
  const about = h("p", { class: "help muted" });
  const chosen = (found) => (about.textContent = found ? lead(found.card) : "");
  const usual = plugins.find((p) => p.name === wanted) ?? plugins[0];
  const mine = choice(plugins, usual?.name, { id: loc, where: () => loc, chosen, changed });
  const element = h(
    "fieldset",
    {},
    h("legend", {}, title),
    field("name", mine.control, { loc, required: true }),
    about,
    mine.own,
  );
  return { element, value: () => ({ [loc]: { [key]: mine.name(), ...mine.value() } }) };
}

/** Prompts a line each, with a target behind a tab if wanted; or the items as JSON. */
function itemsPart(changed) {
  let form = "lines";
  const text = h("textarea", {
    rows: 8,
    "data-testid": "items",
    oninput: changed,
    value: Array.from({ length: 10 }, (_, i) => String(i)).join("\n"),
  });
  const target = h("input", { type: "checkbox", "data-testid": "items-target", onchange: changed });
  const targets = h("label", { class: "row" }, target, "A target stands behind a tab or |");
  const help = {
    lines: "One prompt a line. Without a target, judges that need one take the prompt.",
    json: "A list of objects of id, prompt and target.",
  };
  const shape = select(
    [
      ["lines", "one prompt a line"],
      ["json", "JSON"],
    ],
    form,
    (value) => {
      if (value === "json" && form === "lines") text.value = JSON.stringify(read(), null, 2);
      form = value;
      targets.hidden = form === "json";
      changed();
    },
    { "aria-label": "How items are written" },
  );
  const read = () => {
    if (form === "json") return parsed(text.value) ?? [];
    return text.value
      .split("\n")
      .filter((line) => line.trim())
      .map((line) => {
        if (!target.checked) return { prompt: line };
        const cut = Math.max(line.lastIndexOf("\t"), line.lastIndexOf("|"));
        return cut < 0 ? { prompt: line } : { prompt: line.slice(0, cut).trim(), target: line.slice(cut + 1).trim() };
      });
  };
  return {
    element: h(
      "fieldset",
      {},
      h("legend", {}, term("items", "Items")),
      h("div", { class: "row" }, shape, targets),
      field("prompts", text, { loc: "items", required: true, help: help.lines }),
    ),
    value: () => ({ items: read() }),
  };
}
