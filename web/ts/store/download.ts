import { ParhelionError } from "../errors.js";
import type { Folder, Writer } from "./backend.js";
import { CHUNK_BYTES, MAX_CHUNKS, type Gap, chunkCount, chunkLength, nextGap } from "./chunks.js";
import { sha256Hex } from "./digest.js";
import { beginsAs } from "./format.js";
import { QUOTA_ADVICE, formatBytes, throwIfAborted } from "./failure.js";
import { type Head, type Known, changed, host, notAModel } from "./http.js";
import type { Manifest } from "./manifest.js";
import { clearDamaged, writeManifest } from "./notes.js";
import type { ProgressMeter } from "./progress.js";
import { Transfer, type TransferOwner } from "./transfer.js";
import type { Bytes, FileFormat, IncrementalHash, RetryPolicy } from "./types.js";

/** What a download works with; the file's lock is held. */
export interface DownloadContext {
  readonly folder: Folder;
  readonly manifest: Manifest;
  readonly format: FileFormat;
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal | undefined;
  readonly meter: ProgressMeter;
  newHash(): IncrementalHash;
}

/**
 * Makes a stored file whole: one walk over its chunks, in which those that are there are checked against their recorded
 * hashes and all others are fetched. So a fresh download, one that was interrupted, and the repair of a damaged file are
 * the same thing. The hash of the whole file is computed on the way.
 *
 * @throws ParhelionError; after `no-ranges`, `changed` and `integrity` what is stored is of no use
 */
export async function completeFile(context: DownloadContext): Promise<void> {
  const writer = await context.folder.write();
  const hash = context.newHash();
  try {
    await new Walk(context, writer, hash).run();
  } finally {
    hash.free();
    writer.close();
  }
}

class Walk implements TransferOwner {
  readonly policy: RetryPolicy;
  readonly signal: AbortSignal | undefined;
  private readonly manifest: Manifest;
  private readonly transfer: Transfer;
  /** The chunk being put together. */
  private readonly buffer: Bytes = new Uint8Array(CHUNK_BYTES);
  /** Bytes of `buffer` that are filled, and that were given to the writer. */
  private filled = 0;
  private written = 0;
  /** The chunk that the walk is at: all before it are right. */
  private index = 0;
  private roomChecked = false;

  constructor(
    private readonly context: DownloadContext,
    private readonly writer: Writer,
    private readonly hash: IncrementalHash,
  ) {
    this.manifest = context.manifest;
    this.policy = context.policy;
    this.signal = context.signal;
    this.transfer = new Transfer(this.manifest.url, this);
  }

  async run(): Promise<void> {
    const { manifest } = this;
    while (manifest.size === null || this.index < chunkCount(manifest.size)) {
      throwIfAborted(this.signal);
      if (!(await this.checkStored())) await this.fill();
    }
    await this.finish();
  }

  known(): Known {
    const { size, etag, lastModified, complete } = this.manifest;
    const stored = this.position();
    // For the repair of a file that was complete, the hash of each chunk says more than the server's word on versions.
    return complete ? { size, etag: null, lastModified: null, stored } : { size, etag, lastModified, stored };
  }

  async accept(head: Head): Promise<void> {
    const { manifest } = this;
    manifest.etag ??= head.etag;
    manifest.lastModified ??= head.lastModified;
    manifest.size ??= head.size;
    if ((manifest.size ?? 0) > CHUNK_BYTES * MAX_CHUNKS) throw notAModel(manifest.url, "something over a tebibyte");
    await this.checkRoom();
    // Before any byte, so that a file that was begun can be recognised.
    await writeManifest(this.context.folder, manifest);
  }

  /** Bytes that are stored and right, up to where the walk is. */
  private position(): number {
    return this.index * CHUNK_BYTES + this.filled;
  }

  /** Whether the chunk is there and has the hash recorded for it; then the walk goes on behind it. */
  private async checkStored(): Promise<boolean> {
    const { manifest, index, writer } = this;
    const recorded = manifest.chunks[index] ?? null;
    if (recorded === null || writer.stored(index) < chunkLength(manifest.size, index)) return false;
    const bytes = (await writer.read(index)).subarray(0, chunkLength(manifest.size, index));
    if ((await sha256Hex(bytes)) !== recorded) return false;
    this.hash.update(bytes);
    this.index++;
    this.context.meter.update("verify", this.position(), manifest.size);
    return true;
  }

  /** Fetches the run of missing chunks that begins here. */
  private async fill(): Promise<void> {
    const { manifest } = this;
    const gap = this.gap();
    await this.keep(gap);
    const complete = manifest.size !== null && gap.from >= manifest.size;
    if (!complete) {
      for await (const piece of this.transfer.bytes(gap.from, gap.to)) await this.take(piece);
    }
    if (manifest.size === null) manifest.size = this.position();
    if (this.filled > 0) await this.seal();
  }

  private gap(): Gap {
    const { manifest, writer } = this;
    const state = (index: number) => ({
      hashed: (manifest.chunks[index] ?? null) !== null,
      stored: writer.stored(index),
    });
    return nextGap(this.index, manifest.size, state, manifest.expected);
  }

  /** Takes over what is there of a chunk that was begun. */
  private async keep(gap: Gap): Promise<void> {
    this.filled = this.written = gap.kept;
    if (gap.kept > 0) this.buffer.set((await this.writer.read(this.index)).subarray(0, gap.kept));
  }

  private async take(piece: Bytes): Promise<void> {
    let rest = piece;
    while (rest.length > 0) {
      const room = chunkLength(this.manifest.size, this.index) - this.filled;
      const part = rest.subarray(0, room);
      this.buffer.set(part, this.filled);
      this.filled += part.length;
      rest = rest.subarray(part.length);
      this.write(false);
      if (part.length === room) await this.seal();
    }
    this.context.meter.update("download", this.position(), this.manifest.size);
  }

  /** Hands the writer what came in, once its beginning shows that it is what was asked for. */
  private write(ended: boolean): void {
    if (this.index === 0) {
      const begins = beginsAs(this.context.format, this.buffer.subarray(0, this.filled), ended);
      if (begins === false) throw notAModel(this.manifest.url, "something else");
      if (begins === undefined) return;
    }
    this.writer.write(this.index, this.written, this.buffer.subarray(this.written, this.filled));
    this.written = this.filled;
  }

  /** Makes the chunk last: first its bytes, then the hash that says that they are there. */
  private async seal(): Promise<void> {
    const { manifest, index } = this;
    if (this.written < this.filled) this.write(true);
    const chunk = this.buffer.subarray(0, this.filled);
    const digest = await sha256Hex(chunk);
    if (manifest.complete && manifest.chunks[index] !== digest) throw changed(manifest.url);
    this.hash.update(chunk);
    await this.writer.seal(index, chunk);
    while (manifest.chunks.length < index) manifest.chunks.push(null);
    manifest.chunks[index] = digest;
    await writeManifest(this.context.folder, manifest);
    this.index++;
    this.filled = this.written = 0;
  }

  private async finish(): Promise<void> {
    const { manifest, context } = this;
    if (manifest.size === 0) throw notAModel(manifest.url, "an empty file");
    const sha256 = this.hash.finish();
    if (manifest.sha256 !== null && manifest.sha256 !== sha256) {
      const message =
        `The file from ${host(manifest.url)} is not the one asked for: its SHA-256 is ${sha256}, expected ` +
        `${manifest.sha256}. It was removed. Try again; if it happens again, the server has another version of the file.`;
      throw new ParhelionError("integrity", message);
    }
    manifest.sha256 = sha256;
    manifest.complete = true;
    await writeManifest(context.folder, manifest);
    await clearDamaged(context.folder);
    context.meter.update("download", manifest.size ?? 0, manifest.size);
  }

  /** Refuses a download that cannot fit, before its bytes come in. */
  private async checkRoom(): Promise<void> {
    const { size, name } = this.manifest;
    if (this.roomChecked || size === null || typeof navigator.storage?.estimate !== "function") return;
    this.roomChecked = true;
    const { quota, usage } = await navigator.storage.estimate();
    if (quota === undefined || usage === undefined) return;
    let missing = 0;
    for (let index = this.index; index < chunkCount(size); index++) {
      missing += Math.max(0, chunkLength(size, index) - this.writer.stored(index));
    }
    const free = Math.max(0, quota - usage);
    if (missing <= free) return;
    const message =
      `${name} needs ${formatBytes(missing)} more in the browser's storage, but only ${formatBytes(free)} are free for ` +
      `this site. ${QUOTA_ADVICE}`;
    throw new ParhelionError("quota", message);
  }
}
