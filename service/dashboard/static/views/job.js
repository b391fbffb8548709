// One job: how it stands, live while it runs; its curve, advice, answers and genealogy.
import { alarm, get, path, post } from "../api.js";
import { fill, foreign, h, moment, named, number, say, seconds, term } from "../dom.js";
import { curvePanels } from "./curve.js";
import { endedButtons } from "./ended.js";
import { gallery } from "./gallery.js";
import { progressBar, stateMark } from "./jobs.js";

const EVENTS = ["created", "in_progress", "progress", "cancelling", "completed", "failed", "cancelled", "expired"];
const ENDED = new Set(["completed", "failed", "cancelled", "expired"]);
const CURVE_EVERY = 4000,
  USAGE_EVERY = 1000;
const SPEED = 50; // characters of a job that may be read again in each millisecond of watching

/** The job `name`. */
export async function show(main, { name, signal }) {
  let job = await get(path(["jobs", name]), signal);
  const top = h("div", { class: "section" }),
    wrong = h("div"),
    unfolded = h("div"),
    spec = h("div"),
    curve = h("div", { class: "section" }),
    answers = h("section", { class: "card" });
  const head = h("div", { class: "head" });
  fill(main, head, wrong, unfolded, h("section", { class: "card" }, top, spec), curve, answers);
  const changed = (fresh) => {
    job = fresh;
    facts(top, job);
  };
  const turned = (fresh) => {
    changed(fresh);
    fill(spec, accepted(job));
    fill(
      head,
      title(job),
      ENDED.has(job.state) ? endedButtons(unfolded, job, signal, wentOn) : cancelButton(job, wrong, changed),
      download(job),
    );
  };
  const wentOn = (fresh) => {
    turned(fresh);
    live();
    main.focus({ preventScroll: true }); // the button that had it is gone
    say("The job goes on.");
  };
  const panels = curvePanels(curve, job, signal),
    shown = gallery(answers, job, signal),
    running = !ENDED.has(job.state);
  let looked = 0;
  const live = () =>
    follow(job, signal, wrong, async (fresh, ended) => {
      if (ended) turned(fresh);
      else changed(fresh);
      await panels.due(ended ? 0 : CURVE_EVERY);
      if (ended || (shown.empty() && Date.now() - looked > CURVE_EVERY)) {
        looked = Date.now();
        await shown.refresh();
      }
    });
  turned(job);
  await Promise.all([panels.refresh(), shown.refresh()]);
  if (running) live(); // one that goes on meanwhile is followed already
}

function cancelButton(job, wrong, changed) {
  const cancel = h(
    "button",
    {
      type: "button",
      "data-testid": "cancel",
      onclick: async () => {
        cancel.disabled = true;
        try {
          changed(await post(path(["jobs", job.id, "cancel"])));
        } catch (error) {
          cancel.disabled = false;
          alarm(wrong, error);
        }
      },
    },
    "Cancel",
  );
  return cancel;
}

const title = (job) =>
  h(
    "div",
    { class: "grow" },
    h("h1", {}, named(job.model), h("span", { class: "muted" }, ` · ${job.spec?.search?.method ?? ""}`)),
    h("p", { class: "sub" }, job.id, " · ", moment(job.created_at)),
  );

const download = (job) =>
  h(
    "a",
    {
      class: "button",
      href: path(["jobs", job.id, "candidates"], { format: "jsonl" }),
      download: `${job.id}.jsonl`,
      "data-testid": "download-jsonl",
    },
    "Answers as JSONL",
  );

function facts(top, job) {
  const { counts, usage } = job;
  const fact = (word, label, value, small) =>
    h("div", {}, h("dt", {}, term(word, label)), h("dd", {}, value, small ? h("small", {}, small) : null));
  const spent = (name, word, label, say) =>
    fact(
      word,
      label,
      say(usage[name]),
      name in usage.unspent ? [term("unspent", "unspent"), ` ${say(Math.max(0, usage.unspent[name]))}`] : null,
    );
  fill(
    top,
    h(
      "div",
      { class: "row spread" },
      stateMark(job.state, { "data-testid": "job-state", "data-state": job.state }),
      h(
        "span",
        { class: "sub", "data-testid": "progress" },
        term("progress", "Shards"),
        ` ${number(counts.shards_done)} of ${number(counts.shards)}`,
      ),
    ),
    progressBar(counts),
    job.stop_reason ? h("p", { class: "sub" }, `Stopped: ${job.stop_reason.replace(/_/g, " ")}.`) : null,
    job.error ? h("div", { class: "alert" }, foreign(job.error)) : null,
    h(
      "dl",
      { class: "facts" },
      fact(
        "items",
        "Items done",
        `${number(counts.done)} / ${number(counts.items)}`,
        counts.failed ? [term("failed", "failed"), ` ${number(counts.failed)}`] : null,
      ),
      fact(
        "candidates",
        "Answers",
        number(counts.candidates),
        [
          counts.unscored ? [term("unscored", "unscored"), ` ${number(counts.unscored)} `] : null,
          counts.lost ? [term("lost", "lost"), ` ${number(counts.lost)}`] : null,
        ],
      ),
      spent("evaluations", "evaluations", "Evaluations", number),
      usage.tokens || usage.unreported ? spent("tokens", "tokens", "Tokens", number) : null,
      usage.unreported ? fact("unreported", "Unreported", number(usage.unreported)) : null,
      spent("previews", "previews", "Previews", number),
      spent("verifier_calls", "verifier calls", "Verdicts", number),
      spent("verifier_seconds", "verifier seconds", "Verifier time", seconds),
      spent("seconds", "seconds", "Time", seconds),
      job.extended ? fact("extended", "Extended", number(job.extended), ["last ", moment(job.extended_at)]) : null,
    ),
  );
}

const accepted = (job) =>
  h(
    "details",
    {},
    h("summary", {}, "The job as it was accepted"),
    foreign(JSON.stringify(job.spec, null, 2), { clamp: 3000, name: `${job.id}.json`, tag: "div" }),
  );

/** Live progress by server-sent events, which the browser takes up again behind the last one it saw.
 * Counts are the events' own; usage is asked for now and then, and seldom where a job is long to read. */
function follow(job, signal, wrong, changed) {
  const source = new EventSource(path(["jobs", job.id, "events"]));
  const pause = Math.max(USAGE_EVERY, JSON.stringify(job.spec).length / SPEED);
  let now = job,
    frame = 0,
    asked = Date.now(),
    busy = false,
    again = false,
    over = false;
  const refresh = async (ended) => {
    if (signal.aborted || over) return;
    if (busy) {
      again = again || ended;
      return;
    }
    if (!ended && Date.now() - asked < pause) return;
    busy = true;
    try {
      now = await get(path(["jobs", job.id]), signal);
      asked = Date.now();
      over = ENDED.has(now.state);
      if (over) stop();
      await changed(now, over);
      if (over) say(`The job has ${now.state}.`);
      fill(wrong);
    } catch (error) {
      if (!signal.aborted) alarm(wrong, error);
    }
    busy = false;
    if (again) {
      again = false;
      await refresh(true);
    }
  };
  const clock = setInterval(() => refresh(false), USAGE_EVERY); // seconds go on while no shard ends
  const stop = () => {
    source.close();
    clearInterval(clock);
    cancelAnimationFrame(frame);
  };
  for (const name of EVENTS)
    source.addEventListener(name, (event) => {
      const { state, items_done: done, shards_done, candidates } = JSON.parse(event.data);
      if (ENDED.has(state)) {
        refresh(true); // which stops, unless the job has gone on since: it was extended
        return;
      }
      if (shards_done === undefined || shards_done < now.counts.shards_done) return; // an event from before the page was opened
      now = { ...now, state, counts: { ...now.counts, done, shards_done, candidates } };
      cancelAnimationFrame(frame);
      frame = requestAnimationFrame(() => {
        if (!signal.aborted) changed(now, false);
      });
    });
  source.addEventListener("error", () => {
    if (!signal.aborted && source.readyState === EventSource.CLOSED) {
      stop();
      refresh(true);
    }
  });
  signal.addEventListener("abort", stop, { once: true });
}
