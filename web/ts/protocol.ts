/** The messages between the page and its worker. */
import { ParhelionError } from "./errors.js";
import type { ErrorCode } from "./errors.js";
import type {
  CatalogueEntry,
  ChatMessage,
  ChatOptions,
  DoctorReport,
  GenerateOptions,
  GenerationResult,
  KernelCheck,
  LoadOptions,
  Progress,
  RemoteFile,
  SessionInfo,
  StorageUsage,
  StoredEntry,
  Token,
} from "./types.js";

/** A model source in a form that can be sent: addresses are absolute. */
export type WireSource =
  | { kind: "catalogue"; id: string }
  | { kind: "remote"; file: RemoteFile }
  | WireFiles
  | WireRepository;

/** Files that the user picked. */
export interface WireFiles {
  kind: "files";
  /** The name for people: of the file, or of the folder that they were in. */
  title: string;
  files: WireFile[];
}

/** One of them. */
export interface WireFile {
  /** Where it lies among the others. */
  path: string;
  blob: Blob;
}

/** A repository on a server. */
export interface WireRepository {
  kind: "repository";
  /** The absolute address of its folder, with the slash at its end. */
  base: string;
  /** The name for people. */
  title: string;
  /** The file in it that is the model; the repository as a whole if left out. */
  file?: string;
}

/** Load options without what cannot be sent. */
export type WireLoadOptions = Omit<LoadOptions, "onProgress" | "signal" | "createWorker">;

/** Generate options without what cannot be sent. */
export type WireGenerateOptions = Omit<GenerateOptions, "signal" | "stop"> & { stop?: string[] };

/** What an answer starts from. */
export type Prompt =
  | { kind: "chat"; messages: ChatMessage[]; tools: ChatOptions["tools"] }
  | { kind: "text"; text: string }
  | { kind: "tokens"; tokens: Uint32Array };

/** What is told during an answer. */
export type GenerateEvent = { kind: "token"; token: Token } | { kind: "progress"; progress: Progress };

/** Which kernels a check runs, and where. */
export interface DoctorArguments {
  device: "webgpu" | "cpu";
  set: "small" | "conformance";
  subgroups?: boolean;
  f16?: boolean;
  /** Runs only part `part` (from 0) of `parts` equal shares. */
  part?: number;
  parts?: number;
}

/** What the page may ask of the worker: arguments, result, and events on the way. */
export interface Calls {
  load: { args: { source: WireSource; options: WireLoadOptions }; result: SessionInfo; event: Progress };
  generate: { args: { prompt: Prompt; options: WireGenerateOptions }; result: GenerationResult; event: GenerateEvent };
  info: { args: undefined; result: SessionInfo; event: never };
  tokenize: { args: { text: string; special: boolean }; result: Uint32Array; event: never };
  detokenize: { args: Uint32Array; result: string; event: never };
  chatTokens: { args: { messages: ChatMessage[]; tools: ChatOptions["tools"] }; result: Uint32Array; event: never };
  logits: { args: { tokens: Uint32Array; from: number }; result: Float32Array; event: never };
  embed: { args: { texts: string[]; prompt: string | undefined }; result: Float32Array[]; event: never };
  loseDevice: { args: undefined; result: undefined; event: never };
  dispose: { args: undefined; result: undefined; event: never };
  catalogue: { args: undefined; result: CatalogueEntry[]; event: never };
  doctor: { args: DoctorArguments; result: DoctorReport; event: KernelCheck };
  storageList: { args: undefined; result: StoredEntry[]; event: never };
  storageRemove: { args: string; result: undefined; event: never };
  storageClear: { args: undefined; result: undefined; event: never };
  storageUsage: { args: undefined; result: StorageUsage; event: never };
}

/** The name of a call. */
export type CallName = keyof Calls;

/** From the page to the worker. */
export type Request =
  | { [K in CallName]: { type: "call"; id: number; name: K; args: Calls[K]["args"] } }[CallName]
  | { type: "cancel"; id: number }
  | { type: "persisted"; agreed: boolean };

/** From the worker to the page. `failed` says that the worker is of no more use; `persist` asks for what only pages may. */
export type Reply =
  | { type: "result"; id: number; value: Calls[CallName]["result"] }
  | { type: "error"; id: number; error: WireError }
  | { type: "event"; id: number; event: Calls[CallName]["event"] }
  | { type: "failed"; error: WireError }
  | { type: "persist" };

/** An error in a form that can be sent. */
export interface WireError {
  code: ErrorCode;
  message: string;
  stack: string | undefined;
}

/** The part of a worker, or of a worker's own global object, that messages go through. */
export interface Port<Out, In> {
  postMessage(message: Out, transfer: Transferable[]): void;
  addEventListener(type: "message", listener: (event: { data: In }) => void): void;
}

/** An error made ready to be sent. */
export function packError(error: ParhelionError): WireError {
  const cause = error.cause instanceof Error ? error.cause.stack : undefined;
  return { code: error.code, message: error.message, stack: cause ?? error.stack };
}

/** The error that was sent; its cause tells where in the worker it arose. */
export function unpackError(error: WireError): ParhelionError {
  const cause = error.stack === undefined ? undefined : { cause: error.stack };
  return new ParhelionError(error.code, error.message, cause);
}
