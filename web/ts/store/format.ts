import type { Bytes, FileFormat } from "./types.js";

/** Where the JSON of a safetensors file begins: after its length as an unsigned integer, and the most that this may be. */
const HEADER_START = 8;
const MAX_HEADER = 100_000_000;
/** Bytes that are looked at. */
const LOOK = 512;

/**
 * Whether a file's first bytes are those of its format; undefined if more are needed to tell, which `ended` rules out. What
 * it keeps out is what servers send in place of files: web pages, error messages, another format.
 */
export function beginsAs(format: FileFormat, head: Bytes, ended: boolean): boolean | undefined {
  const bytes = head.subarray(0, LOOK);
  const enough = ended || bytes.length === LOOK;
  if (format === "weights") return isWeights(bytes) ?? (ended ? false : undefined);
  const text = new TextDecoder("latin1").decode(bytes).trimStart();
  if (format === "json") return text === "" ? (enough ? false : undefined) : /^[{[]/.test(text);
  return enough ? !/^(?:\xef\xbb\xbf)?<(?:!doctype|html|head|body|\?xml)/i.test(text) : undefined;
}

function isWeights(bytes: Bytes): boolean | undefined {
  const magic = "GGUF";
  const begin = String.fromCharCode(...bytes.subarray(0, magic.length));
  if (magic.startsWith(begin)) return begin === magic ? true : undefined;
  if (bytes.length <= HEADER_START) return undefined;
  const length = new DataView(bytes.buffer, bytes.byteOffset).getBigUint64(0, true);
  return length <= MAX_HEADER && bytes[HEADER_START] === "{".charCodeAt(0);
}
