// Loading a model: which step it is in, how far, how fast, how long still; or why it failed.

import type { Phase, Progress } from "../types.js";
import { button, fill, h, setAttribute, setText } from "./dom.js";
import { failureBox } from "./failure-box.js";
import type { Remedy } from "./failures.js";
import { formatBytes, formatCount, formatDuration, formatSpeed } from "./format.js";
import type { Chat } from "./state.js";

/** What the loading view asks of the element it stands in. */
export interface LoadingActions {
  stop(): void;
  remedy(remedy: Remedy): void;
}

const STEPS = ["Download", "Load weights", "Prepare device"] as const;

const PHASES: Record<Phase, { step: number; text: string; bytes: boolean }> = {
  download: { step: 0, text: "Downloading", bytes: true },
  wait: { step: 0, text: "Another tab is downloading this model; waiting for it", bytes: true },
  verify: { step: 0, text: "Checking what was downloaded", bytes: true },
  upload: { step: 1, text: "Loading weights into the device", bytes: true },
  compile: { step: 2, text: "Preparing kernels for this device", bytes: false },
  check: { step: 2, text: "Checking that this device computes correctly", bytes: false },
  ready: { step: 2, text: "Nearly ready", bytes: false },
  recovering: { step: 2, text: "The graphics device was lost; loading the model again", bytes: false },
};

/** What a phase is called, for the status line. */
export function phaseText(progress: Progress | undefined): string {
  return progress === undefined ? "Starting" : PHASES[progress.phase].text;
}

/** The numbers of a progress report, as one line. */
export function progressNumbers(progress: Progress): string {
  const { done, total, bytesPerSecond, secondsLeft } = progress;
  if (!PHASES[progress.phase].bytes) return total === undefined ? "" : `${formatCount(done)} of ${formatCount(total)}`;
  const parts = [total === undefined ? formatBytes(done) : `${formatBytes(done)} of ${formatBytes(total)}`];
  if (bytesPerSecond > 0) parts.push(formatSpeed(bytesPerSecond));
  if (secondsLeft !== undefined && secondsLeft >= 1) parts.push(`${formatDuration(secondsLeft)} left`);
  return parts.join(" · ");
}

/** Draws loading and its failure. */
export class LoadingView {
  readonly element: HTMLElement;
  readonly #title = h("h2");
  readonly #phase = h("p", { class: "phase" });
  readonly #numbers = h("p", { class: "muted numbers" });
  readonly #fill = h("div", { class: "bar-fill" });
  readonly #bar: HTMLElement;
  readonly #steps = STEPS.map((step) => h("li", {}, step));
  readonly #working: HTMLElement;
  readonly #failed = h("div", { attributes: { hidden: true } });
  readonly #stop: HTMLButtonElement;
  readonly #actions: LoadingActions;
  #shownFailure: unknown;

  constructor(actions: LoadingActions) {
    this.#actions = actions;
    this.#bar = h(
      "div",
      {
        class: "bar",
        part: "progress",
        attributes: {
          role: "progressbar",
          "aria-label": "Loading the model",
          "aria-valuemin": 0,
          "aria-valuemax": 100,
        },
      },
      this.#fill,
    );
    this.#stop = button("Stop", { onClick: () => actions.stop() });
    this.#working = h(
      "div",
      {},
      h("ol", { class: "steps", attributes: { "aria-label": "Steps" } }, ...this.#steps),
      this.#phase,
      this.#bar,
      this.#numbers,
      h("div", { class: "row" }, this.#stop),
    );
    this.element = h(
      "div",
      { class: "scroll" },
      h("div", { class: "column loading" }, this.#title, this.#working, this.#failed),
    );
  }

  /** Puts the keyboard where the next step is: on the stop button, or the first remedy. */
  focus(): void {
    const first = this.#failed.hidden ? this.#stop : this.#failed.querySelector("button");
    first?.focus();
  }

  /** Brings everything up to date with the chat. */
  update(chat: Chat): void {
    const { failure, progress } = chat;
    setText(this.#title, chat.model?.title ?? "");
    this.#working.hidden = failure !== undefined;
    this.#failed.hidden = failure === undefined;
    if (failure !== this.#shownFailure) {
      this.#shownFailure = failure;
      if (failure !== undefined)
        fill(
          this.#failed,
          failureBox(failure, chat.model, (remedy) => this.#actions.remedy(remedy)),
        );
    }
    if (failure === undefined) this.#updateProgress(progress);
  }

  #updateProgress(progress: Progress | undefined): void {
    const step = progress === undefined ? -1 : PHASES[progress.phase].step;
    this.#steps.forEach((item, index) => {
      item.className = index < step ? "past" : index === step ? "now" : "";
      setAttribute(item, "aria-current", index === step ? "step" : undefined);
    });
    setText(this.#phase, `${phaseText(progress)}…`);
    setText(this.#numbers, progress === undefined ? "" : progressNumbers(progress));
    const known = progress?.total !== undefined && progress.total > 0;
    const fraction = known ? Math.min(1, progress.done / (progress.total ?? 1)) : undefined;
    setAttribute(this.#bar, "aria-valuenow", fraction === undefined ? undefined : Math.round(fraction * 100));
    setAttribute(
      this.#bar,
      "aria-valuetext",
      `${phaseText(progress)} ${progress === undefined ? "" : progressNumbers(progress)}`.trim(),
    );
    this.#bar.classList.toggle("unknown", fraction === undefined);
    this.#fill.style.transform = fraction === undefined ? "" : `scaleX(${fraction})`;
  }
}
