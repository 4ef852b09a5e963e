import { type Backend, type Folder, NOTE_BYTES, type Reader, type Writer } from "./backend.js";
import { CHUNK_BYTES } from "./chunks.js";
import { storageFailure } from "./failure.js";
import type { Bytes } from "./types.js";

/** The folder of the origin's private file system that all stored files lie in. */
const ROOT = "parhelion";
const BODY = "weights";
/** A worker that was killed may hold its file for a moment longer. */
const LOCKED_RETRIES = 40;
const LOCKED_DELAY = 100;

/** The store in the origin private file system; null where that, or writing in place, is missing. */
export async function openOpfs(): Promise<Backend | null> {
  if (typeof navigator.storage?.getDirectory !== "function") return null;
  if (typeof FileSystemFileHandle === "undefined" || !("createSyncAccessHandle" in FileSystemFileHandle.prototype))
    return null;
  try {
    const origin = await navigator.storage.getDirectory();
    return new OpfsBackend(await origin.getDirectoryHandle(ROOT, { create: true }));
  } catch {
    // Firefox in private windows offers the function, but it rejects.
    return null;
  }
}

class OpfsBackend implements Backend {
  constructor(private readonly root: FileSystemDirectoryHandle) {}

  async folders(): Promise<string[]> {
    const names: string[] = [];
    try {
      for await (const [name, handle] of this.root.entries()) if (handle.kind === "directory") names.push(name);
    } catch (cause) {
      throw storageFailure(cause, "list");
    }
    return names;
  }

  folder(name: string): Folder {
    return new OpfsFolder(this.root, name);
  }
}

class OpfsFolder implements Folder {
  constructor(
    private readonly root: FileSystemDirectoryHandle,
    private readonly name: string,
  ) {}

  async bytes(): Promise<number> {
    const handle = await this.existing(BODY);
    return handle === null ? 0 : (await handle.getFile()).size;
  }

  async write(): Promise<Writer> {
    try {
      return new OpfsWriter(await lockFile(await this.made(BODY)));
    } catch (cause) {
      throw storageFailure(cause, "write to");
    }
  }

  async read(): Promise<Reader> {
    const handle = await this.existing(BODY);
    if (handle === null) throw storageFailure(new DOMException("no such file", "NotFoundError"), "read from");
    return new OpfsReader(handle);
  }

  async readNote(name: string): Promise<string | null> {
    const handle = await this.existing(name);
    try {
      const file = await handle?.getFile();
      return file === undefined || file.size > NOTE_BYTES ? null : await file.text();
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === "NotFoundError") return null;
      throw storageFailure(cause, "read from");
    }
  }

  async writeNote(name: string, text: string): Promise<void> {
    try {
      const access = await lockFile(await this.made(name));
      try {
        access.truncate(0);
        writeAll(access, new TextEncoder().encode(text), 0);
        access.flush();
      } finally {
        access.close();
      }
    } catch (cause) {
      throw storageFailure(cause, "write to");
    }
  }

  async removeNote(name: string): Promise<void> {
    await removing(async () => (await this.root.getDirectoryHandle(this.name)).removeEntry(name));
  }

  async remove(): Promise<void> {
    await removing(() => this.root.removeEntry(this.name, { recursive: true }));
  }

  private async made(file: string): Promise<FileSystemFileHandle> {
    const folder = await this.root.getDirectoryHandle(this.name, { create: true });
    return folder.getFileHandle(file, { create: true });
  }

  private async existing(file: string): Promise<FileSystemFileHandle | null> {
    try {
      const folder = await this.root.getDirectoryHandle(this.name);
      return await folder.getFileHandle(file);
    } catch (cause) {
      if (cause instanceof DOMException && cause.name === "NotFoundError") return null;
      throw storageFailure(cause, "read from");
    }
  }
}

/** Writes in place, so that every byte written outlives the tab. */
class OpfsWriter implements Writer {
  constructor(private readonly access: FileSystemSyncAccessHandle) {}

  stored(index: number): number {
    return Math.max(0, Math.min(CHUNK_BYTES, this.access.getSize() - index * CHUNK_BYTES));
  }

  async read(index: number): Promise<Bytes> {
    const bytes = new Uint8Array(this.stored(index));
    const count = this.access.read(bytes, { at: index * CHUNK_BYTES });
    return bytes.subarray(0, count);
  }

  write(index: number, offset: number, bytes: Bytes): void {
    try {
      writeAll(this.access, bytes, index * CHUNK_BYTES + offset);
    } catch (cause) {
      throw storageFailure(cause, "write to");
    }
  }

  async seal(): Promise<void> {
    try {
      this.access.flush();
    } catch (cause) {
      throw storageFailure(cause, "write to");
    }
  }

  close(): void {
    this.access.close();
  }
}

class OpfsReader implements Reader {
  private file: Promise<File> | undefined;

  constructor(private readonly handle: FileSystemFileHandle) {}

  async chunk(index: number, length: number): Promise<Bytes> {
    try {
      return await this.slice(index, length);
    } catch (cause) {
      // A File is a snapshot: where another tab repaired the file, browsers ask for a fresh one.
      if (!(cause instanceof DOMException) || cause.name !== "NotReadableError")
        throw storageFailure(cause, "read from");
      this.file = undefined;
    }
    try {
      return await this.slice(index, length);
    } catch (cause) {
      throw storageFailure(cause, "read from");
    }
  }

  private async slice(index: number, length: number): Promise<Bytes> {
    this.file ??= this.handle.getFile();
    const start = index * CHUNK_BYTES;
    return new Uint8Array(await (await this.file).slice(start, start + length).arrayBuffer());
  }
}

/** Opens a file for writing in place, waiting a little for one who is about to let go of it. */
async function lockFile(handle: FileSystemFileHandle): Promise<FileSystemSyncAccessHandle> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await handle.createSyncAccessHandle();
    } catch (cause) {
      const locked = cause instanceof DOMException && cause.name === "NoModificationAllowedError";
      if (!locked || attempt >= LOCKED_RETRIES) throw cause;
      await new Promise((resolve) => setTimeout(resolve, LOCKED_DELAY));
    }
  }
}

function writeAll(access: FileSystemSyncAccessHandle, bytes: Bytes, at: number): void {
  const count = access.write(bytes, { at });
  if (count !== bytes.length) {
    throw new DOMException(`only ${count} of ${bytes.length} bytes were taken`, "QuotaExceededError");
  }
}

/** Runs a removal; what is not there counts as removed. */
async function removing(remove: () => Promise<void>): Promise<void> {
  try {
    await remove();
  } catch (cause) {
    if (cause instanceof DOMException && cause.name === "NotFoundError") return;
    throw storageFailure(cause, "remove from");
  }
}
