// Downloads into the browser's storage, with everything that goes wrong on the way.
import assert from "node:assert/strict";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { serveDist } from "./harness.mjs";
import { CHUNK, ServedFile, modelBytes, sha256 } from "./store/served-file.mjs";
import {
  BODY,
  HASH,
  MEDIUM,
  MIB,
  MIDDLE,
  SMALL,
  assertReadable,
  browser,
  openTab,
  serve,
  server,
  setUp,
} from "./store/setup.mjs";

setUp();

test("a fresh download is verified, listed, read exactly, and not downloaded again", async () => {
  const [file, request] = serve();
  const tab = await openTab();
  const got = await tab.ok("fetch", request);
  assert.deepEqual([got.name, got.size, got.sha256, got.resumedFrom], ["model", BODY.length, HASH, 0]);
  assert.equal(file.sent, BODY.length);
  await assertReadable(tab, got.key, BODY);
  for (const [offset, length] of [
    [-1, 2],
    [0, BODY.length + 1],
    [BODY.length, 1],
    [0.5, 1],
    [0, Number.MAX_SAFE_INTEGER],
    [Number.NaN, 1],
  ]) {
    await tab.fails("option", "read", { key: got.key, offset, length });
  }
  const [entry, ...others] = await tab.ok("list");
  assert.equal(others.length, 0);
  const { lastUsed, ...rest } = entry;
  assert.deepEqual(rest, {
    key: got.key,
    name: "model",
    url: request.url,
    bytes: BODY.length,
    size: BODY.length,
    complete: true,
    verified: true,
  });
  assert.ok(Math.abs(Date.now() - lastUsed) < 600_000);
  const again = await (await openTab()).ok("fetch", { ...request, url: `${server.origin}/mirror.gguf` });
  assert.equal(again.key, got.key, "the same hash is the same file, wherever it is from");
  assert.equal(file.log.length, 1);
  assert.equal(await tab.page.evaluate(() => store.persistAsked), 1);
  const { usage, quota } = await tab.ok("usage");
  assert.ok(usage >= BODY.length && quota > usage);
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
  assert.deepEqual(
    file.log.map((entry) => entry.from),
    [0, ...points],
    "each attempt begins where the one before stopped",
  );
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
  assert.deepEqual(
    file.log.map((entry) => entry.from),
    [0, CHUNK, 2 * CHUNK],
  );
  assert.equal(got.sha256, HASH);
  const [entry] = await tab.ok("list");
  assert.deepEqual([entry.complete, entry.verified], [true, false]);
});

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
  for (const [status, code, pattern] of [
    [404, "not-found", /no such file/],
    [410, "not-found", /410/],
    [401, "network", /login/],
    [403, "network", /licence/],
    [418, "network", /418/],
  ]) {
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
  const [later, other] = serve(
    modelBytes(1000, 3),
    { answers: [{ status: 503, headers: { "retry-after": "3600" } }] },
    "/later.gguf",
  );
  assert.match(await tab.fails("network", "fetch", other), /3600 seconds/);
  assert.deepEqual([file.log.length, later.log.length], [2, 1]);
});

test("a wait for a busy server, and a download, can be stopped", async () => {
  const [file, request] = serve(BODY, {
    answers: [{ status: 429, headers: { "retry-after": "30" } }],
    holdAt: 3 * MIB,
  });
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
  file.holdAt = 6 * MIB;
  await second.page.waitForFunction((total) => store.progress.done > 0 && store.progress.total === total, BODY.length);
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
