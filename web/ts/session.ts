/** A model that is loaded, as the page sees it. */
import type { Connection } from "./connection.js";
import { ParhelionError } from "./errors.js";
import { Generation } from "./generation.js";
import type { GenerationHost } from "./generation.js";
import { OpenAI } from "./openai.js";
import type { ChatMessage, ChatOptions, EmbedOptions, GenerateOptions, GenerationResult, LoadOptions, Progress, SessionInfo } from "./types.js";

/**
 * A model that is loaded, in a worker of its own. Answers are generated one at a time, in the order in which they were
 * asked for, and whatever else is asked of the model takes its turn among them; the conversation so far is kept on the device, so a longer prompt with the same beginning costs only what
 * is new.
 *
 * When the device is lost in mid-answer, the model is loaded again from where it came from and the answer goes on where
 * it stopped; `onProgress` of the load options is told (`recovering`). A second loss in the same answer or within a
 * minute is the error `device-lost`.
 */
export class Session {
  /** The last answer that ended, however it ended; undefined before, or if it failed. */
  last: GenerationResult | undefined;
  /** The same model behind the interface of OpenAI's client library. */
  readonly openai: OpenAI;
  readonly #host: GenerationHost;
  readonly #running = new Set<Generation>();
  #disposed: Promise<void> | undefined;

  /** @internal Use `Parhelion.load`. */
  constructor(connection: Connection, info: SessionInfo, onProgress: LoadOptions["onProgress"]) {
    this.openai = new OpenAI(this, info.name);
    this.#host = {
      connection,
      onProgress: (progress: Progress) => onProgress?.(progress),
      onStart: (generation) => this.#running.add(generation),
      onEnd: (generation, result) => {
        this.#running.delete(generation);
        this.last = result;
      },
    };
  }

  /** Answers a conversation, whose last message is usually the user's. */
  chat(messages: ChatMessage[], options: ChatOptions = {}): Generation {
    const { tools, ...rest } = options;
    return new Generation(this.#host, { kind: "chat", messages, tools }, rest);
  }

  /**
   * Continues a text (after the token that the model expects first, where it expects one; control tokens written in it stay
   * text), or tokens as they are: no chat template.
   */
  complete(prompt: string | ArrayLike<number>, options: GenerateOptions = {}): Generation {
    if (typeof prompt === "string") return new Generation(this.#host, { kind: "text", text: prompt }, options);
    return new Generation(this.#host, { kind: "tokens", tokens: Uint32Array.from(prompt) }, options);
  }

  /** Stops the answer that is being generated, within one step; those that wait for their turn follow. */
  abort(): void {
    const [running] = this.#running;
    running?.abort();
  }

  /**
   * The tokens of a text, and of nothing before it.
   *
   * @param special whether control tokens written in the text (such as `<|im_end|>`) become tokens; default false: they stay text
   */
  tokenize(text: string, special = false): Promise<Uint32Array> {
    return this.#host.connection.call("tokenize", { text, special });
  }

  /** The text of tokens. */
  detokenize(tokens: ArrayLike<number>): Promise<string> {
    return this.#host.connection.call("detokenize", Uint32Array.from(tokens));
  }

  /** The prompt that {@link chat} makes of messages. */
  chatTokens(messages: ChatMessage[], tools?: unknown[]): Promise<Uint32Array> {
    return this.#host.connection.call("chatTokens", { messages, tools });
  }

  /**
   * The logits after each of `tokens` from position `from` on: row after row, each as long as the vocabulary. For tests
   * and tools.
   */
  logits(tokens: ArrayLike<number>, from = 0): Promise<Float32Array> {
    return this.#host.connection.call("logits", { tokens: Uint32Array.from(tokens), from });
  }

  /**
   * The vectors of texts, from models that make vectors (`(await session.info()).makes`): pooled and divided by their lengths as
   * the model's repository says, so that the dot product of two tells how alike the texts are.
   *
   * @throws ParhelionError `unsupported-model` from a model that writes text; `prompt-too-long`; `option` for an empty text or a
   * prompt that the model has not
   */
  embed(texts: readonly string[], options?: EmbedOptions): Promise<Float32Array[]>;
  /** The vector of one text. */
  embed(text: string, options?: EmbedOptions): Promise<Float32Array>;
  async embed(texts: string | readonly string[], { prompt, signal }: EmbedOptions = {}): Promise<Float32Array | Float32Array[]> {
    if (signal?.aborted === true) throw new ParhelionError("aborted", "The texts were not embedded: the signal had fired.");
    const args = { texts: typeof texts === "string" ? [texts] : [...texts], prompt };
    const vectors = await this.#host.connection.call("embed", args, { signal });
    const [only] = vectors;
    return typeof texts === "string" && only !== undefined ? only : vectors;
  }

  /** The device, what is switched on, memory, timings: as they are now. */
  info(): Promise<SessionInfo> {
    return this.#host.connection.call("info", undefined);
  }

  /**
   * Loses the GPU device, as a driver reset does: for testing how a page gets over it. The next step of an answer finds
   * the device gone and recovers.
   */
  loseDevice(): Promise<void> {
    return this.#host.connection.call("loseDevice", undefined);
  }

  /**
   * Frees the device's memory and ends the worker. Answers that are being generated end as `cancelled`; every later call
   * rejects with `disposed`. Settles when everything is free; further calls of it are harmless.
   */
  dispose(): Promise<void> {
    this.#disposed ??= this.#dispose();
    return this.#disposed;
  }

  #dispose(): Promise<void> {
    for (const generation of this.#running) generation.abort();
    return this.#host.connection.shutDown(
      new ParhelionError("disposed", "The session was disposed of. Load the model again with Parhelion.load."),
    );
  }
}
