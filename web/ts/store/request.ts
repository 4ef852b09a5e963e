import { ParhelionError } from "../errors.js";
import { CHUNK_BYTES, MAX_CHUNKS } from "./chunks.js";
import { sha256Hex } from "./digest.js";
import type { FetchRequest } from "./types.js";

/** A {@link FetchRequest} whose parts were checked. */
export interface Wanted {
  /** The name of the file's folder: a hash, so that no address or name can lead anywhere else. */
  key: string;
  name: string;
  /** Absolute addresses, best first; at least one. */
  urls: string[];
  /** Lower-case hexadecimal, or null if not known. */
  sha256: string | null;
  size: number | null;
}

/** Keys as {@link wantedFile} makes them. */
export function isKey(value: string): boolean {
  return /^[0-9a-f]{32}$/.test(value);
}

/**
 * Checks a request. The key comes from the SHA-256 if it is known, so that mirrors and renamed copies of a file are
 * stored once; from the first address otherwise.
 *
 * @throws ParhelionError `option`
 */
export async function wantedFile(request: FetchRequest, base: string): Promise<Wanted> {
  const given = typeof request.url === "string" ? [request.url] : request.url;
  const urls = given.map((url) => absolute(url, base));
  const first = urls[0];
  if (first === undefined) throw option("No address to download from was given.");
  const sha256 = request.sha256?.toLowerCase() ?? null;
  if (sha256 !== null && !/^[0-9a-f]{64}$/.test(sha256)) {
    throw option(`sha256 must be 64 hexadecimal digits, not "${request.sha256}".`);
  }
  const size = request.size ?? null;
  if (size !== null && !(Number.isSafeInteger(size) && size > 0 && size <= CHUNK_BYTES * MAX_CHUNKS)) {
    throw option(`size must be a whole number of bytes from 1 to 2^40, not ${size}.`);
  }
  const identity = sha256 === null ? `url:${first}` : `sha256:${sha256}`;
  const digest = await sha256Hex(new TextEncoder().encode(identity));
  return { key: digest.slice(0, 32), name: fileName(request.name, first), urls, sha256, size };
}

function absolute(url: string, base: string): string {
  const parsed = URL.canParse(url, base) ? new URL(url, base) : undefined;
  if (parsed === undefined || !/^https?:$/.test(parsed.protocol)) {
    throw option(`"${url}" is no http or https address.`);
  }
  parsed.hash = "";
  return parsed.href;
}

/** The given name, else the last part of the address; without control characters, and short enough to show. */
function fileName(given: string | undefined, url: string): string {
  const last =
    new URL(url).pathname
      .split("/")
      .filter((part) => part !== "")
      .pop() ?? "model";
  const cleaned = (given ?? decoded(last)).replace(/\p{C}/gu, "").trim().slice(0, 200);
  return cleaned === "" ? "model" : cleaned;
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

function option(message: string): ParhelionError {
  return new ParhelionError("option", message);
}
