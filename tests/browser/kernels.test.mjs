// Every kernel against its scalar twin in the browser: a fixed tenth of the cases that run natively, at least one of each
// variant. The kernels that read weights have a variant for each format, and making pipelines takes most of the time: those that add up
// in subgroups, or in no group, run with subgroups, and those that add up in workgroup memory without.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";

import { mountEngine, startEngine } from "./engine.mjs";
import { Browser, serveDist } from "./harness.mjs";

let server;
let browser;
let call;
before(async () => {
  server = await serveDist();
  mountEngine(server);
  browser = await Browser.launch();
  call = await startEngine(await browser.open(server.url("/blank.html")));
});
after(async () => {
  await browser?.close();
  await server?.close();
});

for (const subgroups of [true, false]) {
  const skip = subgroups ? ["matvec tree"] : ["embed", "matmul"];
  test(`kernels compute what their twins do, ${subgroups ? "subgroups" : "no subgroups"}`, { timeout: 300_000 }, async (t) => {
    const options = { device: "webgpu", subgroups, set: "conformance", part: 0, parts: 10, skip };
    const { summary, checks } = await call("kernels", options);
    assert.equal(summary.device.subgroups, subgroups);
    const variants = new Set(checks.map(({ variant }) => variant));
    t.diagnostic(`${checks.length} cases of ${variants.size} variants in ${(summary.milliseconds / 1000).toFixed(1)} s`);
    const wrong = checks.filter(({ ok }) => !ok).map(({ variant, label, message }) => `${variant}, ${label}: ${message}`);
    assert.deepEqual(wrong, []);
    assert.ok(variants.size >= (subgroups ? 110 : 45), `${variants.size} variants were checked`);
  });
}
