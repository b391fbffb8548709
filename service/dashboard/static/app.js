// The router: the part of the address behind # names a view; a view ends when the next one begins.
import { alarm } from "./api.js";
import { fill, h, visible, watchTerms } from "./dom.js";

const VIEWS = { jobs: "jobs", job: "job", compare: "compare", fleet: "fleet", submit: "submit", cards: "cards" };
const TITLES = { jobs: "Jobs", job: "Job", compare: "Compare", fleet: "Fleet", submit: "Submit", cards: "Cards" };
const main = document.getElementById("main");
let leave = new AbortController();

/** "#/jobs/ID?x=1" as {view, name, query}. */
function place() {
  const [address, search = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [first = "", ...rest] = address.split("/");
  let name = rest.join("/");
  try {
    name = decodeURIComponent(name);
  } catch {
    /* a lone % stays as it is */
  }
  const view = first === "" ? "jobs" : first === "jobs" && name ? "job" : first;
  return { view, name, query: new URLSearchParams(search) };
}

async function show() {
  leave.abort();
  leave = new AbortController();
  const { signal } = leave;
  const { view, name, query } = place();
  for (const link of document.querySelectorAll("#nav a")) {
    const mine = link.getAttribute("href") === `#/${view === "job" ? "jobs" : view}`;
    if (mine) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.getElementById("tip").hidden = true;
  if (!Object.hasOwn(VIEWS, view)) {
    fill(
      main,
      h("h1", {}, "No such view"),
      h("p", {}, `There is no view ${visible(view.slice(0, 80))}; there are ${Object.values(TITLES).join(", ")}.`),
    );
    return;
  }
  document.title = `${TITLES[view]}${name ? ` ${visible(name.slice(-8))}` : ""} · Winnow`;
  fill(main, h("p", { class: "muted waiting" }, "Loading…"));
  try {
    const { show: draw } = await import(`./views/${VIEWS[view]}.js`);
    if (!signal.aborted) await draw(main, { name, query, signal });
  } catch (error) {
    if (!signal.aborted) alarm(main, error);
  }
}

const MODES = ["system", "light", "dark"];

function theme(mode) {
  if (mode === "system") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = mode;
  document.getElementById("theme").textContent = `Theme: ${mode}`;
  window.dispatchEvent(new Event("theme"));
}

function stored() {
  try {
    return MODES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "system";
  } catch {
    return "system";
  }
}

document.getElementById("theme").addEventListener("click", () => {
  const next = MODES[(MODES.indexOf(stored()) + 1) % MODES.length];
  try {
    localStorage.setItem("theme", next);
  } catch {
    /* without storage it lasts as long as the page */
  }
  theme(next);
});
document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address behind # is the router's
  main.focus();
});
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => theme(stored()));
window.addEventListener("hashchange", async () => {
  await show();
  if (main.contains(document.activeElement)) return; // somebody was faster than the last chart
  main.focus({ preventScroll: true });
  window.scrollTo(0, 0);
});
watchTerms();
theme(stored());
show();
