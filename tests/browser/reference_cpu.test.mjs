// The same tokens as natively where a browser has no WebGPU, and fast enough to be of use.

import assert from "node:assert/strict";
import { test } from "node:test";

import { mountEngine, startEngine } from "./engine.mjs";
import { MODEL, NEEDS_MODEL, withBrowser } from "./harness.mjs";
import { BOUND, CONTEXT, compareAnswer, prompts } from "./native.mjs";

test("without WebGPU: the native tokens, at two a second or more", { ...NEEDS_MODEL, timeout: 200_000 }, async (t) => {
  await withBrowser({ webgpu: false }, async (browser, server) => {
    server.mount("/model.gguf", MODEL);
    mountEngine(server);
    const call = await startEngine(await browser.open(server.url("/blank.html")));
    await call("load", "/model.gguf", { device: "cpu", reproducible: true, context: CONTEXT });
    const { worst, finished } = await compareAnswer(call, prompts[0], 32);
    t.diagnostic(`prefill ${finished.timings.prefillRate.toFixed(1)} tok/s, decode ${finished.timings.decodeRate.toFixed(1)} tok/s`);
    assert.ok(worst <= BOUND, `logarithms of probability differ by ${worst}`);
    assert.ok(finished.timings.decodeRate >= 2, `${finished.timings.decodeRate} tok/s`);
  });
});
