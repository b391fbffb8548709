// One job: how it stands, live while it runs; its curve, advice, answers and genealogy.
import { alarm, get, path, post } from "../api.js";
import { fill, foreign, h, moment, named, number, say, seconds, term } from "../dom.js";
import { curvePanels } from "./curve.js";
import { endedButtons } from "./ended.js";
import { ENDED, follow, lookedAt } from "./following.js";
import { gallery } from "./gallery.js";
import { progressBar, stateMark } from "./jobs.js";

const CURVE_EVERY = 4000;

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
    fill(unfolded); // a form for what the job was
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
  const failed = (error) => {
    if (signal.aborted) return;
    if (error.status !== 404) return alarm(wrong, error);
    gone = true;
    fill(unfolded);
    fill(head, title(job));
    fill(wrong, deleted());
  };
  const panels = curvePanels(curve, job, signal),
    shown = gallery(answers, job, signal),
    running = !ENDED.has(job.state);
  let looked = 0,
    gone = false,
    following = false;
  const live = () => {
    following = true;
    follow(job, signal, {
      changed: async (fresh, ended) => {
        if (ended) turned(fresh);
        else changed(fresh);
        fill(wrong);
        await panels.due(ended ? 0 : CURVE_EVERY);
        if (ended || (shown.empty() && Date.now() - looked > CURVE_EVERY)) {
          looked = Date.now();
          await shown.refresh();
        }
      },
      failed,
      stopped: () => {
        following = false;
      },
    });
  };
  /** Others may have extended the job since it ended here, or requeued a shard of it, or deleted it. */
  const look = async () => {
    if (following || gone) return;
    try {
      const fresh = await get(path(["jobs", name]), signal);
      if (following) return; // it was extended here meanwhile
      fill(wrong);
      if (moved(job) === moved(fresh)) return;
      const held = document.activeElement;
      turned(fresh);
      if (!held.isConnected) main.focus({ preventScroll: true });
      if (!ENDED.has(job.state)) live();
      say(ENDED.has(job.state) ? `The job went on, and has ${job.state}.` : "The job goes on.");
      if (!following) await Promise.all([panels.refresh(), shown.refresh()]);
    } catch (error) {
      failed(error);
    }
  };
  turned(job);
  await Promise.all([panels.refresh(), shown.refresh()]);
  if (running) live(); // one that goes on meanwhile is followed already
  lookedAt(look, signal);
}

/** What differs when a job has gone on, whether or not it has ended again. */
const moved = (job) => JSON.stringify([ENDED.has(job.state), job.extended, job.finished_at]);

const deleted = () =>
  h(
    "div",
    { class: "note", role: "alert", "data-testid": "problem" },
    h("strong", {}, "Deleted"),
    " This job is no longer there. Below is what was seen of it last.",
  );

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
