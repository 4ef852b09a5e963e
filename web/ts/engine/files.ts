/** Models as files that can be opened: what loading knows of them, wherever they lie. */
import { ParhelionError } from "../errors.js";
import type { FileFormat } from "../store/types.js";
import type { ByteRepository, ByteSource, RemoteFile, TransferProgress } from "../types.js";

/** A stored file, open for reading. */
export interface OpenFile extends ByteSource {
  readonly sha256: string;
  /** Files that were not beside it when it was last loaded. */
  absent(): Promise<string[]>;
  /** Remembers them for as long as the file is stored. */
  rememberAbsent(paths: string[]): Promise<void>;
  close(): void;
}

/** The part of the model store that loading needs. */
export interface FileStore {
  fetch(
    request: RemoteFile & { format?: FileFormat; signal?: AbortSignal; onProgress?(progress: TransferProgress): void },
  ): Promise<OpenFile>;
  fromBlob(file: Blob, name?: string): ByteSource;
}

/** A model's files, being opened. */
export interface OpenModel extends ByteRepository {
  /** The path of the file that is the model; undefined where the repository is. */
  readonly file: string | undefined;
  /** The same for the same contents of what was opened, as far as can be told without reading it. */
  identity(): Promise<string>;
  /** Notes that all that the model needs is here: the next load then asks nobody for what there was not. */
  settle(): Promise<void>;
  /** Ends reading, so that the files can be removed from the store. */
  close(): void;
}

/** Where a model is. */
export interface ModelPlace {
  /** What the session is called. */
  readonly title: string;
  /** Bytes of its weights, as far as that can be told without fetching them. Never rejects. */
  size(signal: AbortSignal): Promise<number | undefined>;
  open(store: FileStore, signal: AbortSignal, onProgress: (progress: TransferProgress) => void): OpenModel;
}

/** The error of a load that the page stopped. */
export function stopped(): ParhelionError {
  return new ParhelionError("aborted", "Loading was stopped.");
}

/** The same bytes, until the signal fires: so loading stops at its next read. */
export function stoppable(source: ByteSource, signal: AbortSignal): ByteSource {
  return {
    name: source.name,
    size: source.size,
    read: (offset, length) => (signal.aborted ? Promise.reject(stopped()) : source.read(offset, length)),
  };
}
