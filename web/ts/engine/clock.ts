/** How far loading is and how long it takes, from what the engine tells while it loads. */
import type { LoadTimings, Progress } from "../types.js";
import type { LoadEvent } from "../wasm/parhelion_web.js";

type Lap = Exclude<keyof LoadTimings, "total" | "firstToken">;

/** Splits the time of a load into laps. */
export class LoadClock {
  readonly timings: LoadTimings = { download: 0, wasm: 0, device: 0, check: 0, compile: 0, upload: 0, total: 0, firstToken: undefined };
  readonly #start = performance.now();
  #last = this.#start;

  /** Books the time since the last lap. */
  lap(lap: Lap): void {
    const now = performance.now();
    this.timings[lap] += now - this.#last;
    this.#last = now;
    this.timings.total = now - this.#start;
  }
}

/** Books the engine's events on the clock and returns what each means for the page. */
export function loadProgress(clock: LoadClock): (event: LoadEvent) => Progress | undefined {
  let uploadStart: number | undefined;
  return (event) => {
    clock.lap(event.kind === "plan" ? "device" : event.kind);
    if (event.kind === "device" || event.kind === "plan") return undefined;
    if (event.kind === "check") return { phase: "check", done: event.kernels, total: event.kernels, bytesPerSecond: 0, secondsLeft: undefined };
    const { kind, done, total } = event;
    if (kind === "compile") return { phase: kind, done, total, bytesPerSecond: 0, secondsLeft: undefined };
    uploadStart ??= performance.now();
    const seconds = (performance.now() - uploadStart) / 1000;
    const bytesPerSecond = seconds > 0 ? done / seconds : 0;
    return { phase: kind, done, total, bytesPerSecond, secondsLeft: bytesPerSecond > 0 ? (total - done) / bytesPerSecond : undefined };
  };
}

/** A phase that is reached, or begins, without a measure of how far it is. */
export function phase(name: "ready" | "recovering"): Progress {
  return { phase: name, done: 0, total: undefined, bytesPerSecond: 0, secondsLeft: undefined };
}
