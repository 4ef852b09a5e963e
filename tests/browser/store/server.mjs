// A file server that fails in all the ways that servers do.
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join } from "node:path";
import { fileURLToPath } from "node:url";

const HERE = fileURLToPath(new URL(".", import.meta.url));
const DIST = process.env.PARHELION_WEB_DIST ?? fileURLToPath(new URL("../../../web/dist", import.meta.url));
const CSP = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'; worker-src 'self'; connect-src 'self' https: http:; style-src 'self'; img-src 'self' data: blob:";
const TYPES = { ".js": "text/javascript", ".html": "text/html" };
const PIECE = 64 * 1024;

/** Bytes that begin as a model file does and repeat nowhere; the same for the same seed. */
export function modelBytes(size, seed = 1) {
  const bytes = Buffer.alloc(Math.ceil(size / 4) * 4);
  let state = seed >>> 0 || 1;
  for (let i = 0; i < bytes.length; i += 4) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    bytes.writeInt32LE(state | 0, i);
  }
  bytes.write("GGUF", 0, "latin1");
  return bytes.subarray(0, size);
}

export function sha256(bytes) {
  return createHash("sha256").update(bytes).digest("hex");
}

/**
 * One file of the server, with its faults. All may be changed at any time; `log` has every request for it.
 * - `ranges: false` ignores Range; `etag`, `lastModified`, `type` are sent if set; `length: false` sends no Content-Length
 * - `holdAt`: bytes from this offset on wait until it is raised or unset
 * - `resetAt`: the connection breaks there, once for each number in the list
 * - `answers`: statuses (with headers) to answer with first: `[{status, headers, body}]`
 */
export class ServedFile {
  constructor(body, faults = {}) {
    Object.assign(this, { body, ranges: true, length: true, holdAt: Infinity, resetAt: [], answers: [], log: [] }, faults);
    this.etag ??= `"${sha256(body).slice(0, 16)}"`;
    this.type ??= "application/octet-stream";
  }

  /** Bytes of the file sent so far, over all requests. */
  get sent() {
    return this.log.reduce((sum, entry) => sum + entry.sent, 0);
  }

  async answer(request, response) {
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
    const entry = { from: range ? Number(range[1]) : 0, sent: 0, status: 200, headers: request.headers };
    this.log.push(entry);
    const planned = this.answers.shift();
    if (planned !== undefined) {
      entry.status = planned.status;
      response.writeHead(planned.status, planned.headers ?? {});
      return response.end(planned.body ?? "");
    }
    const { headers } = this;
    const ifRange = request.headers["if-range"];
    const partial = this.ranges && range !== null && (ifRange === undefined || ifRange === this.etag || ifRange === this.lastModified);
    const start = partial ? entry.from : 0;
    const end = partial && range[2] !== "" ? Math.min(Number(range[2]) + 1, this.body.length) : this.body.length;
    const head = { "content-type": this.type, ...(this.etag && { etag: this.etag }), ...headers };
    if (this.lastModified) head["last-modified"] = this.lastModified;
    if (partial && start >= this.body.length) {
      entry.status = 416;
      response.writeHead(416, { "content-range": `bytes */${this.body.length}` });
      return response.end();
    }
    if (this.length) head["content-length"] = end - start;
    if (partial) head["content-range"] = `bytes ${start}-${end - 1}/${this.body.length}`;
    entry.status = partial ? 206 : 200;
    response.writeHead(entry.status, head);
    await this.#send(response, entry, start, end);
  }

  async #send(response, entry, start, end) {
    for (let at = start; at < end && !response.destroyed; ) {
      const reset = this.resetAt.find((offset) => offset >= at);
      const stop = Math.min(at + PIECE, end, this.holdAt, reset ?? Infinity);
      if (stop > at) {
        if (!response.write(this.body.subarray(at, stop))) await drained(response);
        entry.sent += stop - at;
        at = stop;
      }
      if (at === reset) {
        this.resetAt.splice(this.resetAt.indexOf(reset), 1);
        // What was written has to reach the browser before the connection breaks.
        await new Promise((resolve) => setTimeout(resolve, 50));
        response.socket?.resetAndDestroy();
        return;
      }
      if (at >= this.holdAt) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    response.end();
  }
}

/** Waits until the connection takes more, or is gone. */
function drained(response) {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done).off("close", done);
      resolve();
    };
    response.on("drain", done).on("close", done);
  });
}

/** A server with an origin, and so with a storage, of its own. */
export async function startServer() {
  const files = new Map();
  const server = createServer(async (request, response) => {
    const path = new URL(request.url, "http://localhost").pathname;
    response.on("error", () => undefined);
    if (files.has(path)) return files.get(path).answer(request, response);
    await page(path, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://127.0.0.1:${server.address().port}`;
  const close = () => new Promise((resolve) => (server.close(resolve), server.closeAllConnections()));
  return { origin, files, close };
}

/** The test page, its scripts, and the compiled package. */
async function page(path, response) {
  const headers = { "content-security-policy": CSP, "cache-control": "no-store" };
  if (path === "/") {
    response.writeHead(200, { ...headers, "content-type": "text/html" });
    return response.end(`<!doctype html><title>store</title><script type="module" src="/store/page.js"></script><input type="file">`);
  }
  const file = path.startsWith("/dist/") ? join(DIST, path.slice("/dist".length)) : join(HERE, path.slice("/store".length));
  try {
    const body = await readFile(file);
    response.writeHead(200, { ...headers, "content-type": TYPES[extname(file)] ?? "application/octet-stream" });
    response.end(body);
  } catch {
    response.writeHead(404, headers).end();
  }
}
