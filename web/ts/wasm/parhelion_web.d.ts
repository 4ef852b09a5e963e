/**
 * The interface of the wasm module as the worker uses it. The build puts the module that wasm-bindgen generates next to
 * the compiled worker, as `wasm/parhelion_web.js`. Every error thrown carries one of the codes in `errors.ts` as `code`.
 */
import type { ByteRepository, DeviceInfo, DoctorReport, FinishReason, KernelCheck } from "../types.js";

/** Starts the module; without an argument it is fetched from `parhelion_web_bg.wasm` next to it. */
export default function init(module?: { module_or_path?: unknown }): Promise<{ readonly memory: WebAssembly.Memory }>;

/** The version of the engine. */
export function version(): string;

/** The known models, as JSON: the fields of `CatalogueEntry`. */
export function catalogue(): string;

/** SHA-256, piece by piece: WebCrypto can only hash what is whole in memory. */
export class Sha256 {
  constructor();
  update(bytes: Uint8Array): void;
  /** Lower-case hexadecimal. */
  finish(): string;
  free(): void;
}

/** Asks a running answer to stop. */
export class Cancel {
  constructor();
  cancel(): void;
  free(): void;
}

/** How to open the device and the model. */
export interface ModelOptions {
  device: "webgpu" | "cpu";
  subgroups?: boolean;
  f16?: boolean;
  reproducible?: boolean;
  context?: number;
  kvCache?: "f32" | "f16" | "q8_0";
  check?: boolean;
  precompile?: boolean;
  memoryLimit?: number;
}

/** What is told while a model loads. */
export type LoadEvent =
  | { kind: "device"; device: DeviceInfo }
  | { kind: "check"; kernels: number; milliseconds: number; dropped: string[] }
  | { kind: "plan"; bytes: number; weights: number; kv: number; scratch: number }
  | { kind: "compile"; done: number; total: number }
  | { kind: "upload"; done: number; total: number };

/** What a loaded model says of itself; memory is in bytes. */
export interface ModelInfo {
  architecture: string;
  parameters: number;
  context: number;
  vocab: number;
  layers: number;
  makes: "text" | "vectors";
  device: DeviceInfo;
  memory: { now: number; peak: number; weights: number; kv: number; scratch: number };
  longestSubmitMs: number;
}

/** How tokens are chosen and when to stop. */
export interface ModelGenerateOptions {
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  repetitionPenalty?: number;
  frequencyPenalty?: number;
  presencePenalty?: number;
  seed?: number;
  stop?: string[];
  ignoreEnd?: boolean;
  /** Whether the prompt is text that the answer goes on with. */
  continuesText?: boolean;
}

/** How an answer ended. */
export interface ModelAnswer {
  reason: FinishReason;
  /** Text held back until the end. */
  rest: string;
  timings: {
    promptTokens: number;
    cachedTokens: number;
    prefillMs: number;
    generatedTokens: number;
    decodeMs: number;
    prefillRate: number;
    decodeRate: number;
    dispatchesPerToken: number;
    peakBytes: number;
  };
}

/** A model whose files are open and whose headers have been read. */
export class Checkpoint {
  private constructor();
  /** Opens the model at `path` in a repository: a GGUF file, a part of a split one, a safetensors file; or the repository as a whole. */
  static open(repository: ByteRepository, path: string | undefined): Promise<Checkpoint>;
  free(): void;
}

/** A model on a device. While it answers, every call but `loseDevice` and `dispose` throws `busy`. */
export class Model {
  private constructor();
  /** Uses the checkpoint up. */
  static load(checkpoint: Checkpoint, options: ModelOptions, events: (event: LoadEvent) => void): Promise<Model>;
  info(): ModelInfo;
  tokenize(text: string, special: boolean): Uint32Array;
  /** The tokens of a text that is to be continued, after the token that the model expects first. */
  textTokens(text: string): Uint32Array;
  detokenize(ids: Uint32Array): string;
  /** `options` are variables of the model's template. */
  chatTokens(messages: { role: string; content: string; [field: string]: unknown }[], options: { tools?: unknown }): Uint32Array;
  /**
   * Answers `prompt`, going on after `generated`, the tokens of the same answer that are there already; `maxTokens`
   * counts them too. `onToken` is told of new tokens only. One answer at a time.
   */
  generate(
    prompt: Uint32Array,
    generated: Uint32Array,
    options: ModelGenerateOptions,
    cancel: Cancel,
    onToken: (id: number, text: string, logprob: number) => void,
  ): Promise<ModelAnswer>;
  /** Rows `from` to the end, each as long as the vocabulary. */
  logits(tokens: Uint32Array, from: number): Promise<Float32Array>;
  /** The vectors of texts, one after the other, all of one length. */
  embed(texts: string[], prompt: string | undefined): Promise<Float32Array>;
  contextUsed(): number;
  /** Destroys the device, as a driver reset does. */
  loseDevice(): void;
  /** Frees every buffer and the device. */
  dispose(): void;
  free(): void;
}

/** Runs kernels and compares them with known answers. */
export function checkKernels(
  options: { device: "webgpu" | "cpu"; subgroups?: boolean; f16?: boolean; set: "small" | "conformance"; part?: number; parts?: number },
  onCheck: (check: KernelCheck) => void,
): Promise<DoctorReport>;

/** What WebGPU offers here, without opening it. */
export function adapters(): Promise<DeviceInfo | null>;
