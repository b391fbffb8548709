// What happens to a job while its page is open: followed live while it runs, looked at again when a person comes back.
import { get, path } from "../api.js";
import { say } from "../dom.js";

const EVENTS = ["created", "in_progress", "progress", "cancelling", "completed", "failed", "cancelled", "expired"];
export const ENDED = new Set(["completed", "failed", "cancelled", "expired"]);
const USAGE_EVERY = 1000;
const SPEED = 50; // characters of a job that may be read again in each millisecond of watching

/** Live progress by server-sent events, which the browser takes up again behind the last one it saw.
 * Counts are the events' own; usage is asked for now and then, and seldom where a job is long to read.
 * changed(job, ended); failed(error); stopped(): nobody follows any longer. */
export function follow(job, signal, { changed, failed, stopped }) {
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
    } catch (error) {
      failed(error);
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
    stopped();
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

/** Do `work` whenever the page is looked at again: its tab is turned to, or its window. One at a time. */
export function lookedAt(work, signal) {
  let busy = false;
  const look = async () => {
    if (busy || document.hidden) return;
    busy = true; // a tab that is turned to is told twice
    await work();
    busy = false;
  };
  document.addEventListener("visibilitychange", look, { signal });
  window.addEventListener("focus", look, { signal });
}
