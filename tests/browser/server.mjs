// A static server that can misbehave: for the built page, for models, and for what goes wrong on the way to them.

import { createHash } from "node:crypto";
import { open, stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/** The strictest policy that the package promises to work under. */
export const CSP =
  "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' https: http:; " +
  "style-src 'self'; img-src 'self' data: blob:";

const TYPES = {
  ".css": "text/css; charset=utf-8",
  ".gguf": "application/octet-stream",
  ".html": "text/html; charset=utf-8",
  ".ico": "image/x-icon",
  ".js": "text/javascript; charset=utf-8",
  ".json": "application/json",
  ".mjs": "text/javascript; charset=utf-8",
  ".png": "image/png",
  ".svg": "image/svg+xml",
  ".wasm": "application/wasm",
  ".webmanifest": "application/manifest+json",
};

const PIECE = 64 * 1024;

/**
 * What a server does wrong with the requests for one path.
 * @typedef {object} Fault
 * @property {number} [times] only with the first so many requests that come after it was set; all of them if left out
 * @property {boolean} [ignoreRanges] answers 200 with the whole file, and says nothing of ranges
 * @property {boolean} [noLength] leaves out the length
 * @property {number} [cutAfter] breaks the connection after so many bytes of the body
 * @property {boolean} [html] answers 200 with a web page, as captive portals and wrong addresses do
 * @property {number} [status] answers with this status and a short text
 * @property {number[]} [flip] offsets in the file of bytes that are sent with every bit turned
 * @property {string} [etag] the entity tag to send instead of the file's
 * @property {number} [bytesPerSecond] sends no faster
 * @property {number} [delay] milliseconds before the answer begins
 */

/**
 * What a server was asked for one path.
 * @typedef {object} Traffic
 * @property {number} requests
 * @property {number} bytes bytes of bodies that were handed to the system
 * @property {(string | undefined)[]} ranges the `Range` header of each request
 */

/** A static server on a free port of this machine. Stop it with `close`. */
export class Server {
  #http;
  #root;
  #csp;
  #mounts = new Map();
  #handlers = new Map();
  #faults = new Map();
  #traffic = new Map();
  #offline = false;

  /**
   * @param {{ root?: string, csp?: string | null, port?: number }} options `root`: the folder served; `csp`: the policy
   *   sent with every answer, null for none; `port`: for a server that comes back at the same address
   */
  static async start({ root, csp = CSP, port = 0 } = {}) {
    const server = new Server();
    server.#root = root;
    server.#csp = csp;
    server.#http = createServer((request, response) => server.#answer(request, response));
    await new Promise((resolve, reject) => server.#http.once("error", reject).listen(port, "127.0.0.1", resolve));
    return server;
  }

  /** `http://127.0.0.1:PORT`, without a slash. */
  get origin() {
    return `http://127.0.0.1:${this.#http.address().port}`;
  }

  /** The address of a path: `url("/index.html")`. */
  url(path = "/") {
    return this.origin + path;
  }

  /** Serves a file of this machine (a path) or bytes (a Buffer or text) at `path`; returns its address. */
  mount(path, content) {
    this.#mounts.set(path, typeof content === "string" && !content.includes("\n") ? { file: content } : { bytes: Buffer.from(content) });
    return this.url(path);
  }

  /** Has `handler(request, response)` answer requests for `path`: for faults that need a script. */
  handle(path, handler) {
    this.#handlers.set(path, handler);
    return this.url(path);
  }

  /** Makes requests for `path` go wrong, instead of how they went wrong before; null: no more. @param {Fault | null} fault */
  fault(path, fault) {
    if (fault) this.#faults.set(path, { ...fault });
    else this.#faults.delete(path);
  }

  /** What was asked of `path` so far. @returns {Traffic} */
  traffic(path) {
    return this.#traffic.get(path) ?? { requests: 0, bytes: 0, ranges: [] };
  }

  /** Forgets what was asked so far. */
  resetTraffic() {
    this.#traffic.clear();
  }

  /** Breaks every connection and refuses new ones, until called with false. */
  offline(off = true) {
    this.#offline = off;
    if (off) this.#http.closeAllConnections();
  }

  async close() {
    this.#http.closeAllConnections();
    await new Promise((resolve) => this.#http.close(resolve));
  }

  async #answer(request, response) {
    try {
      if (this.#offline) return void request.socket.destroy();
      const path = decodeURIComponent(new URL(request.url, this.origin).pathname);
      const traffic = this.traffic(path);
      this.#traffic.set(path, traffic);
      traffic.requests += 1;
      traffic.ranges.push(request.headers.range);
      await this.#respond(request, response, path, traffic, this.#takeFault(path));
    } catch (error) {
      if (!response.headersSent) response.writeHead(500);
      response.end(String(error));
    }
  }

  #takeFault(path) {
    const fault = this.#faults.get(path) ?? {};
    if (fault.times !== undefined && --fault.times < 0) return {};
    return fault;
  }

  async #respond(request, response, path, traffic, fault) {
    if (fault.delay) await sleep(fault.delay);
    response.setHeader("access-control-allow-origin", "*");
    response.setHeader("access-control-allow-headers", "range, if-range");
    response.setHeader("access-control-expose-headers", "accept-ranges, content-length, content-range, etag");
    response.setHeader("x-content-type-options", "nosniff");
    if (this.#csp) response.setHeader("content-security-policy", this.#csp);
    if (request.method === "OPTIONS") return void response.writeHead(204).end();
    const handler = this.#handlers.get(path);
    if (handler) return void (await handler(request, response));
    if (fault.status) return text(response, fault.status, `status ${fault.status}`);
    if (fault.html) return text(response, 200, "<!doctype html><title>Sign in</title><p>Please sign in.", "text/html");
    const content = await this.#find(path);
    if (!content) return text(response, 404, "not found");
    try {
      await send(request, response, content, fault, traffic);
    } finally {
      await content.close();
    }
  }

  /** Opens what lies at `path`; undefined if nothing does. */
  async #find(path) {
    const mount = this.#mounts.get(path);
    const type = TYPES[extname(path)] ?? (path.endsWith("/") ? TYPES[".html"] : "application/octet-stream");
    if (mount?.bytes) return fromBytes(mount.bytes, type);
    if (mount) return fromFile(mount.file, type);
    if (!this.#root) return undefined;
    const relative = normalize(path.endsWith("/") ? `${path}index.html` : path);
    if (relative.split(sep).includes("..")) return undefined;
    return fromFile(join(this.#root, relative), type);
  }
}

function fromBytes(bytes, type) {
  const etag = `"${createHash("sha256").update(bytes).digest("hex").slice(0, 16)}"`;
  return { type, etag, size: bytes.length, read: async (at, length) => bytes.subarray(at, at + length), close: async () => {} };
}

async function fromFile(path, type) {
  const info = await stat(path).catch(() => undefined);
  if (!info?.isFile()) return undefined;
  const handle = await open(path);
  const read = async (at, length) => {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(length), 0, length, at);
    return buffer.subarray(0, bytesRead);
  };
  return { type, etag: `"${info.size.toString(16)}-${Math.round(info.mtimeMs).toString(16)}"`, size: info.size, read, close: () => handle.close() };
}

function text(response, status, body, type = "text/plain") {
  response.writeHead(status, { "content-type": type, "content-length": Buffer.byteLength(body), "cache-control": "no-store" });
  response.end(body);
}

/** The bytes that a request asks for: `[start, end)`, null for a range outside the file, undefined for the whole. */
function requestedRange(request, etag, size) {
  const header = request.headers.range;
  const condition = request.headers["if-range"];
  if (!header || (condition && condition !== etag)) return undefined;
  const match = /^bytes=(\d*)-(\d*)$/.exec(header);
  if (!match || (!match[1] && !match[2])) return undefined;
  const [first, last] = [match[1], match[2]];
  const start = first ? Number(first) : Math.max(0, size - Number(last));
  const end = first && last ? Math.min(size, Number(last) + 1) : size;
  return start < end ? [start, end] : null;
}

async function send(request, response, content, fault, traffic) {
  const etag = fault.etag ?? content.etag;
  const { size } = content;
  if (request.headers["if-none-match"] === etag) return void response.writeHead(304, { etag }).end();
  const range = fault.ignoreRanges ? undefined : requestedRange(request, etag, size);
  const headers = { "content-type": content.type, etag, "cache-control": "no-cache" };
  if (!fault.ignoreRanges) headers["accept-ranges"] = "bytes";
  if (range === null) return void response.writeHead(416, { ...headers, "content-range": `bytes */${size}` }).end();
  const [start, end] = range ?? [0, size];
  if (range) headers["content-range"] = `bytes ${start}-${end - 1}/${size}`;
  if (!fault.noLength) headers["content-length"] = end - start;
  response.writeHead(range ? 206 : 200, headers);
  if (request.method === "HEAD") return void response.end();
  await sendBody(response, content, [start, end], fault, traffic);
}

async function sendBody(response, content, [start, end], fault, traffic) {
  const cut = Math.min(end, start + (fault.cutAfter ?? Infinity));
  const piece = fault.bytesPerSecond ? Math.max(1, Math.min(PIECE, Math.ceil(fault.bytesPerSecond / 20))) : PIECE;
  for (let at = start; at < cut && !response.destroyed; ) {
    const bytes = Buffer.from(await content.read(at, Math.min(piece, cut - at)));
    if (!bytes.length) break;
    for (const offset of fault.flip ?? []) {
      if (offset >= at && offset < at + bytes.length) bytes[offset - at] ^= 0xff;
    }
    if (fault.bytesPerSecond) await sleep((1000 * bytes.length) / fault.bytesPerSecond);
    if (!response.write(bytes)) await drained(response);
    traffic.bytes += bytes.length;
    at += bytes.length;
  }
  if (cut < end) {
    // What was written goes out before the connection breaks.
    await new Promise((resolve) => response.write("", resolve));
    response.destroy();
  } else {
    response.end();
  }
}

/** Until the response takes more, or there is nobody left to take it. */
export function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}
