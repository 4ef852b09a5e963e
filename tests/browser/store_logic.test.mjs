// The decisions of the browser's storage that need no browser: what to fetch, what to believe.
import assert from "node:assert/strict";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { join } from "node:path";

import { DIST } from "./harness.mjs";
import { CHUNK } from "./store/served-file.mjs";

const load = (module) => import(pathToFileURL(join(DIST, "store", module)).href);
const { chunkCount, chunkLength, chunksOf, nextGap, usableBytes } = await load("chunks.js");
const { Retriable, acceptResponse, rangeHeaders, retryAfter } = await load("http.js");
const { newManifest, parseManifest, serialiseManifest } = await load("manifest.js");
const { wantedFile } = await load("request.js");

/** Numbers from 0 up to `below`; the same in every run. */
function random(seed) {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("gaps cover what is missing, each byte once, and nothing that can be checked", () => {
  const next = random(1);
  for (let round = 0; round < 2000; round++) {
    const size = 1 + next(6 * CHUNK);
    const chunks = Array.from({ length: chunkCount(size) }, (_, i) => {
      const hashed = next(2) === 0;
      return { hashed, stored: next(3) === 0 ? next(chunkLength(size, i) + 1) : chunkLength(size, i) };
    });
    const trust = next(2) === 0;
    const usable = (i) => chunks[i].hashed && chunks[i].stored === chunkLength(size, i);
    for (let index = 0; index < chunks.length;) {
      if (usable(index)) {
        index++;
        continue;
      }
      const { kept, from, to } = nextGap(index, size, (i) => chunks[i], trust);
      assert.equal(from, index * CHUNK + kept);
      assert.equal(kept, trust && !chunks[index].hashed ? chunks[index].stored : 0);
      const end = to === null ? chunks.length : to / CHUNK;
      assert.ok(Number.isInteger(end) && end > index);
      for (let i = index; i < end; i++) assert.ok(!usable(i), "a chunk that can be checked is not fetched");
      assert.ok(end === chunks.length || usable(end));
      index = end;
    }
  }
});

test("chunks of a range hold all of it and no more", () => {
  for (const [offset, length, expected] of [
    [0, 0, [0, 0]],
    [0, 1, [0, 1]],
    [CHUNK - 1, 1, [0, 1]],
    [CHUNK - 1, 2, [0, 2]],
    [CHUNK, CHUNK, [1, 2]],
    [5, 3 * CHUNK, [0, 4]],
  ]) {
    assert.deepEqual(chunksOf(offset, length), expected);
  }
  assert.deepEqual(
    [usableBytes(CHUNK + 5, 3 * CHUNK, true), usableBytes(CHUNK + 5, 3 * CHUNK, false), usableBytes(99, 50, false)],
    [CHUNK + 5, CHUNK, 50],
  );
});

test("a manifest survives being written and read, and no byte of it can be spoilt into something unsound", () => {
  const manifest = {
    ...newManifest("m", "https://example.org/m.gguf", 2 * CHUNK, "a".repeat(64)),
    chunks: ["b".repeat(64), null],
    etag: '"e"',
  };
  const text = serialiseManifest(manifest);
  const { chunkBytes, ...parsed } = parseManifest(text);
  assert.deepEqual([parsed, chunkBytes], [manifest, CHUNK]);
  const next = random(2);
  for (let round = 0; round < 5000; round++) {
    const at = next(text.length);
    const spoilt = text.slice(0, at) + String.fromCharCode(next(128)) + text.slice(at + next(3));
    let result = null;
    try {
      result = parseManifest(spoilt);
    } catch (error) {
      assert.equal(error.code, "storage");
    }
    if (result === null) continue;
    assert.ok(Number.isSafeInteger(result.size) && result.size >= 0 && result.chunks.length <= chunkCount(result.size));
    assert.ok(result.chunks.every((hash) => hash === null || /^[0-9a-f]{64}$/.test(hash)));
    assert.ok(!result.complete, "what is not there cannot become complete");
  }
});

test("requests for parts name the version of the file only where that costs no second request", () => {
  globalThis.location = { origin: "https://example.org" };
  const known = { etag: '"e"', lastModified: "Wed, 01 Jan 2025 00:00:00 GMT" };
  const sent = (url, from, to, validators) => Object.fromEntries(rangeHeaders(url, from, to, validators));
  assert.deepEqual(sent("https://example.org/m", 0, null, known), { range: "bytes=0-" });
  assert.deepEqual(sent("https://example.org/m", 5, 10, known), { range: "bytes=5-9", "if-range": '"e"' });
  assert.deepEqual(sent("https://example.org/m", 5, null, { ...known, etag: 'W/"e"' }), {
    range: "bytes=5-",
    "if-range": known.lastModified,
  });
  assert.deepEqual(sent("https://elsewhere.org/m", 5, null, known), { range: "bytes=5-" });
});

test("responses are accepted only as the part that was asked for", () => {
  const known = { size: 100, etag: '"e"', lastModified: null, stored: 10 };
  const answer = (status, headers, from = 10, to = null) =>
    acceptResponse(new Response(null, { status, headers }), from, to, known);
  assert.deepEqual(answer(206, { "content-range": "bytes 10-99/100", etag: '"e"' }), {
    size: 100,
    etag: '"e"',
    lastModified: null,
  });
  assert.equal(answer(206, { "content-range": "bytes 10-99/*" }).size, null);
  assert.equal(
    answer(206, { "content-length": "90" }).size,
    100,
    "where the range is hidden, an open one ends with the file",
  );
  assert.equal(answer(206, { "content-length": "10" }, 10, 20).size, null);
  for (const [code, status, headers] of [
    ["no-ranges", 206, { "content-range": "bytes 0-99/100" }],
    ["no-ranges", 206, { "content-range": "rows 1-2" }],
    ["no-ranges", 200, { "content-length": "100" }],
    ["changed", 200, { "content-length": "101" }],
    ["changed", 206, { "content-range": "bytes 10-100/101" }],
    ["changed", 206, { etag: '"f"' }],
    ["changed", 416, {}],
    ["not-a-model", 200, { "content-type": "TEXT/HTML; charset=utf-8" }],
    ["not-found", 404, { "content-type": "text/html" }],
    ["network", 403, {}],
  ]) {
    assert.throws(
      () => answer(status, headers),
      (error) => error.code === code,
      `${status} ${JSON.stringify(headers)}`,
    );
  }
  for (const status of [408, 425, 429, 500, 502, 503, 504])
    assert.throws(
      () => answer(status, { "retry-after": "7" }),
      (error) => error instanceof Retriable && error.after === 7000,
    );
});

test("the time that a server asks to wait is a number of seconds or a date", () => {
  const now = Date.parse("Wed, 01 Jan 2025 00:00:00 GMT");
  const cases = [
    ["3", 3000],
    [" 0 ", 0],
    ["Wed, 01 Jan 2025 00:00:09 GMT", 9000],
    ["Tue, 31 Dec 2024 00:00:00 GMT", 0],
    ["soon", null],
    ["", null],
    [null, null],
  ];
  for (const [value, expected] of cases) assert.equal(retryAfter(value, now), expected, String(value));
});

test("keys come from the hash if it is known, else from the address", async () => {
  const key = async (request) => (await wantedFile(request, "https://example.org/worker.js")).key;
  const sha256 = "0123456789abcdef".repeat(4);
  assert.equal(
    await key({ url: "https://a.org/x", sha256 }),
    await key({ url: ["https://b.org/y"], sha256: sha256.toUpperCase() }),
  );
  assert.equal(await key({ url: "m.gguf#part" }), await key({ url: "https://example.org/m.gguf" }));
  assert.notEqual(await key({ url: "https://a.org/x" }), await key({ url: "https://b.org/x" }));
  assert.equal(
    (await wantedFile({ url: "https://a.org/dir/some%20model.gguf?download=true" }, "https://example.org/")).name,
    "some model.gguf",
  );
});
