// Files served with faults that are scripted to the byte.
import { createHash } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";

import { drained } from "../server.mjs";

/** Bytes of the chunks that stored files are checked in: part of the stored format. */
export const CHUNK = 8 << 20;

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
 * One file of a server, with its faults. All may be changed at any time; `log` has every request for it.
 * - `ranges: false` ignores Range; `etag`, `lastModified`, `type` are sent if set; `length: false` sends no Content-Length
 * - `holdAt`: bytes from this offset on wait until it is raised or unset
 * - `resetAt`: the connection breaks there, once for each number in the list
 * - `answers`: statuses (with headers) to answer with first: `[{status, headers, body}]`
 */
export class ServedFile {
  constructor(body, faults = {}) {
    Object.assign(
      this,
      { body, ranges: true, length: true, holdAt: Infinity, resetAt: [], answers: [], log: [] },
      faults,
    );
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
    const partial =
      this.ranges &&
      range !== null &&
      (ifRange === undefined || ifRange === this.etag || ifRange === this.lastModified);
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
    for (let at = start; at < end && !response.destroyed;) {
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
        await sleep(50);
        response.socket?.resetAndDestroy();
        return;
      }
      if (at >= this.holdAt) await sleep(5);
    }
    response.end();
  }
}
