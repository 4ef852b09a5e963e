import type { TransferProgress } from "../types.js";

/** Milliseconds between reports. */
const INTERVAL = 100;
/** Milliseconds of the past that the speed is measured over. */
const WINDOW = 5000;

/** Measures a transfer and reports it: a few times a second, and always how far it came when it stands still. */
export class ProgressMeter {
  private readonly samples: { time: number; done: number }[] = [];
  private phase: TransferProgress["phase"] | undefined;
  private done = 0;
  private total: number | null = null;
  private reported = -Infinity;
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly listener: (progress: TransferProgress) => void,
    private readonly resumedFrom: number,
  ) {}

  /** `done` bytes of `total` (null if unknown) have been dealt with. */
  update(phase: TransferProgress["phase"], done: number, total: number | null): void {
    if (phase !== this.phase) {
      this.flush();
      this.samples.length = 0;
      this.reported = -Infinity;
    }
    this.phase = phase;
    this.done = done;
    this.total = total;
    const early = this.reported + INTERVAL - performance.now();
    if (early <= 0) this.report();
    else this.timer ??= setTimeout(() => this.report(), early);
  }

  /** Reports what was not yet reported; nothing comes after it until the next `update`. */
  flush(): void {
    if (this.timer !== undefined) this.report();
  }

  private report(): void {
    clearTimeout(this.timer);
    this.timer = undefined;
    const { phase, done, total, resumedFrom } = this;
    if (phase === undefined) return;
    const bytesPerSecond = this.speed();
    const secondsLeft = total !== null && bytesPerSecond > 0 ? Math.max(0, total - done) / bytesPerSecond : undefined;
    this.listener({ phase, done, total: total ?? undefined, bytesPerSecond, secondsLeft, resumedFrom });
  }

  /** Bytes a second over the last few seconds. */
  private speed(): number {
    const now = performance.now();
    this.reported = now;
    this.samples.push({ time: now, done: this.done });
    while (this.samples.length > 2 && now - (this.samples[0]?.time ?? now) > WINDOW) this.samples.shift();
    const first = this.samples[0];
    if (first === undefined || now <= first.time) return 0;
    return Math.max(0, ((this.done - first.done) * 1000) / (now - first.time));
  }
}
