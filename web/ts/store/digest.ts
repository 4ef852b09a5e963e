import type { Bytes } from "./types.js";

/** SHA-256 by WebCrypto, off this thread, in lower-case hexadecimal. */
export async function sha256Hex(bytes: Bytes): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
