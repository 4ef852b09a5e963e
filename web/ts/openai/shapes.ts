/** The objects that the OpenAI interface answers with. */
import type { FinishReason, GenerationResult } from "../types.js";

/** `stop`: the model or a stop text ended the answer; `length`: the most tokens, or a full context, did. */
export type ChatCompletionFinishReason = "stop" | "length";

/** Tokens that a request took. */
export interface CompletionUsage {
  prompt_tokens: number;
  completion_tokens: number;
  total_tokens: number;
  /** `cached_tokens`: those of the prompt that were on the device from an earlier answer. */
  prompt_tokens_details: { cached_tokens: number };
}

/** How likely a token was. */
export interface ChatCompletionTokenLogprob {
  /** The text that came with the token: empty while a character is incomplete. */
  token: string;
  logprob: number;
  /** The text's UTF-8 bytes. */
  bytes: number[];
  /** Always empty: only the chosen token's probability is known. */
  top_logprobs: [];
}

/** The fields that an answer and its chunks share. */
export interface CompletionHead {
  id: string;
  /** Seconds since 1970. */
  created: number;
  model: string;
}

/** A whole answer. */
export interface ChatCompletion extends CompletionHead {
  object: "chat.completion";
  choices: {
    index: 0;
    message: { role: "assistant"; content: string; refusal: null };
    logprobs: { content: ChatCompletionTokenLogprob[]; refusal: null } | null;
    finish_reason: ChatCompletionFinishReason;
  }[];
  usage: CompletionUsage;
}

/** A piece of an answer; with `stream_options.include_usage` the last has `usage` and no choices. */
export interface ChatCompletionChunk extends CompletionHead {
  object: "chat.completion.chunk";
  choices: {
    index: 0;
    delta: { role?: "assistant"; content?: string };
    logprobs: { content: ChatCompletionTokenLogprob[]; refusal: null } | null;
    finish_reason: ChatCompletionFinishReason | null;
  }[];
  usage?: CompletionUsage | null;
}

const encoder = new TextEncoder();

/** @internal */
export function tokenLogprob(text: string, logprob: number): ChatCompletionTokenLogprob {
  return { token: text, logprob, bytes: [...encoder.encode(text)], top_logprobs: [] };
}

/** @internal */
export function finishReason(reason: Exclude<FinishReason, "cancelled">): ChatCompletionFinishReason {
  return reason === "stop" || reason === "stop_string" ? "stop" : "length";
}

/** @internal */
export function usageOf({ usage }: GenerationResult): CompletionUsage {
  return {
    prompt_tokens: usage.promptTokens,
    completion_tokens: usage.completionTokens,
    total_tokens: usage.totalTokens,
    prompt_tokens_details: { cached_tokens: usage.cachedTokens },
  };
}
