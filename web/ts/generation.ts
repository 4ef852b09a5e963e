/** An answer while it is being generated. */
import type { Connection } from "./connection.js";
import { deferred } from "./deferred.js";
import { ParhelionError } from "./errors.js";
import type { GenerateEvent, Prompt, WireGenerateOptions } from "./protocol.js";
import type { GenerateOptions, GenerationResult, Progress, Token } from "./types.js";

/** What a session gives the answers that it starts. */
export interface GenerationHost {
  readonly connection: Connection;
  onProgress(progress: Progress): void;
  onStart(generation: Generation): void;
  onEnd(generation: Generation, result: GenerationResult | undefined): void;
}

/**
 * An answer. It is generated from the moment it is asked for, after the answers asked for before it; its tokens can be
 * read once:
 *
 * ```ts
 * for await (const token of session.chat(messages)) output.append(token.text);
 * ```
 *
 * Leaving the loop early stops generating. After {@link abort} the loop ends with the tokens that are there, and the
 * finish reason is `cancelled`; after the `AbortSignal` of the options fired, it throws `aborted`.
 */
export class Generation implements AsyncIterable<Token> {
  /** What the answer was: settles when it has ended, with the error that the iterator throws if it failed. */
  readonly result: Promise<GenerationResult>;
  readonly #stop = new AbortController();
  readonly #tokens: Token[] = [];
  #more = deferred<undefined>();
  #ended = false;
  #read = false;

  /** @internal */
  constructor(host: GenerationHost, prompt: Prompt, options: GenerateOptions) {
    this.result = this.#run(host, prompt, options);
    // Whoever reads only the tokens meets the error there.
    this.result.catch(() => undefined);
  }

  /** Stops generating within one step. */
  abort(): void {
    this.#stop.abort();
  }

  /** The whole text, once it is there. */
  async text(): Promise<string> {
    return (await this.result).text;
  }

  /** @throws ParhelionError `busy` if the tokens are being read already */
  [Symbol.asyncIterator](): AsyncIterator<Token, undefined> {
    if (this.#read) throw new ParhelionError("busy", "The tokens of an answer can be read once: keep what you need, or use `result`.");
    this.#read = true;
    return {
      next: () => this.#next(),
      return: async () => {
        this.abort();
        await this.result.catch(() => undefined);
        return { done: true, value: undefined };
      },
    };
  }

  async #next(): Promise<IteratorResult<Token, undefined>> {
    for (;;) {
      const token = this.#tokens.shift();
      if (token !== undefined) return { done: false, value: token };
      if (this.#ended) {
        await this.result;
        return { done: true, value: undefined };
      }
      await this.#more.promise;
    }
  }

  async #run(host: GenerationHost, prompt: Prompt, options: GenerateOptions): Promise<GenerationResult> {
    const { signal } = options;
    const stop = (): void => this.#stop.abort();
    let result: GenerationResult | undefined;
    host.onStart(this);
    try {
      signal?.addEventListener("abort", stop);
      throwIfAborted(signal);
      const args = { prompt, options: wireOptions(options) };
      const onEvent = (event: GenerateEvent): void => this.#receive(event, host);
      result = await host.connection.call("generate", args, { onEvent, signal: this.#stop.signal });
      if (result.finishReason === "cancelled") throwIfAborted(signal);
      return result;
    } finally {
      signal?.removeEventListener("abort", stop);
      host.onEnd(this, result);
      this.#ended = true;
      this.#wake();
    }
  }

  #receive(event: GenerateEvent, host: GenerationHost): void {
    if (event.kind === "progress") return host.onProgress(event.progress);
    this.#tokens.push(event.token);
    this.#wake();
  }

  #wake(): void {
    this.#more.resolve(undefined);
    this.#more = deferred();
  }
}

function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted !== true) return;
  throw new ParhelionError("aborted", "The answer was stopped by its AbortSignal.", { cause: signal.reason });
}

function wireOptions(options: GenerateOptions): WireGenerateOptions {
  const { signal: _, stop, ...rest } = options;
  if (stop === undefined) return rest;
  return { ...rest, stop: typeof stop === "string" ? [stop] : [...stop] };
}
