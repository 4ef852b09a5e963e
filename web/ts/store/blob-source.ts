import type { ByteSource } from "../types.js";
import { ParhelionError } from "../errors.js";
import { checkRange } from "./range.js";
import type { Bytes } from "./types.js";

/** A file that the user picked or dropped, or any Blob: read in place, never copied or stored. */
export class BlobSource implements ByteSource {
  readonly name: string;
  readonly size: number;

  constructor(
    private readonly blob: Blob & { readonly name?: string },
    name?: string,
  ) {
    this.name = name ?? blob.name ?? "file";
    this.size = blob.size;
  }

  /**
   * Exactly `length` bytes from `offset` on.
   *
   * @throws ParhelionError `changed` if the file on disk is not any more what was picked; `option`, `storage`
   */
  async read(offset: number, length: number): Promise<Bytes> {
    checkRange(this.name, this.size, offset, length);
    try {
      const bytes = new Uint8Array(await this.blob.slice(offset, offset + length).arrayBuffer());
      if (bytes.length === length) return bytes;
    } catch (cause) {
      if (!(cause instanceof DOMException)) throw cause;
      if (cause.name === "NotReadableError" || cause.name === "NotFoundError") throw this.changed(cause);
      throw new ParhelionError("storage", `${this.name} could not be read (${cause.message}). Pick the file again.`, {
        cause,
      });
    }
    throw this.changed(undefined);
  }

  private changed(cause: unknown): ParhelionError {
    const message = `${this.name} was changed, moved or removed since it was picked. Pick the file again.`;
    return new ParhelionError("changed", message, { cause });
  }
}
