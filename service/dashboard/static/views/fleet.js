// The fleet: how fast it computes, how full its batches are, what waits and what has failed.
import { get, path, repeat } from "../api.js";
import { fill, h, named, number, percent, seconds, term } from "../dom.js";

const EVERY = 2000;

/** Workers and queue, every two seconds. */
export async function show(main, { signal }) {
  const wrong = h("div"),
    facts = h("section", { class: "card" }),
    workers = h("section", { class: "card" }),
    queue = h("section", { class: "card" });
  fill(
    main,
    h("div", { class: "head" }, h("h1", { class: "grow" }, "Fleet"), h("span", { class: "sub" }, "every 2 s")),
    wrong,
    h("div", { class: "section", "data-testid": "fleet" }, facts, workers, queue),
  );
  await repeat(
    async () => {
      const [{ data }, state] = await Promise.all([get(path(["workers"]), signal), get(path(["queue"]), signal)]);
      fill(facts, factsOf(data, state));
      fill(workers, workersOf(data));
      fill(queue, queueOf(state));
    },
    EVERY,
    signal,
    wrong,
  );
}

function factsOf(workers, queue) {
  const fact = (word, label, value, name) =>
    h("div", {}, h("dt", {}, term(word, label)), h("dd", { "data-testid": name }, value));
  const batches = workers.flatMap((worker) => Object.values(worker.models));
  const room = batches.reduce((sum, b) => sum + b.calls * b.limit, 0),
    rows = batches.reduce((sum, b) => sum + b.rows, 0);
  return [
    queue.up ? null : h("div", { class: "alert", role: "alert" }, "The queue does not answer."),
    h(
      "dl",
      { class: "facts" },
      fact(
        "rows per second",
        "Rows a second",
        queue.rows_per_second === null ? "–" : number(queue.rows_per_second),
        "rows-per-second",
      ),
      fact("fill", "Batch fill", room ? percent(rows / room) : "–", "batch-fill"),
      fact("queue depth", "In the queue", number(queue.streams.reduce((sum, s) => sum + s.messages, 0)), "queue-depth"),
      fact("dead letters", "Dead letters", number(queue.dead), "dead-letters"),
      fact("worker", "Workers", number(workers.length), "workers"),
      h(
        "div",
        {},
        h("dt", {}, term("state", "Jobs")),
        h(
          "dd",
          {},
          h(
            "small",
            {},
            Object.entries(queue.jobs)
              .map(([state, n]) => `${state.replace("_", " ")} ${number(n)}`)
              .join(", ") || "none",
          ),
        ),
      ),
    ),
  ];
}

function workersOf(workers) {
  const rows = workers.flatMap((worker) => {
    const models = Object.entries(worker.models);
    return (models.length ? models : [[null, null]]).map(([name, b], i) =>
      h(
        "tr",
        {},
        h(
          "td",
          { class: "id" },
          i
            ? ""
            : [
                named(worker.worker, 40),
                h(
                  "div",
                  { class: "sub" },
                  `${seconds(worker.age)} ago`,
                  worker.resident ? [", ", term("resident", `${number(worker.resident / 2 ** 20, 4)} MiB`)] : null,
                  worker.programs ? [", ", term("programs", `programs: ${worker.programs}`)] : null,
                ),
              ],
        ),
        h(
          "td",
          { "data-label": "Model" },
          name === null ? h("span", { class: "muted" }, "nothing computed yet") : named(name),
        ),
        b
          ? [
              ["Calls", number(b.calls)],
              ["Rows", number(b.rows)],
              ["Limit", number(b.limit)],
            ].map(([label, value]) => h("td", { class: "num", "data-label": label }, value))
          : [h("td"), h("td"), h("td")],
        h(
          "td",
          { "data-label": "Fill" },
          b && b.fill !== null
            ? [h("span", {}, percent(b.fill)), h("progress", { max: 1, value: b.fill, "aria-label": "Batch fill" })]
            : "–",
        ),
      ),
    );
  });
  return [
    h("h2", {}, term("worker", "Workers")),
    rows.length
      ? h(
          "div",
          { class: "scroll" },
          h(
            "table",
            { class: "stack" },
            h(
              "thead",
              {},
              h(
                "tr",
                {},
                h("th", {}, "Worker"),
                h("th", {}, "Model"),
                h("th", { class: "num" }, "Calls"),
                h("th", { class: "num" }, "Rows"),
                h("th", { class: "num" }, "Limit"),
                h("th", {}, term("fill", "Batch fill")),
              ),
            ),
            h("tbody", {}, rows),
          ),
        )
      : h("p", { class: "muted" }, "No worker lives."),
  ];
}

function queueOf(queue) {
  const states = [...new Set(queue.shards.map((s) => s.state))],
    models = [...new Set(queue.shards.map((s) => s.model))];
  const of = (model, state) => queue.shards.find((s) => s.model === model && s.state === state)?.n ?? 0;
  const table = (heads, rows) =>
    h(
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
            heads.map((text, i) => h("th", { class: i ? "num" : "" }, text)),
          ),
        ),
        h(
          "tbody",
          {},
          rows.map(([name, ...cells]) =>
            h(
              "tr",
              {},
              h("td", { class: "id" }, named(name)),
              cells.map((n) => h("td", { class: "num" }, number(n))),
            ),
          ),
        ),
      ),
    );
  return [
    h("h2", {}, term("queue depth", "Queue")),
    h(
      "div",
      { class: "pair" },
      queue.streams.length
        ? table(
            ["Stream", "Messages"],
            queue.streams.map((s) => [s.name, s.messages]),
          )
        : h("p", { class: "muted" }, "No streams."),
      models.length
        ? table(
            ["Shards of model", ...states],
            models.map((m) => [m, ...states.map((s) => of(m, s))]),
          )
        : h("p", { class: "muted" }, "No shards."),
    ),
  ];
}
