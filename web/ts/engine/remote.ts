/** Models on servers: each of their files is fetched into the browser's storage when it is opened. */
import { ParhelionError } from "../errors.js";
import { addressIn, partsOf } from "../paths.js";
import type { FileFormat } from "../store/types.js";
import type { ByteSource, RemoteFile, TransferProgress } from "../types.js";
import { stoppable } from "./files.js";
import type { FileStore, ModelPlace, OpenFile, OpenModel } from "./files.js";
import { shardsOf } from "./shards.js";
import { TransferSum } from "./transfer-sum.js";

const CONFIG = "config.json";
const WEIGHTS = "model.safetensors";
const INDEX = "model.safetensors.index.json";

/** What is known of a model's files before any is fetched. */
export interface RemoteSpec {
  /** What the session is called. */
  title: string;
  /** What its files are listed below in the store; GGUF files have names of their own. */
  folder: string;
  /** What messages call the place: its address. */
  name: string;
  /** Addresses of the folder, or of a file in it, best first. */
  bases: string[];
  /** The path of the file that is the model; undefined where the repository is. */
  file: string | undefined;
  /** That file as the page gave it. */
  given?: RemoteFile;
}

/** Files in one folder of a server, or of several that have the same. */
export class RemoteFiles implements ModelPlace {
  readonly title: string;
  readonly #spec: RemoteSpec;
  /** Paths that the server has not, for as long as this lives: they are asked for once. */
  readonly #absent = new Set<string>();

  constructor(spec: RemoteSpec) {
    this.#spec = spec;
    this.title = spec.title;
  }

  async size(signal: AbortSignal): Promise<number | undefined> {
    const { file = WEIGHTS, given } = this.#spec;
    if (given?.size !== undefined) return given.size;
    const sizes: (number | undefined)[] = [];
    for (const path of partsOf(file) ?? [file]) {
      sizes.push(await remoteSize(this.#spec, path, signal));
      if (sizes.includes(undefined)) return undefined;
    }
    return sizes.reduce<number>((sum, size) => sum + (size ?? 0), 0);
  }

  open(store: FileStore, signal: AbortSignal, onProgress: (progress: TransferProgress) => void): OpenModel {
    return new OpenFiles(this.#spec, this.#absent, { store, signal, onProgress });
  }
}

/** What files are fetched with. */
interface Means {
  store: FileStore;
  signal: AbortSignal;
  onProgress(progress: TransferProgress): void;
}

class OpenFiles implements OpenModel {
  readonly name: string;
  readonly file: string | undefined;
  readonly #spec: RemoteSpec;
  readonly #absent: Set<string>;
  readonly #means: Means;
  readonly #sum: TransferSum;
  readonly #opened = new Map<string, Promise<ByteSource | null>>();
  readonly #files = new Map<string, OpenFile>();
  /** Weights of several files that will be opened, until their sizes are asked for. */
  #coming: readonly string[];
  #closed = false;

  constructor(spec: RemoteSpec, absent: Set<string>, means: Means) {
    this.name = spec.name;
    this.file = spec.file;
    this.#spec = spec;
    this.#absent = absent;
    this.#means = means;
    this.#sum = new TransferSum(means.onProgress);
    this.#coming = (spec.file === undefined ? undefined : partsOf(spec.file)) ?? [];
  }

  open(path: string): Promise<ByteSource | null> {
    const opened = this.#opened.get(path) ?? this.#open(path);
    this.#opened.set(path, opened);
    return opened;
  }

  async identity(): Promise<string> {
    const hashes = [...this.#files].sort(([a], [b]) => (a < b ? -1 : 1)).map(([path, { sha256 }]) => [path, sha256]);
    const [[, only] = []] = hashes;
    if (hashes.length === 1 && only !== undefined) return only;
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(JSON.stringify(hashes)));
    return Array.from(new Uint8Array(digest), (byte) => byte.toString(16).padStart(2, "0")).join("");
  }

  async settle(): Promise<void> {
    // Where the note cannot be written, absent files are asked for again the next time.
    await this.#files.get(CONFIG)?.rememberAbsent([...this.#absent]).catch(() => undefined);
  }

  close(): void {
    this.#closed = true;
    for (const file of this.#files.values()) file.close();
  }

  async #open(path: string): Promise<ByteSource | null> {
    if (this.#absent.has(path)) return null;
    const format = formatOf(path, this.file);
    if (format === undefined) return this.#find(path);
    const file = await this.#fetch(path, format);
    if (file === undefined) return null;
    if (this.#closed) {
      file.close();
      throw new ParhelionError("disposed", `${file.name} was opened after its model was closed.`);
    }
    this.#files.set(path, file);
    this.#sum.finished(path, file.size);
    if (path === CONFIG) for (const absent of await file.absent()) this.#absent.add(absent);
    if (path === INDEX) this.#coming = await shardsOf(file);
    return stoppable(file, this.#means.signal);
  }

  /** Fetches a file; undefined where the server has none. That the model's own file is not there is an error. */
  async #fetch(path: string, format: FileFormat): Promise<OpenFile | undefined> {
    const { store, signal } = this.#means;
    const onProgress = (progress: TransferProgress): void => {
      if (progress.phase === "download" && this.#coming.includes(path)) void this.#measureComing();
      this.#sum.report(path, progress);
    };
    try {
      return await store.fetch({ ...request(this.#spec, path), format, signal, onProgress });
    } catch (thrown) {
      if (path === this.file || !(thrown instanceof ParhelionError) || thrown.code !== "not-found") throw thrown;
      this.#absent.add(path);
      return undefined;
    }
  }

  /** A file that is asked for only to say that it cannot be used: it is looked for and never fetched. */
  async #find(path: string): Promise<ByteSource | null> {
    const size = await remoteSize(this.#spec, path, this.#means.signal);
    if (size === undefined) return null;
    const refuse = (): Promise<never> => Promise.reject(new ParhelionError("unsupported-model", `${path} is of no format that is read.`));
    return { name: `${this.name}/${path}`, size, read: refuse };
  }

  /** Asks for the sizes of weights that are yet to come, one after the other, once it is known that any are downloaded. */
  async #measureComing(): Promise<void> {
    const coming = this.#coming;
    this.#coming = [];
    for (const path of coming) {
      if (this.#opened.has(path) || this.#closed) continue;
      const size = await remoteSize(this.#spec, path, this.#means.signal);
      if (size !== undefined) this.#sum.expect(path, size);
    }
  }
}

/** What a file has to look like; undefined for one that is not read. */
function formatOf(path: string, model: string | undefined): FileFormat | undefined {
  if (path === model || /\.(?:gguf|safetensors)$/i.test(path)) return "weights";
  if (path.endsWith(".json")) return path.startsWith("pytorch_model") ? undefined : "json";
  return path.endsWith(".jinja") ? "text" : undefined;
}

/** What the store is asked for. */
function request(spec: RemoteSpec, path: string): RemoteFile {
  if (path === spec.file && spec.given !== undefined) return spec.given;
  const name = /\.gguf$/i.test(path) ? path : `${spec.folder}/${path}`;
  return { url: spec.bases.map((base) => addressIn(base, path)), name };
}

/** The size that the server gives for a file; undefined if it has none or does not say. Never rejects. */
async function remoteSize(spec: RemoteSpec, path: string, signal: AbortSignal): Promise<number | undefined> {
  for (const url of [request(spec, path).url].flat()) {
    const response = await fetch(url, { method: "HEAD", signal }).catch(() => undefined);
    const length = Number(response?.ok === true ? response.headers.get("content-length") : Number.NaN);
    if (Number.isSafeInteger(length) && length > 0) return length;
  }
  return undefined;
}
