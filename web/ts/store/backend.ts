import type { Bytes } from "./types.js";

/**
 * Where stored files lie: a folder for each file with its bytes in chunks and a few small notes beside them. Everything
 * rejects with ParhelionError: `quota`, `evicted`, `busy` or `storage`.
 */
export interface Backend {
  /** Names of all folders. */
  folders(): Promise<string[]>;
  /** The folder of this name, made when something is written to it. */
  folder(name: string): Folder;
}

/** The most bytes of a note: over twice the longest manifest, so that nothing written there can fill memory. */
export const NOTE_BYTES = 1 << 24;

/** A stored file with its notes. */
export interface Folder {
  /** Bytes stored of the file. */
  bytes(): Promise<number>;
  /** For reading and writing; only one writer at a time, in all tabs. */
  write(): Promise<Writer>;
  /** For reading, by as many as like to. */
  read(): Promise<Reader>;
  /** The text of a note; null if there is none of at most {@link NOTE_BYTES}. */
  readNote(name: string): Promise<string | null>;
  /** Puts a note in place of the one there; when interrupted, what it leaves does not parse. */
  writeNote(name: string, text: string): Promise<void>;
  removeNote(name: string): Promise<void>;
  /** Removes the file and its notes; the folder may be missing. */
  remove(): Promise<void>;
}

/** A stored file that is being written, chunk by chunk. */
export interface Writer {
  /** Bytes there of a chunk, counted from the chunk's start. */
  stored(index: number): number;
  /** The bytes there of a chunk. */
  read(index: number): Promise<Bytes>;
  /** Takes bytes at an offset in a chunk; kept over a killed tab where the backend can, at the latest after `seal`. */
  write(index: number, offset: number, bytes: Bytes): void;
  /** Makes a whole chunk, all of which was given to `write`, last. */
  seal(index: number, chunk: Bytes): Promise<void>;
  close(): void;
}

/** A stored file that is being read. */
export interface Reader {
  /** The bytes of a chunk; `length` is what they are known to be. */
  chunk(index: number, length: number): Promise<Bytes>;
}
