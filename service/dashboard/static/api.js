// The API: one function to ask, one kind of error, one way to show it.
import { fill, h, visible } from "./dom.js";

/** A refusal. detail: the sentence of the service; errors: [{loc, msg}] of a form's fields. */
export class Refused extends Error {
  constructor(status, detail, errors = []) {
    super(detail);
    this.status = status;
    this.errors = errors;
  }
}

/** A path of the API with its query; empty values are left out. */
export function path(parts, query = {}) {
  const search = new URLSearchParams();
  for (const [name, value] of Object.entries(query))
    if (value !== null && value !== undefined && value !== "") search.set(name, value);
  const asked = search.toString();
  return `/v1/${parts.map(encodeURIComponent).join("/")}${asked ? `?${asked}` : ""}`;
}

async function answer(response) {
  if (response.ok) return response.json();
  let problem = {};
  try {
    problem = await response.json();
  } catch {
    /* a proxy's page, not ours */
  }
  throw new Refused(
    response.status,
    problem.detail ?? `${response.status} ${response.statusText}`,
    problem.errors ?? [],
  );
}

async function ask(address, options) {
  let response;
  try {
    response = await fetch(address, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The service does not answer. Is it running?");
  }
  return answer(response);
}

export const get = (address, signal) => ask(address, { signal, headers: { Accept: "application/json" } });
export const post = (address, body, signal) =>
  ask(address, {
    method: "POST",
    signal,
    ...(body === undefined ? {} : { headers: { "Content-Type": "application/json" }, body }),
  });
export const remove = (address, signal) => ask(address, { method: "DELETE", signal });

/** A form for an API key, which the service keeps in a cookie that no script can read. */
function enter(place) {
  if (place.querySelector("form[data-testid=key]")) return;
  const input = h("input", { type: "password", id: "api-key", autocomplete: "off", required: "" });
  const said = h("p", { role: "alert", class: "muted" });
  const form = h(
    "form",
    { "data-testid": "key", class: "note" },
    h("label", { for: "api-key" }, "This service needs an API key."),
    " ",
    input,
    " ",
    h("button", { type: "submit" }, "Enter"),
    said,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const response = await fetch("/v1/session", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ key: input.value.trim() }),
    });
    if (response.ok) location.reload();
    else said.textContent = "The service does not know this key.";
  });
  fill(place, form);
}

/** A message in place of what could not be had; what was asked for by a view that is gone is silent. */
export function alarm(place, error) {
  if (error.name === "AbortError") return;
  if (error.status === 401) return enter(place);
  const calm = error.status === 404 || error.status === 422;
  const title =
    error instanceof Refused
      ? error.status === 404
        ? "Not found"
        : error.status
          ? "Refused"
          : "No connection"
      : "Something went wrong";
  fill(
    place,
    h(
      "div",
      { class: calm ? "note" : "alert", role: "alert", "data-testid": "problem" },
      h("strong", {}, title),
      " ",
      h("bdi", {}, visible(error.message)),
    ),
  );
  if (!(error instanceof Refused)) console.error(error);
}

/** Call `work` now and every `milliseconds` after it has ended, until the view is left; failures are shown in `place`. */
export function repeat(work, milliseconds, signal, place) {
  const turn = async () => {
    if (signal.aborted) return;
    try {
      if (!document.hidden) {
        await work();
        if (place) fill(place);
      }
    } catch (error) {
      if (!signal.aborted && place) alarm(place, error);
    }
    if (!signal.aborted) setTimeout(turn, milliseconds);
  };
  return turn();
}
