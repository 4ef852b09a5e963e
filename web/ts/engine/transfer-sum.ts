/** Adds up the transfers of a model's files, which pages are told as one. */
import type { TransferProgress } from "../types.js";

/** The sum over all files of one load. */
export class TransferSum {
  readonly #listener: (progress: TransferProgress) => void;
  /** Bytes of each file whose size is known. */
  readonly #sizes = new Map<string, number>();
  /** Bytes of each file that are here. */
  readonly #done = new Map<string, number>();

  constructor(listener: (progress: TransferProgress) => void) {
    this.#listener = listener;
  }

  /** A file that is yet to come has this size. */
  expect(path: string, size: number): void {
    if (!this.#sizes.has(path)) this.#sizes.set(path, size);
  }

  /** A file of this size is here. */
  finished(path: string, size: number): void {
    this.#sizes.set(path, size);
    this.#done.set(path, size);
  }

  /** Tells how the transfer of one file goes on, as a part of the whole. */
  report(path: string, progress: TransferProgress): void {
    this.#done.set(path, progress.done);
    if (progress.total !== undefined) this.#sizes.set(path, progress.total);
    const done = sum(this.#done);
    const total = this.#sizes.has(path) ? sum(this.#sizes) : undefined;
    const { bytesPerSecond } = progress;
    const secondsLeft = total === undefined || bytesPerSecond <= 0 ? undefined : Math.max(0, total - done) / bytesPerSecond;
    this.#listener({ ...progress, file: path, done, total, secondsLeft });
  }
}

function sum(bytes: ReadonlyMap<string, number>): number {
  let total = 0;
  for (const count of bytes.values()) total += count;
  return total;
}
