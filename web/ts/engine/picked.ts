/** Models whose files the user picked: read where they lie. */
import type { WireFile } from "../protocol.js";
import type { ByteSource } from "../types.js";
import { stoppable } from "./files.js";
import type { FileStore, ModelPlace, OpenModel } from "./files.js";

/** Files on this device. */
export class PickedFiles implements ModelPlace {
  readonly title: string;
  readonly #files: ReadonlyMap<string, Blob>;
  readonly #file: string | undefined;

  /** @param file the path of the one that is the model; undefined if all together are */
  constructor(title: string, files: readonly WireFile[], file: string | undefined) {
    this.#files = new Map(files.map(({ path, blob }) => [path, blob]));
    this.#file = file;
    this.title = title;
  }

  size(): Promise<number> {
    const weights = [...this.#files].filter(([path]) => this.#files.size === 1 || /\.(?:gguf|safetensors)$/i.test(path));
    return Promise.resolve(weights.reduce((sum, [, { size }]) => sum + size, 0));
  }

  open(store: FileStore, signal: AbortSignal): OpenModel {
    const opened = new Map<string, ByteSource>();
    return {
      name: this.title,
      file: this.#file,
      open: async (path) => {
        const blob = this.#files.get(path);
        if (blob === undefined) return null;
        const source = stoppable(store.fromBlob(blob, path), signal);
        opened.set(path, source);
        return source;
      },
      identity: async () => [...opened.values()].map(({ name, size }) => `${name} ${size}`).join("\n"),
      settle: async () => undefined,
      close: () => undefined,
    };
  }
}
