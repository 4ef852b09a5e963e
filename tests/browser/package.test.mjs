// The npm package as others use it: packed, installed into a fresh Vite project, built, and chatting; and without a bundler.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

import { Browser, Server, serveDist } from "./harness.mjs";
import { tinyModel } from "./tiny.mjs";

const PACKAGE = fileURLToPath(new URL("../../web", import.meta.url));
const EXAMPLE = join(PACKAGE, "examples/vite");
const npm = (folder, ...args) => promisify(execFile)("npm", args, { cwd: folder, shell: process.platform === "win32" });

let temporary;
let browser;
before(async () => {
  temporary = await mkdtemp(join(tmpdir(), "parhelion-package-"));
  browser = await Browser.launch();
});
after(async () => {
  await browser?.close();
  await rm(temporary, { recursive: true, force: true, maxRetries: 10 });
});

/** A fresh copy of the example with the packed package installed. */
async function freshProject() {
  const { stdout } = await npm(PACKAGE, "pack", "--json", "--pack-destination", temporary);
  const [{ filename, files }] = JSON.parse(stdout);
  const project = join(temporary, "project");
  const filter = (path) => !/[\\/](node_modules|dist|package-lock\.json)$/.test(path);
  await cp(EXAMPLE, project, { recursive: true, filter });
  const manifest = JSON.parse(await readFile(join(project, "package.json"), "utf8"));
  manifest.dependencies.parhelion = `file:${join(temporary, filename)}`;
  await writeFile(join(project, "package.json"), JSON.stringify(manifest));
  await npm(project, "install", "--no-audit", "--no-fund");
  return { project, packed: files.map(({ path }) => path) };
}

test("packed, installed into a Vite project, built with its defaults, and chatting under the strict policy", { timeout: 300_000 }, async () => {
  const { project, packed } = await freshProject();
  for (const file of ["dist/index.js", "dist/index.d.ts", "dist/worker.js", "dist/wasm/parhelion_web.js", "dist/wasm/parhelion_web_bg.wasm", "README.md", "LICENSE-MIT", "LICENSE-APACHE"]) {
    assert.ok(packed.includes(file), `${file} is in the package`);
  }
  assert.deepEqual(packed.filter((file) => !/^(dist\/|README\.md$|package\.json$|LICENSE)/.test(file)), []);
  await npm(project, "run", "build");
  const assets = await readdir(join(project, "dist/assets"));
  for (const kind of [/^worker-.*\.js$/, /^parhelion_web_bg-.*\.wasm$/]) assert.ok(assets.some((file) => kind.test(file)), assets.join(", "));

  const server = await Server.start({ root: join(project, "dist") });
  try {
    server.mount("/tiny.gguf", await tinyModel());
    const page = await browser.open(server.url("/index.html?model=/tiny.gguf"));
    const status = page.getByRole("status").filter({ hasText: /^ready|\)$/ });
    await status.waitFor({ timeout: 120_000 });
    assert.equal(await status.textContent(), "ready");
    await page.getByLabel("Say something").fill("Hello");
    await page.getByRole("button", { name: "Send" }).click();
    await page.waitForFunction(() => document.getElementById("log").textContent.length > "You: Hello\n".length, undefined, { timeout: 120_000 });
    await page.getByRole("button", { name: "Stop" }).click();
    await page.getByText(/tokens a second/).waitFor({ timeout: 120_000 });
    const said = await page.getByRole("log").textContent();
    assert.match(said, /^You: Hello\n\S/, "an answer follows the question");
    assert.deepEqual(browser.errors, []);
  } finally {
    await server.close();
  }
});

test("a plain module script on a static server, in another folder than the package", { timeout: 180_000 }, async () => {
  const server = await serveDist();
  try {
    server.mount("/some/where/tiny.gguf", await tinyModel());
    const script = `
      import { Parhelion } from "../../index.js";
      async function chat() {
        const session = await Parhelion.load("tiny.gguf");
        const answer = session.chat([{ role: "user", content: "Hello" }], { maxTokens: 4, temperature: 0 });
        let text = "";
        for await (const token of answer) text += token.text;
        await session.dispose();
        return { text, ...(await answer.result).usage };
      }
      const show = (what) => document.body.append(JSON.stringify(what), " done");
      chat().then(show, (error) => show(String(error)));
    `;
    server.mount("/some/where/plain.js", script);
    server.mount("/some/where/page.html", '<!doctype html>\n<link rel="icon" href="data:," /><body><script type="module" src="plain.js"></script></body>\n');
    const page = await browser.open(server.url("/some/where/page.html"));
    await page.getByText(/done$/).waitFor({ timeout: 120_000 });
    const said = JSON.parse((await page.locator("body").textContent()).replace(/ done$/, ""));
    assert.equal(said.completionTokens, 4, String(said));
    assert.ok(said.text.length > 0);
    assert.deepEqual(browser.errors, []);
  } finally {
    await server.close();
  }
});
