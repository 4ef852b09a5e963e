import { ParhelionError } from "../errors.js";
import type { ByteSource, StorageUsage, StoredEntry, TransferProgress } from "../types.js";
import type { Backend, Folder } from "./backend.js";
import { BlobSource } from "./blob-source.js";
import { openCache } from "./cache.js";
import { usableBytes } from "./chunks.js";
import { type DownloadContext, completeFile } from "./download.js";
import { throwIfAborted } from "./failure.js";
import { Announcer, hear, ifUnchanging, startReading, whileChanging, withoutReaders } from "./locks.js";
import { type Manifest, newManifest } from "./manifest.js";
import { isDamaged, readManifest, setPersistAsked, wasPersistAsked, writeManifest } from "./notes.js";
import { openOpfs } from "./opfs.js";
import { ProgressMeter } from "./progress.js";
import { type Wanted, isKey, wantedFile } from "./request.js";
import { StoredFile } from "./stored-file.js";
import { RETRY_POLICY } from "./transfer.js";
import type { FetchRequest, StoreDependencies } from "./types.js";

/** After these, what is stored is of no use. */
const USELESS = new Set(["no-ranges", "changed", "integrity"]);
/** After these, another address may do better. */
const ELSEWHERE = new Set([...USELESS, "network", "not-found", "not-a-model"]);

/**
 * The models stored in this browser, for all tabs of the origin: in the origin private file system, or in the Cache API
 * where that is missing. For dedicated workers, as only those may write in place.
 */
export class ModelStore {
  private constructor(
    private readonly opened: Backend | ParhelionError,
    private readonly deps: StoreDependencies,
  ) {}

  /**
   * Never rejects: where the browser offers no storage, local files can be read all the same, and everything else rejects
   * with `storage`.
   */
  static async open(deps: StoreDependencies): Promise<ModelStore> {
    return new ModelStore(await openBackend(), deps);
  }

  /**
   * The file asked for: from the store if it is there, else downloaded, going on where an earlier download stopped and
   * fetching again only what was found damaged. If another tab is at it, its download is waited for; if that tab dies,
   * this one goes on.
   *
   * The result holds the file open: close it when it is read, or it cannot be removed until the worker ends. Addresses are
   * absolute (or relative to the worker's). Progress is reported a few times a second.
   *
   * @throws ParhelionError `option`, `network`, `not-found`, `not-a-model`, `no-ranges`, `changed`, `integrity`, `quota`,
   * `evicted`, `storage`, `busy`, `aborted`
   */
  async fetch(request: FetchRequest): Promise<StoredFile> {
    this.backend();
    const wanted = await wantedFile(request, location.href);
    throwIfAborted(request.signal);
    const waiting = (): (() => void) => {
      const meter = new ProgressMeter((progress) => request.onProgress?.(progress), 0);
      meter.update("wait", 0, wanted.size);
      const stop = hear(wanted.key, (done, total) => meter.update("wait", done, total));
      return () => {
        stop();
        meter.flush();
      };
    };
    return whileChanging(wanted.key, request.signal, waiting, async () => {
      const manifest = await this.completed(wanted, request);
      return this.reading(wanted.key, manifest);
    });
  }

  /** A local file, or any Blob, as a model's source: read in place. `name`, if it is not to be called by its own. */
  fromBlob(file: Blob & { readonly name?: string }, name?: string): ByteSource {
    return new BlobSource(file, name);
  }

  /** All that is stored, whole or in part, the last used first. */
  async list(): Promise<StoredEntry[]> {
    const keys = (await this.backend().folders()).filter(isKey);
    const entries = await Promise.all(keys.map((key) => this.entry(key)));
    return entries.sort((a, b) => b.lastUsed - a.lastUsed);
  }

  /**
   * Removes a stored file; one that is not there counts as removed.
   *
   * @throws ParhelionError `busy` if a tab downloads or reads it; `option` if `key` is none of `list`
   */
  async remove(key: string): Promise<void> {
    this.backend();
    if (!isKey(key))
      throw new ParhelionError("option", `"${key}" is no key of a stored model; take it from the list of them.`);
    await ifUnchanging(key, () => this.drop(key));
  }

  /**
   * Removes all stored files.
   *
   * @throws ParhelionError `busy` if some were in use; all others are removed then
   */
  async clear(): Promise<void> {
    const keys = (await this.backend().folders()).filter(isKey);
    const results = await Promise.allSettled(keys.map((key) => this.remove(key)));
    for (const result of results) if (result.status === "rejected") throw result.reason;
  }

  /** Room in the browser's storage; zeros where the browser does not say. */
  async usage(): Promise<StorageUsage> {
    const { usage = 0, quota = 0 } = (await navigator.storage?.estimate?.()) ?? {};
    return { usage, quota, persisted: (await navigator.storage?.persisted?.()) ?? false };
  }

  /** Asks the browser not to evict what is stored; whether it agreed. False where there is no page to ask through. */
  async persist(): Promise<boolean> {
    if (this.deps.askPersist === undefined) return false;
    await setPersistAsked(this.backend());
    return this.deps.askPersist();
  }

  /** The storage; where there is none, most of what storing is built on is missing too, so this is asked for first. */
  private backend(): Backend {
    if (this.opened instanceof ParhelionError) throw this.opened;
    return this.opened;
  }

  /** The manifest of the wanted file, which is complete then. */
  private async completed(wanted: Wanted, request: FetchRequest): Promise<Manifest> {
    const folder = this.backend().folder(wanted.key);
    let manifest = await readManifest(folder);
    if (manifest !== null && wanted.size !== null && manifest.size !== null && manifest.size !== wanted.size) {
      await this.drop(wanted.key);
      manifest = null;
    }
    if (manifest?.complete && (await isWhole(folder, manifest))) {
      manifest.lastUsed = Date.now();
      await writeManifest(folder, manifest);
      return manifest;
    }
    const damaged = manifest?.complete ?? false;
    try {
      return await this.fromAny(wanted, request, manifest);
    } catch (cause) {
      throw damaged && cause instanceof ParhelionError ? evicted(wanted.name, cause) : cause;
    }
  }

  /** Downloads from the first address that has the file, beginning with the one it came from so far. */
  private async fromAny(wanted: Wanted, request: FetchRequest, manifest: Manifest | null): Promise<Manifest> {
    const before = manifest?.url;
    const urls = [...wanted.urls].sort((a, b) => Number(b === before) - Number(a === before));
    const failures: ParhelionError[] = [];
    for (const url of urls) {
      try {
        return await this.from(url, wanted, request);
      } catch (cause) {
        if (!(cause instanceof ParhelionError) || !ELSEWHERE.has(cause.code)) throw cause;
        failures.push(cause);
      }
    }
    const last = failures[failures.length - 1];
    if (last === undefined) throw new ParhelionError("option", "No address to download from was given.");
    if (failures.length === 1) throw last;
    const message = `None of ${failures.length} addresses worked. ${failures.map((failure) => failure.message).join(" ")}`;
    throw new ParhelionError(last.code, message, { cause: last });
  }

  /** Downloads what is missing from one address. */
  private async from(url: string, wanted: Wanted, request: FetchRequest): Promise<Manifest> {
    const folder = this.backend().folder(wanted.key);
    const manifest = await this.begun(url, wanted);
    const stored = usableBytes(await folder.bytes(), manifest.size, manifest.expected);
    const announcer = new Announcer(wanted.key);
    const report = (progress: TransferProgress): void => {
      request.onProgress?.(progress);
      announcer.announce(progress.done, progress.total);
    };
    const context: DownloadContext = {
      folder,
      manifest,
      format: request.format ?? "weights",
      policy: { ...RETRY_POLICY, ...this.deps.retry },
      signal: request.signal,
      meter: new ProgressMeter(report, stored),
      newHash: () => this.deps.newHash(),
    };
    try {
      await completeFile(context);
    } catch (cause) {
      await this.tidy(wanted.key, cause);
      throw cause;
    } finally {
      context.meter.flush();
      announcer.close();
    }
    void this.askToPersistOnce();
    return manifest;
  }

  /** The manifest to go on with from an address: that of what is stored if it can be continued from there. */
  private async begun(url: string, wanted: Wanted): Promise<Manifest> {
    const folder = this.backend().folder(wanted.key);
    const stored = await readManifest(folder);
    if (stored?.url === url) return stored;
    // Hashes tell whether what another server sends fits what is here; without, the two must not be mixed.
    if (stored !== null && (stored.expected || stored.complete))
      return { ...stored, url, etag: null, lastModified: null };
    await this.drop(wanted.key);
    return newManifest(wanted.name, url, wanted.size, wanted.sha256);
  }

  /** Leaves nothing behind that is of no use. */
  private async tidy(key: string, cause: unknown): Promise<void> {
    const useless = cause instanceof ParhelionError && USELESS.has(cause.code);
    if (useless || (await this.backend().folder(key).bytes()) === 0) await this.drop(key);
  }

  private drop(key: string): Promise<void> {
    return withoutReaders(key, () => this.backend().folder(key).remove());
  }

  private async reading(key: string, manifest: Manifest): Promise<StoredFile> {
    const folder = this.backend().folder(key);
    const release = await startReading(key);
    try {
      return new StoredFile(key, folder, await folder.read(), manifest, release);
    } catch (cause) {
      release();
      throw cause;
    }
  }

  private async entry(key: string): Promise<StoredEntry> {
    const folder = this.backend().folder(key);
    const bytes = await folder.bytes();
    const manifest = await readManifest(folder).catch(() => null);
    if (manifest === null)
      return { key, name: "(unreadable)", url: "", bytes, size: bytes, complete: false, verified: false, lastUsed: 0 };
    const size = manifest.size ?? bytes;
    const complete = manifest.complete && (await isWhole(folder, manifest));
    const { name, url, expected, lastUsed } = manifest;
    return { key, name, url, bytes: Math.min(bytes, size), size, complete, verified: complete && expected, lastUsed };
  }

  /** After the first download only: people who keep models are those who want them kept. */
  private async askToPersistOnce(): Promise<void> {
    try {
      if (await wasPersistAsked(this.backend())) return;
      if (!((await navigator.storage?.persisted?.()) ?? false)) await this.persist();
    } catch {
      // What could not be asked now is asked after the next download.
    }
  }
}

/** Where files can be stored here, or why they cannot. */
async function openBackend(): Promise<Backend | ParhelionError> {
  if (typeof crypto.subtle === "undefined" || typeof navigator.locks === "undefined") {
    const message =
      "Browsers store files only for pages served by https or from localhost. Open the page there, or open a local model file.";
    return new ParhelionError("storage", message);
  }
  const message =
    "The browser offers no storage here (private window, or site data blocked). Allow it, or open a local model file.";
  return (await openOpfs()) ?? (await openCache()) ?? new ParhelionError("storage", message);
}

/** Whether all bytes of a complete file are there and no read found damage. */
async function isWhole(folder: Folder, manifest: Manifest): Promise<boolean> {
  return (await folder.bytes()) >= (manifest.size ?? Infinity) && !(await isDamaged(folder));
}

/** A complete file that lost bytes since, and why they could not be had again. */
function evicted(name: string, cause: ParhelionError): ParhelionError {
  if (cause.code !== "network" && cause.code !== "not-found") return cause;
  const message = `The stored copy of ${name} was damaged, or removed by the browser, and could not be mended: ${cause.message}`;
  return new ParhelionError("evicted", message, { cause });
}
