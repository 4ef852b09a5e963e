// A GPU that computes wrongly: shaders are changed on their way to the browser, as a broken driver would.

import assert from "node:assert/strict";
import { test } from "node:test";

import { withBrowser } from "./harness.mjs";
import { tinyModel } from "./tiny.mjs";

const SLOW = { timeout: 240_000 };

/** A script that puts `to` for each `from` in every shader. */
function replacing(from, to) {
  return `
const create = GPUDevice.prototype.createShaderModule;
GPUDevice.prototype.createShaderModule = function (descriptor) {
  return create.call(this, { ...descriptor, code: descriptor.code.replaceAll(${JSON.stringify(from)}, ${JSON.stringify(to)}) });
};
`;
}

/** Loads the tiny model twice in a fresh browser, whose worker runs `fault` first, and answers. */
async function loadTwice(fault) {
  let seen;
  await withBrowser({}, async (browser, server) => {
    server.mount("/tiny.gguf", await tinyModel());
    server.mount("/test/fault.js", fault);
    server.mount("/test/worker.js", 'import "./fault.js";\nimport "../worker.js";\n');
    const page = await browser.open(server.url("/blank.html"));
    seen = await page.evaluate(async () => {
      const { Parhelion } = await import("/index.js");
      const createWorker = () => new Worker("/test/worker.js", { type: "module" });
      const once = async () => {
        const session = await Parhelion.load("/tiny.gguf", { createWorker });
        const { check, device } = await session.info();
        const { tokens } = await session.complete("Hello there", { maxTokens: 4, temperature: 0 }).result;
        await session.dispose();
        return { check, subgroups: device.subgroups, tokens };
      };
      try {
        return { first: await once(), second: await once() };
      } catch ({ code, message }) {
        return { code, message };
      }
    });
  });
  return seen;
}

let right;

test("a device that computes rightly is checked once", SLOW, async () => {
  const { first, second } = await loadTwice("// Nothing is wrong.\n");
  assert.deepEqual([first.check.state, second.check.state], ["run", "remembered"]);
  assert.deepEqual([first.subgroups, second.subgroups], [true, true]);
  assert.deepEqual(second.tokens, first.tokens);
  right = first.tokens;
});

test("subgroups that add up wrongly are left off, and the answer is right", SLOW, async () => {
  const { first, second, message } = await loadTwice(replacing("subgroupAdd(", "2.0 * subgroupAdd("));
  assert.equal(message, undefined);
  assert.deepEqual(first.check, { state: "run", dropped: ["subgroups"] });
  assert.deepEqual(second.check, { state: "remembered", dropped: ["subgroups"] });
  assert.deepEqual([first.subgroups, second.subgroups], [false, false]);
  assert.deepEqual([first.tokens, second.tokens], [right, right]);
});

test("a device that cannot be trusted with anything is an error", SLOW, async () => {
  const { code, message } = await loadTwice(replacing("unpack2x16float(", "0.5 * unpack2x16float("));
  assert.equal(code, "wrong-results", message);
  assert.match(message, /computes wrongly/);
});
