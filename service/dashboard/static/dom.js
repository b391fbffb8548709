// Elements without markup: whatever a service sends is put in as text, never parsed.
import { DEFINITIONS } from "./definitions.js";

const CLAMP = 400; // characters of a foreign text before "Show more"
const MORE = 20_000; // characters that each click adds
// C0 (but tab and newline), C1, zero-width and direction controls, line separators, byte order mark, lone surrogates.
// prettier-ignore
const HIDDEN =
  /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u200b\u200e\u200f\u202a-\u202e\u2028\u2029\u2060-\u2069\ufeff]|[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g;

/** Text in which what cannot be seen, or would turn other text around, is a visible escape. */
export const visible = (text) =>
  String(text).replace(HIDDEN, (c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`);

/** An element. props: `on...` listeners, `class`, `data-...`, attributes; a function child is no child; null is none. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (["value", "checked", "disabled", "selected", "open"].includes(name)) element[name] = value;
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
}

/** Replace all children. */
export const fill = (element, ...children) => {
  element.replaceChildren(
    ...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false),
  );
  return element;
};

/** Foreign text of any length: isolated from its surroundings, clamped, with more and the whole to be had. */
export function foreign(text, { clamp = CLAMP, name = "text.txt", tag = "span" } = {}) {
  const whole = String(text);
  const body = h("bdi", { class: "foreign", dir: "auto" }, visible(whole.slice(0, clamp)));
  if (whole.length <= clamp) return h(tag, { class: "foreign-box" }, body);
  let shown = clamp;
  const left = h("span", { class: "muted" });
  const more = h("button", { type: "button", class: "link" }, "Show more");
  const less = h("button", { type: "button", class: "link", hidden: true }, "Show less");
  const update = () => {
    body.textContent = visible(whole.slice(0, shown)) + (shown < whole.length ? "…" : "");
    left.textContent = ` ${number(Math.min(shown, whole.length))} of ${number(whole.length)} characters `;
    more.hidden = shown >= whole.length;
    less.hidden = shown <= clamp;
  };
  more.addEventListener("click", () => {
    shown += MORE;
    update();
  });
  less.addEventListener("click", () => {
    shown = clamp;
    update();
  });
  update();
  const get = h(
    "button",
    { type: "button", class: "link", onclick: () => save(name, whole, "text/plain") },
    "Download",
  );
  return h(tag, { class: "foreign-box" }, body, h("span", { class: "foreign-tools" }, left, more, " ", less, " ", get));
}

/** A short foreign name, such as an id or a label, on one line. */
export const named = (text, longest = 80) => {
  const seen = visible(text);
  return h(
    "bdi",
    { class: "named", title: seen.length > longest ? seen.slice(0, 1000) : null },
    seen.length > longest ? `${seen.slice(0, longest)}…` : seen,
  );
};

/** A word with its definition, on hover and on focus. */
export function term(word, label = word) {
  const said = DEFINITIONS[word];
  if (!said) throw new Error(`no definition of ${word}`);
  const id = `def-${word.replace(/\W+/g, "-")}`;
  if (!document.getElementById(id)) document.getElementById("definitions").append(h("p", { id }, said));
  return h("abbr", { class: "term", tabindex: "0", "aria-describedby": id, "data-term": word }, label);
}

/** Show the definition of the term that is pointed at or focused; Escape hides it. */
export function watchTerms() {
  const tip = document.getElementById("tip");
  const hide = () => {
    tip.hidden = true;
  };
  const show = (event) => {
    const owner = event.target.closest?.("[data-term]");
    if (!owner) return event.type === "mouseover" ? hide() : undefined;
    tip.textContent = DEFINITIONS[owner.dataset.term];
    tip.hidden = false;
    const at = owner.getBoundingClientRect(),
      mine = tip.getBoundingClientRect();
    const left = Math.max(8, Math.min(at.left, document.documentElement.clientWidth - mine.width - 8));
    const below = at.bottom + 6 + mine.height < window.innerHeight;
    tip.style.setProperty("left", `${left}px`);
    tip.style.setProperty("top", `${below ? at.bottom + 6 : Math.max(4, at.top - mine.height - 6)}px`);
  };
  for (const name of ["mouseover", "focusin"]) document.addEventListener(name, show);
  document.addEventListener("focusout", hide);
  window.addEventListener("scroll", hide, { passive: true });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
  });
}

/** A label, its control, and a place for what is wrong with it. loc: where a refusal names it, as in "model.steps". */
export function field(label, control, { help = "", loc = "", required = false } = {}) {
  const id = control.id || `f-${Math.random().toString(36).slice(2)}`; // an id, not a draw
  control.id = id;
  if (help) control.setAttribute("aria-describedby", `${id}-help`);
  return h(
    "div",
    { class: "field", "data-loc": loc },
    h("label", { for: id }, label, required ? h("span", { class: "must", title: "required" }, " *") : null),
    control,
    help ? h("p", { class: "help", id: `${id}-help` }, help) : null,
    h("p", { class: "wrong", role: "alert", hidden: true }),
  );
}

/** The first paragraph of a plug-in's card, as one line without links. */
export const lead = (card) =>
  visible(
    card
      .replace(/^#.*\n+/, "")
      .split(/\n\n/)[0]
      .replace(/\s+/g, " ")
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .slice(0, 300),
  );

/** A select of [value, label] pairs. */
export const select = (options, chosen, onchange, props = {}) =>
  h(
    "select",
    { ...props, onchange: (event) => onchange?.(event.target.value) },
    options.map(([value, label]) => h("option", { value, selected: value === chosen }, label)),
  );

/** Give a person a file. */
export function save(name, content, type) {
  const address = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type }));
  h("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10_000);
}

/** Say something to those who listen. */
export const say = (text) => {
  document.getElementById("said").textContent = text;
};

export const number = (value, digits = 3) =>
  value === null || value === undefined
    ? "–"
    : Number.isInteger(value)
      ? value.toLocaleString("en")
      : Number(value.toPrecision(digits)).toLocaleString("en", { maximumFractionDigits: 6 });
export const percent = (value) => (value === null || value === undefined ? "–" : `${(100 * value).toFixed(1)} %`);
export const interval = (e) =>
  !e
    ? "–"
    : e.low === null || e.low === undefined
      ? percent(e.mean)
      : `${percent(e.mean)} [${(100 * e.low).toFixed(1)}, ${(100 * e.high).toFixed(1)}]`;
export const seconds = (value) =>
  value < 1
    ? `${Math.round(1000 * value)} ms`
    : value < 120
      ? `${value.toFixed(1)} s`
      : value < 7200
        ? `${(value / 60).toFixed(1)} min`
        : `${(value / 3600).toFixed(1)} h`;
export const moment = (at) =>
  h(
    "time",
    { datetime: new Date(1000 * at).toISOString() },
    new Date(1000 * at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }),
  );
