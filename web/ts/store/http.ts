import { ParhelionError } from "../errors.js";
import { formatBytes } from "./failure.js";

/** What identifies one version of a file on a server. */
export interface Validators {
  etag: string | null;
  lastModified: string | null;
}

/** What is known about a file before a request for part of it. */
export interface Known extends Validators {
  /** Bytes of the whole file, if known. */
  size: number | null;
  /** Bytes of it that are stored. */
  stored: number;
}

/** What the head of an accepted response says. */
export interface Head extends Validators {
  /** Bytes of the whole file, if said. */
  size: number | null;
}

/** A response that may be better next time. */
export class Retriable extends Error {
  /** @param after milliseconds that the server asked to wait, if it did */
  constructor(
    message: string,
    readonly after: number | null,
  ) {
    super(message);
  }
}

/** The headers of a request for the bytes from `from` up to `to` (all others if null). */
export function rangeHeaders(url: string, from: number, to: number | null, known: Validators): Headers {
  // Asked for from the first byte on too: browsers then ask for no compression, and the answer tells if parts can be had.
  const headers = new Headers({ range: `bytes=${from}-${to === null ? "" : to - 1}` });
  // To other origins it would cost a preflight request that many file servers refuse; there the answer's own headers,
  // which are compared in any case, have to do. Weak tags cannot be sent.
  const strong = known.etag !== null && !known.etag.startsWith("W/") ? known.etag : known.lastModified;
  if (from > 0 && strong !== null && new URL(url).origin === location.origin) headers.set("if-range", strong);
  return headers;
}

/**
 * Accepts a response to a request for the bytes from `from` on.
 *
 * @throws Retriable if the server is busy or failing
 * @throws ParhelionError `not-found`, `network`, `not-a-model`, `integrity` (wrong size), `changed` or `no-ranges`
 */
export function acceptResponse(response: Response, from: number, to: number | null, known: Known): Head {
  const { status, headers } = response;
  if (status === 416) throw changed(response.url);
  if (!response.ok) throw refused(response);
  if (/^\s*(text\/html|application\/xhtml)/i.test(headers.get("content-type") ?? ""))
    throw notAModel(response.url, "a web page");
  const validators = { etag: headers.get("etag"), lastModified: headers.get("last-modified") };
  if (differs(known.etag, validators.etag) || differs(known.lastModified, validators.lastModified))
    throw changed(response.url);
  const size = status === 206 ? sizeOfPart(response, from, to) : contentLength(headers);
  if (known.size !== null && size !== null && size !== known.size) {
    throw known.stored > 0 ? changed(response.url) : wrongSize(response.url, known.size, size);
  }
  if (status !== 206 && from > 0) throw noRanges(response.url);
  return { ...validators, size };
}

/** A body that does not begin as a model does. */
export function notAModel(url: string, what: string): ParhelionError {
  const message =
    `${host(url)} sent ${what} instead of a model's file. Check that the address is that of the file itself: ${url}; ` +
    `on networks with a login page, log in first.`;
  return new ParhelionError("not-a-model", message);
}

/** A file that is no longer the one whose beginning is stored. */
export function changed(url: string): ParhelionError {
  const message =
    `The file on ${host(url)} changed since its download began. What was stored of the old one was removed; ` +
    `load it again to download the new one.`;
  return new ParhelionError("changed", message);
}

/** Where an address leads, for messages. */
export function host(url: string): string {
  return URL.canParse(url) ? new URL(url).host : url;
}

/** Milliseconds of a `Retry-After` header: seconds, or a date; null if it says nothing. */
export function retryAfter(value: string | null, now: number): number | null {
  if (value === null) return null;
  const text = value.trim();
  const time = /^\d+$/.test(text) ? Number(text) * 1000 : Date.parse(text) - now;
  return Number.isFinite(time) ? Math.max(0, time) : null;
}

function refused(response: Response): ParhelionError | Retriable {
  const { status, url } = response;
  if (status === 404 || status === 410) {
    return new ParhelionError(
      "not-found",
      `${host(url)} has no such file (status ${status}). Check the address: ${url}`,
    );
  }
  if (status === 401 || status === 403) {
    const message =
      `${host(url)} does not allow this download (status ${status}). If the model needs a login or an accepted ` +
      `licence, download it there and open the file instead.`;
    return new ParhelionError("network", message);
  }
  if (status === 408 || status === 425 || status === 429 || status >= 500) {
    return new Retriable(
      `${host(url)} answered with status ${status}`,
      retryAfter(response.headers.get("retry-after"), Date.now()),
    );
  }
  return new ParhelionError("network", `${host(url)} refused the download (status ${status}). Try another address.`);
}

/** The size of the whole file that a 206 response is part of; checks that it is the part asked for. */
function sizeOfPart(response: Response, from: number, to: number | null): number | null {
  const range = response.headers.get("content-range");
  const length = contentLength(response.headers);
  // Other origins show this header only if they choose to; an open range then ends with the file.
  if (range === null) return length === null || to !== null ? null : from + length;
  const match = /^\s*bytes\s+(\d{1,15})-(\d{1,15})\/(\d{1,15}|\*)\s*$/i.exec(range);
  if (match === null || Number(match[1]) !== from) throw noRanges(response.url);
  return match[3] === "*" ? null : Number(match[3]);
}

function contentLength(headers: Headers): number | null {
  const value = headers.get("content-length");
  // The length of a compressed body is not that of the file.
  if (value === null || headers.get("content-encoding") !== null || !/^\d{1,15}$/.test(value)) return null;
  return Number(value);
}

function differs(before: string | null, now: string | null): boolean {
  return before !== null && now !== null && before !== now;
}

function noRanges(url: string): ParhelionError {
  const message =
    `${host(url)} cannot send the rest of a file, so this download could not go on where it had stopped. ` +
    `What was stored was removed; the next attempt starts from the beginning. Use another address if the connection often drops.`;
  return new ParhelionError("no-ranges", message);
}

function wrongSize(url: string, expected: number, got: number): ParhelionError {
  const message =
    `The file on ${host(url)} has ${formatBytes(got)} (${got}), but ${formatBytes(expected)} (${expected}) were expected. ` +
    `It is another version of the file; check the address or the size asked for.`;
  return new ParhelionError("integrity", message);
}
