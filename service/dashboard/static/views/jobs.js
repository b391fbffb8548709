// All jobs, newest first; two or more may be chosen to be compared.
import { get, path, repeat } from "../api.js";
import { fill, h, moment, named, number, seconds, term } from "../dom.js";

const PAGE = 20,
  EVERY = 2000;

export const stateMark = (state, props = {}) =>
  h("span", { class: `state ${state}`, ...props }, state.replace("_", " "));

export const progressBar = (counts) =>
  h(
    "progress",
    { max: Math.max(1, counts.shards), value: counts.shards_done, "aria-label": "Progress" },
    `${counts.shards_done} of ${counts.shards}`,
  );

/** Jobs; `query.after` is where the page begins. */
export async function show(main, { query, signal }) {
  const after = query.get("after");
  const chosen = new Set();
  const compare = h(
    "button",
    {
      type: "button",
      class: "main",
      disabled: true,
      "data-testid": "compare-button",
      onclick: () => {
        location.hash = `#/compare?jobs=${[...chosen].map(encodeURIComponent).join(",")}`;
      },
    },
    "Compare",
  );
  const wrong = h("div"),
    body = h("tbody"),
    pages = h("div", { class: "bar" });
  const choose = () => {
    compare.disabled = chosen.size < 2;
    compare.textContent = chosen.size ? `Compare ${chosen.size}` : "Compare";
  };

  const row = (job) => {
    const live = !["completed", "failed", "cancelled", "expired"].includes(job.state);
    const box = h("input", {
      type: "checkbox",
      checked: chosen.has(job.id),
      "aria-label": `Choose ${job.id}`,
      onchange: (event) => {
        event.target.checked ? chosen.add(job.id) : chosen.delete(job.id);
        choose();
      },
    });
    return h(
      "tr",
      { "data-job": job.id },
      h("td", {}, box),
      h(
        "td",
        { class: "id" },
        h("a", { href: `#/jobs/${encodeURIComponent(job.id)}`, title: job.id }, `…${job.id.slice(-8)}`),
        h("div", { class: "sub" }, moment(job.created_at)),
      ),
      h("td", { "data-label": "Model" }, named(job.model)),
      h("td", { "data-label": "State" }, stateMark(job.state), live ? progressBar(job.counts) : null),
      h("td", { class: "num", "data-label": "Items" }, `${number(job.counts.done)} / ${number(job.counts.items)}`),
      h("td", { class: "num", "data-label": "Answers" }, number(job.counts.candidates)),
      h("td", { class: "num", "data-label": "Evaluations" }, number(job.usage.evaluations)),
      h("td", { class: "num", "data-label": "Time" }, seconds(job.usage.seconds)),
    );
  };

  fill(
    main,
    h(
      "div",
      { class: "head" },
      h("h1", { class: "grow" }, "Jobs"),
      compare,
      h("a", { class: "button", href: "#/submit" }, "Submit a job"),
    ),
    wrong,
    h(
      "div",
      { class: "card" },
      h(
        "div",
        { class: "scroll" },
        h(
          "table",
          { class: "stack", "data-testid": "jobs" },
          h(
            "thead",
            {},
            h(
              "tr",
              {},
              h("th", {}, h("span", { class: "unseen" }, "Choose")),
              h("th", {}, "Job"),
              h("th", {}, "Model"),
              h("th", {}, term("state", "State")),
              h("th", { class: "num" }, term("items", "Items done")),
              h("th", { class: "num" }, term("candidates", "Answers")),
              h("th", { class: "num" }, term("evaluations", "Evaluations")),
              h("th", { class: "num" }, term("seconds", "Time")),
            ),
          ),
          body,
        ),
      ),
      pages,
    ),
  );

  let before = "";
  await repeat(
    async () => {
      const page = await get(path(["jobs"], { limit: PAGE, after }), signal);
      const now = JSON.stringify(page);
      if (now === before) return;
      before = now;
      const held = document.activeElement?.closest?.("tr")?.dataset.job,
        tag = document.activeElement?.tagName;
      fill(
        body,
        page.data.map(row),
        page.data.length
          ? null
          : h(
              "tr",
              {},
              h(
                "td",
                { colspan: 8 },
                after ? "No older jobs." : "No jobs yet. ",
                after ? null : h("a", { href: "#/submit" }, "Submit the first one"),
              ),
            ),
      );
      if (held)
        body
          .querySelector(`tr[data-job="${CSS.escape(held)}"] ${tag === "INPUT" ? "input" : "a"}`)
          ?.focus({ preventScroll: true });
      fill(
        pages,
        after ? h("a", { class: "button small", href: "#/jobs" }, "Newest") : null,
        page.next
          ? h("a", { class: "button small", href: `#/jobs?after=${encodeURIComponent(page.next)}` }, "Older")
          : null,
      );
    },
    EVERY,
    signal,
    wrong,
  );
}
