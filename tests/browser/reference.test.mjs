// The same tokens as natively: SmolLM2-135M answers the reference prompts in the browser, and the native program, made to read
// the same tokens, would have chosen each of them too. The software GPU takes about a second for a token.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { mountEngine, startEngine } from "./engine.mjs";
import { Browser, MODEL, NEEDS_MODEL, serveDist } from "./harness.mjs";
import { BOUND, CONTEXT, compareAnswer, prompts } from "./native.mjs";

const SLOW = { ...NEEDS_MODEL, timeout: 600_000 };

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

async function load(t, subgroups) {
  const { info, milliseconds } = await call("load", "/model.gguf", { device: "webgpu", subgroups, reproducible: true, context: CONTEXT });
  assert.equal(info.device.subgroups, subgroups);
  t.diagnostic(`loaded in ${(milliseconds / 1000).toFixed(1)} s`);
}

/** Compares the answer to a prompt; returns it. */
async function answer(t, prompt, maxTokens) {
  const compared = await compareAnswer(call, prompt, maxTokens);
  const { worst, finished } = compared;
  const { prefillRate, decodeRate } = finished.timings;
  t.diagnostic(`${prompt.name}: prefill ${prefillRate.toFixed(1)} tok/s, decode ${decodeRate.toFixed(2)} tok/s, ${worst.toExponential(1)}`);
  assert.ok(worst <= BOUND, `${prompt.name}: logarithms of probability differ by ${worst}`);
  return compared;
}

/** The largest difference of logits, over the native program's ten likeliest tokens at the last few positions. */
async function compareLogits({ sequence, expected }) {
  const positions = 4;
  const from = sequence.length - positions;
  const logits = await call("logits", sequence, from);
  const vocab = Object.keys(logits).length / positions;
  const differences = expected
    .slice(from)
    .flatMap(({ top }, i) => top.map(({ id, logit }) => Math.abs(logits[i * vocab + id] - logit)));
  return Math.max(...differences);
}

/** The answers with subgroups, by the prompts' names. */
const answers = new Map();

test("reproducible, subgroups: the native tokens", SLOW, async (t) => {
  await load(t, true);
  for (const prompt of prompts) answers.set(prompt.name, await answer(t, prompt, 32));
  const logits = await compareLogits(answers.get(prompts[0].name));
  const { longestSubmitMs } = await call("info");
  t.diagnostic(`longest submission ${longestSubmitMs?.toFixed(0)} ms`);
  t.diagnostic(`largest difference of logits from native ${logits.toExponential(1)}`);
  assert.ok(logits <= BOUND, `logits differ by ${logits}`);
});

// Reproducible answers are computed by the same kernels whatever the device offers, so the numbers must be the same to the last bit.
test("reproducible, no subgroups: the native tokens, and the same bits", SLOW, async (t) => {
  await load(t, false);
  for (const prompt of prompts) {
    const { tokens } = await answer(t, prompt, 32);
    const before = answers.get(prompt.name)?.tokens;
    assert.deepEqual(tokens.map(({ id, logprob }) => [id, logprob]), before?.map(({ id, logprob }) => [id, logprob]), prompt.name);
  }
});
