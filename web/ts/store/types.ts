import type { ByteSource, RemoteFile, TransferProgress } from "../types.js";

/** Bytes that own their memory; what WebCrypto, files and caches take. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** SHA-256 over bytes as they come: WebCrypto has no incremental digest, so the wasm module's is handed in. */
export interface IncrementalHash {
  update(bytes: Uint8Array): void;
  /** The digest in lower-case hexadecimal. */
  finish(): string;
  free(): void;
}

/** How stubbornly a download goes on. */
export interface RetryPolicy {
  /** Connections that may fail one after the other before the download gives up; a mebibyte received starts the count anew. */
  attempts: number;
  /** Milliseconds before the second attempt; doubled for each further one. */
  firstDelay: number;
  /** Milliseconds without a byte after which a connection counts as dropped. */
  stall: number;
  /** The longest `Retry-After`, in milliseconds, that is waited for; a longer one is an error that names it. */
  longestWait: number;
}

/** What a store is built on. */
export interface StoreDependencies {
  newHash(): IncrementalHash;
  /**
   * Asks the page to ask the browser (`navigator.storage.persist()`) not to evict what is stored: workers cannot ask
   * themselves. Called once per origin, after the first finished download, and by {@link ModelStore.persist}.
   */
  askPersist?(): Promise<boolean>;
  /** Differences from the usual {@link RetryPolicy}. */
  retry?: Partial<RetryPolicy>;
}

/** What a file has to begin as: GGUF or safetensors, a JSON object, or text that is no web page. */
export type FileFormat = "weights" | "json" | "text";

/** A file to have in the store. */
export interface FetchRequest extends RemoteFile {
  /** Checked while the file comes in; default `weights`. */
  format?: FileFormat;
  /** Stops with `aborted`; what was downloaded is kept. */
  signal?: AbortSignal;
  onProgress?(progress: TransferProgress): void;
}

/** A stored file, open for reading. */
export interface StoredSource extends ByteSource {
  /** What `ModelStore.remove` takes. */
  readonly key: string;
  /** SHA-256 of the file, in lower-case hexadecimal. */
  readonly sha256: string;
  /** Paths of files that were not beside this one when {@link rememberAbsent} was last called; none if it was not. */
  absent(): Promise<string[]>;
  /** Remembers that files are not beside this one, for as long as it is stored. */
  rememberAbsent(paths: string[]): Promise<void>;
  /** Ends reading: until then (or until its worker ends) the file cannot be removed. */
  close(): void;
}
