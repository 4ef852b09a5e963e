import { ParhelionError } from "../errors.js";
import { aborted, formatBytes, throwIfAborted } from "./failure.js";
import { type Head, type Known, Retriable, acceptResponse, host, rangeHeaders } from "./http.js";
import type { Bytes, RetryPolicy } from "./types.js";

/** What applies unless a store is opened with something else. */
export const RETRY_POLICY: RetryPolicy = { attempts: 5, firstDelay: 500, stall: 30_000, longestWait: 60_000 };

/** Bytes after which a connection counts as having worked. */
const PROGRESS = 1 << 20;

/** Who wants a file, and what for. */
export interface TransferOwner {
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal | undefined;
  /** What is known of the file by now. */
  known(): Known;
  /** Told the head of each response that was accepted, before its bytes; may throw to refuse it. */
  accept(head: Head): Promise<void>;
}

/** One file on one server: gives consecutive bytes, and mends dropped connections on the way. */
export class Transfer {
  private readonly policy: RetryPolicy;
  private readonly signal: AbortSignal | undefined;

  constructor(
    private readonly url: string,
    private readonly owner: TransferOwner,
  ) {
    this.policy = owner.policy;
    this.signal = owner.signal;
  }

  /**
   * The bytes from `from` up to `to`, or up to the end of the file if null. Ends early never, and late only when a server
   * that was not asked for the end does not say where it is.
   */
  async *bytes(from: number, to: number | null): AsyncGenerator<Bytes, void, undefined> {
    let position = from;
    let failures = 0;
    let worked = from;
    for (;;) {
      try {
        for await (const piece of this.connection(position, to)) {
          position += piece.length;
          if (position - worked >= PROGRESS) {
            worked = position;
            failures = 0;
          }
          yield piece;
        }
        const end = to ?? this.owner.known().size;
        if (end === null || position >= end) return;
        throw new Retriable(`the connection to ${host(this.url)} ended too early`, null);
      } catch (cause) {
        failures++;
        await this.beforeRetry(cause, failures);
      }
    }
  }

  /** The bytes of one request. */
  private async *connection(from: number, to: number | null): AsyncGenerator<Bytes, void, undefined> {
    const watch = new Watch(this.policy.stall, this.signal);
    try {
      const headers = rangeHeaders(this.url, from, to, this.owner.known());
      // Not for the browser's own cache: the file would be stored twice.
      const response = await fetch(this.url, { headers, cache: "no-store", signal: watch.signal });
      const head = acceptResponse(response, from, to, this.owner.known());
      watch.pause();
      await this.owner.accept(head);
      const reader = response.body?.getReader();
      if (reader === undefined) return;
      let left = (to ?? this.owner.known().size ?? Infinity) - from;
      while (left > 0) {
        watch.restart();
        const { done, value } = await reader.read();
        watch.pause();
        if (done) return;
        const piece = value.length > left ? value.subarray(0, left) : value;
        left -= piece.length;
        yield piece;
      }
    } finally {
      watch.end();
    }
  }

  /** Waits before the next attempt; throws instead if there is to be none. */
  private async beforeRetry(cause: unknown, failures: number): Promise<void> {
    if (this.signal?.aborted) throw aborted(this.signal);
    if (cause instanceof ParhelionError) throw cause;
    const asked = cause instanceof Retriable ? cause.after : null;
    if (asked !== null && asked > this.policy.longestWait) {
      throw this.failure(cause, `; it asks to wait ${Math.ceil(asked / 1000)} seconds`);
    }
    if (failures >= this.policy.attempts) throw this.failure(cause, `, ${failures} times in a row`);
    await pause(asked ?? this.policy.firstDelay * 2 ** (failures - 1) * (0.75 + Math.random() / 2), this.signal);
  }

  private failure(cause: unknown, more: string): ParhelionError {
    const reason = cause instanceof Retriable ? cause.message : `the connection to ${host(this.url)} failed`;
    const offline = navigator.onLine ? "" : " This device is offline.";
    const hint =
      cause instanceof TypeError && navigator.onLine
        ? " If the server is up, it may not allow this page to read its files (CORS)."
        : "";
    const { stored, size } = this.owner.known();
    const of = size === null ? "" : ` of ${formatBytes(size)}`;
    const message =
      `The download stopped: ${reason}${more}.${offline}${hint} ` +
      `${formatBytes(stored)}${of} are stored: try again to go on from there.`;
    return new ParhelionError("network", message, { cause });
  }
}

/** Ends a request that brings nothing for a while, or whose caller gave up. */
class Watch {
  private readonly controller = new AbortController();
  private readonly onAbort = (): void => this.controller.abort();
  private timer: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly limit: number,
    private readonly outer: AbortSignal | undefined,
  ) {
    throwIfAborted(outer);
    outer?.addEventListener("abort", this.onAbort);
    this.restart();
  }

  get signal(): AbortSignal {
    return this.controller.signal;
  }

  restart(): void {
    this.pause();
    const reason = new Retriable(`no data came for ${this.limit / 1000} seconds`, null);
    this.timer = setTimeout(() => this.controller.abort(reason), this.limit);
  }

  pause(): void {
    clearTimeout(this.timer);
  }

  end(): void {
    this.pause();
    this.outer?.removeEventListener("abort", this.onAbort);
    this.controller.abort();
  }
}

/** Resolves after some milliseconds; rejects with `aborted` when the signal fires first. */
function pause(milliseconds: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(aborted(signal));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", stop);
  });
}
