/** Random access to a model file, wherever it lies. */
export interface ByteSource {
  /** The file's name, for messages. */
  readonly name: string;
  /** Bytes in the file. */
  readonly size: number;
  /** Exactly `length` bytes from `offset` on; rejects if they cannot be had. */
  read(offset: number, length: number): Promise<Uint8Array>;
}

/** A file to fetch, with what is known about it. */
export interface RemoteFile {
  /** Where it is; the next address is tried when one fails. */
  url: string | string[];
  /** The SHA-256 of the whole file, in hexadecimal: checked while the file comes in. */
  sha256?: string;
  /** Bytes in the file: checked before anything is fetched. */
  size?: number;
  /** The name under which it is listed; the last part of the address if left out. */
  name?: string;
}

/** Files that belong together, by their paths: relative, their parts separated by `/`. */
export interface ByteRepository {
  /** What messages call the place. */
  readonly name: string;
  /** The file at `path`; null where there is no such file. */
  open(path: string): Promise<ByteSource | null>;
}

/** A repository of several files on a server. */
export interface RemoteRepository {
  /** The address of its folder, or its name on a hub: `owner/name`, `owner/name@revision`. */
  repository: string;
  /** The branch, tag or commit of a repository on a hub; `main` if neither this nor the name says. */
  revision?: string;
  /** The hub; `https://huggingface.co` if left out. */
  endpoint?: string;
  /**
   * The path of the file in it that is the model, such as `model-Q4_0.gguf`; if left out, the repository is one of safetensors
   * (`config.json`, `tokenizer.json`, `model.safetensors` or shards with their index).
   */
  file?: string;
}

/**
 * What to load:
 * - a name from {@link CatalogueEntry.id}
 * - an address, absolute or relative to the page. One that ends in `/` is that of a repository's folder, any other that of a
 *   file: a GGUF file, any part of a split one (`model-00001-of-00003.gguf`), or a safetensors file beside its `config.json`
 * - a repository of a hub, `owner/name` or `owner/name@revision` (a relative address of that form begins with `./`), or a
 *   {@link RemoteRepository}
 * - files that the user picked or dropped (read in place, never copied): one, or all of a repository or of a split model
 * - an address with what is known about it
 */
export type ModelSource = string | URL | Blob | readonly Blob[] | FileList | RemoteFile | RemoteRepository;

/** A model known by name. */
export interface CatalogueEntry {
  /** The name that `Parhelion.load` takes. */
  id: string;
  /** The name for people. */
  title: string;
  /** The licence of the weights, as an SPDX expression or a name. */
  license: string;
  fileName: string;
  /** Bytes to download. */
  bytes: number;
  sha256: string;
  /** Where it is, best first. */
  urls: string[];
}

/**
 * What is being done, in order: `download` (or `wait`, while another tab downloads the same file), `verify`, `check` (the
 * device against known answers), `upload` (weights to the device), `compile` (kernels), `ready`; and `recovering` when the
 * device was lost in mid-answer and the model is loaded again.
 */
export type Phase = "download" | "wait" | "verify" | "check" | "upload" | "compile" | "ready" | "recovering";

/** How far a phase is. */
export interface Progress {
  phase: Phase;
  /** The file that is being transferred (`download`, `wait`, `verify`), by its path in the repository. */
  file?: string;
  /** Bytes (`download`, `wait`, `verify`, `upload`) or kernels (`check`, `compile`) done; bytes of all files so far. */
  done: number;
  /** Of how many; undefined where nobody knows. Of files that are yet to come, those count whose sizes are known. */
  total: number | undefined;
  /** Bytes a second lately; 0 where bytes are not what is counted. */
  bytesPerSecond: number;
  /** Seconds left at that speed. */
  secondsLeft: number | undefined;
}

/** Where a model runs: `auto` is WebGPU, or the CPU for models of up to 200 MB where there is no WebGPU. */
export type DeviceChoice = "auto" | "webgpu" | "cpu";

/** How the KV cache is stored: as it is, in 16 bits a number, or in 9. */
export type KvCacheFormat = "f32" | "f16" | "q8_0";

/** How to load a model. */
export interface LoadOptions {
  /** Told how loading goes on, and later of recovery from a lost device. */
  onProgress?: (progress: Progress) => void;
  /** Stops loading: the promise rejects with `aborted`. What was downloaded is kept for the next time. */
  signal?: AbortSignal;
  /** Default `auto`. */
  device?: DeviceChoice;
  /** Tokens of context; default: the model's own, at most 8192. */
  context?: number;
  /** How the KV cache is stored; default: `f16`, or `f32` where `reproducible` is set. */
  kvCache?: KvCacheFormat;
  /** All arithmetic in f32 with pinned kernels and orders: the same tokens as everywhere else, at some cost in speed. */
  reproducible?: boolean;
  /** false never uses subgroup operations; default: as the device offers. */
  subgroups?: boolean;
  /** false never uses f16 arithmetic; default: as the device offers. */
  f16?: boolean;
  /**
   * Checks the model's kernels against known answers before they are used. Default: on the first use of this model on
   * this device; the result is remembered. true checks always, false never.
   */
  check?: boolean;
  /** Compiles all kernels in parallel before they are needed; default true. */
  precompile?: boolean;
  /** The most bytes of device memory to use; a model that needs more is refused before anything is allocated. */
  memoryLimit?: number;
  /**
   * Makes the worker that the model runs in. Default: a module worker from `worker.js` next to this module. Needed where
   * this module comes from another origin than the page, as browsers start no worker from another origin.
   */
  createWorker?: () => Worker;
}

/** A message of a conversation; further fields reach the model's chat template as they are. */
export interface ChatMessage {
  role: "system" | "user" | "assistant" | "tool" | (string & {});
  content: string;
  [field: string]: unknown;
}

/** How an answer is generated. */
export interface GenerateOptions {
  /** The most tokens; default: as many as the context holds. */
  maxTokens?: number;
  /** 0 always takes the likeliest token; default 0.7. */
  temperature?: number;
  /** Only the k likeliest tokens; 0 for all; default 40. */
  topK?: number;
  /** Only the likeliest tokens that together have this probability; 1 for all; default 0.95. */
  topP?: number;
  /** Only tokens at least this many times as likely as the likeliest; default 0, for all. */
  minP?: number;
  /** Divides positive and multiplies negative logits of tokens that occurred; default 1, for none. */
  repetitionPenalty?: number;
  /** Subtracted from a token's logit for each time it was generated; default 0. */
  frequencyPenalty?: number;
  /** Subtracted once from the logit of a token that was generated; default 0. */
  presencePenalty?: number;
  /** The same seed gives the same tokens; default 0. An integer from 0 to 2^53 - 1. */
  seed?: number;
  /** Texts that end the answer; they are not part of it. */
  stop?: string | string[];
  /** Goes on past the model's own end of answer: for measurements. */
  ignoreEnd?: boolean;
  /** Stops generating within one step: the iterator then throws `aborted`. */
  signal?: AbortSignal;
}

/** How messages become a prompt. */
export interface ChatOptions extends GenerateOptions {
  /** Tools for models whose chat template knows them, in the form that the template expects (usually OpenAI's). */
  tools?: unknown[];
}

/** A step of an answer. */
export interface Token {
  /**
   * Text that is certain by now. It may be empty (half a character, or what may become a stop text); such text comes with
   * a later token. All texts joined are the answer.
   */
  text: string;
  /** The token; null for text held back until the answer ended, which belongs to earlier tokens. */
  id: number | null;
  /** The natural logarithm of the token's probability; null where `id` is. */
  logprob: number | null;
}

/**
 * Why an answer ended: `stop` (the model said so), `stop_string`, `length` (`maxTokens`), `context` (it is full),
 * `cancelled` (`abort()`, or the reader left the loop).
 */
export type FinishReason = "stop" | "stop_string" | "length" | "context" | "cancelled";

/** How long an answer took; where the device was lost in between, `prefill`, `decode` and the rates are of the last part. */
export interface GenerationTimings {
  /** Tokens of the prompt. */
  promptTokens: number;
  /** Those of them that were in the context already. */
  cachedTokens: number;
  prefillMs: number;
  generatedTokens: number;
  decodeMs: number;
  /** Prompt tokens a second. */
  prefillRate: number;
  /** Generated tokens a second. */
  decodeRate: number;
  /** Milliseconds from the start of the answer, after its turn came, to its first token. */
  firstTokenMs: number | undefined;
  /** Milliseconds from the start of the answer to its end. */
  totalMs: number;
  dispatchesPerToken: number;
  /** The most device memory held, in bytes. */
  peakBytes: number;
}

/** What an answer was, once it has ended. */
export interface GenerationResult {
  finishReason: FinishReason;
  text: string;
  tokens: number[];
  usage: { promptTokens: number; completionTokens: number; totalTokens: number; cachedTokens: number };
  timings: GenerationTimings;
  /** Times that the device was lost and the answer went on after the model had been loaded again: 0 or 1. */
  recoveries: number;
}

/** A device that models can run on. */
export interface DeviceInfo {
  name: string;
  backend: "WebGPU" | "scalar";
  driver: string;
  /** Whether subgroup operations are used. */
  subgroups: boolean;
  /** Whether f16 arithmetic is used. */
  f16: boolean;
  /** The largest buffer, in bytes. */
  maxBuffer: number;
  /** The largest binding, in bytes. */
  maxBinding: number;
  subgroupMin: number;
  subgroupMax: number;
  /** Whether it is a GPU emulated in software. */
  fallback: boolean;
}

/** What the check against known answers said. */
export interface CheckInfo {
  /** `run` now, `remembered` from an earlier time, or `off`. */
  state: "run" | "remembered" | "off";
  /** Features that this device computes wrongly with, and that are therefore not used: `subgroups`, `f16`. */
  dropped: string[];
}

/** How long loading took, in milliseconds; 0 for what was not needed. */
export interface LoadTimings {
  /** Getting the files, or finding them in the browser's storage, and reading what they say of the model. */
  download: number;
  /** Starting the wasm module. */
  wasm: number;
  /** Finding and opening the device, and planning the model's memory. */
  device: number;
  check: number;
  compile: number;
  upload: number;
  /** All of it, from the call of `load` to its end. */
  total: number;
  /** From the start of the session's first answer to its first token: the cold one. undefined before it. */
  firstToken: number | undefined;
}

/** What is known about a session. */
export interface SessionInfo {
  /** The name of the file or repository. */
  name: string;
  architecture: string;
  /** Weights in the model. */
  parameters: number;
  /** Tokens of context. */
  context: number;
  /** Tokens of context that the last answer's conversation takes up. */
  contextUsed: number;
  vocabulary: number;
  layers: number;
  /** What the model makes: text, as `chat` and `complete` give it, or vectors of texts, as `embed` does. */
  makes: "text" | "vectors";
  device: DeviceInfo;
  check: CheckInfo;
  /** Device memory in bytes: held now, the most held, and what it is held for. */
  memory: { now: number; peak: number; weights: number; kv: number; scratch: number; [part: string]: number };
  /** Bytes of the wasm module's own memory; it grows but never shrinks. */
  wasmBytes: number;
  timings: LoadTimings;
  /** The longest that the device was busy with one submission, in milliseconds. */
  longestSubmitMs: number;
  /** Times that the device was lost and the model loaded again. */
  recoveries: number;
  /** The version of the engine. */
  version: string;
}

/** How texts are turned into vectors. */
export interface EmbedOptions {
  /** What the texts are for, by the model's name for it (`query`, `document`); its default, if it has one, if left out. */
  prompt?: string;
  /** Stops between texts; the promise rejects with `aborted`. */
  signal?: AbortSignal;
}

/** What this browser can do. */
export interface Support {
  /** Whether models run on WebGPU here. */
  webgpu: boolean;
  /** Why not; undefined if they do. */
  reason: string | undefined;
  /** What the user can do about it; undefined if there is nothing to do. */
  advice: string | undefined;
  /** What WebGPU offers; undefined without it. */
  device: { name: string; vendor: string; fallback: boolean; subgroups: boolean; f16: boolean } | undefined;
}

/** How a transfer goes on. */
export interface TransferProgress extends Progress {
  phase: "download" | "verify" | "wait";
  /** Bytes that were there from an earlier time. */
  resumedFrom: number;
}

/** A file in the browser's storage. */
export interface StoredEntry {
  /** What `remove` takes. */
  key: string;
  /** The file's name; of a repository's files, the repository's name and the path in it. */
  name: string;
  /** Where it came from. */
  url: string;
  /** Bytes stored. */
  bytes: number;
  /** Bytes of the whole file. */
  size: number;
  /** Whether all of it is here. */
  complete: boolean;
  /** Whether it was compared with a known SHA-256. */
  verified: boolean;
  /** When it was last used, in milliseconds since 1970. */
  lastUsed: number;
}

/** Room in the browser's storage. */
export interface StorageUsage {
  /** Bytes that this origin uses. */
  usage: number;
  /** Bytes that it may use. */
  quota: number;
  /** Whether the browser promised not to throw stored files out by itself. */
  persisted: boolean;
}

/** A kernel's result next to its known answer. */
export interface KernelCheck {
  /** The compiled variant. */
  variant: string;
  /** The case. */
  label: string;
  ok: boolean;
  /** The error of the worst element; null if the case could not run. */
  error: number | null;
  /** The error allowed there. */
  bound: number | null;
  /** The element that is worst, or what kept the case from running. */
  message: string;
}

/** What a check of the device found. */
export interface DoctorReport {
  total: number;
  failed: number;
  device: DeviceInfo;
  milliseconds: number;
}
