/** An answer of the OpenAI interface as a stream of chunks. */
import { ParhelionError } from "../errors.js";
import type { Generation } from "../generation.js";
import type { Token } from "../types.js";
import { finishReason, tokenLogprob, usageOf } from "./shapes.js";
import type { ChatCompletionChunk, CompletionHead } from "./shapes.js";

/** What the chunks carry besides the text. */
export interface StreamShape {
  logprobs: boolean;
  usage: boolean;
}

/**
 * The chunks of an answer, to be read once: one with the role, one for each piece of text, one with the finish reason
 * and, if asked for, one with the usage. Leaving the loop early, or aborting `controller`, stops generating.
 */
export class ChatCompletionStream implements AsyncIterable<ChatCompletionChunk> {
  /** Stops the answer when aborted: the stream ends with the error `aborted`. */
  readonly controller = new AbortController();
  readonly #generation: Generation;
  readonly #head: CompletionHead;
  readonly #shape: StreamShape;

  /** @internal */
  constructor(generation: Generation, head: CompletionHead, shape: StreamShape) {
    this.#generation = generation;
    this.#head = head;
    this.#shape = shape;
    this.controller.signal.addEventListener("abort", () => generation.abort());
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<ChatCompletionChunk, undefined> {
    yield this.#chunk([{ index: 0, delta: { role: "assistant", content: "" }, logprobs: null, finish_reason: null }]);
    for await (const token of this.#generation) {
      if (token.text !== "" || this.#shape.logprobs) yield this.#piece(token);
    }
    const result = await this.#generation.result;
    if (result.finishReason === "cancelled") throw new ParhelionError("aborted", "The answer was stopped.");
    yield this.#chunk([{ index: 0, delta: {}, logprobs: null, finish_reason: finishReason(result.finishReason) }]);
    if (this.#shape.usage) yield { ...this.#chunk([]), usage: usageOf(result) };
  }

  #piece({ text, logprob }: Token): ChatCompletionChunk {
    const content = this.#shape.logprobs && logprob !== null ? [tokenLogprob(text, logprob)] : undefined;
    const logprobs = content === undefined ? null : { content, refusal: null };
    return this.#chunk([{ index: 0, delta: { content: text }, logprobs, finish_reason: null }]);
  }

  #chunk(choices: ChatCompletionChunk["choices"]): ChatCompletionChunk {
    const usage = this.#shape.usage ? { usage: null } : {};
    return { ...this.#head, object: "chat.completion.chunk", choices, ...usage };
  }
}
