// A job's items with their best answers, all answers of one on demand, and who descends from whom.
import { alarm, get, path } from "../api.js";
import { fill, foreign, h, named, number, term } from "../dom.js";
import { genealogy } from "./genealogy.js";
import { drawing, molecular } from "./molecules.js";
import { front } from "./front.js";
import { stateMark } from "./jobs.js";

const PAGE = 10,
  ANSWERS = 24,
  BEST = 8;

/** Items under `holder`. Returns {refresh, empty}. */
export function gallery(holder, job, signal) {
  const wrong = h("div"),
    list = h("div", { class: "gallery", "data-testid": "gallery" }),
    pages = h("div", { class: "bar" });
  const starts = ["-1"];
  let shown = 0;
  fill(holder, h("h2", {}, term("items", "Items"), " and their best answers"), wrong, list, pages);

  async function refresh() {
    try {
      const page = await get(path(["jobs", job.id, "items"], { limit: PAGE, after: starts.at(-1) }), signal);
      shown = page.data.reduce((sum, item) => sum + item.drawn, 0);
      list.classList.toggle(
        "singles",
        page.data.every((item) => item.best.length < 2),
      );
      fill(
        list,
        page.data.length
          ? page.data.map((item) => itemView(item, job, signal))
          : h("p", { class: "muted" }, "No more items."),
      );
      const turn = (label, move, name) =>
        h(
          "button",
          {
            type: "button",
            class: "small",
            "data-testid": name,
            onclick: async () => {
              move();
              await refresh();
              holder.scrollIntoView({ block: "start" });
            },
          },
          label,
        );
      fill(
        pages,
        starts.length > 1 ? turn("Previous", () => starts.pop(), "items-previous") : null,
        page.next && page.data.at(-1).number + 1 < job.counts.items ? turn("Next", () => starts.push(page.next), "items-next") : null,
        h(
          "span",
          { class: "muted" },
          page.data.length
            ? `${number(page.data[0].number + 1)}–${number(page.data.at(-1).number + 1)} of ${number(job.counts.items)}`
            : "",
        ),
      );
    } catch (error) {
      if (!signal.aborted) alarm(wrong, error);
    }
  }
  return { refresh, empty: () => shown === 0 };
}

function itemView(item, job, signal) {
  const given = job.spec.items[item.number] ?? {};
  const weighted = !["best_of_n", "noise_search"].includes(job.spec.search.method) && item.drawn > 0;
  const family = h("div"),
    scatter = h("div"),
    all = h("div");
  const best = item.best.length
    ? h("div", { class: "answers" }, item.best.slice(0, BEST).map((answer) => answerView(answer, job)))
    : h("p", { class: "muted" }, item.drawn ? "The job's rule accepts none of its answers." : "Nothing drawn yet.");
  const about = h(
    "div",
    { class: "about" },
    h(
      "div",
      { class: "row spread" },
      h("h3", {}, h("span", { class: "muted" }, "Item "), named(item.id, 60)),
      stateMark(item.state),
    ),
    given.prompt ? h("div", { class: "prompt" }, foreign(given.prompt, { name: "prompt.txt", tag: "div" })) : null,
    given.messages?.length ? h("div", { class: "prompt", "data-testid": "messages" }, given.messages.map(message)) : null,
    h(
      "p",
      { class: "sub" },
      given.target !== null && given.target !== undefined
        ? ["target ", foreign(textOf(given.target), { clamp: 200, name: "target.txt" }), " · "]
        : null,
      term("drawn", "drawn"),
      ` ${number(item.drawn)} · `,
      term("evaluations"),
      ` ${number(item.evaluations)}`,
      item.tokens ? [" · ", term("tokens", "tokens"), ` ${number(item.tokens)}`] : null,
      item.lost ? [" · ", term("lost", "lost"), ` ${number(item.lost)}`] : null,
      item.stop_reason ? ` · stopped: ${item.stop_reason.replace(/_/g, " ")}` : "",
    ),
    item.sample
      ? h(
          "p",
          { class: "sub" },
          term("ess", "ESS"),
          ` ${number(item.sample.ess)} · `,
          term("ancestors"),
          ` ${number(item.sample.ancestors)} · `,
          term("log z", "log Z"),
          ` ${item.sample.log_z.map((z) => number(z)).join(", ")}`,
        )
      : null,
    item.error ? h("div", { class: "alert" }, foreign(item.error)) : null,
    item.sample?.warning ? h("div", { class: "note" }, item.sample.warning) : null,
  );
  return h(
    "article",
    { class: item.best.length === 1 ? "item single" : "item", "data-item": item.number },
    about,
    best,
    item.drawn
      ? h(
          "div",
          { class: "more" },
          unfolding(`All ${number(item.drawn)} answers`, all, () => everything(all, job, item, signal), "all-answers"),
          job.spec.verifiers.length > 1
            ? unfolding("Front", scatter, () => front(scatter, job, item, signal), "show-front")
            : null,
          weighted
            ? unfolding("Genealogy", family, () => genealogy(family, job, item, signal), "show-genealogy")
            : null,
        )
      : null,
  );
}

/** One message of a conversation. */
const message = (said) =>
  h("div", {}, h("span", { class: "muted" }, `${said.role}: `), foreign(said.content, { name: "message.txt", tag: "div" }));

/** Something that is asked for when it is first opened. */
function unfolding(label, holder, work, name) {
  const details = h("details", { "data-testid": name }, h("summary", {}, label), holder);
  details.addEventListener("toggle", () => {
    if (details.open && !holder.childNodes.length) work();
  });
  return details;
}

async function everything(holder, job, item, signal) {
  const grid = h("div", { class: "answers" }),
    more = h("div"),
    wrong = h("div");
  fill(holder, grid, more, wrong);
  const next = async (after) => {
    try {
      const page = await get(
        path(["jobs", job.id, "candidates"], { item: item.number, limit: ANSWERS, after }),
        signal,
      );
      grid.append(...page.data.map((answer) => answerView(answer, job)));
      fill(
        more,
        page.next ? h("button", { type: "button", class: "small", onclick: () => next(page.next) }, "More") : null,
      );
    } catch (error) {
      if (!signal.aborted) alarm(wrong, error);
    }
  };
  await next("-1:-1");
}

const textOf = (value) => (typeof value === "string" ? value : JSON.stringify(value));

/** The text of an answer that came with its log-probabilities; any other as it is. */
const said = (value) => (typeof value?.text === "string" ? value.text : textOf(value));

/** A kept answer: a picture, or a text too long for the database, which shows itself by being no picture. */
function kept(answer) {
  const address = path(["artifacts", answer.artifact]);
  const picture = h("img", { src: address, alt: `Answer ${answer.sample} of item ${answer.item}`, loading: "lazy" });
  const link = h("a", { href: address, target: "_blank", rel: "noopener" }, picture);
  picture.addEventListener("error", async () => {
    try {
      link.replaceWith(written(await get(address), answer));
    } catch (error) {
      alarm(link, error);
    }
  });
  return link;
}

const written = (value, answer) =>
  h(
    "div",
    { class: "mono" },
    foreign(said(value), { clamp: 240, name: `answer-${answer.item}-${answer.sample}.txt`, tag: "div" }),
  );

function answerView(answer, job) {
  const shown = answer.artifact
    ? kept(answer)
    : answer.answer === null
      ? h("span", { class: "muted" }, "not kept")
      : [molecular(job) ? drawing(answer) : null, written(answer.answer, answer)];
  return h(
    "div",
    { class: "answer", "data-sample": answer.sample },
    shown,
    answer.scores.map((score) => verdict(score, "verifier")),
    answer.grades.map((score) => verdict(score, "grader")),
    h(
      "div",
      { class: "meta" },
      `sample ${answer.sample}`,
      answer.log_weight !== null && answer.log_weight !== undefined
        ? [" · ", term("weight", "log w"), ` ${number(answer.log_weight)}`]
        : null,
      answer.tokens !== null && answer.tokens !== undefined
        ? [" · ", term("tokens", "tokens"), ` ${number(answer.tokens)}`]
        : null,
      h("br"),
      term("seed"),
      ` ${answer.seed}`,
    ),
  );
}

/** What a verdict rests on: a property's value, the case that failed; of a program also the tier that it ran in. */
const why = (score) => h("div", { class: "sub" }, foreign(score.reason, { clamp: 160, name: "reason.txt" }));

function verdict(score, role) {
  const mark =
    score.passed === null
      ? null
      : h("span", { class: score.passed ? "yes" : "no" }, score.passed ? " ✓ passes" : " ✗ fails");
  const given =
    score.value === null && score.passed === null
      ? [term("unscored"), " ", named(score.reason ?? "", 60)]
      : [score.value === null ? "" : number(score.value), mark, score.reason ? why(score) : null];
  return h("div", { class: "verdict", "data-role": role }, named(score.name, 40), h("div", {}, given));
}
