// Repositories of several files, as far as no browser is needed: what names them, which addresses their files have, what is asked
// of the server, what is told of it, and what is let go.

import assert from "node:assert/strict";
import { test } from "node:test";

import { isPartOf, storedChoices, storedOf } from "../../web/dist/element/stored.js";
import { TransferSum } from "../../web/dist/engine/transfer-sum.js";
import { Parhelion, ParhelionError } from "../../web/dist/index.js";
import { addressIn, isInside, nameAt, partsOf } from "../../web/dist/paths.js";
import { wireSource } from "../../web/dist/source.js";
import { beginsAs } from "../../web/dist/store/format.js";
import { FakeWorker, coded, fakeWasm, memoryNotes } from "./fake-engine.mjs";

const BASE = "https://host.example/models/tiny/";
const code = (expected) => (error) => error instanceof ParhelionError && error.code === expected;
const bytes = (text) => new Uint8Array(Buffer.from(text, "latin1"));
const part = (number, count = 3) => `m-${String(number).padStart(5, "0")}-of-${String(count).padStart(5, "0")}.gguf`;

/** A store that has the files of a server, by address, and what was asked of it. */
function serverStore(files) {
  const asked = [];
  const open = new Set();
  const notes = {};
  const fetch = async ({ url, name, format, signal, onProgress }) => {
    signal?.throwIfAborted();
    const [address] = [url].flat();
    asked.push(address);
    const content = files[address];
    if (content instanceof Error) throw content;
    if (content === undefined) throw new ParhelionError("not-found", address);
    onProgress({ phase: "download", done: content.length, total: content.length, bytesPerSecond: 10, secondsLeft: 0, resumedFrom: 0 });
    await new Promise((resolve) => setTimeout(resolve, 0));
    const file = {
      name, format, size: content.length, sha256: `hash of ${content}`,
      read: async (offset, length) => bytes(content).slice(offset, offset + length),
      absent: async () => notes[address] ?? [],
      rememberAbsent: async (paths) => void (notes[address] = paths),
      close: () => open.delete(file),
    };
    open.add(file);
    return file;
  };
  return { store: { fetch }, asked, open, notes };
}

async function load(source, script, { files = {}, notes, onProgress, ...options } = {}) {
  const { wasm, log } = fakeWasm(script);
  const server = serverStore(files);
  if (script.server) Object.assign(server, script.server);
  const createWorker = () => new FakeWorker({ wasm, store: server.store, ...(notes && { notes }) });
  const session = await Parhelion.load(source, { createWorker, ...(onProgress && { onProgress }), ...options });
  return { session, log, server };
}

test("names of models lead to files, repositories and the catalogue", () => {
  globalThis.location = { href: "https://page.example/chat/" };
  const hub = (path) => `https://huggingface.co/${path}/`;
  for (const [source, expected] of [
    ["counter", { kind: "catalogue", id: "counter" }],
    ["./a/b", { kind: "remote", file: { url: "https://page.example/chat/a/b" } }],
    ["models/tiny.gguf", { kind: "remote", file: { url: "https://page.example/chat/models/tiny.gguf" } }],
    ["tiny.safetensors", { kind: "remote", file: { url: "https://page.example/chat/tiny.safetensors" } }],
    ["models/tiny/", { kind: "repository", base: "https://page.example/chat/models/tiny/", title: "tiny" }],
    [new URL(`${BASE}?key=1`), { kind: "repository", base: `${BASE}?key=1`, title: "tiny" }],
    ["owner/name", { kind: "repository", base: hub("owner/name/resolve/main"), title: "owner/name" }],
    ["owner/na.me@v1/x", { kind: "repository", base: hub("owner/na.me/resolve/v1%2Fx"), title: "owner/na.me" }],
    [{ repository: "o/n", revision: "abc", endpoint: "https://mirror.example/hub", file: "q/m.gguf" },
      { kind: "repository", base: "https://mirror.example/hub/o/n/resolve/abc/", title: "o/n", file: "q/m.gguf" }],
    [{ repository: "/models/tiny" }, { kind: "repository", base: "https://page.example/models/tiny/", title: "tiny" }],
  ]) {
    assert.deepEqual(wireSource(source), expected, String(source));
  }
  for (const source of [[], { repository: BASE, revision: "main" }, "http://[/", [new File([], "a"), new File([], "a")]]) {
    assert.throws(() => wireSource(source), code("option"), JSON.stringify(source));
  }
});

test("picked files are known by their paths below the folder that holds them", () => {
  const file = (path) => Object.defineProperty(new File(["x"], path.split("/").pop()), "webkitRelativePath", { value: path });
  const picked = (...paths) => wireSource(paths.map(file));
  const { title, files } = picked("tiny/config.json", "tiny/sub/model.safetensors");
  assert.deepEqual([title, files.map(({ path }) => path)], ["tiny", ["config.json", "sub/model.safetensors"]]);
  assert.deepEqual(picked("a/b/x.json", "a/b/y.json").files.map(({ path }) => path), ["x.json", "y.json"]);
  assert.deepEqual(wireSource([new File([], "a.json"), new File([], "b.json")]).files.map(({ path }) => path), ["a.json", "b.json"]);
  assert.equal(wireSource(new File([], "m.gguf")).title, "m.gguf");
});

test("no path of an index leads out of the folder", () => {
  for (const path of ["", ".", "..", "../x", "a/../../x", "/x", "//evil.example/x", "a//b", "a\\b", "https://evil.example/x", "a\nb", "x".repeat(1025), "a\ud800"]) {
    assert.ok(!isInside(path), path);
    assert.throws(() => addressIn(BASE, path), code("bad-file"), path);
  }
  for (const [path, address] of [
    ["a b/c?d#e", "a%20b/c%3Fd%23e"], ["%2e%2e/x", "%252e%252e/x"], ["%2f%2fevil.example", "%252f%252fevil.example"], ["模.gguf", "%E6%A8%A1.gguf"],
  ]) {
    assert.equal(addressIn(BASE, path), BASE + address);
  }
  assert.equal(addressIn(`${BASE}m.gguf?key=1`, "n.gguf"), `${BASE}n.gguf?key=1`);
  assert.equal(nameAt(`${BASE}a%20b.gguf?x`), "a b.gguf");
  for (const address of [BASE, `${BASE}%2e%2e%2fx`, `${BASE}%zz`, "no address"]) assert.equal(nameAt(address), undefined);
  assert.deepEqual(partsOf(part(2)), [part(1), part(2), part(3)]);
  for (const path of ["m.gguf", part(4), part(0), part(1, 99999)]) assert.equal(partsOf(path), undefined, path);
});

test("a file's beginning tells whether it is what was asked for", () => {
  const safetensors = `\x10\0\0\0\0\0\0\0{"a":{}}`;
  const page = "\n<!DOCTYPE html><title>Sign in</title>";
  for (const [format, text, verdict] of [
    ["weights", "GG", undefined], ["weights", "GGUF", true], ["weights", safetensors.slice(0, 8), undefined], ["weights", safetensors, true],
    ["weights", `\x10\0\0\0\0\0\0\x01{`, false], ["weights", "<!doctype html>", false], ["weights", '{"error":"no"}', false],
    ["json", " \n", undefined], ["json", ' \n{"a"', true], ["json", page, false], ["json", "Not found", false], ["json", "GGUF", false],
    ["text", "{{ mess", undefined], ["text", page.padEnd(600), false], ["text", "<|user|>".padEnd(600), true],
  ]) {
    assert.equal(beginsAs(format, bytes(text), false), verdict, `${format} ${text}`);
  }
  assert.deepEqual(["weights", "json", "text"].map((format) => beginsAs(format, bytes("  "), true)), [false, false, true]);
  assert.equal(beginsAs("text", bytes(page), true), false);
});

test("transfers of several files are told as one", () => {
  const told = [];
  const sum = new TransferSum(({ file, done, total, secondsLeft }) => told.push([file, done, total, secondsLeft]));
  const at = (done, total) => ({ phase: "download", done, total, bytesPerSecond: 10, secondsLeft: 1, resumedFrom: 0 });
  sum.report("a", at(5, 10));
  sum.finished("a", 10);
  sum.report("b", at(1, undefined));
  sum.expect("b", 20);
  sum.expect("c", 70);
  sum.report("b", at(20, 20));
  assert.deepEqual(told, [["a", 5, 10, 0.5], ["b", 11, undefined, undefined], ["b", 30, 100, 7]]);
});

test("a repository's files are fetched once each, what it has not is asked for once, and all are closed", async () => {
  const files = { [`${BASE}config.json`]: "{}", [`${BASE}model.safetensors`]: "weights", [`${BASE}sub/x.json`]: "{ }" };
  const paths = ["config.json", "config.json", "chat_template.jinja", "chat_template.jinja", "model.safetensors", "sub/x.json"];
  const progress = [];
  const onProgress = ({ phase, file, done, total }) => phase === "download" && progress.push([file, done, total]);
  const { session, log, server } = await load(BASE, { paths }, { files, onProgress });
  assert.deepEqual(server.asked, ["config.json", "chat_template.jinja", "model.safetensors", "sub/x.json"].map((path) => BASE + path));
  assert.deepEqual(log.opened.map(([, size]) => size), [2, 2, null, null, 7, 3]);
  assert.deepEqual(progress, [["config.json", 2, 2], ["model.safetensors", 9, 9], ["sub/x.json", 12, 12]]);
  assert.equal(server.open.size, 0, "every file is closed when the model is on the device");
  assert.deepEqual(server.notes, { [`${BASE}config.json`]: ["chat_template.jinja"] });
  assert.equal((await session.info()).name, "tiny");

  await session.loseDevice();
  await session.logits([1]);
  assert.equal(server.asked.filter((url) => url.endsWith(".jinja")).length, 1, "nor is it asked for when the model is loaded again");
  assert.equal(server.open.size, 0);
  assert.equal(log.freed, 2, "checkpoints are freed");
});

test("what was absent is asked for again only where config.json is fetched anew", async () => {
  const config = `${BASE}config.json`;
  const server = serverStore({ [config]: "{}" });
  await load(BASE, { paths: ["config.json", "x.json"], server });
  await load(BASE, { paths: ["config.json", "x.json"], server });
  assert.deepEqual(server.asked, [config, `${BASE}x.json`, config]);
  const failing = { paths: ["config.json", "y.json"], server, onLoad: () => { throw coded("not-found"); } };
  await assert.rejects(load(BASE, failing), code("not-found"));
  assert.deepEqual(server.notes[config], ["x.json"], "a load that fails notes nothing");
});

test("paths out of the repository are refused before anything is fetched", async () => {
  const server = serverStore({});
  await assert.rejects(load(BASE, { paths: ["../secret.json"], server }), code("bad-file"));
  await assert.rejects(load({ repository: BASE, file: "../m.gguf" }, { server }), code("bad-file"));
  assert.deepEqual(server.asked, []);
});

test("a model's identity is that of all its files", async () => {
  const notes = memoryNotes();
  const checks = async (weights) => {
    const files = { [`${BASE}config.json`]: "{}", [`${BASE}model.safetensors`]: weights };
    const { log } = await load(BASE, { paths: ["config.json", "model.safetensors"] }, { files, notes });
    return log.loads[0].check;
  };
  assert.deepEqual([await checks("one"), await checks("one"), await checks("two")], [true, false, true]);
});

test("parts of a split model have the addresses of its neighbours, and the model's own file must be there", async () => {
  const files = { [`${BASE}${part(1)}?key=1`]: "one", [`${BASE}${part(2)}?key=1`]: "two", [`${BASE}${part(3)}?key=1`]: "three" };
  const heads = [];
  const { fetch } = globalThis;
  globalThis.fetch = async (url) => heads.push(url) && new Response(null, { headers: { "content-length": "100" } });
  try {
    const totals = [];
    const onProgress = ({ phase, total }) => phase === "download" && totals.push(total);
    const { server } = await load(`${BASE}${part(2)}?key=1`, { paths: [part(2), part(1), part(3)] }, { files, onProgress });
    assert.deepEqual(server.asked, [part(2), part(1), part(3)].map((name) => `${BASE}${name}?key=1`));
    assert.deepEqual(heads, [part(1), part(3)].map((name) => `${BASE}${name}?key=1`), "sizes are asked for once a download has begun");
    assert.deepEqual(totals, [3, 3 + 3 + 100, 3 + 3 + 5], "the sum is that of the sizes known by then");
  } finally {
    globalThis.fetch = fetch;
  }
  await assert.rejects(load(`${BASE}m.gguf`, {}), code("not-found"));
});

test("picked files: the model among them is found, and two models are refused", async () => {
  const file = (name, content = "x") => new File([content], name);
  const opened = async (...files) => (await load(files, {})).log.opened;
  assert.deepEqual(await opened(file("m.gguf", "abc")), [["m.gguf", 3]]);
  assert.deepEqual(await opened(file("C:odd.gguf", "ab")), [["model", 2]]);
  assert.deepEqual(await opened(file("readme.md"), file(part(2), "ab")), [[part(2), 2]]);
  assert.deepEqual(await opened(file("config.json"), file("m.gguf", "abc")), [["m.gguf", 3]]);
  await assert.rejects(opened(file("a.gguf"), file("b.gguf")), code("option"));
  const repository = await load([file("config.json", "{}"), file("model.safetensors", "abc")], { paths: ["config.json", "tokenizer.json", "model.safetensors"] });
  assert.deepEqual(repository.log.opened, [["config.json", 2], ["tokenizer.json", null], ["model.safetensors", 3]]);
  assert.equal((await repository.session.info()).name, "picked files");
});

test("stored files are shown as the models that they are", () => {
  const entry = (path, size = 10, complete = true) => ({ key: path, name: `tiny/${path}`, url: BASE + path, bytes: complete ? size : 1, size, complete, verified: false, lastUsed: 0 });
  const other = { ...entry("x.gguf"), url: "https://host.example/x.gguf", name: "x.gguf" };
  const parts = [1, 2].map((number) => ({ ...entry(part(number)), url: `https://host.example/${part(number)}`, name: part(number) }));
  const stored = [entry("config.json"), entry("model.safetensors", 90), other, ...parts, { ...entry("lone.json"), url: "https://host.example/lone.json" }];
  const choices = storedChoices(stored, []);
  assert.deepEqual(choices.map(({ title, bytes }) => [title, bytes]), [["tiny", 100], ["x", 10], [part(1).slice(0, -5), 20]]);
  const [tiny, , split] = choices;
  assert.deepEqual(tiny.source, { repository: BASE });
  assert.deepEqual(storedOf(tiny, stored), { bytes: 100, size: 100, complete: true });
  assert.equal(storedOf(split, stored).complete, false, "a part is missing");
  assert.equal(storedOf(tiny, [entry("config.json"), entry("model.safetensors", 90, false)]).complete, false);
  assert.ok(isPartOf(entry("tokenizer.json"), tiny) && !isPartOf(other, tiny));
  assert.deepEqual(storedChoices(stored, choices), []);
});
