import { ParhelionError, type ErrorCode } from "../errors.js";

/** `1234567890` as `1.2 GB`. */
export function formatBytes(bytes: number): string {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let unit = 0;
  for (; value >= 1000 && unit < units.length - 1; unit++) value /= 1000;
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 2 : 1)} ${units[unit]}`;
}

/** A typed error for what the browser's storage threw while `doing` something. */
export function storageFailure(cause: unknown, doing: string): ParhelionError {
  if (cause instanceof ParhelionError) return cause;
  const name = cause instanceof Error || cause instanceof DOMException ? cause.name : "";
  const [code, next] = meaning(name);
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ParhelionError(code, `Could not ${doing} the browser's storage (${name}: ${reason}). ${next}`, { cause });
}

function meaning(name: string): [ErrorCode, string] {
  switch (name) {
    case "QuotaExceededError":
      return ["quota", `What was downloaded so far is kept. ${QUOTA_ADVICE}`];
    case "NotFoundError":
      return ["evicted", "The browser or the user removed the stored file; load the model again to download it."];
    case "NoModificationAllowedError":
    case "InvalidStateError":
      return ["busy", "Another tab is using the file; close it, then try again."];
    default:
      return ["storage", "Reload the page; if it happens again, check the browser's site data settings and the disk."];
  }
}

/** What a user can do when there is no room. */
export const QUOTA_ADVICE =
  "List the stored models and remove some (Parhelion.storage), or free disk space, then try again.";

/** Ends with `aborted` if the signal fired. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw aborted(signal);
}

/** The error for a signal that fired. */
export function aborted(signal: AbortSignal | undefined): ParhelionError {
  const message = "The download was stopped. What is stored is kept, and the next attempt goes on from there.";
  return new ParhelionError("aborted", message, { cause: signal?.reason });
}
