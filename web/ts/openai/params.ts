/** What the OpenAI interface is asked: which parameters are supported, and what they mean here. */
import { ParhelionError } from "../errors.js";
import type { ChatMessage, GenerateOptions } from "../types.js";

/** A part of a message's content; only text is supported. */
export interface ChatCompletionContentPart {
  type: "text";
  text: string;
}

/** A message of a conversation. */
export interface ChatCompletionMessageParam {
  role: "system" | "developer" | "user" | "assistant" | "tool";
  content: string | ChatCompletionContentPart[];
  name?: string;
}

/** The parameters of `chat.completions.create` that are supported. */
export interface ChatCompletionParams {
  messages: ChatCompletionMessageParam[];
  /** Named in the answer; the session has one model only. */
  model?: string;
  stream?: boolean | null;
  stream_options?: { include_usage?: boolean } | null;
  temperature?: number | null;
  top_p?: number | null;
  max_tokens?: number | null;
  /** Goes before `max_tokens`. */
  max_completion_tokens?: number | null;
  stop?: string | string[] | null;
  seed?: number | null;
  frequency_penalty?: number | null;
  presence_penalty?: number | null;
  logprobs?: boolean | null;
  /** Only 0. */
  top_logprobs?: number | null;
  /** Only 1. */
  n?: number | null;
  /** Only text. */
  response_format?: { type: "text" } | null;
  /** Of no effect here. */
  user?: string;
  /** Of no effect here. */
  metadata?: Record<string, string> | null;
}

/** Parameters that are taken; what is not listed is refused rather than ignored. */
const SUPPORTED: Record<keyof ChatCompletionParams, true> = {
  messages: true,
  model: true,
  stream: true,
  stream_options: true,
  temperature: true,
  top_p: true,
  max_tokens: true,
  max_completion_tokens: true,
  stop: true,
  seed: true,
  frequency_penalty: true,
  presence_penalty: true,
  logprobs: true,
  top_logprobs: true,
  n: true,
  response_format: true,
  user: true,
  metadata: true,
};

/** Refuses parameters that are unknown, or have a value that is not supported. */
export function checkParams(params: ChatCompletionParams): void {
  for (const [name, value] of Object.entries(params)) {
    if (value !== undefined && value !== null && !Object.hasOwn(SUPPORTED, name)) {
      throw refused(name, `is not supported; the supported parameters are ${Object.keys(SUPPORTED).join(", ")}`);
    }
  }
  if (!Array.isArray(params.messages)) throw refused("messages", "must be an array of {role, content}");
  if ((params.n ?? 1) !== 1) throw refused("n", `is ${params.n}, but only 1 answer is generated at a time; call create again for another`);
  if ((params.top_logprobs ?? 0) !== 0) throw refused("top_logprobs", "must be 0: only the chosen token's probability is known");
  const format: string = params.response_format?.type ?? "text";
  if (format !== "text") throw refused("response_format", `is "${format}", but only "text" is supported`);
}

/** Messages whose content is a text each. */
export function plainMessages(messages: ChatCompletionMessageParam[]): ChatMessage[] {
  return messages.map(({ role, content, ...rest }, index) => ({
    ...rest,
    role: role === "developer" ? "system" : role,
    content: typeof content === "string" ? content : joinParts(content, index),
  }));
}

function joinParts(parts: ChatCompletionContentPart[], index: number): string {
  const name = `messages[${index}].content`;
  if (!Array.isArray(parts)) throw refused(name, "must be a text or an array of text parts");
  const texts = parts.map(({ type, text }: { type: string; text: string }) => {
    if (type !== "text") throw refused(name, `has a part of type "${type}", but only "text" is supported`);
    return text;
  });
  return texts.join("");
}

/** The same in this package's own options; what is left out, or null, keeps its default. */
export function generateOptions(params: ChatCompletionParams): GenerateOptions {
  const options = {
    maxTokens: params.max_completion_tokens ?? params.max_tokens,
    temperature: params.temperature,
    topP: params.top_p,
    seed: params.seed,
    stop: params.stop,
    frequencyPenalty: params.frequency_penalty,
    presencePenalty: params.presence_penalty,
  };
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined && value !== null));
}

function refused(name: string, why: string): ParhelionError {
  return new ParhelionError("option", `The parameter ${name} ${why}.`);
}
