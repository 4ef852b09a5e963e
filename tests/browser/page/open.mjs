// Opens the page, or a page with the element in it, with the stand-in for the engine, and finds its controls as a user
// does: by role and name.

import { readFile } from "node:fs/promises";

import { serveDist } from "../harness.mjs";

const FAKE = await readFile(new URL("fake.js", import.meta.url), "utf8");

/** A server of the built page whose engine is the stand-in. */
export async function serveFake() {
  const server = await serveDist();
  server.mount("/index.js", FAKE);
  return server;
}

/**
 * A tab with the page.
 * @param {import("../harness.mjs").Browser} browser
 * @param {import("../harness.mjs").Server} server
 * @param {object} fake what the stand-in does: see `fake.js`
 * @param {{ width?: number, height?: number, scheme?: "light" | "dark", path?: string }} look
 */
export async function openPage(
  browser,
  server,
  fake = {},
  { width = 1280, height = 800, scheme = "light", path = "/" } = {},
) {
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
