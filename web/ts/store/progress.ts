import type { TransferProgress } from "../types.js";

/** Milliseconds between reports. */
const INTERVAL = 100;
/** Milliseconds of the past that the speed is measured over. */
const WINDOW = 5000;

/** Measures a transfer and reports it, a few times a second. */
export class ProgressMeter {
  private readonly samples: { time: number; done: number }[] = [];
  private reported = -Infinity;
  private phase: TransferProgress["phase"] | undefined;

  constructor(
    private readonly report: (progress: TransferProgress) => void,
    private readonly resumedFrom: number,
  ) {}

  /** `done` bytes of `total` (null if unknown) have been dealt with; `last` makes the report certain. */
  update(phase: TransferProgress["phase"], done: number, total: number | null, last = false): void {
    const now = performance.now();
    if (phase !== this.phase) {
      this.phase = phase;
      this.samples.length = 0;
      this.reported = -Infinity;
    }
    if (now - this.reported < INTERVAL && !last) return;
    this.reported = now;
    this.samples.push({ time: now, done });
    while (this.samples.length > 2 && now - (this.samples[0]?.time ?? now) > WINDOW) this.samples.shift();
    const bytesPerSecond = this.speed(now, done);
    const known = total !== null && bytesPerSecond > 0;
    this.report({
      phase,
      done,
      total: total ?? undefined,
      bytesPerSecond,
      secondsLeft: known ? Math.max(0, total - done) / bytesPerSecond : undefined,
      resumedFrom: this.resumedFrom,
    });
  }

  private speed(now: number, done: number): number {
    const first = this.samples[0];
    if (first === undefined || now <= first.time) return 0;
    return Math.max(0, ((done - first.done) * 1000) / (now - first.time));
  }
}
