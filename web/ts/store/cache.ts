import { type Backend, type Folder, NOTE_BYTES, type Reader, type Writer } from "./backend.js";
import { CHUNK_BYTES } from "./chunks.js";
import { storageFailure } from "./failure.js";
import type { Bytes } from "./types.js";

const CACHE = "parhelion";
/** Caches are keyed by address; this one never resolves. A file's entries are `ORIGIN/folder/entry`. */
const ORIGIN = "https://parhelion.invalid";

/** The store in the Cache API, an entry for each chunk; null where that is missing. */
export async function openCache(): Promise<Backend | null> {
  if (typeof caches === "undefined") return null;
  try {
    return new CacheBackend(await caches.open(CACHE));
  } catch {
    // Some private windows offer it, but it rejects.
    return null;
  }
}

class CacheBackend implements Backend {
  constructor(private readonly cache: Cache) {}

  async folders(): Promise<string[]> {
    return [...new Set((await entries(this.cache)).map(([folder]) => folder))];
  }

  folder(name: string): Folder {
    return new CacheFolder(this.cache, name);
  }
}

class CacheFolder implements Folder {
  constructor(
    private readonly cache: Cache,
    private readonly name: string,
  ) {}

  async bytes(): Promise<number> {
    let total = 0;
    for (const length of (await this.lengths()).values()) total += length;
    return total;
  }

  async write(): Promise<Writer> {
    return new CacheWriter(this.cache, this.name, await this.lengths());
  }

  async read(): Promise<Reader> {
    const { cache, name } = this;
    return { chunk: (index) => readChunk(cache, name, index) };
  }

  async readNote(name: string): Promise<string | null> {
    const response = await guarded("read from", () => this.cache.match(address(this.name, name)));
    const text = await response?.blob();
    return text === undefined || text.size > NOTE_BYTES ? null : text.text();
  }

  async writeNote(name: string, text: string): Promise<void> {
    await put(this.cache, address(this.name, name), new TextEncoder().encode(text));
  }

  async removeNote(name: string): Promise<void> {
    await guarded("remove from", () => this.cache.delete(address(this.name, name)));
  }

  async remove(): Promise<void> {
    for (const [folder, entry] of await entries(this.cache)) {
      if (folder === this.name) await this.removeNote(entry);
    }
  }

  /** Bytes of each chunk that is there. */
  private async lengths(): Promise<Map<number, number>> {
    const lengths = new Map<number, number>();
    for (const [folder, entry] of await entries(this.cache)) {
      if (folder !== this.name || !/^\d+$/.test(entry)) continue;
      const response = await guarded("read from", () => this.cache.match(address(folder, entry)));
      const length = Number(response?.headers.get("content-length"));
      if (Number.isSafeInteger(length) && length > 0 && length <= CHUNK_BYTES) lengths.set(Number(entry), length);
    }
    return lengths;
  }
}

/** Entries cannot be added to, so a chunk is written when it is whole: a killed tab loses what came in of one chunk. */
class CacheWriter implements Writer {
  constructor(
    private readonly cache: Cache,
    private readonly folder: string,
    private readonly lengths: Map<number, number>,
  ) {}

  stored(index: number): number {
    return this.lengths.get(index) ?? 0;
  }

  read(index: number): Promise<Bytes> {
    return readChunk(this.cache, this.folder, index);
  }

  write(): void {}

  async seal(index: number, chunk: Bytes): Promise<void> {
    await put(this.cache, address(this.folder, String(index)), chunk);
    this.lengths.set(index, chunk.length);
  }

  close(): void {}
}

async function readChunk(cache: Cache, folder: string, index: number): Promise<Bytes> {
  return guarded("read from", async () => {
    const response = await cache.match(address(folder, String(index)));
    if (response === undefined) throw new DOMException(`no chunk ${index}`, "NotFoundError");
    return new Uint8Array(await response.arrayBuffer());
  });
}

async function put(cache: Cache, url: string, bytes: Bytes): Promise<void> {
  const response = new Response(bytes, { headers: { "content-length": String(bytes.length) } });
  await guarded("write to", () => cache.put(url, response));
}

function address(folder: string, entry: string): string {
  return `${ORIGIN}/${folder}/${entry}`;
}

/** Folder and name of every entry. */
async function entries(cache: Cache): Promise<[folder: string, entry: string][]> {
  const requests = await guarded("list", () => cache.keys());
  const parts = requests.map((request) => new URL(request.url).pathname.split("/"));
  return parts.flatMap(([, folder, entry]): [string, string][] => (folder && entry ? [[folder, entry]] : []));
}

async function guarded<T>(doing: string, action: () => Promise<T>): Promise<T> {
  try {
    return await action();
  } catch (cause) {
    throw storageFailure(cause, doing);
  }
}
