// Downloads into the browser's storage and reads from it, with everything that goes wrong on the way.
import assert from "node:assert/strict";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, before, beforeEach, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

import { Browser, serveDist } from "./harness.mjs";
import { CHUNK, ServedFile, modelBytes, sha256 } from "./store/served-file.mjs";

const MIB = 1 << 20;
/** Two chunks and a part of one. */
const BODY = modelBytes(20 * MIB + 12_345);
const HASH = sha256(BODY);
/** A chunk and a little, where a second chunk is all that matters; a download of it is stopped between the two. */
const MEDIUM = modelBytes(9 * MIB + 77, 6);
const MIDDLE = 8 * MIB + 500_000;
const SMALL = modelBytes(300_000, 7);

let browser, server;

before(async () => {
  // The switch has the browser tell the room that there is, which it rounds up otherwise.
  browser = await Browser.launch({ webgpu: false, args: ["--disable-features=StaticStorageQuota"] });
});

after(() => browser?.close());

beforeEach(async () => {
  // A server of its own is an origin of its own, and so an empty storage.
  server = await serveDist();
  server.mount("/test.html", '<!doctype html>\n<title>store</title><link rel="icon" href="data:,"><script type="module" src="/tests/page.js"></script><input type="file">');
  for (const name of ["page.js", "worker.js", "sha256.js"]) server.mount(`/tests/${name}`, fileURLToPath(new URL(`store/${name}`, import.meta.url)));
});

afterEach(async () => {
  for (const page of browser.context.pages().slice(1)) await page.close();
  await server.close();
});

/** A tab with an open store. */
async function openTab(options = {}) {
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
    progress: () => page.evaluate(() => store.progress),
    /** Waits until the progress of a download is at `done` bytes. */
    reaches: (done) => page.waitForFunction((done) => store.progress?.phase === "download" && store.progress.done >= done, done, { polling: 10 }),
  };
  await tab.ok("open", options);
  return tab;
}

/** Serves a file and gives the request for it, with its hash. */
function serve(body = BODY, faults = {}, path = "/model.gguf") {
  const file = new ServedFile(body, faults);
  server.handle(decodeURIComponent(path), (request, response) => file.answer(request, response));
  return [file, { url: server.url(path), name: "model", sha256: sha256(body), size: body.length }];
}

/** Reads a stored file in uneven pieces and compares each. */
async function assertReadable(tab, key, body) {
  const ranges = [[0, 4], [body.length - 1, 1], [0, 0]];
  for (let at = 0; at < body.length; at += 3 * MIB + 1) ranges.push([at, Math.min(3 * MIB + 1, body.length - at)]);
  const digests = await tab.ok("readAll", { key, ranges });
  assert.deepEqual(digests, ranges.map(([offset, length]) => sha256(body.subarray(offset, offset + length))));
}

test("a fresh download is verified, listed, read exactly, and not downloaded again", async () => {
  const [file, request] = serve();
  const tab = await openTab();
  const got = await tab.ok("fetch", request);
  assert.deepEqual([got.name, got.size, got.sha256, got.resumedFrom], ["model", BODY.length, HASH, 0]);
  assert.equal(file.sent, BODY.length);
  await assertReadable(tab, got.key, BODY);
  for (const [offset, length] of [[-1, 2], [0, BODY.length + 1], [BODY.length, 1], [0.5, 1], [0, Number.MAX_SAFE_INTEGER], [Number.NaN, 1]]) {
    await tab.fails("option", "read", { key: got.key, offset, length });
  }
  const [entry, ...others] = await tab.ok("list");
  assert.equal(others.length, 0);
  const { lastUsed, ...rest } = entry;
  assert.deepEqual(rest, { key: got.key, name: "model", url: request.url, bytes: BODY.length, size: BODY.length, complete: true, verified: true });
  assert.ok(Math.abs(Date.now() - lastUsed) < 600_000);
  const again = await (await openTab()).ok("fetch", { ...request, url: `${server.origin}/mirror.gguf` });
  assert.equal(again.key, got.key, "the same hash is the same file, wherever it is from");
  assert.equal(file.log.length, 1);
  assert.equal(await tab.page.evaluate(() => store.persistAsked), 1);
  const { usage, quota } = await tab.ok("usage");
  assert.ok(usage >= BODY.length && quota > usage);
});

test("the browser is asked once for persistent storage", async () => {
  const [, request] = serve(SMALL);
  const [, other] = serve(modelBytes(200_000, 9), {}, "/other.gguf");
  const tab = await openTab();
  await tab.ok("fetch", request);
  await tab.page.waitForFunction(() => store.persistAsked === 1);
  await tab.ok("fetch", other);
  const next = await openTab();
  await next.ok("clear").catch(() => undefined);
  await next.ok("fetch", { ...request, url: `${request.url}?again` });
  assert.deepEqual([await tab.page.evaluate(() => store.persistAsked), await next.page.evaluate(() => store.persistAsked)], [1, 0]);
});

test("a tab closed in mid-download at 10 points goes on at the byte where it stopped", async () => {
  const [file, request] = serve();
  const points = Array.from({ length: 10 }, (_, i) => Math.floor(((i + 0.7) * BODY.length) / 10.5));
  for (const [i, point] of points.entries()) {
    file.holdAt = point;
    const tab = await openTab();
    void tab.call("fetch", request).catch(() => undefined);
    await tab.reaches(point);
    // Three ways to die: the tab, its worker, its whole process.
    if (i % 3 === 0) await tab.page.close();
    else if (i % 3 === 1) await tab.page.evaluate(() => store.worker.terminate());
    else {
      const session = await browser.devtools(tab.page);
      const crashed = tab.page.waitForEvent("crash");
      session.send("Page.crash").catch(() => undefined);
      await crashed;
      await tab.page.close();
    }
  }
  file.holdAt = Infinity;
  const tab = await openTab();
  const got = await tab.ok("fetch", request);
  assert.deepEqual(file.log.map((entry) => entry.from), [0, ...points], "each attempt begins where the one before stopped");
  assert.equal(got.resumedFrom, points.at(-1));
  assert.ok(got.phases.includes("verify"));
  await assertReadable(tab, got.key, BODY);
});

test("without a known hash, a resumed download fetches again what was not hashed yet, at most a chunk", async () => {
  const [file, { sha256: _, ...request }] = serve();
  for (const point of [CHUNK + 5 * MIB, 2 * CHUNK + 3 * MIB]) {
    file.holdAt = point;
    const tab = await openTab();
    void tab.call("fetch", request).catch(() => undefined);
    await tab.reaches(point);
    await tab.page.close();
  }
  file.holdAt = Infinity;
  const tab = await openTab();
  const got = await tab.ok("fetch", request);
  assert.deepEqual(file.log.map((entry) => entry.from), [0, CHUNK, 2 * CHUNK]);
  assert.equal(got.sha256, HASH);
  const [entry] = await tab.ok("list");
  assert.deepEqual([entry.complete, entry.verified], [true, false]);
});

test("20 flipped bits in the stored file are each detected, and only the damaged chunk is fetched again", async () => {
  const [file, request] = serve();
  const tab = await openTab();
  const { key } = await tab.ok("fetch", request);
  for (let i = 0; i < 20; i++) {
    const offset = Math.floor((i * (BODY.length - 1)) / 19);
    const bit = i % 8;
    await tab.ok("flip", { key, offset, bit });
    const around = Math.max(0, offset - 100);
    const message = await tab.fails("integrity", "read", { key, offset: around, length: Math.min(200, BODY.length - around) });
    assert.match(message, /damaged/);
    if (i % 7 !== 0) {
      // As if nothing had happened, without the check of the whole file.
      await tab.ok("flip", { key, offset, bit });
      await tab.ok("removeEntry", { key, name: "damaged" });
      await tab.ok("fetch", request);
      continue;
    }
    file.log.length = 0;
    await tab.ok("fetch", request);
    const start = Math.floor(offset / CHUNK) * CHUNK;
    assert.deepEqual(file.log.map(({ from, sent }) => [from, sent]), [[start, Math.min(CHUNK, BODY.length - start)]]);
  }
  await assertReadable(tab, key, BODY);
});

test("a stored file that was evicted or cut short is noticed and mended", async () => {
  const [file, request] = serve();
  const tab = await openTab({ retry: { attempts: 1 } });
  const { key } = await tab.ok("fetch", request);
  await tab.ok("truncate", { key, size: CHUNK + 1000 });
  await tab.fails("evicted", "read", { key, offset: BODY.length - 10, length: 10 });
  assert.equal((await tab.ok("list"))[0].complete, false);
  file.answers = [{ status: 404 }];
  assert.match(await tab.fails("evicted", "fetch", request), /no such file/);
  file.log.length = 0;
  await tab.ok("fetch", request);
  assert.deepEqual(file.log.map((entry) => entry.from), [CHUNK], "the chunk that is whole is kept");
  await tab.ok("removeEntry", { key, name: "weights" });
  await tab.fails("evicted", "read", { key, offset: 0, length: 10 });
  await tab.ok("fetch", request);
  await assertReadable(tab, key, BODY);
});

test("a model that cannot fit is refused before it is downloaded", async () => {
  const [file, request] = serve();
  const tab = await openTab();
  await setQuota(tab, 10e6);
  const message = await tab.fails("quota", "fetch", request);
  assert.match(message, /21\.0 MB more.*only 10\.00 MB are free/);
  assert.deepEqual(await tab.ok("list"), []);
  await setQuota(tab, undefined);
  await tab.ok("fetch", request);
  assert.equal(file.log.length, 2);
});

test("a quota that runs out in mid-download keeps what is there", async () => {
  const [file, request] = serve(BODY, { holdAt: 6 * MIB });
  const tab = await openTab();
  const download = tab.call("fetch", request);
  await tab.reaches(6 * MIB);
  await setQuota(tab, 10e6);
  file.holdAt = Infinity;
  const { error } = await download;
  assert.equal(error?.code, "quota", JSON.stringify(error));
  assert.match(error.message, /remove some/);
  const [entry] = await tab.ok("list");
  assert.ok(entry.bytes >= 6 * MIB && entry.bytes <= 10e6 && !entry.complete, JSON.stringify(entry));
  await setQuota(tab, undefined);
  const got = await tab.ok("fetch", request);
  assert.equal(got.resumedFrom, entry.bytes);
  await assertReadable(tab, got.key, BODY);
});

async function setQuota(tab, quotaSize) {
  // It holds as long as the session that set it.
  tab.quota ??= await browser.devtools(tab.page);
  await tab.quota.send("Storage.overrideQuotaForOrigin", { origin: server.origin, ...(quotaSize === undefined ? {} : { quotaSize }) });
}

test("a server that ignores ranges serves a fresh download, but no rest of one", async () => {
  const [file, request] = serve(BODY, { ranges: false, holdAt: 3 * MIB });
  const tab = await openTab();
  void tab.call("fetch", request);
  await tab.reaches(3 * MIB);
  await tab.ok("abort", "model");
  file.holdAt = Infinity;
  await tab.fails("no-ranges", "fetch", request);
  assert.deepEqual(await tab.ok("list"), [], "the beginning is of no use");
  const got = await tab.ok("fetch", request);
  assert.equal(got.resumedFrom, 0);
  await assertReadable(tab, got.key, BODY);
});

test("a server that says no length serves a fresh download", async () => {
  const [, { size: _, ...request }] = serve(MEDIUM, { ranges: false, length: false });
  const tab = await openTab();
  const got = await tab.ok("fetch", request);
  assert.equal(got.size, MEDIUM.length);
  await assertReadable(tab, got.key, MEDIUM);
});

test("a web page, or anything else that is no model, is not stored", async () => {
  const tab = await openTab();
  const html = Buffer.from("<!doctype html><title>Log in</title>".padEnd(5000));
  const [, page] = serve(html, { type: "text/html; charset=utf-8" });
  const [, { sha256: _, ...other }] = serve(html, {}, "/typeless.gguf");
  const [, { sha256: __, size: ___, ...empty }] = serve(Buffer.alloc(0), { ranges: false }, "/empty.gguf");
  for (const request of [page, other, empty]) await tab.fails("not-a-model", "fetch", request);
  assert.deepEqual(await tab.ok("list"), []);
});

test("a login page in the middle of a download does not cost what is stored", async () => {
  const [file, request] = serve(MEDIUM, { holdAt: MIDDLE });
  const tab = await openTab();
  void tab.call("fetch", request);
  await tab.reaches(MIDDLE);
  await tab.ok("abort", "model");
  file.answers = [{ status: 200, headers: { "content-type": "text/html" }, body: "<html>Log in" }];
  file.holdAt = Infinity;
  await tab.fails("not-a-model", "fetch", request);
  assert.equal((await tab.ok("fetch", request)).resumedFrom, MIDDLE);
});

test("refusals of a server are told apart", async () => {
  const tab = await openTab({ retry: { attempts: 2 } });
  const [file, request] = serve();
  for (const [status, code, pattern] of [[404, "not-found", /no such file/], [410, "not-found", /410/], [401, "network", /login/], [403, "network", /licence/], [418, "network", /418/]]) {
    file.answers = [{ status }];
    file.log.length = 0;
    assert.match(await tab.fails(code, "fetch", request), pattern);
    assert.equal(file.log.length, 1, `${status} is not tried again`);
  }
  file.answers = [{ status: 500 }, { status: 503 }];
  assert.match(await tab.fails("network", "fetch", request), /503, 2 times in a row.*0 bytes of 21\.0 MB are stored/);
  assert.deepEqual(await tab.ok("list"), []);
});

test("a file that changed on the server is noticed, and downloaded anew the next time", async () => {
  for (const identify of [{}, { etag: "", lastModified: "Wed, 01 Jan 2025 00:00:00 GMT" }, { etag: 'W/"weak"' }]) {
    const [file, { sha256: _, size: __, ...request }] = serve(MEDIUM, { holdAt: MIDDLE, ...identify });
    const tab = await openTab();
    await tab.ok("clear");
    void tab.call("fetch", request).catch(() => undefined);
    await tab.reaches(MIDDLE);
    await tab.ok("abort", "model");
    const body = modelBytes(MEDIUM.length, 99);
    const [changed] = serve(body, identify);
    if (identify.lastModified) changed.lastModified = "Thu, 02 Jan 2025 00:00:00 GMT";
    if (identify.etag?.startsWith("W/")) changed.etag = 'W/"other"';
    await tab.fails("changed", "fetch", request);
    assert.deepEqual(await tab.ok("list"), []);
    assert.equal((await tab.ok("fetch", request)).sha256, sha256(body));
    assert.equal(file.log.length, 1);
    await tab.page.close();
  }
});

test("a file that became shorter or longer on the server is noticed", async () => {
  for (const size of [MEDIUM.length - 1, 5 * MIB, 20 * MIB]) {
    const [, { sha256: _, size: __, ...request }] = serve(MEDIUM, { holdAt: MIDDLE, etag: "" });
    const tab = await openTab();
    await tab.ok("clear");
    void tab.call("fetch", request).catch(() => undefined);
    await tab.reaches(MIDDLE);
    await tab.ok("abort", "model");
    serve(modelBytes(size), { etag: "" });
    await tab.fails("changed", "fetch", request);
    assert.deepEqual(await tab.ok("list"), []);
  }
});

test("wrong bytes of the right size, and a wrong size, are refused and removed", async () => {
  const tab = await openTab();
  const [, { sha256: _, ...request }] = serve(modelBytes(MEDIUM.length, 5));
  const message = await tab.fails("integrity", "fetch", { ...request, sha256: sha256(MEDIUM) });
  assert.match(message, new RegExp(`expected ${sha256(MEDIUM)}`));
  assert.deepEqual(await tab.ok("list"), []);
  const [file, small] = serve(SMALL);
  assert.match(await tab.fails("integrity", "fetch", { ...small, size: SMALL.length + 1 }), /300001/);
  assert.ok(file.sent <= SMALL.length);
  assert.deepEqual(await tab.ok("list"), []);
});

test("connections that break are mended, and given up when they keep breaking", async () => {
  const [file, request] = serve(BODY, { resetAt: [100_000, 3 * MIB, 9 * MIB, 20 * MIB] });
  const tab = await openTab();
  const { key } = await tab.ok("fetch", request);
  await assertReadable(tab, key, BODY);
  assert.equal(file.log.length, 5);
  const other = modelBytes(BODY.length, 3);
  const [bad, stuck] = serve(other, {}, "/stuck.gguf");
  bad.resetAt = [0, 0, 0, 0, 0, 0, 0];
  const message = await tab.fails("network", "fetch", stuck);
  assert.match(message, /5 times in a row.*stored: try again/);
  bad.resetAt = [];
  await tab.ok("fetch", stuck);
});

test("a connection that brings nothing counts as broken", async () => {
  const [file, request] = serve(MEDIUM, { holdAt: MIDDLE });
  const tab = await openTab({ retry: { stall: 400 } });
  const download = tab.call("fetch", request);
  await tab.reaches(MIDDLE);
  while (file.log.length < 2) await sleep(20);
  file.holdAt = Infinity;
  assert.equal((await download).error, undefined);
  assert.ok(file.log.slice(1).every((entry) => entry.from === MIDDLE));
});

test("a busy server is given the time that it asks for", async () => {
  const [file, request] = serve(SMALL, { answers: [{ status: 429, headers: { "retry-after": "1" } }] });
  const tab = await openTab();
  const start = Date.now();
  await tab.ok("fetch", request);
  assert.ok(Date.now() - start >= 1000, `waited ${Date.now() - start} ms`);
  const [later, other] = serve(modelBytes(1000, 3), { answers: [{ status: 503, headers: { "retry-after": "3600" } }] }, "/later.gguf");
  assert.match(await tab.fails("network", "fetch", other), /3600 seconds/);
  assert.deepEqual([file.log.length, later.log.length], [2, 1]);
});

test("a wait for a busy server, and a download, can be stopped", async () => {
  const [file, request] = serve(BODY, { answers: [{ status: 429, headers: { "retry-after": "30" } }], holdAt: 3 * MIB });
  const tab = await openTab();
  const start = Date.now();
  const waiting = tab.call("fetch", request);
  while (file.log.length === 0) await sleep(20);
  await tab.ok("abort", "model");
  assert.equal((await waiting).error?.code, "aborted");
  const download = tab.call("fetch", request);
  await tab.reaches(3 * MIB);
  await tab.ok("abort", "model");
  assert.equal((await download).error?.code, "aborted");
  assert.ok(Date.now() - start < 25_000, "neither was waited for");
  assert.equal((await tab.ok("list"))[0].bytes, 3 * MIB);
});

test("where there is no storage at all, that is said, and local files are read all the same", async () => {
  const [file, request] = serve(SMALL);
  const tab = await openTab({ nothing: true });
  assert.match(await tab.fails("storage", "fetch", request), /local model file/);
  for (const name of ["list", "clear"]) await tab.fails("storage", name);
  await tab.fails("storage", "remove", "0".repeat(32));
  await tab.page.evaluate((bytes) => store.call("openBlob", new Blob([new Uint8Array(bytes)])), [...SMALL.subarray(0, 1000)]);
  await assertReadable(tab, "blob", SMALL.subarray(0, 1000));
  assert.equal(file.log.length, 0);
});

test("further addresses are tried when one fails", async () => {
  const [, request] = serve(MEDIUM);
  const [missing] = serve(MEDIUM, { answers: [{ status: 404 }, { status: 404 }, { status: 404 }] }, "/missing.gguf");
  const [wrong] = serve(modelBytes(MEDIUM.length, 8), {}, "/wrong.gguf");
  const url = ["/missing.gguf", "/wrong.gguf", "/model.gguf"].map((path) => server.origin + path);
  const tab = await openTab();
  const got = await tab.ok("fetch", { ...request, url });
  assert.equal(got.sha256, sha256(MEDIUM));
  assert.deepEqual([missing.log.length, wrong.log.length], [1, 1]);
  await tab.ok("close", got.key);
  await tab.ok("clear");
  const message = await tab.fails("integrity", "fetch", { ...request, url: url.slice(0, 2) });
  assert.match(message, /None of 2 addresses worked.*no such file.*SHA-256/);
});

test("a download goes on from another address when its hash is known", async () => {
  const [first, request] = serve(MEDIUM, { holdAt: MIDDLE });
  const [mirror] = serve(MEDIUM, { etag: '"mirror"' }, "/mirror.gguf");
  const tab = await openTab();
  void tab.call("fetch", request);
  await tab.reaches(MIDDLE);
  await tab.ok("abort", "model");
  first.answers = [{ status: 404 }];
  const got = await tab.ok("fetch", { ...request, url: [request.url, `${server.origin}/mirror.gguf`] });
  assert.equal(mirror.log[0].from, MIDDLE);
  await assertReadable(tab, got.key, MEDIUM);
});

test("a file mended by one tab is right in another that reads it", async () => {
  const [file, request] = serve();
  const [reader, mender] = [await openTab(), await openTab()];
  const { key } = await reader.ok("fetch", request);
  await reader.ok("read", { key, offset: 0, length: 10 });
  await mender.ok("flip", { key, offset: 17 * MIB, bit: 3 });
  await reader.fails("integrity", "read", { key, offset: 17 * MIB, length: 1 });
  await mender.ok("fetch", request);
  assert.equal(file.log.length, 2);
  await assertReadable(reader, key, BODY);

  // The server has another version: that cannot mend this one, but goes on being noticed.
  await mender.ok("flip", { key, offset: 17 * MIB, bit: 3 });
  await mender.fails("integrity", "read", { key, offset: 17 * MIB, length: 1 });
  file.etag = '"of another machine"';
  await mender.ok("fetch", request);
  await mender.ok("flip", { key, offset: 17 * MIB, bit: 3 });
  await mender.fails("integrity", "read", { key, offset: 17 * MIB, length: 1 });
  file.body = modelBytes(BODY.length, 12);
  await reader.ok("close", key);
  await mender.ok("close", key);
  await mender.fails("changed", "fetch", request);
  assert.deepEqual(await mender.ok("list"), []);
});

test("a server of another origin needs to allow reading, and nothing else", async () => {
  const other = await serveDist();
  try {
    const file = new ServedFile(MEDIUM, { holdAt: MIDDLE, headers: { "access-control-expose-headers": "" } });
    other.handle("/model.gguf", (request, response) => file.answer(request, response));
    const request = { url: other.url("/model.gguf"), name: "model" };
    const tab = await openTab({ retry: { attempts: 1 } });
    void tab.call("fetch", request);
    await tab.reaches(MIDDLE);
    await tab.ok("abort", "model");
    file.holdAt = Infinity;
    const got = await tab.ok("fetch", request);
    assert.deepEqual([got.size, got.resumedFrom, file.log.map(({ from }) => from)], [MEDIUM.length, CHUNK, [0, CHUNK]]);
    assert.equal(other.traffic("/model.gguf").requests, 2, "browsers did not have to ask for permission");
    await assertReadable(tab, got.key, MEDIUM);
    file.answers = [{ status: 200, headers: { "access-control-allow-origin": "https://elsewhere.example" } }];
    assert.match(await tab.fails("network", "fetch", { ...request, url: `${request.url}?private` }), /CORS/);
  } finally {
    await other.close();
  }
});

test("two tabs download once; the second takes over when the first dies", async () => {
  const [file, request] = serve(BODY, { holdAt: 5 * MIB });
  const [first, second] = [await openTab(), await openTab()];
  const downloads = [first.call("fetch", request)];
  await first.reaches(5 * MIB);
  downloads.push(second.call("fetch", request));
  await second.page.waitForFunction(() => store.progress?.phase === "wait");
  file.holdAt = Infinity;
  const [one, two] = (await Promise.all(downloads)).map(({ value }) => value);
  assert.equal(file.sent, BODY.length, "every byte was sent once");
  assert.deepEqual(two.phases, ["wait"]);
  await Promise.all([assertReadable(first, one.key, BODY), assertReadable(second, two.key, BODY)]);

  const [other, next] = serve(modelBytes(BODY.length, 2), { holdAt: 7 * MIB }, "/other.gguf");
  void first.call("fetch", next).catch(() => undefined);
  await first.reaches(7 * MIB);
  const taken = second.call("fetch", next);
  await second.page.waitForFunction(() => store.progress?.phase === "wait");
  await first.page.close();
  other.holdAt = Infinity;
  const { value, error } = await taken;
  assert.equal(error, undefined);
  assert.deepEqual([value.resumedFrom, other.log.map((entry) => entry.from)], [7 * MIB, [0, 7 * MIB]]);
});

test("a wait for another tab can be stopped", async () => {
  const [file, request] = serve(MEDIUM, { holdAt: 5 * MIB });
  const [first, second] = [await openTab(), await openTab()];
  const download = first.call("fetch", request);
  await first.reaches(5 * MIB);
  const waiting = second.call("fetch", request);
  await second.page.waitForFunction(() => store.progress?.phase === "wait");
  await second.ok("abort", "model");
  assert.equal((await waiting).error?.code, "aborted");
  file.holdAt = Infinity;
  assert.equal((await download).error, undefined);
});

test("what is in use is not removed; the rest is", async () => {
  const [file, request] = serve();
  const [, small] = serve(SMALL, {}, "/small.gguf");
  const [first, second] = [await openTab(), await openTab()];
  const kept = await first.ok("fetch", small);
  file.holdAt = 3 * MIB;
  const download = first.call("fetch", request);
  await first.reaches(3 * MIB);
  const partial = (await second.ok("list")).find(({ key }) => key !== kept.key);
  assert.deepEqual([partial.bytes, partial.complete, partial.size], [3 * MIB, false, BODY.length]);
  assert.match(await second.fails("busy", "remove", partial.key), /being downloaded/);
  assert.match(await second.fails("busy", "remove", kept.key), /in use/);
  await second.fails("busy", "clear");
  file.holdAt = Infinity;
  assert.equal((await download).error, undefined);
  await assertReadable(first, kept.key, SMALL);
  await first.ok("close", kept.key);
  await first.fails("disposed", "read", { key: kept.key, offset: 0, length: 1 });
  await second.ok("remove", kept.key);
  assert.deepEqual((await second.ok("list")).map(({ key }) => key), [partial.key]);
  await first.page.close();
  // Its locks go a moment after it.
  while ((await second.call("clear")).error?.code === "busy") await sleep(20);
  assert.deepEqual(await second.ok("list"), []);
  for (const key of ["../..", "", "x".repeat(32), "settings"]) await second.fails("option", "remove", key);
});

test("hostile names and addresses stay in the store's folder", async () => {
  const tab = await openTab();
  const [, request] = serve(SMALL, {}, "/..%2f..%2fetc%2fpasswd");
  const { key, name } = await tab.ok("fetch", { ...request, name: "../../\u0000../evil\u202e.gguf" });
  assert.match(key, /^[0-9a-f]{32}$/);
  assert.equal(name, "../../../evil.gguf");
  assert.deepEqual((await tab.ok("folders")).filter((folder) => folder !== "settings"), [key]);
  for (const url of ["javascript:alert(1)", "file:///etc/passwd", "data:,GGUF", "http://", []]) await tab.fails("option", "fetch", { url });
  for (const wrong of [{ sha256: "abc" }, { size: -1 }, { size: 1.5 }, { size: 2 ** 50 }]) await tab.fails("option", "fetch", { ...request, ...wrong });
});

test("hostile or torn manifests are not believed", async () => {
  const tab = await openTab();
  const [file, request] = serve(SMALL);
  const { key } = await tab.ok("fetch", request);
  await tab.ok("close", key);
  const sound = JSON.parse(await tab.ok("readNote", { key, name: "manifest.0" }));
  const generation = 1e9;
  const hostile = [
    "", "null", "[]", "{", '{"version":1}', "9".repeat(1000),
    ...[{ size: -1 }, { size: 2 ** 60 }, { size: SMALL.length + 1 }, { chunks: [] }, { chunks: ["x"] }, { chunks: [null] }, { chunks: Array(99).fill(sound.chunks[0]) },
      { chunkBytes: 1 }, { url: "file:///x" }, { name: 3 }, { sha256: "z" }, { lastUsed: "now" }, { complete: "yes" }, { version: 0 }]
      .map((change) => JSON.stringify({ ...sound, generation, ...change })),
  ];
  for (const text of hostile) {
    file.log.length = 0;
    for (const name of ["manifest.0", "manifest.1"]) await tab.ok("writeNote", { key, name, text });
    const [entry] = await tab.ok("list");
    assert.equal(entry.key, key);
    const got = await tab.ok("fetch", request);
    await assertReadable(tab, got.key, SMALL);
    await tab.ok("close", key);
  }
  // One torn copy is no loss.
  file.log.length = 0;
  await tab.ok("writeNote", { key, name: "manifest.0", text: "{" });
  await tab.ok("fetch", request);
  await tab.ok("writeNote", { key, name: "manifest.1", text: "{" });
  await tab.ok("fetch", request);
  assert.equal(file.log.length, 0);
  await tab.ok("close", key);
  for (const name of ["manifest.0", "manifest.1"]) await tab.ok("writeNote", { key, name, text: '{"version":2}' });
  assert.match(await tab.fails("storage", "fetch", request), /newer version/);
  await tab.ok("remove", key);
});

test("a stored chunk whose hash was forged does not pass for the file", async () => {
  const tab = await openTab();
  const [file, { sha256: hash, ...rest }] = serve();
  const { key } = await tab.ok("fetch", { ...rest, sha256: hash });
  await tab.ok("flip", { key, offset: 9 * MIB, bit: 1 });
  const damaged = Buffer.from(BODY);
  damaged[9 * MIB] ^= 2;
  for (const name of ["manifest.0", "manifest.1"]) {
    const manifest = JSON.parse(await tab.ok("readNote", { key, name }));
    manifest.chunks[1] = sha256(damaged.subarray(CHUNK, 2 * CHUNK));
    manifest.complete = false;
    await tab.ok("writeNote", { key, name, text: JSON.stringify(manifest) });
  }
  await tab.ok("close", key);
  await tab.fails("integrity", "fetch", { ...rest, sha256: hash });
  assert.equal(file.log.length, 1, "nothing was missing, so nothing was fetched");
});

test("where there is no OPFS the Cache API does the same", async () => {
  const [file, request] = serve(BODY, { holdAt: 2 * CHUNK + 1000 });
  const first = await openTab({ cache: true });
  void first.call("fetch", request).catch(() => undefined);
  await first.reaches(2 * CHUNK + 1000);
  await first.page.close();
  file.holdAt = Infinity;
  const tab = await openTab({ cache: true });
  const got = await tab.ok("fetch", request);
  assert.equal(got.resumedFrom, 2 * CHUNK);
  assert.deepEqual(file.log.map((entry) => entry.from), [0, 2 * CHUNK]);
  await assertReadable(tab, got.key, BODY);
  const [entry] = await tab.ok("list");
  assert.deepEqual([entry.bytes, entry.complete], [BODY.length, true]);
  await tab.page.evaluate(async ([key]) => {
    const cache = await caches.open("parhelion");
    const bytes = new Uint8Array(8 << 20);
    await cache.put(`https://parhelion.invalid/${key}/1`, new Response(bytes, { headers: { "content-length": String(bytes.length) } }));
  }, [got.key]);
  await tab.ok("close", got.key);
  await tab.ok("fetch", request);
  await tab.fails("integrity", "read", { key: got.key, offset: 9 * MIB, length: 1 });
  await tab.ok("fetch", request);
  assert.equal(file.log.at(-1).from, CHUNK);
  await assertReadable(tab, got.key, BODY);
  await tab.ok("close", got.key);
  await tab.ok("clear");
  assert.deepEqual(await tab.ok("list"), []);
});

test("a full Cache API is a quota error that keeps what is there", async () => {
  const [file, request] = serve(BODY, { holdAt: 10 * MIB });
  const tab = await openTab({ cache: true });
  const download = tab.call("fetch", request);
  await tab.reaches(10 * MIB);
  await setQuota(tab, 12e6);
  file.holdAt = Infinity;
  assert.equal((await download).error?.code, "quota");
  assert.equal((await tab.ok("list"))[0].bytes, CHUNK);
  await setQuota(tab, undefined);
  assert.equal((await tab.ok("fetch", request)).resumedFrom, CHUNK);
});

test("a local file is read in place, and noticed when it changes", async () => {
  const folder = await mkdtemp(join(tmpdir(), "parhelion-local-"));
  try {
    const path = join(folder, "local.gguf");
    await writeFile(path, SMALL);
    const tab = await openTab();
    await tab.page.setInputFiles("input", path);
    const picked = await tab.page.evaluate(() => store.call("openBlob", document.querySelector("input").files[0]));
    assert.equal(picked.error, undefined);
    await assertReadable(tab, "blob", SMALL);
    await tab.fails("option", "read", { key: "blob", offset: 0, length: SMALL.length + 1 });
    assert.deepEqual(await tab.ok("list"), [], "it is not copied");
    await writeFile(path, modelBytes(1000, 4));
    await utimes(path, new Date(), new Date(Date.now() + 60_000));
    assert.match(await tab.fails("changed", "read", { key: "blob", offset: 0, length: 100 }), /Pick the file again/);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
});
