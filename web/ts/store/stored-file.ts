import { ParhelionError } from "../errors.js";
import type { Folder, Reader } from "./backend.js";
import { CHUNK_BYTES, chunkLength, chunksOf } from "./chunks.js";
import { sha256Hex } from "./digest.js";
import { storageFailure } from "./failure.js";
import type { Manifest } from "./manifest.js";
import { markDamaged, readAbsent, writeAbsent } from "./notes.js";
import { checkRange } from "./range.js";
import type { Bytes, StoredSource } from "./types.js";

/** Chunks kept in memory: the one that reads are in, the one read ahead, and one for reads elsewhere. */
const KEPT_CHUNKS = 3;

/**
 * A complete stored file, open for reading. Every chunk is compared with its recorded hash when it is read, so that what
 * comes out is what was downloaded. Reads may run at the same time, in any number of tabs.
 */
export class StoredFile implements StoredSource {
  readonly name: string;
  readonly size: number;
  readonly sha256: string;
  /** The latest chunks, oldest first. */
  private readonly kept = new Map<number, Promise<Bytes>>();
  /** The chunk that was asked for last. */
  private latest = -1;
  private closed = false;

  /** @internal `release` gives back the reader's lock. */
  constructor(
    readonly key: string,
    private readonly folder: Folder,
    private readonly reader: Reader,
    private readonly manifest: Manifest,
    private readonly release: () => void,
  ) {
    if (!manifest.complete || manifest.size === null || manifest.sha256 === null) {
      throw new ParhelionError("internal", `${manifest.name} was opened before it was complete.`);
    }
    this.name = manifest.name;
    this.size = manifest.size;
    this.sha256 = manifest.sha256;
  }

  /**
   * Exactly `length` bytes from `offset` on, in memory of their own.
   *
   * @throws ParhelionError `integrity` or `evicted` if the stored bytes are damaged or gone: fetching the file again then
   * downloads what is missing and nothing else; `option`, `disposed`, `storage`
   */
  async read(offset: number, length: number): Promise<Bytes> {
    checkRange(this.name, this.size, offset, length);
    if (this.closed) throw new ParhelionError("disposed", `${this.name} was closed; load it again.`);
    const result = new Uint8Array(length);
    const [first, end] = chunksOf(offset, length);
    for (let index = first; index < end; index++) {
      const chunk = await this.chunk(index);
      const start = index * CHUNK_BYTES;
      const from = Math.max(offset, start);
      const to = Math.min(offset + length, start + chunk.length);
      result.set(chunk.subarray(from - start, to - start), from - offset);
    }
    return result;
  }

  absent(): Promise<string[]> {
    return readAbsent(this.folder);
  }

  rememberAbsent(paths: string[]): Promise<void> {
    return writeAbsent(this.folder, paths);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.kept.clear();
    this.release();
  }

  /** A chunk; while the caller works on it, the next one is read if that is where reads are going. */
  private chunk(index: number): Promise<Bytes> {
    const forwards = index === this.latest + 1;
    this.latest = index;
    const chunk = this.keep(index);
    // If reading ahead fails, so will the read that wants the chunk.
    if (forwards && index + 1 < this.manifest.chunks.length) this.keep(index + 1).catch(() => undefined);
    return chunk;
  }

  private keep(index: number): Promise<Bytes> {
    const chunk = this.kept.get(index) ?? this.checked(index);
    this.kept.delete(index);
    this.kept.set(index, chunk);
    for (const oldest of this.kept.keys()) {
      if (this.kept.size <= KEPT_CHUNKS) break;
      this.kept.delete(oldest);
    }
    return chunk;
  }

  private async checked(index: number): Promise<Bytes> {
    try {
      const length = chunkLength(this.size, index);
      const bytes = await this.reader.chunk(index, length);
      if (bytes.length !== length)
        throw storageFailure(new DOMException("the file is too short", "NotFoundError"), "read from");
      if ((await sha256Hex(bytes)) !== this.manifest.chunks[index]) throw this.damaged(index, length);
      return bytes;
    } catch (cause) {
      this.kept.delete(index);
      await this.remember(cause);
      throw cause;
    }
  }

  /** Has the next fetch check everything. Where even that cannot be written, the failure itself is what matters. */
  private async remember(cause: unknown): Promise<void> {
    const damage = cause instanceof ParhelionError && (cause.code === "integrity" || cause.code === "evicted");
    if (damage) await markDamaged(this.folder).catch(() => undefined);
  }

  private damaged(index: number, length: number): ParhelionError {
    const start = index * CHUNK_BYTES;
    const message =
      `The stored copy of ${this.name} is damaged: bytes ${start} to ${start + length - 1} are not those that were ` +
      `downloaded. Load the model again: only the damaged part is downloaded.`;
    return new ParhelionError("integrity", message);
  }
}
