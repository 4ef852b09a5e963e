// Vectors of texts in a real browser: all-MiniLM-L6-v2 from a repository on a server, against numpy.

import assert from "node:assert/strict";
import { readFile, readdir } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";

import { Browser, MINILM, NEEDS_MINILM, serveDist } from "./harness.mjs";
import { tinyModel } from "./tiny.mjs";

const { texts } = JSON.parse(await readFile(new URL("../fixtures/all_minilm_l6_v2.json", import.meta.url), "utf8"));

let server;
let browser;
let page;
before(async () => {
  if (!MINILM) return;
  server = await serveDist();
  for (const entry of await readdir(MINILM, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath ?? entry.path, entry.name);
    if (entry.isFile()) server.mount(`/minilm/${path.slice(MINILM.length + 1)}`, path);
  }
  browser = await Browser.launch();
  page = await browser.open(server.url("/blank.html"));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);

test("texts have the reference's vectors on WebGPU, together and alone", { ...NEEDS_MINILM, timeout: 180_000 }, async (t) => {
  const got = await page.evaluate(async ([base, texts]) => {
    const { Parhelion } = await import("/index.js");
    const session = await Parhelion.load(base, { device: "webgpu" });
    const code = (promise) => promise.then(() => "nothing was thrown", (error) => `${error.code}: ${error.message}`);
    const started = performance.now();
    const vectors = await session.embed(texts);
    const took = performance.now() - started;
    const alone = await session.embed(texts[0]);
    const stopped = new AbortController();
    stopped.abort();
    const refused = [
      await code(session.complete("Hello").result),
      await code(session.embed(texts, { prompt: "query" })),
      await code(session.embed(texts, { signal: stopped.signal })),
    ];
    const { makes } = await session.info();
    await session.dispose();
    return { vectors: vectors.map((vector) => [...vector]), alone: [...alone], refused, makes, took };
  }, [server.url("/minilm/"), texts.map(({ text }) => text)]);
  assert.equal(got.makes, "vectors");
  for (const [i, { text, vector }] of texts.entries()) {
    const distance = 1 - dot(got.vectors[i], vector) / Math.sqrt(dot(vector, vector) * dot(got.vectors[i], got.vectors[i]));
    t.diagnostic(`${JSON.stringify(text)}: ${distance.toExponential(1)}`);
    assert.ok(Math.abs(distance) <= 1e-4, `${text}: ${distance}`);
    assert.ok(Math.abs(dot(got.vectors[i], got.vectors[i]) - 1) < 1e-5);
  }
  assert.ok(1 - dot(got.alone, got.vectors[0]) <= 1e-4);
  t.diagnostic(`${texts.length} texts in ${got.took.toFixed(0)} ms`);
  assert.match(got.refused[0], /^unsupported-model: .*embed/);
  assert.match(got.refused[1], /^option: .*`query`/);
  assert.match(got.refused[2], /^aborted/);
});

test("a model that writes text says that it makes no vectors", { ...NEEDS_MINILM, timeout: 60_000 }, async () => {
  server.mount("/tiny.gguf", await tinyModel());
  const error = await page.evaluate(async (url) => {
    const { Parhelion } = await import("/index.js");
    const session = await Parhelion.load(url, { device: "cpu" });
    const { makes } = await session.info();
    const error = await session.embed("a").then(() => "nothing was thrown", ({ code, message }) => `${makes}: ${code}: ${message}`);
    await session.dispose();
    return error;
  }, server.url("/tiny.gguf"));
  assert.match(error, /^text: unsupported-model: .*no embedding model/);
});
