/** One answer: from a prompt to tokens, over a lost device if need be. */
import { ParhelionError } from "../errors.js";
import type { GenerateEvent, Prompt, WireGenerateOptions } from "../protocol.js";
import type { ChatMessage, GenerationResult } from "../types.js";
import type { Cancel, Model, ModelAnswer } from "../wasm/parhelion_web.js";
import type { ModelHost } from "./host.js";

/** What an answer is made with. */
export interface AnswerContext {
  readonly host: ModelHost;
  newCancel(): Cancel;
  emit(event: GenerateEvent): void;
  signal: AbortSignal;
}

/** The tokens of a prompt. */
export function promptTokens(model: Model, prompt: Prompt): Uint32Array {
  if (prompt.kind === "tokens") return prompt.tokens;
  if (prompt.kind === "text") return model.textTokens(prompt.text);
  return model.chatTokens(checkedMessages(prompt.messages), prompt.tools === undefined ? {} : { tools: prompt.tools });
}

/** Generates an answer. */
export async function answer(prompt: Prompt, options: WireGenerateOptions, context: AnswerContext): Promise<GenerationResult> {
  const { host, emit, signal } = context;
  const start = performance.now();
  const recoveriesBefore = host.recoveries;
  const tokens: number[] = [];
  let text = "";
  let firstTokenMs: number | undefined;
  let promptLength = 0;
  const onToken = (id: number, piece: string, logprob: number): void => {
    firstTokenMs ??= performance.now() - start;
    tokens.push(id);
    text += piece;
    emit({ kind: "token", token: { text: piece, id, logprob } });
  };
  const cancel = context.newCancel();
  const stop = (): void => cancel.cancel();
  signal.addEventListener("abort", stop);
  try {
    const end = await host.run((progress) => emit({ kind: "progress", progress }), signal, (model) => {
      const ids = promptTokens(model, prompt);
      promptLength = ids.length;
      if (signal.aborted) return Promise.resolve(nothing(ids.length));
      const all = { ...options, continuesText: prompt.kind === "text" };
      return model.generate(ids, Uint32Array.from(tokens), all, cancel, onToken);
    });
    if (end.rest !== "") emit({ kind: "token", token: { text: end.rest, id: null, logprob: null } });
    text += end.rest;
    const usage = {
      promptTokens: promptLength,
      completionTokens: tokens.length,
      totalTokens: promptLength + tokens.length,
      cachedTokens: end.timings.cachedTokens,
    };
    const timings = { ...end.timings, firstTokenMs, totalMs: performance.now() - start };
    return { finishReason: end.reason, text, tokens, usage, timings, recoveries: host.recoveries - recoveriesBefore };
  } finally {
    signal.removeEventListener("abort", stop);
    cancel.free();
  }
}

/** An answer that was stopped before it began. */
function nothing(promptTokens: number): ModelAnswer {
  const none = { cachedTokens: 0, prefillMs: 0, generatedTokens: 0, decodeMs: 0, prefillRate: 0, decodeRate: 0 };
  return { reason: "cancelled", rest: "", timings: { promptTokens, ...none, dispatchesPerToken: 0, peakBytes: 0 } };
}

function checkedMessages(messages: ChatMessage[]): ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0) throw wrongMessages("messages", "an array of {role, content} with at least one element");
  messages.forEach((message: Partial<ChatMessage> | null | undefined, index) => {
    if (typeof message?.role !== "string") throw wrongMessages(`messages[${index}].role`, "a text");
    if (typeof message.content !== "string") throw wrongMessages(`messages[${index}].content`, "a text");
  });
  return messages;
}

function wrongMessages(what: string, must: string): ParhelionError {
  return new ParhelionError("option", `${what} must be ${must}.`);
}
