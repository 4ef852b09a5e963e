// The package's API on the real module in a real browser, with a synthetic model: what the stand-in cannot show.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import { Browser, serveDist, withBrowser } from "./harness.mjs";
import { tinyModel } from "./tiny.mjs";

const SLOW = { timeout: 240_000 };
const CYCLES = 20;

let server;
let browser;
let page;
before(async () => {
  server = await serveDist();
  server.mount("/tiny.gguf", await tinyModel());
  for (const file of ["gpu-ledger.js", "no-kernels.js"]) server.mount(`/test/${file}`, fileURLToPath(new URL(file, import.meta.url)));
  server.mount("/test/worker.js", 'import "./gpu-ledger.js";\nimport "../worker.js";\n');
  server.mount("/test/worker-without-kernels.js", 'import "./no-kernels.js";\nimport "./worker.js";\n');
  browser = await Browser.launch();
  page = await browser.open(server.url("/blank.html"));
  await page.evaluate(prepare);
}, SLOW);
after(async () => {
  await browser?.close();
  await server?.close();
});

/** What the tests share in the page. */
async function prepare() {
  const parhelion = await import("/index.js");
  const { Connection } = await import("/connection.js");
  /** What an error says, for comparisons outside the page. */
  const caught = async (promise) => promise.then(() => "nothing was thrown", ({ name, code, message }) => ({ name, code, message }));
  const tokensOf = async (generation) => {
    const tokens = [];
    for await (const token of generation) tokens.push(token);
    return tokens;
  };
  const workerFrom = (file) => () => new Worker(`/test/${file}`, { type: "module" });
  const ledger = () =>
    new Promise((resolve) => {
      const channel = new BroadcastChannel("gpu-ledger");
      channel.onmessage = ({ data }) => resolve(data) ?? channel.close();
      channel.postMessage("ask");
    });
  Object.assign(globalThis, parhelion, { Connection, caught, tokensOf, workerFrom, ledger, question: [{ role: "user", content: "Hello there, how are you?" }] });
}

test("a model loads, tells how, and streams the same answer each time", SLOW, async (t) => {
  const { info, phases, first, again, result } = await page.evaluate(async () => {
    const phases = [];
    globalThis.progress = ({ phase }) => phases.at(-1) !== phase && phases.push(phase);
    globalThis.session = await Parhelion.load("/tiny.gguf", { onProgress: (p) => progress(p), createWorker: workerFrom("worker.js") });
    const options = { maxTokens: 6, temperature: 0 };
    const generation = session.chat(question, options);
    const first = await tokensOf(generation);
    const again = await session.chat(question, options).result;
    return { phases, first, again, result: await generation.result, info: await session.info() };
  });
  t.diagnostic(`load ${JSON.stringify(info.timings)}, memory ${JSON.stringify(info.memory)}, wasm ${info.wasmBytes} bytes`);
  assert.equal(phases[0], "download");
  for (const phase of ["compile", "upload"]) assert.ok(phases.includes(phase), phases.join(" "));
  assert.equal(phases.at(-1), "ready");
  assert.equal(info.device.backend, "WebGPU");
  assert.ok(info.device.subgroups, "subgroups are used as the browser offers them");
  assert.ok([1, 0].includes(result.usage.totalTokens - info.contextUsed), "the last token need not be in the context");
  for (const time of ["download", "wasm", "compile", "upload", "firstToken"]) assert.ok(info.timings[time] > 0, time);
  assert.equal(first.map(({ text }) => text).join(""), result.text);
  assert.deepEqual(first.filter(({ id }) => id !== null).map(({ id }) => id), result.tokens);
  assert.ok(first.every(({ id, logprob }) => id === null || logprob < 0));
  assert.equal(result.finishReason, "length");
  assert.deepEqual(again.tokens, result.tokens);
  assert.ok(again.usage.cachedTokens > 0, "the conversation is still on the device");
  assert.deepEqual(browser.errors, []);
});

test("tokens and texts go both ways, and logits come row by row", SLOW, async () => {
  const { back, rows, best, greedy, continued } = await page.evaluate(async () => {
    const tokens = await session.chatTokens(question);
    const [greedy] = (await session.complete(tokens, { maxTokens: 1, temperature: 0 }).result).tokens;
    const logits = await session.logits(tokens, tokens.length - 2);
    const { vocabulary } = await session.info();
    const last = logits.subarray(vocabulary);
    const continued = (await session.complete("Hello", { maxTokens: 1 }).result).usage;
    return { continued, back: await session.detokenize(await session.tokenize("Hello")), rows: logits.length / vocabulary, best: last.indexOf(Math.max(...last)), greedy };
  });
  assert.equal(back, "Hello");
  assert.equal(continued.completionTokens, 1);
  assert.equal(rows, 2);
  assert.equal(best, greedy);
});

test("abort, a signal and leaving the loop stop within one step", SLOW, async (t) => {
  const stops = await page.evaluate(async () => {
    const options = { maxTokens: 500, temperature: 0, ignoreEnd: true };
    const measure = async (stop, signal) => {
      const generation = session.chat(question, signal ? { ...options, signal } : options);
      const times = [];
      let asked;
      let after = 0;
      const error = await caught((async () => {
        for await (const _ of generation) {
          times.push(performance.now());
          if (asked !== undefined) after += 1;
          else if (times.length === 4) {
            asked = performance.now();
            if (stop === "break") break;
            stop();
          }
        }
      })());
      const tookMs = performance.now() - asked;
      const stepMs = (times[3] - times[0]) / 3;
      return { after, tookMs, stepMs, error: error.code ?? error, reason: stop === "break" ? (await generation.result).finishReason : session.last?.finishReason };
    };
    const controller = new AbortController();
    return [await measure(() => session.abort()), await measure(() => controller.abort(), controller.signal), await measure("break")];
  });
  for (const { after, tookMs, stepMs } of stops) {
    t.diagnostic(`${after} tokens after the stop, which took ${tookMs.toFixed(0)} ms; a step takes ${stepMs.toFixed(0)} ms`);
    assert.ok(after <= 1, `${after} tokens came after the stop`);
  }
  const [aborted, signalled, left] = stops;
  assert.deepEqual([aborted.error, aborted.reason], ["nothing was thrown", "cancelled"]);
  assert.equal(signalled.error, "aborted");
  assert.deepEqual([left.error, left.reason], ["nothing was thrown", "cancelled"]);
});

test("OpenAI's shapes, whole and streamed", SLOW, async () => {
  const { whole, chunks, refused } = await page.evaluate(async () => {
    const params = { messages: question, max_tokens: 3, temperature: 0 };
    const { completions } = session.openai.chat;
    const whole = await completions.create({ ...params, logprobs: true });
    const chunks = [];
    for await (const chunk of await completions.create({ ...params, stream: true })) chunks.push(chunk);
    return { whole, chunks, refused: await caught(completions.create({ ...params, n: 3 })) };
  });
  assert.deepEqual([whole.object, whole.model, whole.choices.length], ["chat.completion", "tiny.gguf", 1]);
  assert.deepEqual([whole.choices[0].finish_reason, whole.usage.completion_tokens], ["length", 3]);
  assert.equal(whole.choices[0].logprobs.content.length, 3);
  assert.equal(chunks.map(({ choices }) => choices[0].delta.content ?? "").join(""), whole.choices[0].message.content);
  assert.deepEqual(chunks.map(({ choices }) => choices[0].finish_reason).filter(Boolean), ["length"]);
  assert.equal(refused.code, "option");
});

test("options out of range and prompts too long are typed", SLOW, async () => {
  const errors = await page.evaluate(async () => [
    await caught(session.chat(question, { temperature: -1 }).result),
    await caught(session.chat(question, { seed: 0.5 }).result),
    await caught(session.chat(question, { maxTokens: "many" }).result),
    await caught(session.complete(new Uint32Array(9000), { maxTokens: 1 }).result),
    await caught(session.complete([4_000_000_000], { maxTokens: 1 }).result),
    await caught(session.complete([], { maxTokens: 1 }).result),
  ]);
  assert.deepEqual(errors.map(({ code }) => code), ["option", "option", "option", "prompt-too-long", "option", "option"]);
  for (const { message } of errors) assert.ok(message.length > 20, message);
});

test("a device lost in mid-answer: the tokens are those of an unbroken answer; lost twice, it is said", SLOW, async (t) => {
  const { runs, phases, recoveries, second, buffers } = await page.evaluate(async () => {
    const options = { maxTokens: 8, temperature: 1.5, seed: 7, topK: 0, topP: 1, ignoreEnd: true };
    const whole = await session.chat(question, options).result;
    const before = await ledger();
    const phases = [];
    globalThis.progress = ({ phase }) => phases.at(-1) !== phase && phases.push(phase);
    const broken = session.chat(question, options);
    let seen = 0;
    let text = "";
    const start = performance.now();
    for await (const token of broken) {
      text += token.text;
      if (++seen === 3) await session.loseDevice();
    }
    const { tokens, finishReason } = await broken.result;
    const runs = { whole: [whole.tokens, whole.text], broken: [tokens, text], finishReason, ms: performance.now() - start };
    const { recoveries } = await session.info();
    const buffers = [before, await ledger()];
    const again = session.chat(question, options);
    const second = await caught((async () => {
      for await (const _ of again) await session.loseDevice();
    })());
    return { runs, phases, recoveries, second, buffers };
  });
  t.diagnostic(`the broken answer took ${runs.ms.toFixed(0)} ms`);
  assert.deepEqual(runs.broken, runs.whole);
  assert.ok(new Set(runs.whole[0]).size > 4, `the answer is no mere repetition: ${runs.whole[0]}`);
  assert.equal(runs.finishReason, "length");
  assert.equal(recoveries, 1);
  const [held, heldAfter] = buffers.map(({ bytes }) => bytes);
  assert.ok(heldAfter <= held, `nothing is left of the lost model: ${held} bytes before, ${heldAfter} after`);
  assert.equal(phases[0], "recovering");
  assert.equal(phases.at(-1), "ready");
  assert.deepEqual([second.name, second.code], ["ParhelionError", "device-lost"]);
  assert.match(second.message, /again/);
});

test("a disposed session says so", SLOW, async () => {
  const errors = await page.evaluate(async () => {
    await session.dispose();
    return [await caught(session.info()), await caught(session.chat(question).result), await caught(session.tokenize("a"))];
  });
  assert.deepEqual(errors.map(({ code }) => code), ["disposed", "disposed", "disposed"]);
});

test("files that are no models are refused, each in its own way", SLOW, async () => {
  server.mount("/noise.gguf", Buffer.alloc(100_000, 7));
  server.mount("/page.gguf", Buffer.alloc(10));
  server.fault("/page.gguf", { html: true });
  const gguf = Buffer.from(await (await fetch(server.url("/tiny.gguf"))).arrayBuffer());
  const other = Buffer.from(gguf.toString("latin1").replaceAll("llama", "lmama"), "latin1");
  server.mount("/other.gguf", other);
  server.mount("/cut.gguf", gguf.subarray(0, gguf.length / 2));
  const codes = await page.evaluate(async () => {
    const load = async (source) => (await caught(Parhelion.load(source))).code;
    const codes = {};
    for (const name of ["noise", "page", "other", "cut", "missing"]) codes[name] = await load(`/${name}.gguf`);
    codes.blob = await load(new Blob(["not a model at all, but long enough to be looked at"]));
    codes.name = await load("no-such-name");
    codes.hash = await load({ url: "/tiny.gguf", sha256: "0".repeat(64), name: "other-hash.gguf" });
    codes.limit = (await caught(Parhelion.load("/tiny.gguf", { memoryLimit: 1000 }))).code;
    return codes;
  });
  assert.deepEqual(codes, {
    noise: "not-a-model", page: "not-a-model", other: "unsupported-model", cut: "bad-file", missing: "not-found",
    blob: "bad-file", name: "not-found", hash: "integrity", limit: "out-of-memory",
  });
});

test("loading stops when its signal fires", SLOW, async () => {
  server.mount("/slow.gguf", await tinyModel());
  server.fault("/slow.gguf", { bytesPerSecond: 1_000_000 });
  const { error, ms } = await page.evaluate(async () => {
    const controller = new AbortController();
    let fired;
    const onProgress = ({ phase, done }) => {
      if (phase !== "download" || done < 500_000 || fired !== undefined) return;
      fired = performance.now();
      controller.abort();
    };
    const error = await caught(Parhelion.load("/slow.gguf", { onProgress, signal: controller.signal }));
    return { error, ms: performance.now() - fired };
  });
  assert.equal(error.code, "aborted");
  assert.ok(ms < 1000, `${ms} ms`);
});

test("a picked file is read in place", SLOW, async () => {
  const { name, tokens, stored } = await page.evaluate(async () => {
    const bytes = await (await fetch("/tiny.gguf")).blob();
    const before = (await Parhelion.storage.list()).length;
    const session = await Parhelion.load(new File([bytes], "picked.gguf"), { device: "cpu" });
    const { tokens } = await session.chat(question, { maxTokens: 2 }).result;
    const { name } = await session.info();
    await session.dispose();
    return { name, tokens, stored: (await Parhelion.storage.list()).length - before };
  });
  assert.equal(name, "picked.gguf");
  assert.equal(tokens.length, 2);
  assert.equal(stored, 0);
});

test("the cache is stored as asked, and answers", SLOW, async () => {
  const { sizes, tokens, refused } = await page.evaluate(async () => {
    const sizes = {};
    let tokens;
    for (const kvCache of ["f32", "f16", "q8_0"]) {
      const session = await Parhelion.load("/tiny.gguf", { device: "webgpu", check: false, precompile: false, kvCache });
      sizes[kvCache] = (await session.info()).memory.kv;
      if (kvCache === "q8_0") ({ tokens } = await session.complete("Hello there", { maxTokens: 3, temperature: 0, ignoreEnd: true }).result);
      await session.dispose();
    }
    return { sizes, tokens, refused: await caught(Parhelion.load("/tiny.gguf", { kvCache: "q9" })) };
  });
  assert.equal(sizes.f32 * 9, sizes.q8_0 * 32, "9 bits a number");
  assert.ok(sizes.q8_0 < sizes.f16 && sizes.f16 < sizes.f32, JSON.stringify(sizes));
  assert.equal(tokens.length, 3);
  assert.notEqual(refused, "nothing was thrown");
});

test("what is stored is listed and removed; the browser and its device are described", SLOW, async () => {
  const { listed, left, usage, catalogue, support } = await page.evaluate(async () => {
    const listed = await Parhelion.storage.list();
    for (const { key } of listed) await Parhelion.storage.remove(key);
    const left = await Parhelion.storage.list();
    return { listed, left, usage: await Parhelion.storage.usage(), catalogue: await Parhelion.catalogue(), support: await Parhelion.support() };
  });
  assert.ok(listed.some(({ name, complete, bytes, size }) => name === "tiny.gguf" && complete && bytes === size), JSON.stringify(listed));
  assert.deepEqual(left, []);
  assert.ok(usage.quota > 0);
  assert.ok(catalogue.some(({ id, urls }) => id === "smollm2-135m-instruct" && urls.length > 0));
  assert.deepEqual([support.webgpu, support.device.subgroups, support.device.f16], [true, true, false]);
});

test(`${CYCLES} times loaded and disposed of in one worker: no GPU buffer is left, and memory does not grow`, { timeout: 400_000 }, async (t) => {
  const devtools = await browser.devtools(page);
  const cycle = (times) =>
    page.evaluate(async (times) => {
      globalThis.connection ??= new Connection(workerFrom("worker-without-kernels.js"));
      const args = { source: { kind: "remote", file: { url: new URL("/tiny.gguf", location.href).href } }, options: { device: "webgpu", check: false } };
      let wasmBytes;
      for (let time = 0; time < times; time++) {
        ({ wasmBytes } = await connection.call("load", args));
        await connection.call("dispose", undefined);
      }
      return { wasmBytes, ledger: await ledger() };
    }, times);
  const heap = async () => {
    await devtools.send("HeapProfiler.collectGarbage");
    return (await devtools.send("Runtime.getHeapUsage")).usedSize;
  };
  const first = await cycle(2);
  const heapBefore = await heap();
  const last = await cycle(CYCLES - 2);
  const heapAfter = await heap();
  await page.evaluate(() => connection.close(new ParhelionError("disposed", "The test is over.")));
  t.diagnostic(`wasm ${first.wasmBytes} -> ${last.wasmBytes} bytes, page's heap ${heapBefore} -> ${heapAfter} bytes, ${JSON.stringify(last.ledger)}`);
  assert.ok(last.ledger.made > CYCLES, "buffers were counted");
  assert.deepEqual([last.ledger.open, last.ledger.bytes], [0, 0]);
  assert.ok(last.wasmBytes <= first.wasmBytes * 1.05);
  assert.ok(heapAfter <= heapBefore * 1.05);
});

test("without WebGPU a small model runs on the CPU, stops at once, and a large one says what to do", SLOW, async (t) => {
  await withBrowser({ webgpu: false }, async (plain, dist) => {
    dist.mount("/tiny.gguf", await tinyModel());
    const elsewhere = await plain.open(dist.url("/blank.html"));
    await elsewhere.evaluate(prepare);
    const { support, info, result, after, large, asked } = await elsewhere.evaluate(async () => {
      const support = await Parhelion.support();
      const session = await Parhelion.load("/tiny.gguf");
      const result = await session.chat(question, { maxTokens: 3, temperature: 0 }).result;
      const info = await session.info();
      // What the worker sent before the stop reached it still comes. On a busy machine that may be several tokens, though not each time.
      const after = [];
      for (let time = 0; time < 3; time++) {
        let late = 0;
        let stopped = false;
        for await (const { id } of session.chat(question, { maxTokens: 2000, ignoreEnd: true })) {
          if (stopped) late += 1;
          else if (id !== null) stopped = session.abort() ?? true;
        }
        after.push(late);
      }
      await session.dispose();
      const large = await caught(Parhelion.load({ url: "/large.gguf", size: 1e9 }));
      const asked = await caught(Parhelion.load("/tiny.gguf", { device: "webgpu" }));
      return { support, info, result, after, large, asked };
    });
    assert.equal(support.webgpu, false);
    assert.ok(support.reason.length > 10 && support.advice.length > 10);
    assert.equal(info.device.backend, "scalar");
    assert.equal(result.tokens.length, 3);
    t.diagnostic(`${after.join(", ")} tokens after the stop; ${result.timings.decodeRate.toFixed(0)} tokens a second`);
    assert.ok(Math.min(...after) <= 1 && Math.max(...after) < 100, `${after} tokens came after the stop`);
    assert.deepEqual([large.code, asked.code], ["no-webgpu", "no-webgpu"]);
    assert.match(large.message, /1000 MB/);
    assert.deepEqual(plain.errors, []);
  });
});
