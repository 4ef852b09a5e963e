// The page with the real engine: a model from the server's list, an address, the browser's storage; on WebGPU, on the
// CPU, without a network; the errors that a server causes; the element in somebody else's page.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";

import { Browser, DIST, serveDist } from "./harness.mjs";
import { controls } from "./page/open.mjs";
import { tinyModel } from "./tiny.mjs";

const SLOW = { timeout: 120_000 };

let bytes;
let server;

before(async () => {
  bytes = await readFile(await tinyModel());
  server = await start();
});
after(() => server?.close());

/** A server of the page and of a list with the synthetic model. */
async function start() {
  const started = await serveDist();
  const entry = { id: "tiny", title: "Tiny: random words", license: "MIT", bytes: bytes.length, url: "./tiny.gguf" };
  started.mount("/models/index.json", Buffer.from(JSON.stringify([entry])));
  started.mount("/models/tiny.gguf", bytes);
  return started;
}

async function withPage(options, path, body) {
  const browser = await Browser.launch(options);
  try {
    const page = await browser.open();
    page.setDefaultTimeout(60_000);
    await page.goto(server.url(path));
    await body({
      browser,
      page,
      ...controls(page),
      tiny: page.getByRole("button", { name: /(Download|Load|Resume).*Tiny/ }),
    });
    assert.deepEqual(browser.errors, []);
  } finally {
    await browser.close();
  }
}

/** Waits for the first words of the last answer. */
const begun = (answers) =>
  answers
    .last()
    .locator(".answer")
    .getByText(/\S+ \S+/)
    .first()
    .waitFor();

/** Asks and stops after the first words; returns the answer's text. */
async function askBriefly({ page, message, answers, regenerate }, question) {
  await message.fill(question);
  await page.keyboard.press("Enter");
  await begun(answers);
  await page.keyboard.press("Escape");
  await regenerate.waitFor();
  return answers.last().locator(".answer").textContent();
}

describe("on WebGPU", () => {
  test(
    "a listed model is loaded, asked, stopped and asked again, and still chats when the network is gone",
    SLOW,
    async () => {
      await withPage({}, "/", async (chat) => {
        const { browser, page, tiny, message, answers } = chat;
        await page.getByText("MIT").waitFor();
        await tiny.press("Enter");
        await message.waitFor();
        assert.notEqual(await askBriefly(chat, "Good morning"), "");
        await answers.getByText(/\d tok\/s · [\d,]+ tokens · .*stopped/).waitFor();
        await page.getByText(/^[1-9]\d* of [\d,]+ tokens of context used$/).waitFor();
        await chat.regenerate.click();
        await begun(answers);
        await page.keyboard.press("Escape");
        await chat.regenerate.waitFor();

        await page.evaluate(() => navigator.serviceWorker.ready);
        await browser.context.setOffline(true);
        server.offline();
        try {
          await page.reload();
          await page.getByText("On this device", { exact: true }).waitFor();
          await tiny.click();
          await message.waitFor();
          assert.notEqual(await askBriefly(chat, "Still there?"), "");
        } finally {
          server.offline(false);
          await browser.context.setOffline(false);
        }
        // What the browser itself says of the requests that fail without a network.
        browser.errors.splice(
          0,
          Infinity,
          ...browser.errors.filter((error) => !/ERR_INTERNET_DISCONNECTED|ERR_FAILED/.test(error)),
        );
      });
    },
  );

  test("an answer survives the loss of the device", SLOW, async () => {
    await withPage({}, "/", async ({ page, tiny, message, answers, regenerate }) => {
      await tiny.click();
      await message.waitFor();
      await page.evaluate(() => {
        const element = document.querySelector("parhelion-chat");
        element.settings = { ...element.settings, maxTokens: 24 };
      });
      await message.fill("Tell me a story");
      await page.keyboard.press("Enter");
      await begun(answers);
      await page.evaluate(() => document.querySelector("parhelion-chat").session.loseDevice());
      await regenerate.waitFor();
      assert.equal(await page.locator("parhelion-chat [data-code]").count(), 0, "no error is shown");
      await page.getByRole("button", { name: "Models" }).click();
      await page.getByText("Recovered from a lost device").waitFor();
    });
  });

  test("the element chats in a page elsewhere on the server", SLOW, async () => {
    server.mount(
      "/some/where/else.html",
      '<!doctype html>\n<html lang="en"><title>Mine</title><link rel="icon" href="data:,">\n' +
        '<script type="module" src="../../element/index.js"></script>\n' +
        '<parhelion-chat model="../../models/tiny.gguf" context="256" system="Be kind." autoload></parhelion-chat></html>\n',
    );
    await withPage({}, "/some/where/else.html", async (chat) => {
      await chat.message.waitFor();
      await chat.page.getByText("of 256 tokens of context used").waitFor();
      assert.notEqual(await askBriefly(chat, "Hello"), "");
    });
  });
});

describe("without WebGPU", () => {
  test("the page says so, and the model answers on the CPU", SLOW, async () => {
    await withPage({ webgpu: false }, "/", async (chat) => {
      await chat.page.getByText("No WebGPU here, so models run on the CPU").waitFor();
      await chat.tiny.click();
      await chat.message.waitFor();
      await chat.page.locator("parhelion-chat .device", { hasText: "CPU" }).waitFor();
      assert.notEqual(await askBriefly(chat, "Hello"), "");
    });
  });
});

describe("what servers do wrong", () => {
  test("is a readable line, and can be put right", SLOW, async () => {
    const faults = {
      missing: [{ status: 404 }, "A file of the model is not there."],
      page: [{ html: true }, "The address leads to a web page, not to a model file."],
    };
    server.mount("/damaged.gguf", bytes.subarray(0, bytes.length / 2));
    for (const [name, [fault]] of Object.entries(faults)) {
      server.mount(`/${name}.gguf`, bytes);
      server.fault(`/${name}.gguf`, fault);
    }
    await withPage({}, "/", async ({ browser, page, message }) => {
      const address = page.getByLabel("Address of a GGUF file or a repository");
      const lines = [
        ...Object.entries(faults).map(([name, [, line]]) => [name, line]),
        ["damaged", "This file is damaged, or no model file."],
      ];
      for (const [name, line] of lines) {
        await address.fill(`/${name}.gguf`);
        await address.press("Enter");
        const shown = page.locator("parhelion-chat .failure-title");
        await shown.waitFor();
        assert.equal(await shown.textContent(), line);
        if (name !== "damaged") await page.getByRole("button", { name: "Choose another model" }).click();
      }
      server.mount("/damaged.gguf", bytes);
      await page.getByRole("button", { name: "Start the download over" }).click();
      await message.waitFor();
      browser.errors.splice(0, Infinity, ...browser.errors.filter((error) => !/status of 404/.test(error)));
    });
  });
});

describe("a new version of the page", () => {
  test("waits until the reader reloads", SLOW, async () => {
    await withPage({}, "/", async ({ page }) => {
      await page.waitForFunction(() => navigator.serviceWorker.controller !== null);
      const index = (await readFile(join(DIST, "index.html"), "utf8")).replace(
        /<title>.*<\/title>/,
        "<title>Newer</title>",
      );
      const worker = await readFile(join(DIST, "sw.js"), "utf8");
      const { createHash } = await import("node:crypto");
      const hash = createHash("sha256").update(index).digest("hex");
      server.mount("/index.html", index);
      server.mount(
        "/sw.js",
        worker.replace(/("index\.html": ")[0-9a-f]+/, `$1${hash}`).replace(/("version": ")[0-9a-f]+/, "$1f00d"),
      );
      await page.reload();
      assert.doesNotMatch(await page.title(), /Newer/, "the version at hand goes on until then");
      await page.getByText("A new version of this page is ready.").waitFor();
      await page.getByRole("button", { name: "Reload" }).click();
      await page.waitForFunction(() => document.title === "Newer");
    });
  });
});
