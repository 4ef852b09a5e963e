// What is kept in the browser's storage: reads that are checked, damage that is mended, room, other tabs, removal.
import assert from "node:assert/strict";
import { mkdtemp, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";

import { CHUNK, modelBytes, sha256 } from "./store/served-file.mjs";
import { BODY, MIB, SMALL, assertReadable, openTab, serve, setQuota, setUp } from "./store/setup.mjs";

setUp();

test("the browser is asked once for persistent storage", async () => {
  const requests = [1, 2, 3].map((seed) => serve(modelBytes(100_000, seed), {}, `/${seed}.gguf`)[1]);
  const [tab, other] = [await openTab(), await openTab()];
  await tab.ok("fetch", requests[0]);
  await tab.page.waitForFunction(() => store.persistAsked === 1);
  await tab.ok("fetch", requests[1]);
  await other.ok("fetch", requests[2]);
  // It would be asked right after the download.
  await sleep(300);
  assert.deepEqual(await Promise.all([tab, other].map(({ page }) => page.evaluate(() => store.persistAsked))), [1, 0]);
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
    const message = await tab.fails("integrity", "read", {
      key,
      offset: around,
      length: Math.min(200, BODY.length - around),
    });
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
    assert.deepEqual(
      file.log.map(({ from, sent }) => [from, sent]),
      [[start, Math.min(CHUNK, BODY.length - start)]],
    );
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
  assert.deepEqual(
    file.log.map((entry) => entry.from),
    [CHUNK],
    "the chunk that is whole is kept",
  );
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

test("where there is no storage at all, that is said, and local files are read all the same", async () => {
  const [file, request] = serve(SMALL);
  const tab = await openTab({ nothing: true });
  assert.match(await tab.fails("storage", "fetch", request), /local model file/);
  for (const name of ["list", "clear"]) await tab.fails("storage", name);
  await tab.fails("storage", "remove", "0".repeat(32));
  await tab.page.evaluate(
    (bytes) => store.call("openBlob", new Blob([new Uint8Array(bytes)])),
    [...SMALL.subarray(0, 1000)],
  );
  await assertReadable(tab, "blob", SMALL.subarray(0, 1000));
  assert.equal(file.log.length, 0);
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
  assert.deepEqual(
    (await second.ok("list")).map(({ key }) => key),
    [partial.key],
  );
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
  assert.deepEqual(
    (await tab.ok("folders")).filter((folder) => folder !== "settings"),
    [key],
  );
  for (const url of ["javascript:alert(1)", "file:///etc/passwd", "data:,GGUF", "http://", []])
    await tab.fails("option", "fetch", { url });
  for (const wrong of [{ sha256: "abc" }, { size: -1 }, { size: 1.5 }, { size: 2 ** 50 }])
    await tab.fails("option", "fetch", { ...request, ...wrong });
});

test("hostile or torn manifests are not believed", async () => {
  const tab = await openTab();
  const [file, request] = serve(SMALL);
  const { key } = await tab.ok("fetch", request);
  await tab.ok("close", key);
  const sound = JSON.parse(await tab.ok("readNote", { key, name: "manifest.0" }));
  const generation = 1e9;
  const hostile = [
    "",
    "null",
    "[]",
    "{",
    '{"version":1}',
    "9".repeat(1000),
    ...[
      { size: -1 },
      { size: 2 ** 60 },
      { size: SMALL.length + 1 },
      { chunks: [] },
      { chunks: ["x"] },
      { chunks: [null] },
      { chunks: Array(99).fill(sound.chunks[0]) },
      { chunkBytes: 1 },
      { url: "file:///x" },
      { name: 3 },
      { sha256: "z" },
      { lastUsed: "now" },
      { complete: "yes" },
      { version: 0 },
    ].map((change) => JSON.stringify({ ...sound, generation, ...change })),
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
  assert.deepEqual(
    file.log.map((entry) => entry.from),
    [0, 2 * CHUNK],
  );
  await assertReadable(tab, got.key, BODY);
  const [entry] = await tab.ok("list");
  assert.deepEqual([entry.bytes, entry.complete], [BODY.length, true]);
  await tab.page.evaluate(
    async ([key]) => {
      const cache = await caches.open("parhelion");
      const bytes = new Uint8Array(8 << 20);
      await cache.put(
        `https://parhelion.invalid/${key}/1`,
        new Response(bytes, { headers: { "content-length": String(bytes.length) } }),
      );
    },
    [got.key],
  );
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
