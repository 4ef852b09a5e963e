// Opens the page, or a page with the element in it, with the stand-in for the engine, and finds its controls as a user
// does: by role and name.

import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { after, afterEach, before } from "node:test";

import { Browser, serveDist } from "../harness.mjs";

const FAKE = await readFile(new URL("fake.js", import.meta.url), "utf8");

/**
 * Sets a suite up: one browser, and a server of the built page whose engine is the stand-in. After each test its tabs are
 * closed, and nothing may have been reported on the console or broken the content security policy.
 * @param {import("playwright-core").BrowserContextOptions} context
 * @returns opens a tab: what {@link openPage} returns, and the server
 */
export function fakeSuite(context = {}) {
  let browser;
  let server;
  let open = [];
  before(async () => {
    server = await serveDist();
    server.mount("/index.js", FAKE);
    browser = await Browser.launch({ context: { serviceWorkers: "block", ...context } });
  });
  after(async () => {
    await browser?.close();
    await server?.close();
  });
  afterEach(async () => {
    const violations = [];
    for (const page of open) violations.push(...(await page.evaluate(() => globalThis.violations)));
    await Promise.all(open.map((page) => page.close()));
    open = [];
    assert.deepEqual(violations, [], "nothing breaks the content security policy");
    assert.deepEqual(browser.errors.splice(0), [], "nothing is reported on the console");
  });
  return async (fake, look) => {
    look?.prepare?.(server);
    const chat = await openPage(browser, server, fake, look);
    open.push(chat.page);
    return { ...chat, server };
  };
}

/**
 * A tab with the page.
 * @param {import("../harness.mjs").Browser} browser
 * @param {import("../harness.mjs").Server} server
 * @param {object} fake what the stand-in does: see `fake.js`
 * @param {{ width?: number, height?: number, scheme?: "light" | "dark", path?: string,
 *   prepare?: (server: import("../harness.mjs").Server) => void }} look `prepare` changes what the server has, before the tab opens
 */
async function openPage(browser, server, fake = {}, { width = 1280, height = 800, scheme = "light", path = "/" } = {}) {
  const page = await browser.open();
  await page.setViewportSize({ width, height });
  await page.emulateMedia({ colorScheme: scheme });
  await page.addInitScript((settings) => {
    globalThis.fake = settings;
    localStorage.clear();
    globalThis.violations = [];
    document.addEventListener("securitypolicyviolation", ({ violatedDirective, blockedURI }) =>
      globalThis.violations.push(`${violatedDirective} ${blockedURI}`),
    );
  }, fake);
  await page.goto(server.url(path));
  return { page, ...controls(page) };
}

/** The controls of the chat. */
export function controls(page) {
  const named = (role, name) => page.getByRole(role, { name });
  return {
    download: named("button", /^(Download|Load|Resume).*SmolLM2/),
    message: named("textbox", "Message"),
    send: page.getByRole("button", { name: "Send", exact: true }),
    stop: named("button", /^Stop/),
    copy: named("button", "Copy answer"),
    regenerate: named("button", "Regenerate answer"),
    answers: page.getByRole("article", { name: "Answer" }),
    announced: page.locator("parhelion-chat [role=status][aria-live]"),
  };
}

/** Loads the first model. */
export async function load({ download, message }) {
  await download.click();
  await message.waitFor();
}

/** Asks, and waits until the answer has ended. */
export async function ask(chat, question = "Why is the sky blue?") {
  await chat.message.fill(question);
  await chat.message.press("Enter");
  await chat.regenerate.waitFor();
}
