// What a curve measures: its currencies, places on an axis, and its rows as a table. Imports nothing, so a report can hold it.

export const AXES = {
  samples: "samples an item",
  evaluations: "evaluations an item",
  tokens: "tokens an item",
  previews: "previews an item",
  verifier_calls: "verdicts an item",
  verifier_seconds: "verifier seconds an item",
  seconds: "wall-clock seconds an item",
  cost: "cost an item",
};

export const INTERVALS = {
  set: { field: "coverage", label: "another set of items like these" },
  exact: { field: "exact", label: "exactly this set of items" },
  band: { field: "band", label: "the whole curve at once" },
};

/** Foreign text for plotly, which reads a few tags and entities in what it draws. */
export const plain = (text, longest = 60) => {
  const whole = String(text).replace(
    /[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g,
    "\ufffd",
  );
  const short = whole.length > longest ? `${whole.slice(0, longest)}…` : whole;
  return short.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
};

/** Mean cost of one sample in each currency, also of a curve that does not say it. */
export function each(curve) {
  if (curve.each && Object.keys(curve.each).length) return curve.each;
  const first = curve.points[0];
  return first ? { samples: 1, evaluations: first.evaluations / first.k } : { samples: 1 };
}

/** Names of the axes that a curve can be drawn against. */
export const axesOf = (curve) => [
  ...Object.keys(AXES).filter((name) => name in each(curve) && (name === "samples" || each(curve)[name] > 0)),
  "cost",
];

/** Price of one sample. prices: {evaluations, verifier_seconds, seconds}, each the price of one. */
export const price = (curve, prices) =>
  Object.entries(prices ?? {}).reduce((sum, [name, one]) => sum + one * (each(curve)[name] ?? 0), 0);

/** Position of a point on an axis. stopping: drawing ends at the first right answer, so that fewer samples are spent. */
export function place(curve, point, { axis = "samples", prices = {}, stopping = false } = {}) {
  const samples = stopping && point.draws !== undefined && point.draws !== null ? point.draws : point.k;
  return samples * (axis === "cost" ? price(curve, prices) : (each(curve)[axis] ?? 0));
}

/** The curve as rows: first the names of the columns. */
export function curveRows(curve) {
  const estimates = ["coverage", "exact", "band", "selected", "majority", "value", "ignored"].filter((f) =>
    curve.points.some((p) => p[f]),
  );
  const numbers = ["draws", "right", "wrong", "abstain"].filter((f) =>
    curve.points.some((p) => p[f] !== null && p[f] !== undefined),
  );
  const currencies = Object.keys(each(curve)).filter((name) => name !== "samples" && name !== "evaluations");
  const head = [
    "k",
    "items",
    "evaluations",
    ...currencies,
    ...numbers,
    ...estimates.flatMap((f) => [f, `${f}_low`, `${f}_high`]),
  ];
  const rows = curve.points.map((p) => [
    p.k,
    p.items,
    p.evaluations,
    ...currencies.map((name) => p.k * each(curve)[name]),
    ...numbers.map((f) => p[f] ?? ""),
    ...estimates.flatMap((f) => (p[f] ? [p[f].mean, p[f].low, p[f].high] : ["", "", ""])),
  ]);
  return [head, ...rows];
}

/** Rows as CSV; a text that a spreadsheet would take for a formula is quoted as text. */
export const csv = (rows) =>
  rows
    .map((row) =>
      row
        .map((cell) =>
          typeof cell === "number"
            ? String(cell)
            : `"${String(cell)
                .replace(/^([=+\-@\t\r])/, "'$1")
                .replace(/"/g, '""')}"`,
        )
        .join(","),
    )
    .join("\n") + "\n";
