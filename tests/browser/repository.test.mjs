// Models of several files in a real browser: a repository of safetensors from an address, from a hub and from picked files, whole
// and in shards; split GGUF files; what servers leave out and send instead; a download that stops; a visit without a network.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, before, beforeEach, test } from "node:test";

import { Browser, Server, serveDist } from "./harness.mjs";
import { CONFIG, LOGITS, SHARDS, TOKENS, WHOLE, inShards, splitGguf } from "./repository/models.mjs";
import { tinyModel } from "./tiny.mjs";

const SLOW = { timeout: 120_000 };
/** How far logits may be from those of numpy's f64, and of a value of that size. */
const BOUND = 1e-3;

let server;
/** Another origin, as models usually come from: it can go away while the page stays. */
let models;
let browser;
let page;
before(async () => {
  server = await serveDist();
  browser = await Browser.launch();
  page = await browser.open(server.url("/blank.html"));
  await page.evaluate(prepare, TOKENS);
}, SLOW);
after(async () => {
  await browser?.close();
  await models?.close();
  await server?.close();
});
beforeEach(async () => {
  await models?.close();
  models = await Server.start();
});

/** What the tests share in the page. */
async function prepare(tokens) {
  const parhelion = await import("/index.js");
  const caught = async (promise) => promise.then(() => "nothing was thrown", ({ name, code, message }) => ({ name, code, message }));
  const answer = async (session) => (await session.complete(tokens, { maxTokens: 8, temperature: 0, ignoreEnd: true }).result).tokens;
  /** Loads a model on the CPU, asks it, and disposes of it. */
  const ask = async (source, options = {}) => {
    const session = await parhelion.Parhelion.load(source, { device: "cpu", ...options });
    const asked = { tokens: await answer(session), name: (await session.info()).name };
    await session.dispose();
    return asked;
  };
  Object.assign(globalThis, parhelion, { caught, answer, ask, tokens });
}

/** Puts a repository on the models' server; returns its address. */
function serve(folder, files) {
  for (const [path, bytes] of Object.entries(files)) models.mount(`/${folder}/${path}`, bytes);
  return models.url(`/${folder}/`);
}

const requests = (folder, paths) => paths.map((path) => models.traffic(`/${folder}/${path}`).requests);

test("a repository answers as the reference does, from its address and as picked files", SLOW, async (t) => {
  const base = serve("tiny", WHOLE);
  const { logits, tokens, chat, info, again, stored, left, progress } = await page.evaluate(async (base) => {
    const progress = [];
    const onProgress = ({ phase, file, done, total }) => phase === "download" && progress.push({ file, done, total });
    const session = await Parhelion.load(base, { check: false, onProgress });
    const logits = Array.from(await session.logits(tokens, tokens.length - 1));
    const asked = await answer(session);
    const chat = await session.chatTokens([{ role: "user", content: "Hi!" }]);
    await session.loseDevice();
    const again = await answer(session);
    const stored = await Parhelion.storage.list();
    const info = await session.info();
    await Parhelion.storage.clear();
    const left = await Parhelion.storage.list();
    await session.dispose();
    return { logits, tokens: asked, chat: [...chat], info, again, stored, left, progress };
  }, base);
  const expected = LOGITS.at(-1);
  const worst = Math.max(...expected.map((value, index) => Math.abs(value - logits[index]) / Math.max(1, Math.abs(value))));
  t.diagnostic(`largest error ${worst}, loaded in ${info.timings.total.toFixed(0)} ms`);
  assert.ok(worst <= BOUND, `largest error ${worst}`);
  assert.deepEqual([info.name, info.recoveries, info.vocabulary], ["tiny", 1, CONFIG.vocab_size]);
  assert.deepEqual(again, tokens, "a lost device is recovered");
  assert.equal(chat.length, 3, "the template is that of chat_template.jinja");
  assert.deepEqual(stored.map(({ name }) => name).sort(), Object.keys(WHOLE).map((path) => `tiny/${path}`).sort());
  assert.ok(stored.every(({ complete, url, name }) => complete && url === base + name.slice("tiny/".length)));
  assert.deepEqual(left, [], "no file is held while the model is on the device");
  assert.deepEqual(requests("tiny", Object.keys(WHOLE)), Object.keys(WHOLE).map(() => 1));
  assert.deepEqual(requests("tiny", ["generation_config.json", "special_tokens_map.json"]), [1, 1], "what there is not is asked for once");
  const all = Object.values(WHOLE).reduce((sum, { length }) => sum + length, 0);
  assert.deepEqual(progress.at(-1), { file: "model.safetensors", done: all, total: all }, "the sum is over all files, the weights last");

  const picked = await page.evaluate(async (files) => {
    const blobs = files.map(([path, bytes]) => new File([Uint8Array.from(bytes)], path));
    const asked = await ask(blobs);
    const alone = await caught(ask(blobs.filter(({ name }) => name === "model.safetensors")));
    const folder = blobs.map((blob) => Object.defineProperty(blob, "webkitRelativePath", { value: `mine/${blob.name}` }));
    return { asked, folder: await ask(folder), alone, stored: (await Parhelion.storage.list()).length };
  }, Object.entries(WHOLE).map(([path, bytes]) => [path, [...bytes]]));
  assert.deepEqual(picked.asked, { tokens, name: "picked files" });
  assert.deepEqual(picked.folder, { tokens, name: "mine" });
  assert.equal(picked.alone.code, "not-found");
  assert.match(picked.alone.message, /config\.json is missing/);
  assert.equal(picked.stored, 0);

  const byFile = await page.evaluate((url) => ask(url), `${base}model.safetensors`);
  assert.deepEqual(byFile, { tokens, name: "model.safetensors" }, "the address of the weights leads to the files beside them");
});

test("shards of a hub's repository answer alike; without a network too, and what there is not is not asked for", SLOW, async () => {
  const folder = "owner/tiny/resolve/v1";
  const files = inShards();
  serve(folder, files);
  serve("tiny", WHOLE);
  const hub = { repository: "owner/tiny@v1", endpoint: models.origin };
  const asked = await page.evaluate(([hub, base]) => Promise.all([ask(hub), ask(base)]), [hub, models.url("/tiny/")]);
  assert.deepEqual(asked.map(({ name }) => name), ["owner/tiny", "tiny"]);
  assert.deepEqual(asked[0].tokens, asked[1].tokens);
  assert.deepEqual(requests(folder, SHARDS), [1, 2], "the second shard's size is asked for while the first comes in");

  models.resetTraffic();
  models.offline();
  const offline = await page.evaluate((hub) => ask(hub), hub);
  models.offline(false);
  assert.deepEqual(offline, asked[0]);
  const again = await page.evaluate((hub) => ask(hub), hub);
  assert.deepEqual(again, asked[0]);
  const optional = ["model.safetensors", "generation_config.json", "special_tokens_map.json"];
  assert.ok(requests(folder, [...Object.keys(files), ...optional]).every((count) => count === 0), "a second visit asks the server nothing");
});

test("any part of a split GGUF file leads to all of it", SLOW, async () => {
  const whole = await readFile(await tinyModel());
  const parts = splitGguf(whole);
  models.mount("/split/tiny.gguf", whole);
  const paths = parts.map((bytes, index) => models.mount(`/split/part-0000${index + 1}-of-00002.gguf`, bytes));
  const { asked, picked, missing } = await page.evaluate(async ([single, first, second]) => {
    const asked = [];
    for (const source of [single, first, second]) asked.push(await ask(source));
    const files = await Promise.all([first, second].map(async (url) => new File([await (await fetch(url)).blob()], url.split("/").pop())));
    return { asked, picked: await ask(files), missing: await caught(ask(files[1])) };
  }, [models.url("/split/tiny.gguf"), ...paths]);
  const [single, ...others] = asked.map(({ tokens }) => tokens);
  assert.equal(single.length, 8);
  for (const tokens of [...others, picked.tokens]) assert.deepEqual(tokens, single);
  assert.equal(missing.code, "not-found");
  assert.match(missing.message, /part-00001-of-00002\.gguf is missing/);
});

test("what is missing or something else is a typed error that names it", SLOW, async () => {
  const load = (base) => page.evaluate((base) => caught(ask(base)), base);
  const { "tokenizer.json": _, ...untold } = WHOLE;
  const noTokenizer = await load(serve("untold", untold));
  assert.equal(noTokenizer.code, "not-found");
  assert.ok(noTokenizer.message.startsWith(`${models.url("/untold")}: tokenizer.json is missing`), noTokenizer.message);
  assert.deepEqual(requests("untold", ["model.safetensors"]), [0], "what cannot run is not downloaded");

  const portal = serve("portal", WHOLE);
  models.fault("/portal/config.json", { html: true });
  const signIn = await load(portal);
  assert.equal(signIn.code, "not-a-model");
  assert.ok(signIn.message.includes("/portal/config.json"), signIn.message);

  const outside = await load(serve("outside", inShards([SHARDS[0], "../../secret.safetensors"])));
  assert.equal(outside.code, "bad-file");
  assert.match(outside.message, /not one inside the repository/);
  assert.equal(models.traffic("/secret.safetensors").requests, 0);

  const wrong = await load(serve("wrong", inShards([SHARDS[0], "model-00003-of-00003.safetensors"])));
  assert.equal(wrong.code, "not-found");
  assert.ok(wrong.message.startsWith(`${models.url("/wrong")}: model-00003-of-00003.safetensors is missing`), wrong.message);

  const pickle = await load(serve("pickle", { "config.json": WHOLE["config.json"], "tokenizer.json": WHOLE["tokenizer.json"], "pytorch_model.bin": Buffer.alloc(5000) }));
  assert.equal(pickle.code, "unsupported-model");
  assert.match(pickle.message, /PyTorch's pickle/);
  assert.equal(models.traffic("/pickle/pytorch_model.bin").bytes, 0, "it is looked for, not downloaded");

  const empty = await load(serve("empty", {}));
  assert.equal(empty.code, "not-found");
  assert.match(empty.message, /config\.json is missing/);
});

test("a download that was stopped goes on with the file that it was at", SLOW, async () => {
  const files = inShards();
  const base = serve("slow", files);
  models.fault(`/slow/${SHARDS[1]}`, { bytesPerSecond: 20_000 });
  const error = await page.evaluate(async ([base, shard]) => {
    const controller = new AbortController();
    const onProgress = ({ phase, file }) => phase === "download" && file === shard && controller.abort();
    return caught(ask(base, { signal: controller.signal, onProgress }));
  }, [base, SHARDS[1]]);
  assert.equal(error.code, "aborted");
  models.fault(`/slow/${SHARDS[1]}`, null);
  models.resetTraffic();
  const { tokens } = await page.evaluate((base) => ask(base), base);
  assert.equal(tokens.length, 8);
  assert.deepEqual(requests("slow", ["config.json", "tokenizer.json", ...SHARDS]), [0, 0, 0, 1]);
});
