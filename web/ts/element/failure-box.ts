// An error as a person reads it: what happened, what to do, and the buttons that do it.

import type { ParhelionError } from "../errors.js";
import { isLocal } from "../source.js";
import type { ModelChoice } from "./choices.js";
import { button, h, icon } from "./dom.js";
import { explain, REMEDY_LABELS } from "./failures.js";
import type { Remedy } from "./failures.js";

/** Remedies that make no sense for a file that is read in place. */
const FOR_DOWNLOADS: ReadonlySet<Remedy> = new Set(["resume", "start-over"]);

/**
 * Builds the box. Without `act` it has no buttons: an error further up in the conversation is history. For local files
 * the remedies that download again are replaced by trying again.
 */
export function failureBox(
  error: ParhelionError,
  model: ModelChoice | undefined,
  act: ((remedy: Remedy) => void) | undefined,
): HTMLElement {
  const { title, advice, remedies } = explain(error);
  const local = model !== undefined && isLocal(model.source);
  const offered = [...new Set(remedies.map((remedy) => (local && FOR_DOWNLOADS.has(remedy) ? "retry" : remedy)))];
  const buttons = offered.map((remedy, index) =>
    button(REMEDY_LABELS[remedy], {
      look: index === 0 ? "primary" : "quiet",
      onClick: () => act?.(remedy),
    }),
  );
  return h(
    "div",
    { class: "failure", part: "error", attributes: { "data-code": error.code } },
    h("div", { class: "failure-title" }, icon("warning"), h("strong", {}, title)),
    h("p", {}, advice),
    act !== undefined && h("div", { class: "row" }, ...buttons),
    h("details", {}, h("summary", {}, "Details"), h("p", { class: "mono" }, `${error.code}: ${error.message}`)),
  );
}
