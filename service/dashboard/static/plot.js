// plotly.js, fetched when a view first draws, and figures that follow the theme and the width of the page.
import { fill, h, save } from "./dom.js";

let loading = null;

function plotly() {
  loading ??= new Promise((resolve, reject) => {
    const script = h("script", { src: document.documentElement.dataset.plotly });
    script.addEventListener("load", () => resolve(window.Plotly));
    script.addEventListener("error", () => {
      loading = null;
      reject(new Error("plotly.js could not be loaded"));
    });
    document.head.append(script);
  });
  return loading;
}

/** The theme in force: "light" or "dark". */
export const theme = () =>
  document.documentElement.dataset.theme ??
  (window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");

const QUIET = { displayModeBar: false, responsive: true, displaylogo: false, showTips: false };

/** A figure in `holder`. figure: () => {data, layout}, asked again for each change of theme. Returns {draw}. */
export function chart(holder, figure, signal) {
  const surface = h("div", { class: "plot" });
  fill(holder, surface);
  const draw = async () => {
    const Plotly = await plotly();
    if (signal.aborted || !surface.isConnected) return;
    const { data, layout } = figure();
    await Plotly.react(surface, data, narrow(layout, surface.clientWidth), QUIET);
  };
  window.addEventListener("theme", draw, { signal });
  signal.addEventListener("abort", () => window.Plotly?.purge(surface), { once: true });
  return { draw, surface };
}

/** Less room at the sides of a narrow figure. */
function narrow(layout, width) {
  if (width > 520) return layout;
  return { ...layout, margin: { ...layout.margin, l: 58, r: 6 }, font: { ...layout.font, size: 12 } };
}

/** Buttons that save a figure as PNG and SVG. */
export function figureButtons(surface, name) {
  const give = async (format) => {
    const Plotly = await plotly();
    const size = { width: Math.max(720, surface.clientWidth), height: Math.max(420, surface.clientHeight) };
    const address = await Plotly.toImage(surface, { format, ...size, scale: format === "png" ? 2 : 1 });
    if (format === "svg")
      return save(`${name}.svg`, decodeURIComponent(address.slice(address.indexOf(",") + 1)), "image/svg+xml");
    h("a", { href: address, download: `${name}.${format}` }).click();
  };
  return ["png", "svg"].map((format) =>
    h(
      "button",
      { type: "button", class: "small", "data-testid": `download-${format}`, onclick: () => give(format) },
      format.toUpperCase(),
    ),
  );
}
