// What the suites of the store share: tabs with an open store, on an origin that starts empty for each test.
import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach } from "node:test";
import { fileURLToPath } from "node:url";

import { Browser, serveDist } from "../harness.mjs";
import { ServedFile, modelBytes, sha256 } from "./served-file.mjs";

export const MIB = 1 << 20;
/** Two chunks and a part of one. */
export const BODY = modelBytes(20 * MIB + 12_345);
export const HASH = sha256(BODY);
/** A chunk and a little, where a second chunk is all that matters; a download of it is stopped between the two. */
export const MEDIUM = modelBytes(9 * MIB + 77, 6);
export const MIDDLE = 8 * MIB + 500_000;
export const SMALL = modelBytes(300_000, 7);

const PAGE =
  '<!doctype html>\n<title>store</title><link rel="icon" href="data:,"><script type="module" src="/tests/page.js"></script><input type="file">';

export let browser, server;

/** Starts a browser for all tests of the calling suite, and a server for each. */
export function setUp() {
  before(async () => {
    // The switch has the browser tell the room that there is, which it rounds up otherwise.
    browser = await Browser.launch({ webgpu: false, args: ["--disable-features=StaticStorageQuota"] });
  });

  after(() => browser?.close());

  beforeEach(async () => {
    // A server of its own is an origin of its own, and so an empty storage.
    server = await serveDist();
    server.mount("/test.html", PAGE);
    for (const name of ["page.js", "worker.js", "sha256.js"])
      server.mount(`/tests/${name}`, fileURLToPath(new URL(name, import.meta.url)));
  });

  afterEach(async () => {
    for (const page of browser.context.pages().slice(1)) await page.close();
    await server.close();
  });
}

/** A tab with an open store. */
export async function openTab(options = {}) {
  const page = await browser.open(server.url("/test.html"));
  await page.waitForFunction(() => globalThis.store !== undefined);
  const call = (name, argument) => page.evaluate(([name, argument]) => store.call(name, argument), [name, argument]);
  const tab = {
    page,
    call,
    /** The result of a call that succeeds. */
    async ok(name, argument) {
      const { value, error } = await call(name, argument);
      assert.equal(error, undefined, `${name}: ${JSON.stringify(error)}`);
      return value;
    },
    /** The message of a call that fails with `code`. */
    async fails(code, name, argument) {
      const { error } = await call(name, argument);
      assert.equal(error?.code, code, `${name}: ${JSON.stringify(error)}`);
      return error.message;
    },
    /** Waits until the progress of a download is at `done` bytes. */
    reaches: (done) =>
      page.waitForFunction((done) => store.progress?.phase === "download" && store.progress.done >= done, done, {
        polling: 10,
      }),
  };
  await tab.ok("open", options);
  return tab;
}

/** Serves a file and gives the request for it, with its hash. */
export function serve(body = BODY, faults = {}, path = "/model.gguf") {
  const file = new ServedFile(body, faults);
  server.handle(decodeURIComponent(path), (request, response) => file.answer(request, response));
  return [file, { url: server.url(path), name: "model", sha256: sha256(body), size: body.length }];
}

/** Reads a stored file in uneven pieces and compares each. */
export async function assertReadable(tab, key, body) {
  const ranges = [
    [0, 4],
    [body.length - 1, 1],
    [0, 0],
  ];
  for (let at = 0; at < body.length; at += 3 * MIB + 1) ranges.push([at, Math.min(3 * MIB + 1, body.length - at)]);
  const digests = await tab.ok("readAll", { key, ranges });
  assert.deepEqual(
    digests,
    ranges.map(([offset, length]) => sha256(body.subarray(offset, offset + length))),
  );
}

/** The most that the origin may store, in bytes; undefined for the browser's own limit. */
export async function setQuota(tab, quotaSize) {
  // It holds as long as the session that set it.
  tab.quota ??= await browser.devtools(tab.page);
  await tab.quota.send("Storage.overrideQuotaForOrigin", {
    origin: server.origin,
    ...(quotaSize === undefined ? {} : { quotaSize }),
  });
}
