// The page as `parhelion serve-web` gives it: complete, under its policy, with the models of this machine.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { test } from "node:test";

import { Browser, CSP, MODEL, NEEDS_MODEL } from "./harness.mjs";

const PROGRAM = process.env.PARHELION_PROGRAM;
const NEEDS_PROGRAM = { skip: PROGRAM ? false : "set PARHELION_PROGRAM to the parhelion program, or use `cargo xtask test --browser`" };

/** Runs `body` with the address of a running `parhelion serve-web`, stops it as Ctrl-C does, and looks how it ended. */
async function withProgram(body) {
  const program = spawn(PROGRAM, ["serve-web", "--port", "0"], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = once(program, "exit");
  try {
    const address = await Promise.race([once(createInterface(program.stdout), "line"), ended]);
    assert.match(String(address[0]), /^http:/, "the program says where it listens");
    await body(address[0]);
  } finally {
    program.kill("SIGINT");
  }
  assert.equal((await ended)[0], 0, "Ctrl-C is no failure");
}

test("the page built into the program opens without an error, and its engine loads", NEEDS_PROGRAM, async () => {
  await withProgram(async (address) => {
    const browser = await Browser.launch();
    try {
      const page = await browser.open();
      const response = await page.goto(address);
      assert.equal(response.headers()["content-security-policy"], CSP);
      await page.locator("parhelion-chat").waitFor();
      const version = await page.evaluate(async () => {
        const wasm = await import(new URL("./wasm/parhelion_web.js", document.baseURI));
        await wasm.default();
        return wasm.version();
      });
      assert.match(version, /^\d+\.\d+\.\d+/);
      assert.deepEqual(browser.errors, []);
    } finally {
      await browser.close();
    }
  });
});

test("models of this machine are listed and come in ranges", { skip: NEEDS_PROGRAM.skip || NEEDS_MODEL.skip }, async () => {
  await withProgram(async (address) => {
    const list = new URL("models/index.json", address);
    const [model] = await (await fetch(list)).json();
    assert.ok(MODEL.endsWith(model.url), `${model.url} is the file of ${MODEL}`);
    const start = await fetch(new URL(model.url, list), { headers: { range: "bytes=0-3", "if-range": `"${model.sha256}"` } });
    assert.equal(start.status, 206);
    assert.equal(start.headers.get("content-range"), `bytes 0-3/${model.bytes}`);
    assert.equal(await start.text(), "GGUF");
  });
});
