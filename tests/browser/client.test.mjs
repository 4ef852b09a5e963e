// The package's promises about order, ends and errors, with a stand-in for the wasm module: no browser needed.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Parhelion, ParhelionError } from "../../web/dist/index.js";
import { coded, FakeWorker, fakeWasm, memoryNotes } from "./fake-engine.mjs";

/** A session over a stand-in, and what the stand-in was asked. */
async function load(script = {}, options = {}, worker = {}) {
  const { wasm, log } = fakeWasm(script);
  const progress = [];
  let made;
  const createWorker = () => (made = new FakeWorker({ wasm, ...worker }));
  const session = await Parhelion.load("counter", { createWorker, onProgress: ({ phase }) => progress.push(phase), ...options });
  return { session, log, progress, worker: made };
}

const say = (content) => [{ role: "user", content }];
const read = async (generation) => {
  const tokens = [];
  for await (const token of generation) tokens.push(token);
  return tokens;
};
const code = (expected) => (error) => {
  assert.ok(error instanceof ParhelionError, String(error));
  assert.equal(error.code, expected, error.message);
  return true;
};
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, index) => from + index);

test("an answer streams its tokens and says how it ended", async () => {
  const { session, progress } = await load({ rest: "!" });
  const generation = session.chat(say("1 2"), { maxTokens: 3 });
  assert.deepEqual(await read(generation), [
    { text: "3 ", id: 3, logprob: -0.5 },
    { text: "4 ", id: 4, logprob: -0.5 },
    { text: "5 ", id: 5, logprob: -0.5 },
    { text: "!", id: null, logprob: null },
  ]);
  const result = await generation.result;
  assert.equal(session.last, result);
  assert.deepEqual([result.text, result.tokens, result.finishReason], ["3 4 5 !", [3, 4, 5], "length"]);
  assert.deepEqual(result.usage, { promptTokens: 2, completionTokens: 3, totalTokens: 5, cachedTokens: 0 });
  assert.ok(result.timings.firstTokenMs <= result.timings.totalMs);
  assert.deepEqual(progress, ["check", "compile", "upload", "ready"]);
  const info = await session.info();
  assert.deepEqual([info.name, info.vocabulary, info.check.state], ["counter.gguf", 100, "run"]);
  assert.equal(info.timings.firstToken, result.timings.firstTokenMs);
  assert.throws(() => generation[Symbol.asyncIterator](), code("busy"));
});

test("texts and tokens are completed as they are", async () => {
  const { session, log } = await load();
  assert.equal(await session.complete("7", { maxTokens: 2 }).text(), "8 9 ");
  assert.equal(await session.complete([1, 5], { maxTokens: 1 }).text(), "6 ");
  assert.deepEqual(log.generates.map(({ prompt }) => prompt), [[7], [1, 5]]);
  assert.deepEqual(log.generates.map(({ options }) => options.continuesText), [true, false]);
  assert.deepEqual([...(await session.tokenize("1 2"))], [1, 2]);
  assert.equal(await session.detokenize([1, 2]), "1 2 ");
  assert.equal((await session.logits([1, 2, 3], 1)).length, 200);
});

test("answers take turns in the order in which they were asked for", async () => {
  const { session, log } = await load();
  const order = [];
  const answers = [10, 20, 30].map(async (start) => {
    for await (const { id } of session.complete([start], { maxTokens: 3 })) order.push(id);
  });
  const asked = [session.tokenize("1 2"), session.info(), session.chatTokens(say("3"))];
  await Promise.all([...answers, ...asked]);
  assert.deepEqual(order, [11, 12, 13, 21, 22, 23, 31, 32, 33]);
  assert.equal(log.generates.length, 3);
});

test("abort() ends the running answer well, and the next one runs", async () => {
  const { session } = await load();
  const first = session.complete([0], { maxTokens: 1000 });
  const second = session.complete([50], { maxTokens: 2 });
  const ids = [];
  for await (const { id } of first) {
    ids.push(id);
    if (id === 5) session.abort();
  }
  const result = await first.result;
  assert.equal(result.finishReason, "cancelled");
  assert.deepEqual(result.tokens, ids);
  assert.ok(ids.length < 10, `${ids.length} tokens`);
  assert.deepEqual((await second.result).tokens, [51, 52]);
});

test("an AbortSignal ends the loop with the error aborted", async () => {
  const { session, log } = await load();
  const controller = new AbortController();
  await assert.rejects(async () => {
    for await (const { id } of session.complete([0], { maxTokens: 1000, signal: controller.signal })) if (id === 3) controller.abort();
  }, code("aborted"));
  const asked = log.generates.length;
  await assert.rejects(read(session.complete([0], { signal: AbortSignal.abort() })), code("aborted"));
  assert.equal(log.generates.length, asked, "an answer whose signal has fired already is not begun");
  assert.deepEqual((await session.complete([1], { maxTokens: 1 }).result).tokens, [2]);
});

test("leaving the loop early stops generating", async () => {
  const { session, log } = await load();
  const generation = session.complete([0], { maxTokens: 1000 });
  for await (const { id } of generation) if (id === 4) break;
  assert.equal((await generation.result).finishReason, "cancelled");
  assert.ok(log.tokens < 10, `${log.tokens} tokens`);
});

test("a lost device is recovered in mid-answer, and the reader sees no break", async () => {
  let once = true;
  const { session, log, progress } = await load({
    beforeToken: (count) => {
      if (count !== 3 || !once) return;
      once = false;
      throw coded("device-lost");
    },
  });
  const tokens = await read(session.complete([0], { maxTokens: 8 }));
  assert.deepEqual(tokens.map(({ id }) => id), numbers(1, 8));
  assert.deepEqual(log.generates[1].generated, [1, 2, 3], "the answer goes on after what it has");
  assert.equal(session.last.recoveries, 1);
  assert.equal(session.last.usage.completionTokens, 8);
  assert.equal(log.live, 1, "the lost model was freed");
  assert.ok(progress.indexOf("recovering") > progress.indexOf("ready"));
  assert.equal(progress.at(-1), "ready");
});

test("a device lost between answers is recovered too, for logits as well", async () => {
  const { session, log } = await load();
  await session.loseDevice();
  assert.equal((await session.logits([1, 2])).length, 200);
  assert.equal(log.loads.length, 2);
  assert.equal((await session.info()).recoveries, 1);
});

test("a second loss is the error device-lost, and asking again loads the model again", async () => {
  let losses = 2;
  const { session, log } = await load({
    beforeToken: (count) => {
      if (count === 2 && losses-- > 0) throw coded("device-lost");
    },
  });
  const seen = [];
  await assert.rejects(async () => {
    for await (const { id } of session.complete([0], { maxTokens: 5 })) seen.push(id);
  }, code("device-lost"));
  assert.deepEqual(seen, [1, 2], "what came before is there");
  assert.equal(session.last, undefined);
  assert.deepEqual((await session.complete([0], { maxTokens: 5 }).result).tokens, numbers(1, 5));
  assert.equal(log.live, 1);
});

test("a device that takes a moment to come back is waited for", async () => {
  const { session } = await load({
    onLoad: (_, times) => {
      if (times === 2 || times === 3) throw coded("no-device");
    },
  });
  const generation = session.complete([0], { maxTokens: 2 });
  await session.loseDevice();
  assert.equal((await generation.result).recoveries, 1);
});

test("a trap in the module ends the session; nothing hangs", async () => {
  const { session, worker } = await load({
    beforeToken: () => {
      throw new WebAssembly.RuntimeError("unreachable");
    },
  });
  const first = session.complete([0]);
  const second = session.complete([0]);
  await assert.rejects(read(first), code("internal"));
  await assert.rejects(read(second), code("internal"));
  await assert.rejects(session.info(), code("internal"));
  await assert.rejects(session.complete([0]).text(), code("internal"));
  assert.ok(worker.terminated);
  await session.dispose();
});

test("a worker that fails ends the session; nothing hangs", async () => {
  const { session, worker } = await load({ beforeToken: () => new Promise(() => {}) });
  const answer = session.complete([0]);
  setTimeout(() => worker.dispatchEvent(Object.assign(new Event("error"), { message: "it broke" })), 20);
  await assert.rejects(answer.result, (error) => code("internal")(error) && /it broke/.test(error.message));
});

test("a worker that cannot be started is an error with advice", async () => {
  const refuse = () => {
    throw new DOMException("no", "SecurityError");
  };
  await assert.rejects(Parhelion.load("counter", { createWorker: refuse }), (error) => code("internal")(error) && /worker-src/.test(error.message));
});

test("a disposed session is disposed", async () => {
  const { session, log, worker } = await load();
  const running = session.complete([0], { maxTokens: 1000 });
  const waiting = session.complete([0], { maxTokens: 1000 });
  await Promise.all([session.dispose(), session.dispose()]);
  assert.deepEqual([(await running.result).finishReason, (await waiting.result).finishReason], ["cancelled", "cancelled"]);
  assert.equal(log.live, 0);
  assert.ok(worker.terminated);
  await assert.rejects(session.info(), code("disposed"));
  await assert.rejects(read(session.complete([0])), code("disposed"));
});

test("loading can be stopped, and what goes wrong in it is typed", async () => {
  const hang = { onLoad: () => new Promise((resolve) => setTimeout(resolve, 50)) };
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 10);
  await assert.rejects(load(hang, { signal: controller.signal }), code("aborted"));
  await assert.rejects(load({}, { signal: AbortSignal.abort() }), code("aborted"));
  const unsupported = { onLoad: () => { throw coded("unsupported-model", "architecture mamba"); } };
  await assert.rejects(load(unsupported), code("unsupported-model"));
  const { wasm } = fakeWasm();
  const createWorker = () => new FakeWorker({ wasm });
  await assert.rejects(Parhelion.load("nobody", { createWorker }), (error) => code("not-found")(error) && /counter/.test(error.message));
  await assert.rejects(Parhelion.load("http://[", { createWorker }), code("option"));
});

test("a damaged stored file is opened again once: that mends it", async () => {
  const damaged = (times) => ({ onLoad: (_, load) => { if (load <= times) throw coded("integrity"); } });
  const { session, log } = await load(damaged(1));
  assert.equal(log.loads.length, 2);
  await session.dispose();
  await assert.rejects(load(damaged(2)), code("integrity"));
});

test("without WebGPU small models run on the CPU and large ones say what to do", async () => {
  const { session, log } = await load({}, {}, { webgpu: false });
  assert.equal(log.loads[0].device, "cpu");
  assert.equal(log.loads[0].check, false, "the CPU needs no check");
  await session.dispose();
  await assert.rejects(load({}, { device: "webgpu" }, { webgpu: false }), code("no-webgpu"));
  const { wasm } = fakeWasm();
  const large = { url: "https://example.invalid/large.gguf", size: 1e9 };
  const createWorker = () => new FakeWorker({ wasm, webgpu: false });
  await assert.rejects(Parhelion.load(large, { createWorker }), (error) => code("no-webgpu")(error) && /1000 MB/.test(error.message));
});

test("a device is checked once for each model, and what it gets wrong stays off", async () => {
  const notes = memoryNotes();
  const first = await load({ dropped: ["subgroups"] }, {}, { notes });
  assert.equal(first.log.loads[0].check, true);
  assert.deepEqual((await first.session.info()).check, { state: "run", dropped: ["subgroups"] });
  const second = await load({}, {}, { notes });
  assert.equal(second.log.loads[0].check, false);
  assert.equal(second.log.loads[0].subgroups, false);
  assert.deepEqual((await second.session.info()).check, { state: "remembered", dropped: ["subgroups"] });
  assert.equal((await load({}, { check: true }, { notes })).log.loads[0].check, true);
  assert.equal((await load({}, { check: false }, { notes: memoryNotes() })).log.loads[0].check, false);
  const broken = { get: () => Promise.reject(new Error("no database")), set: () => Promise.reject(new Error("no database")) };
  assert.equal((await load({}, {}, { notes: broken })).log.loads[0].check, true);
});

test("messages that are none, and arguments that cannot be sent, are option errors", async () => {
  const { session } = await load();
  for (const messages of [[], "hello", [{ role: "user" }], [null], [{ role: 1, content: "" }]]) {
    await assert.rejects(read(session.chat(messages)), code("option"));
  }
  await assert.rejects(read(session.chat(say("1"), { tools: [() => 1] })), code("option"));
});

test("OpenAI: whole answers", async () => {
  const { session, log } = await load();
  const params = {
    messages: [{ role: "developer", content: "1" }, { role: "user", content: [{ type: "text", text: " 2" }, { type: "text", text: " 3" }] }],
    max_tokens: 9, max_completion_tokens: 2, temperature: 0, top_p: 0.5, seed: 7, stop: "x", frequency_penalty: 0.1, presence_penalty: null, logprobs: true, n: 1,
  };
  const { id, created, ...answer } = await session.openai.chat.completions.create(params);
  assert.match(id, /^chatcmpl-[0-9a-f]{24}$/);
  assert.ok(Math.abs(created - Date.now() / 1000) < 60);
  const logprob = (token) => ({ token, logprob: -0.5, bytes: [...Buffer.from(token)], top_logprobs: [] });
  assert.deepEqual(answer, {
    object: "chat.completion",
    model: "counter.gguf",
    choices: [{ index: 0, message: { role: "assistant", content: "4 5 ", refusal: null }, logprobs: { content: [logprob("4 "), logprob("5 ")], refusal: null }, finish_reason: "length" }],
    usage: { prompt_tokens: 3, completion_tokens: 2, total_tokens: 5, prompt_tokens_details: { cached_tokens: 0 } },
  });
  assert.deepEqual(log.generates[0].options, { maxTokens: 2, temperature: 0, topP: 0.5, seed: 7, stop: ["x"], frequencyPenalty: 0.1, continuesText: false });
});

test("OpenAI: streams", async () => {
  const { session } = await load();
  const { completions } = session.openai.chat;
  const stream = await completions.create({ model: "mine", messages: say("1"), max_tokens: 2, stream: true, stream_options: { include_usage: true } });
  const chunks = await read(stream);
  assert.deepEqual(chunks.map(({ choices }) => choices[0]?.delta), [{ role: "assistant", content: "" }, { content: "2 " }, { content: "3 " }, {}, undefined]);
  assert.deepEqual(chunks.map(({ choices }) => choices[0]?.finish_reason), [null, null, null, "length", undefined]);
  assert.deepEqual(chunks.map(({ usage }) => usage?.total_tokens), [undefined, undefined, undefined, undefined, 3]);
  assert.equal(new Set(chunks.map((chunk) => `${chunk.id} ${chunk.object} ${chunk.model}`)).size, 1);
  assert.equal(chunks[0].object, "chat.completion.chunk");
  const controller = new AbortController();
  await assert.rejects(async () => {
    for await (const chunk of await completions.create({ messages: say("1"), stream: true }, { signal: controller.signal })) {
      if (chunk.choices[0].delta.content === "3 ") controller.abort();
    }
  }, code("aborted"));
  const stopped = await completions.create({ messages: say("1"), stream: true });
  await assert.rejects(async () => {
    for await (const chunk of stopped) if (chunk.choices[0].delta.content === "3 ") stopped.controller.abort();
  }, code("aborted"));
});

test("OpenAI: what is not supported is refused", async () => {
  const { session, log } = await load();
  const refused = [
    { n: 2 }, { top_logprobs: 3 }, { logit_bias: { 1: 2 } }, { tools: [] }, { response_format: { type: "json_object" } }, { functions: [] },
    { messages: "hello" }, { messages: [{ role: "user", content: [{ type: "image_url", image_url: { url: "" } }] }] }, { messages: [{ role: "user", content: 5 }] },
  ];
  for (const params of refused) {
    await assert.rejects(session.openai.chat.completions.create({ messages: say("1"), ...params }), code("option"), JSON.stringify(params));
  }
  assert.equal(log.generates.length, 0);
  await session.openai.chat.completions.create({ messages: say("1"), max_tokens: 1, user: "me", metadata: { a: "b" }, logit_bias: null });
});
