// What can be done with a job that has ended: let it go on, have its answers judged again, delete it.
import { alarm, get, path, post, remove } from "../api.js";
import { fill, h, number, say } from "../dom.js";
import { schemaFields, sends } from "../forms.js";
import { judges } from "./judges.js";
import { budgetPart, filled, part, restPart } from "./parts.js";

const GOES_ON = new Set(["completed", "cancelled"]);
const nothing = () => {};

/** Buttons, each of which unfolds its form in `place`, one at a time. wentOn: told of the job when it goes on. */
export function endedButtons(place, job, signal, wentOn) {
  let open = null;
  place.id = "unfolded";
  const close = () => {
    open?.setAttribute("aria-expanded", "false");
    open = null;
    fill(place);
  };
  const button = (name, label, make) => {
    const opener = h(
      "button",
      {
        type: "button",
        "data-testid": name,
        "aria-expanded": "false",
        "aria-controls": place.id,
        onclick: async () => {
          const again = open === opener;
          close();
          if (again) return;
          open = opener;
          opener.setAttribute("aria-expanded", "true");
          fill(place, h("p", { class: "muted waiting" }, "Loading…"));
          try {
            const parts = await make(job, signal);
            if (open === opener && !signal.aborted) unfold(place, name, label, parts, signal, closeTo(opener));
          } catch (error) {
            if (open === opener && !signal.aborted) alarm(place, error);
          }
        },
      },
      label,
    );
    return opener;
  };
  const closeTo = (opener) => () => {
    close();
    opener.focus();
  };
  const grown = (fresh) => {
    close();
    wentOn(fresh);
  };
  return [
    job.extends && GOES_ON.has(job.state) ? button("extend", "Extend", extending(grown)) : null,
    button("rescore", "Rescore", rescoring),
    button("delete", "Delete", deleting),
  ];
}

/** A form in a card, with the button that sends it and one that does not. Focus goes to its first control. */
function unfold(place, name, label, { elements, verb, work }, signal, close) {
  const wrong = h("div"),
    send = h("button", { type: "submit", class: "main", "data-testid": `${name}-button` }, verb),
    keep = h("button", { type: "button", "data-testid": `${name}-close`, onclick: close }, "Close");
  const form = h(
    "form",
    { class: "section", novalidate: true, "data-testid": `${name}-form`, "aria-label": label },
    elements,
    wrong,
    h("div", { class: "row" }, send, keep),
  );
  sends(form, send, wrong, signal, work);
  fill(place, h("section", { class: "card" }, form));
  (form.querySelector("input, select, textarea") ?? keep).focus(); // never the button that does it
}

/** Only the fields `names` of a schema, each standing at the value that it has `now`. */
const standing = (schema, names, now) => ({
  ...schema,
  properties: Object.fromEntries(
    names.map((name) => [name, { ...schema.properties[name], default: now[name] ?? schema.properties[name].default }]),
  ),
});

const extending = (grown) => async (job, signal) => {
  const [methods, api] = await Promise.all([get(path(["methods"]), signal), get("/openapi.json", signal)]);
  const { search, budget } = job.spec,
    method = methods.data.find((one) => one.name === search.method).config,
    limits = Object.keys(budget).filter((name) => budget[name] !== null);
  const parts = {
    search: schemaFields(standing(method, [job.extends], search), { loc: "search", changed: nothing, root: method }),
    budget: schemaFields(standing(api.components.schemas.Budget, limits, budget), {
      loc: "budget",
      changed: nothing,
      root: api,
    }),
  };
  return {
    elements: [
      part("More samples", "Only what is missing is drawn. Unchanged: what the job had asked for and does not have.", parts.search),
      limits.length
        ? part("Budget", "For all that the job spends, before and after; an emptied field lifts the limit.", parts.budget)
        : null,
    ],
    verb: "Extend",
    work: async () => {
      const body = { search: parts.search.value(), budget: parts.budget.value() };
      grown(await post(path(["jobs", job.id, "extend"]), JSON.stringify(body), signal));
    },
  };
};

async function rescoring(job, signal) {
  const [verifiers, methods, api] = await Promise.all([
    ...["verifiers", "methods"].map((kind) => get(path([kind]), signal)),
    get("/openapi.json", signal),
  ]);
  const schemas = { components: api.components },
    rule = methods.data.find((one) => one.name === "best_of_n"),
    { verifiers: selecting, graders, search } = job.spec,
    chosen = search.method === rule.name ? search : {},
    select = schemaFields(rule.config, { loc: "search", changed: nothing, skip: ["n"], given: chosen }),
    own = ["verifiers", "graders", "search", "budget"];
  const parts = [
    judges("verifiers", "Verifiers", "verifier", verifiers.data, schemas, 1, nothing, selecting),
    judges("graders", "Graders", "grader", verifiers.data, schemas, 0, nothing, graders),
    {
      element: part("Selection", "", select),
      value: () => filled("search", select.value()),
    },
    budgetPart(schemas, nothing),
    restPart(api.components.schemas.Rescoring, own, schemas, nothing),
  ];
  return {
    elements: [
      h(
        "p",
        { class: "help muted" },
        "A new job with the stored answers of this one; nothing is drawn again. It begins with the judges of this one.",
      ),
      parts.map((one) => one.element),
    ],
    verb: "Rescore",
    work: async () => {
      const body = Object.assign({}, ...parts.map((one) => one.value()));
      const made = await post(path(["jobs", job.id, "rescore"]), JSON.stringify(body), signal);
      location.hash = `#/jobs/${encodeURIComponent(made.id)}`;
    },
  };
}

async function deleting(job, signal) {
  const question = `Delete this job for good, with its ${number(job.counts.candidates)} answers, their verdicts and labels?`;
  say(question); // focus goes to a button behind it
  return {
    elements: h("p", {}, question),
    verb: "Delete for good",
    work: async () => {
      await remove(path(["jobs", job.id]), signal);
      location.replace("#/jobs"); // so that Back does not lead to what is gone
      say("The job was deleted.");
    },
  };
}
