// The page as people meet it: by keyboard, with a screen reader, on a phone, in the dark. The engine is a stand-in here, so
// that every state can be reached at once; `page-engine.test.mjs` has the real one.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { describe, test } from "node:test";

import { ask, fakeSuite, load } from "./page/open.mjs";

const AXE = await readFile(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

/** A long answer with everything that is rendered, and what must not be. */
const RICH = [
  "## Summary",
  "It has **two parts** and `code`:",
  "",
  "1. First",
  "2. Second",
  "   - inner",
  "",
  "   ```html",
  "   <b>not bold</b>",
  "     indented",
  "   ```",
  "",
  "<img src=x onerror=alert(1)> [link](https://example.com)",
].join("\n");

const start = fakeSuite({ permissions: ["clipboard-read", "clipboard-write"] });

/** A page whose list of models is `list`. */
function serveList(server, list) {
  server.mount("/served/index.json", list);
  server.mount(
    "/served.html",
    '<!doctype html>\n<html lang="en"><title>Served</title><link rel="icon" href="data:,">' +
      '<script type="module" src="./element/index.js"></script><parhelion-chat models="./served/index.json"></parhelion-chat></html>\n',
  );
}

/** What axe-core finds wrong: names of controls, contrast, order of headings, roles. */
async function accessibilityFaults(page) {
  await page.evaluate(AXE);
  return page.evaluate(async () => {
    const { violations } = await globalThis.axe.run(document, { resultTypes: ["violations"] });
    return violations.flatMap(({ id, nodes }) =>
      nodes.map((node) => `${id}: ${node.target.flat().join(" ")} ${node.failureSummary}`),
    );
  });
}

const overflows = (page) => page.evaluate(() => document.documentElement.scrollWidth > innerWidth);

describe("by keyboard", () => {
  test("a model is chosen, asked and stopped without a pointer", async () => {
    const { page, message, answers, announced, regenerate } = await start({ answer: "word ".repeat(400), tokenMs: 10 });
    await page.getByRole("button", { name: /^Download.*SmolLM2/ }).waitFor();
    const reached = [];
    for (let step = 0; step < 12 && !reached.at(-1)?.startsWith("Download"); step += 1) {
      await page.keyboard.press("Tab");
      reached.push(
        await page.evaluate(() => {
          const { activeElement } = document.activeElement.shadowRoot ?? document;
          return activeElement?.getAttribute("aria-label") ?? activeElement?.textContent ?? "";
        }),
      );
    }
    assert.deepEqual(reached.slice(0, 2), ["Models", "Settings"]);
    assert.match(reached.at(-1), /^Download: SmolLM2/);
    await page.keyboard.press("Enter");
    await message.waitFor();
    assert.ok(
      await message.evaluate((input) => input.getRootNode().activeElement === input),
      "the message has the focus",
    );
    await page.keyboard.type("first line");
    await page.keyboard.press("Shift+Enter");
    await page.keyboard.type("second line");
    await page.keyboard.press("Enter");
    assert.equal(await message.inputValue(), "");
    await answers.getByText("word word word").waitFor();
    assert.equal(
      await announced.textContent(),
      "SmolLM2 135M Instruct is ready. Write a message.",
      "tokens are not announced",
    );
    await page.keyboard.press("Escape");
    await regenerate.waitFor();
    assert.match(await announced.textContent(), /^Stopped\. word/);
    const [{ messages }] = (await page.evaluate(() => globalThis.fake.calls)).filter((call) => call.messages);
    assert.deepEqual(messages, [{ role: "user", content: "first line\nsecond line" }]);
  });

  test("the focus is always visible", async () => {
    const { page } = await start();
    await page.getByRole("button", { name: /^Download.*SmolLM2/ }).waitFor();
    for (let step = 0; step < 4; step += 1) {
      await page.keyboard.press("Tab");
      const width = await page.evaluate(() => {
        const { activeElement } = document.activeElement.shadowRoot;
        return activeElement === null ? NaN : parseFloat(getComputedStyle(activeElement).outlineWidth);
      });
      assert.ok(width >= 2, `outline of ${width} px`);
    }
  });
});

describe("the conversation", () => {
  test("an answer is rendered as text and structure, never as markup", async () => {
    const chat = await start({ answer: RICH });
    await load(chat);
    await ask(chat);
    const answer = chat.answers.locator(".answer");
    const tags = await answer.evaluate((root) =>
      [...new Set([...root.querySelectorAll("*")].map((node) => node.localName))].sort(),
    );
    assert.deepEqual(tags, ["button", "code", "div", "li", "ol", "p", "path", "pre", "span", "strong", "svg", "ul"]);
    assert.equal(await answer.locator("pre").textContent(), "<b>not bold</b>\n  indented");
    assert.match(await answer.textContent(), /<img src=x onerror=alert\(1\)> \[link\]/);
    assert.equal(await chat.announced.textContent(), RICH);
  });

  test("answers are copied, regenerated and counted", async () => {
    const chat = await start({ answer: "Scattering." });
    await load(chat);
    await ask(chat);
    await chat.copy.click();
    assert.equal(await chat.page.evaluate(() => navigator.clipboard.readText()), "Scattering.");
    assert.match(await chat.answers.textContent(), /41\.2 tok\/s · 1 tokens? · 2 s/);
    await chat.page.getByText("25 of 8,192 tokens of context used").waitFor();
    await chat.page.evaluate(() => (globalThis.fake.answer = "Otherwise."));
    await chat.regenerate.click();
    await chat.answers.getByText("Otherwise.").waitFor();
    assert.ok(
      await chat.message.evaluate((input) => input.getRootNode().activeElement === input),
      "the focus is not lost",
    );
    assert.equal(await chat.answers.count(), 1);
    const asked = await chat.page.evaluate(() => globalThis.fake.calls.filter((call) => call.messages));
    assert.deepEqual(asked[1].messages, asked[0].messages);
    assert.notEqual(asked[1].options.seed, asked[0].options.seed, "asking again draws another seed");
    await chat.page.getByRole("button", { name: "New chat" }).click();
    assert.equal(await chat.answers.count(), 0);
  });

  test("settings reach the engine, and what needs loading again says so", async () => {
    const chat = await start();
    await load(chat);
    await chat.page.getByRole("button", { name: "Settings" }).click();
    const dialog = chat.page.getByRole("dialog", { name: "Settings" });
    await dialog.getByLabel("System prompt").fill("Be brief.");
    await dialog.getByLabel("Temperature").fill("0");
    await dialog.getByLabel("Seed").fill("7");
    await dialog.getByLabel("Top-p").fill("3");
    await dialog.getByLabel("Top-p").blur();
    await dialog.getByText("Enter a number from 0.01 to 1.").waitFor();
    await dialog.getByRole("switch", { name: "Reproducible" }).check();
    await dialog.getByLabel("Context", { exact: true }).fill("512");
    await dialog.getByLabel("Context", { exact: true }).blur();
    await dialog.getByRole("button", { name: "Load the model again" }).click();
    await chat.message.waitFor();
    await ask(chat);
    const calls = await chat.page.evaluate(() => globalThis.fake.calls);
    const loads = calls.filter((call) => call.load);
    assert.equal(loads[1].options.reproducible, true);
    assert.equal(loads[1].options.context, 512);
    const { messages, options } = calls.find((call) => call.messages);
    assert.deepEqual(messages[0], { role: "system", content: "Be brief." });
    assert.deepEqual({ ...options }, { temperature: 0, topP: 0.95, topK: 40, maxTokens: 1024, seed: 7 });
    assert.equal(
      JSON.parse(await chat.page.evaluate(() => localStorage.getItem("parhelion.settings"))).system,
      "Be brief.",
    );
  });

  test("stored models are listed with their sizes and deleted", async () => {
    const entry = (key, name, bytes) => ({
      key,
      name,
      url: `https://models.example/${name}`,
      bytes,
      size: bytes,
      complete: true,
      verified: true,
      lastUsed: 0,
    });
    const chat = await start({ stored: [entry("a", "one.gguf", 98e6), entry("b", "two.gguf", 2e9)] });
    await chat.page.getByRole("button", { name: "Models" }).click();
    const dialog = chat.page.getByRole("dialog", { name: "Model and storage" });
    await dialog.getByText("2.1 GB of about 240 GB used").waitFor();
    await dialog.getByRole("button", { name: "Delete one.gguf" }).click();
    await dialog.getByText("one.gguf").waitFor({ state: "detached" });
    assert.deepEqual(await chat.page.evaluate(() => globalThis.fake.stored.map(({ key }) => key)), ["b"]);
    await dialog.getByRole("button", { name: "Close" }).click();
    await chat.page.getByRole("button", { name: "Load: two" }).waitFor();
  });

  test("a model that the server has too is taken from there, and listed once", async () => {
    const entry = {
      id: "smollm2-135m-instruct",
      title: "SmolLM2 135M Instruct",
      bytes: 98362432,
      sha256: "0a",
      url: "smol.gguf",
    };
    const list = Buffer.from(JSON.stringify([entry, { id: 1 }]));
    const chat = await start({}, { prepare: (server) => serveList(server, list), path: "/served.html" });
    await chat.page.getByRole("button", { name: /^Download.*Gemma/ }).waitFor();
    assert.equal(await chat.download.count(), 1);
    await load(chat);
    assert.deepEqual(await chat.page.evaluate(() => globalThis.fake.calls.find((call) => call.load).load), {
      url: [chat.server.url("/served/smol.gguf"), "https://models.example/smollm2.gguf"],
      sha256: "0a",
      size: 98362432,
    });
  });

  test("a dropped file is read in place", async () => {
    const chat = await start();
    await chat.download.waitFor();
    await chat.page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      dataTransfer.items.add(new File(["GGUF"], "mine.gguf"));
      document
        .querySelector("parhelion-chat")
        .dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await chat.message.waitFor();
    assert.equal(await chat.page.evaluate(() => globalThis.fake.calls.find((call) => call.load).load), "mine.gguf");
  });

  test("several dropped files, and a picked folder, are one model", async () => {
    const loaded = (chat) => chat.page.evaluate(() => globalThis.fake.calls.findLast((call) => call.load).load);
    const chat = await start();
    await chat.download.waitFor();
    await chat.page.evaluate(() => {
      const dataTransfer = new DataTransfer();
      for (const name of ["config.json", "model.safetensors"]) dataTransfer.items.add(new File(["{}"], name));
      document
        .querySelector("parhelion-chat")
        .dispatchEvent(new DragEvent("drop", { dataTransfer, bubbles: true, cancelable: true }));
    });
    await chat.message.waitFor();
    assert.deepEqual(await loaded(chat), ["config.json", "model.safetensors"]);

    const folder = join(await mkdtemp(join(tmpdir(), "parhelion-folder-")), "mine");
    await mkdir(folder);
    for (const name of ["config.json", "model.safetensors"]) await writeFile(join(folder, name), "{}");
    const other = await start();
    const [chooser] = await Promise.all([
      other.page.waitForEvent("filechooser"),
      other.page.getByRole("button", { name: "Open a folder" }).click(),
    ]);
    await chooser.setFiles(folder);
    await other.message.waitFor();
    assert.deepEqual((await loaded(other)).sort(), ["mine/config.json", "mine/model.safetensors"]);
    await rm(dirname(folder), { recursive: true });
  });

  test("a repository is loaded by its address, or by its name", async () => {
    for (const [text, source] of [
      ["https://models.example/tiny/", "https://models.example/tiny/"],
      ["owner/name@v1", "owner/name@v1"],
    ]) {
      const chat = await start();
      await chat.page.getByLabel("Address of a GGUF file or a repository").fill(text);
      await chat.page.keyboard.press("Enter");
      await chat.message.waitFor();
      assert.equal(await chat.page.evaluate(() => globalThis.fake.calls.find((call) => call.load).load), source);
    }
  });

  test("a stored repository is one model, and is deleted as a whole", async () => {
    const stored = ["config.json", "model.safetensors"].map((path) => ({
      key: path,
      name: `owner/tiny/${path}`,
      url: `https://models.example/tiny/${path}`,
      bytes: 1e6,
      size: 1e6,
      complete: true,
      verified: false,
      lastUsed: 1,
    }));
    const chat = await start({ stored, loadErrors: ["integrity"] });
    await chat.page.getByRole("button", { name: "Load: owner/tiny" }).click();
    await chat.page.getByRole("button", { name: "Start the download over" }).click();
    await chat.message.waitFor();
    const { calls, left } = await chat.page.evaluate(() => ({ calls: globalThis.fake.calls, left: globalThis.fake.stored }));
    assert.deepEqual(calls.at(-1).load, { repository: "https://models.example/tiny/" });
    assert.deepEqual(left, []);
  });
});

describe("looks", () => {
  for (const scheme of ["light", "dark"]) {
    for (const width of [1280, 360]) {
      test(`${scheme}, ${width} px wide: readable, named, nothing sticks out`, async () => {
        const chat = await start({ answer: RICH }, { width, scheme });
        await chat.download.waitFor();
        const check = async (state) => {
          assert.deepEqual(await accessibilityFaults(chat.page), [], state);
          assert.equal(await overflows(chat.page), false, `${state}: no sideways scrolling`);
        };
        await check("choosing");
        await load(chat);
        await ask(chat);
        await check("chatting");
        for (const name of ["Settings", "Models"]) {
          await chat.page.getByRole("button", { name }).click();
          await check(name);
          await chat.page.keyboard.press("Escape");
        }
      });
    }
  }

  test("dark and light differ, and follow the page around the element", async () => {
    const background = async (scheme) => {
      const { page } = await start({}, { scheme });
      return page.evaluate(() => getComputedStyle(document.querySelector("parhelion-chat")).backgroundColor);
    };
    assert.notEqual(await background("light"), await background("dark"));
  });

  test("controls are large enough for a thumb", async () => {
    const chat = await start({ answer: RICH }, { width: 360 });
    await load(chat);
    await ask(chat);
    const small = await chat.page.evaluate(() => {
      const { shadowRoot } = document.querySelector("parhelion-chat");
      const boxes = [...shadowRoot.querySelectorAll("button, summary, textarea")].map((node) => [
        node,
        node.getBoundingClientRect(),
      ]);
      return boxes
        .filter(([, box]) => box.width > 0 && Math.min(box.width, box.height) < 44)
        .map(([node]) => node.outerHTML);
    });
    assert.deepEqual(small, []);
  });
});
