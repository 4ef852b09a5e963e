// What the page shows while a model loads, and when things go wrong: every error there is, and what its buttons do. The
// engine is a stand-in that fails when told to.

import assert from "node:assert/strict";
import { describe, test } from "node:test";

import { fakeSuite, load } from "./page/open.mjs";

const start = fakeSuite();

describe("loading", () => {
  test("shows bytes, speed and time left, and stops", async () => {
    const chat = await start({ holdAt: "download" });
    await chat.download.click();
    const bar = chat.page.getByRole("progressbar", { name: "Loading the model" });
    await bar.waitFor();
    assert.equal(await bar.getAttribute("aria-valuenow"), "42");
    assert.equal(await bar.getAttribute("aria-valuetext"), "Downloading 41.3 MB of 98.4 MB · 12.3 MB/s · 5 s left");
    await chat.page.evaluate(() => (globalThis.fake.holdAt = undefined));
    await chat.page.keyboard.press("Enter"); // the focus is on Stop
    await chat.page.getByRole("button", { name: "Resume the download" }).click();
    await chat.message.waitFor();
  });

  test("a lost device is announced while it recovers", async () => {
    const chat = await start({ lose: true });
    await load(chat);
    await chat.message.fill("Hello");
    await chat.message.press("Enter");
    await chat.answers.getByText("The graphics device was lost. Loading the model again").waitFor();
    await chat.regenerate.waitFor();
    assert.match(await chat.answers.textContent(), /short waves of light/);
  });
});

describe("errors", () => {
  test("every code has a line, advice and a button", async () => {
    const chat = await start();
    await chat.download.waitFor();
    const codes = await chat.page.evaluate(async () => (await import("./errors.js")).ERROR_CODES);
    assert.ok(codes.length > 20);
    for (const code of codes) {
      await chat.page.evaluate((next) => globalThis.fake.loadErrors.push(next), code);
      await chat.page.evaluate(() => document.querySelector("parhelion-chat").load("smollm2-135m-instruct"));
      const box = chat.page.locator(`parhelion-chat [data-code="${code}"]`);
      await box.waitFor();
      assert.match(await box.locator("strong").textContent(), /^[A-Z].{5,80}\.$/, code);
      assert.ok((await box.locator("p").first().textContent()).length > 10, code);
      assert.ok((await box.getByRole("button").count()) >= 1, code);
      assert.match(await box.locator("details").textContent(), new RegExp(`${code}: Caused by a test`));
    }
  });

  test("the buttons do what they say", async () => {
    const loadsAfter = async (code, name, fake = {}) => {
      const chat = await start({ loadErrors: [code], ...fake });
      await chat.download.click();
      await chat.page.getByRole("button", { name }).click();
      return chat;
    };
    const cpu = await loadsAfter("no-device", "Use the CPU");
    await cpu.message.waitFor();
    const shorter = await loadsAfter("out-of-memory", "Load with a shorter context");
    await shorter.message.waitFor();
    const stored = [
      {
        key: "a",
        name: "x",
        url: "https://models.example/smollm2.gguf",
        bytes: 1,
        size: 1,
        complete: true,
        verified: true,
        lastUsed: 0,
      },
    ];
    const again = await loadsAfter("integrity", "Start the download over", { stored });
    await again.message.waitFor();
    const second = (chat) => chat.page.evaluate(() => globalThis.fake.calls.filter((call) => call.load)[1].options);
    assert.equal((await second(cpu)).device, "cpu");
    assert.equal((await second(shorter)).context, 2048);
    assert.deepEqual(await again.page.evaluate(() => globalThis.fake.stored), []);
    const room = await loadsAfter("quota", "Delete stored models");
    await room.page.getByRole("dialog", { name: "Model and storage" }).waitFor();
    const other = await loadsAfter("unsupported-model", "Choose another model");
    await other.download.waitFor();
  });

  test("an answer that fails keeps the chat, and loading again goes on", async () => {
    const chat = await start({ answerErrors: ["device-lost"] });
    await load(chat);
    await chat.message.fill("Hello");
    await chat.message.press("Enter");
    await chat.page.getByRole("button", { name: "Load the model again" }).click();
    await chat.message.waitFor();
    await chat.regenerate.click();
    await chat.answers.getByText("scatters").waitFor();
    assert.equal(await chat.answers.count(), 1);
  });

  test("without WebGPU the page says so, offers the CPU, and refuses what is too large for it", async () => {
    const chat = await start({ webgpu: false });
    await chat.page.getByText("No WebGPU here, so models run on the CPU").waitFor();
    await chat.page.getByText("How to get WebGPU").click();
    await chat.page.getByText(/Chrome and Edge: version 113/).waitFor();
    assert.ok(await chat.page.getByRole("button", { name: /Gemma/ }).isDisabled());
    await chat.download.click();
    await chat.message.waitFor();
    assert.equal(await chat.page.evaluate(() => globalThis.fake.calls.find((call) => call.load).options.device), "cpu");
  });

  test("an address that is none is refused where it is written", async () => {
    const chat = await start();
    const field = chat.page.getByLabel("Address of a GGUF file or a repository");
    await field.fill("ftp://example.com/model.gguf");
    await field.press("Enter");
    await chat.page.getByText("Enter an address that begins with https://").waitFor();
    assert.equal(await field.getAttribute("aria-invalid"), "true");
  });
});
