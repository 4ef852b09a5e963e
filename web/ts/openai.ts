/** The interface of OpenAI's client library, as far as a local model can follow it. */
import { ParhelionError } from "./errors.js";
import { checkParams, generateOptions, plainMessages } from "./openai/params.js";
import type { ChatCompletionParams } from "./openai/params.js";
import { ChatCompletionStream } from "./openai/stream.js";
import { finishReason, tokenLogprob, usageOf } from "./openai/shapes.js";
import type { ChatCompletion, ChatCompletionTokenLogprob } from "./openai/shapes.js";
import type { Session } from "./session.js";

export type { ChatCompletionContentPart, ChatCompletionMessageParam, ChatCompletionParams } from "./openai/params.js";
export type {
  ChatCompletion,
  ChatCompletionChunk,
  ChatCompletionFinishReason,
  ChatCompletionTokenLogprob,
  CompletionUsage,
} from "./openai/shapes.js";
export type { ChatCompletionStream } from "./openai/stream.js";

/** What a request may be given besides its parameters. */
export interface RequestOptions {
  /** Stops the answer: the promise or the stream ends with the error `aborted`. */
  signal?: AbortSignal;
}

/** A session behind the interface of OpenAI's client library: `session.openai.chat.completions.create({...})`. */
export class OpenAI {
  readonly chat: { readonly completions: ChatCompletions };

  /** @internal */
  constructor(session: Session, model: string) {
    this.chat = { completions: new ChatCompletions(session, model) };
  }
}

/** Creates chat completions. */
export class ChatCompletions {
  readonly #session: Session;
  readonly #model: string;

  /** @internal */
  constructor(session: Session, model: string) {
    this.#session = session;
    this.#model = model;
  }

  /**
   * Answers a conversation: with the whole answer, or with `stream: true` with its chunks as they come.
   *
   * Parameters that this engine does not support reject with the error `option` instead of being ignored.
   */
  create(params: ChatCompletionParams & { stream: true }, options?: RequestOptions): Promise<ChatCompletionStream>;
  create(params: ChatCompletionParams & { stream?: false | null }, options?: RequestOptions): Promise<ChatCompletion>;
  create(params: ChatCompletionParams, options?: RequestOptions): Promise<ChatCompletion | ChatCompletionStream>;
  async create(params: ChatCompletionParams, options: RequestOptions = {}): Promise<ChatCompletion | ChatCompletionStream> {
    checkParams(params);
    const head = { id: `chatcmpl-${randomId()}`, created: Math.floor(Date.now() / 1000), model: params.model ?? this.#model };
    const generation = this.#session.chat(plainMessages(params.messages), { ...generateOptions(params), ...options });
    if (params.stream === true) {
      const withUsage = params.stream_options?.include_usage === true;
      return new ChatCompletionStream(generation, head, { logprobs: params.logprobs === true, usage: withUsage });
    }
    const logprobs: ChatCompletionTokenLogprob[] = [];
    for await (const token of generation) if (token.logprob !== null) logprobs.push(tokenLogprob(token.text, token.logprob));
    const result = await generation.result;
    if (result.finishReason === "cancelled") throw new ParhelionError("aborted", "The answer was stopped by abort().");
    return {
      ...head,
      object: "chat.completion",
      choices: [
        {
          index: 0,
          message: { role: "assistant", content: result.text, refusal: null },
          logprobs: params.logprobs === true ? { content: logprobs, refusal: null } : null,
          finish_reason: finishReason(result.finishReason),
        },
      ],
      usage: usageOf(result),
    };
  }
}

function randomId(): string {
  return [...crypto.getRandomValues(new Uint8Array(12))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
