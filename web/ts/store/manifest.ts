import { ParhelionError } from "../errors.js";
import { CHUNK_BYTES, MAX_CHUNKS, chunkCount } from "./chunks.js";

/** The version of the stored format that this code writes. */
export const MANIFEST_VERSION = 1;

/** What is kept beside the bytes of a stored file. */
export interface Manifest {
  version: typeof MANIFEST_VERSION;
  /** Counts writes: of two copies the one with the higher number is the newer. */
  generation: number;
  /** The name for people. */
  name: string;
  /** The address that the bytes came from. */
  url: string;
  /** Bytes of the whole file; null until the server said. */
  size: number | null;
  /** SHA-256 of the whole file: expected until it is complete, measured from then on; null if neither is known. */
  sha256: string | null;
  /** Whether `sha256` was known before the download, so that the file was compared with it. */
  expected: boolean;
  complete: boolean;
  /** What the server gave to recognise this version of the file by. */
  etag: string | null;
  lastModified: string | null;
  /** Milliseconds since 1970. */
  lastUsed: number;
  /** SHA-256 of each chunk in hexadecimal; null for one that is not there yet. */
  chunks: (string | null)[];
}

const HASH = /^[0-9a-f]{64}$/;
const MAX_TEXT = 8192;

/**
 * The manifest in `text`; null if it is none (torn by a crash, or not written by this code): everything in it is checked,
 * as anything with access to the origin can write there.
 *
 * @throws ParhelionError `storage` if a newer version wrote it
 */
export function parseManifest(text: string): Manifest | null {
  const value = parseObject(text);
  if (value === null) return null;
  const { version, generation, lastUsed, size, chunks, complete, sha256 } = value;
  if (isCount(version) && version > MANIFEST_VERSION) {
    const message =
      "This file was stored by a newer version of parhelion. Reload the page to get that version, or remove the file.";
    throw new ParhelionError("storage", message);
  }
  const sound =
    version === MANIFEST_VERSION &&
    value["chunkBytes"] === CHUNK_BYTES &&
    isCount(generation) &&
    isCount(lastUsed) &&
    isText(value["name"]) &&
    isAddress(value["url"]) &&
    isNullOr(isCount, size) &&
    isNullOr(isHash, sha256) &&
    isNullOr(isText, value["etag"]) &&
    isNullOr(isText, value["lastModified"]) &&
    typeof complete === "boolean" &&
    typeof value["expected"] === "boolean" &&
    areChunks(chunks, size as number | null);
  if (!sound) return null;
  const finished =
    size !== null &&
    sha256 !== null &&
    (chunks as unknown[]).length === chunkCount(size as number) &&
    !(chunks as unknown[]).includes(null);
  return complete && !finished ? null : (value as unknown as Manifest);
}

/** The text that {@link parseManifest} reads. */
export function serialiseManifest(manifest: Manifest): string {
  return JSON.stringify({ ...manifest, chunkBytes: CHUNK_BYTES });
}

/** A manifest for a file of which nothing is there. */
export function newManifest(name: string, url: string, size: number | null, sha256: string | null): Manifest {
  return {
    version: MANIFEST_VERSION,
    generation: 0,
    name,
    url,
    size,
    sha256,
    expected: sha256 !== null,
    complete: false,
    etag: null,
    lastModified: null,
    lastUsed: Date.now(),
    chunks: [],
  };
}

function parseObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value)
      ? (value as Record<string, unknown>)
      : null;
  } catch {
    return null;
  }
}

function isNullOr(check: (value: unknown) => boolean, value: unknown): boolean {
  return value === null || check(value);
}

function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value.length <= MAX_TEXT;
}

function isHash(value: unknown): value is string {
  return typeof value === "string" && HASH.test(value);
}

function isAddress(value: unknown): boolean {
  return isText(value) && /^https?:\/\//.test(value) && URL.canParse(value);
}

function areChunks(value: unknown, size: number | null): boolean {
  const most = size === null ? MAX_CHUNKS : Math.min(MAX_CHUNKS, chunkCount(size));
  return Array.isArray(value) && value.length <= most && value.every((hash) => isNullOr(isHash, hash));
}
