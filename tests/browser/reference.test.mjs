// The same tokens as natively: SmolLM2-135M answers the reference prompts in the browser, and the native program, made to read
// the same tokens, would have chosen each of them too.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { after, before, test } from "node:test";
import { promisify } from "node:util";

import { mountEngine, startEngine } from "./engine.mjs";
import { Browser, MODEL, NEEDS_MODEL, serveDist, withBrowser } from "./harness.mjs";

const TOKENS = 32;
/** How far a logit or a logarithm of probability may be from the native one: both are f32 arithmetic in other orders. */
const BOUND = 1e-3;
const CONTEXT = 128;

const { prompts } = JSON.parse(await readFile(new URL("../fixtures/smollm2_prompts.json", import.meta.url), "utf8"));

let server;
let browser;
let call;
before(async () => {
  if (!MODEL) return;
  server = await serveDist();
  server.mount("/model.gguf", MODEL);
  mountEngine(server);
  browser = await Browser.launch();
  call = await startEngine(await browser.open(server.url("/blank.html")));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

/** What the native program expects at each position of `tokens`, on its scalar kernels. */
async function native(tokens) {
  const args = ["score", "--tokens", tokens.join(","), "--model", MODEL, "--device", "cpu", "--reproducible", "--top", "10", "--json"];
  const program = process.env.PARHELION_PROGRAM ?? "target/release/parhelion";
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 1 << 26 });
  return JSON.parse(stdout).positions;
}

/** The largest difference of one answer's probabilities from the native ones; every choice must be the native choice. */
async function compareAnswer(call, { name, ids }) {
  const { tokens, finished } = await call("generate", ids, { temperature: 0, maxTokens: TOKENS });
  assert.ok(finished.reason === "length" ? tokens.length === TOKENS : finished.reason === "stop", `${name}: ended by ${finished.reason}`);
  const expected = await native([...ids, ...tokens.map(({ id }) => id)]);
  let worst = 0;
  tokens.forEach(({ id, logprob }, i) => {
    const { index, top } = expected[ids.length - 1 + i];
    assert.equal(index, ids.length + i);
    assert.equal(id, top[0].id, `${name}: token ${i}`);
    worst = Math.max(worst, Math.abs(logprob - top[0].logprob));
  });
  return { worst, finished, sequence: [...ids, ...tokens.map(({ id }) => id)], expected };
}

/** The largest difference of logits, over the native program's ten likeliest tokens at the last few positions. */
async function compareLogits(sequence, expected) {
  const positions = 4;
  const from = sequence.length - positions;
  const logits = await call("logits", sequence, from);
  const vocab = Object.keys(logits).length / positions;
  const differences = expected
    .slice(from)
    .flatMap(({ top }, i) => top.map(({ id, logit }) => Math.abs(logits[i * vocab + id] - logit)));
  return Math.max(...differences);
}

for (const subgroups of [true, false]) {
  const words = subgroups ? "subgroups" : "no subgroups";
  test(`reproducible, ${words}: the native tokens`, { ...NEEDS_MODEL, timeout: 400_000 }, async (t) => {
    const { info, milliseconds } = await call("load", "/model.gguf", { device: "webgpu", subgroups, reproducible: true, context: CONTEXT });
    assert.equal(info.device.subgroups, subgroups);
    t.diagnostic(`loaded in ${(milliseconds / 1000).toFixed(1)} s`);
    let worst = 0;
    let shortest;
    for (const prompt of prompts) {
      const answer = await compareAnswer(call, prompt);
      const { prefillRate, decodeRate } = answer.finished.timings;
      t.diagnostic(`${prompt.name}: prefill ${prefillRate.toFixed(1)} tok/s, decode ${decodeRate.toFixed(2)} tok/s, ${answer.worst.toExponential(1)}`);
      worst = Math.max(worst, answer.worst);
      if (!shortest || answer.sequence.length < shortest.sequence.length) shortest = answer;
    }
    const logits = await compareLogits(shortest.sequence, shortest.expected);
    const { longestSubmitMs } = await call("info");
    t.diagnostic(`longest submission ${longestSubmitMs?.toFixed(0)} ms`);
    t.diagnostic(`largest difference from native: logarithms of probability ${worst.toExponential(1)}, logits ${logits.toExponential(1)}`);
    assert.ok(worst <= BOUND, `logarithms of probability differ by ${worst}`);
    assert.ok(logits <= BOUND, `logits differ by ${logits}`);
  });
}

test("without WebGPU: the native tokens, at two a second or more", { ...NEEDS_MODEL, timeout: 200_000 }, async (t) => {
  await withBrowser({ webgpu: false }, async (plain, dist) => {
    dist.mount("/model.gguf", MODEL);
    mountEngine(dist);
    const ask = await startEngine(await plain.open(dist.url("/blank.html")));
    await ask("load", "/model.gguf", { device: "cpu", reproducible: true, context: CONTEXT });
    const { worst, finished } = await compareAnswer(ask, prompts[0]);
    t.diagnostic(`prefill ${finished.timings.prefillRate.toFixed(1)} tok/s, decode ${finished.timings.decodeRate.toFixed(1)} tok/s`);
    assert.ok(worst <= BOUND, `logarithms of probability differ by ${worst}`);
    assert.ok(finished.timings.decodeRate >= 2, `${finished.timings.decodeRate} tok/s`);
  });
});
