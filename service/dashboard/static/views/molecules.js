// Molecules as drawings, beside the text that they are.
import { path } from "../api.js";
import { h } from "../dom.js";

/** Whether a job's answers are molecules. */
export const molecular = (job) =>
  job.spec.model.name === "molecules" ||
  [...job.spec.verifiers, ...(job.spec.graders ?? [])].some((judge) => judge.name.startsWith("molecule/"));

/** A drawing of SMILES that a verifier could read; it goes where the service cannot draw it. */
export function drawing(answer) {
  const smiles = answer.answer,
    read = [...answer.scores, ...answer.grades].some((score) => score.canonical);
  if (!read || typeof smiles !== "string" || smiles.length > 500) return null;
  const picture = h("img", {
    class: "molecule",
    src: path(["depictions", "molecule"], { smiles }),
    alt: "Drawing of the molecule",
    loading: "lazy",
    "data-testid": "molecule",
  });
  picture.addEventListener("error", () => picture.remove());
  return picture;
}
