// Verifier cards: what each is, and what audits say of it.
import { alarm, get, path } from "../api.js";
import { fill, foreign, h, lead, named, number, term, visible } from "../dom.js";

/** All verifiers, or the card of `name`. */
export async function show(main, { name, signal }) {
  return name ? one(main, name, signal) : all(main, signal);
}

async function all(main, signal) {
  const { data } = await get(path(["verifiers"]), signal);
  fill(
    main,
    h("div", { class: "head" }, h("h1", { class: "grow" }, term("card", "Verifier cards"))),
    h(
      "div",
      { class: "card" },
      h(
        "table",
        { "data-testid": "cards" },
        h(
          "tbody",
          {},
          data.map((plugin) =>
            h(
              "tr",
              {},
              h(
                "td",
                { class: "id" },
                h("a", { href: `#/cards/${encodeURIComponent(plugin.name)}` }, named(plugin.name)),
                h("p", { class: "sub" }, lead(plugin.card)),
              ),
            ),
          ),
        ),
      ),
    ),
  );
}

async function one(main, name, signal) {
  const holder = h("section", { class: "card", "data-testid": "card" }, h("p", { class: "muted" }, "Loading…")),
    about = h("section", { class: "card" });
  fill(
    main,
    h(
      "div",
      { class: "head" },
      h(
        "div",
        { class: "grow" },
        h("h1", {}, named(name)),
        h("p", { class: "sub" }, h("a", { href: "#/cards" }, "All cards")),
      ),
    ),
    holder,
    about,
  );
  try {
    const { card, ...audited } = await get(path(["cards", name]), signal);
    const known = audited.verdicts ? told(audited) : h("p", { class: "muted" }, audited.notes.join(" "));
    fill(holder, h("h2", {}, term("card", "Audits")), known);
    if (!card) return about.remove(); // no longer installed: its verdicts are all that is left
    fill(about, h("h2", {}, "What it is"), foreign(card, { clamp: 6000, name: "card.md", tag: "div" }));
  } catch (error) {
    if (signal.aborted) return;
    about.remove();
    alarm(holder, error);
  }
}

/** Any value of the card: numbers, intervals, lists of records as tables, and what is in them. */
function told(value) {
  if (value === null || value === undefined) return h("span", { class: "muted" }, "–");
  if (typeof value === "number") return number(value, 4);
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return foreign(value, { clamp: 600 });
  if (Array.isArray(value)) {
    if (!value.length) return h("span", { class: "muted" }, "none");
    if (value.every((one) => one && typeof one === "object" && !Array.isArray(one))) return tableOf(value);
    return value.map((one, i) => [i ? ", " : "", told(one)]);
  }
  if ("low" in value && "high" in value && ("mean" in value || "value" in value))
    return `${number(value.mean ?? value.value)} [${number(value.low)}, ${number(value.high)}]`;
  return h(
    "dl",
    { class: "kv" },
    Object.entries(value).map(([key, inner]) => [
      h("dt", {}, visible(key).replace(/_/g, " ")),
      h("dd", {}, told(inner)),
    ]),
  );
}

function tableOf(rows) {
  const columns = [...new Set(rows.flatMap(Object.keys))];
  return h(
    "div",
    { class: "scroll" },
    h(
      "table",
      {},
      h(
        "thead",
        {},
        h(
          "tr",
          {},
          columns.map((c) => h("th", {}, visible(c).replace(/_/g, " "))),
        ),
      ),
      h(
        "tbody",
        {},
        rows.slice(0, 200).map((row) =>
          h(
            "tr",
            {},
            columns.map((c) => h("td", {}, told(row[c]))),
          ),
        ),
      ),
    ),
  );
}
