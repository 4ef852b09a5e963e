// What every suite shares: a real browser, with WebGPU on a software GPU or without WebGPU, and the built page.

import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { chromium } from "playwright-core";

import { findChromium } from "./chromium.mjs";
import { Server } from "./server.mjs";

export { CSP, Server } from "./server.mjs";

/** The folder that `cargo xtask web` builds. */
export const DIST = fileURLToPath(new URL("../../web/dist", import.meta.url));

/** The file of SmolLM2-135M-Instruct; undefined where it could not be had: tests that need it skip themselves. */
export const MODEL = process.env.PARHELION_TEST_MODEL && existsSync(process.env.PARHELION_TEST_MODEL) ? process.env.PARHELION_TEST_MODEL : undefined;

/** The options of a test that needs the model. */
export const NEEDS_MODEL = { skip: MODEL ? false : "set PARHELION_TEST_MODEL to the file of SmolLM2-135M-Instruct, or use `cargo xtask test --browser`" };

const models = process.env.PARHELION_TEST_MODELS;

/** The directory of all-MiniLM-L6-v2; undefined where it could not be had. */
export const MINILM = models && existsSync(join(models, "all-MiniLM-L6-v2", "model.safetensors")) ? join(models, "all-MiniLM-L6-v2") : undefined;

/** The options of a test that needs it. */
export const NEEDS_MINILM = { skip: MINILM ? false : "set PARHELION_TEST_MODELS to the directory that all-MiniLM-L6-v2 is in, or use `cargo xtask test --browser`" };

const COMMON = ["--no-sandbox", "--headless=new", "--disable-background-networking", "--no-first-run", "--js-flags=--expose-gc"];
const WITH_WEBGPU = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan"];
const ON_A_CARD = [
  "--enable-unsafe-webgpu",
  "--ignore-gpu-blocklist",
  "--disable-gpu-sandbox",
  "--enable-features=Vulkan",
  "--use-angle=vulkan",
  "--disable-vulkan-surface",
];
const WITHOUT_WEBGPU = ["--disable-blink-features=WebGPU"];

/** Ends everything when the time for all suites is over, so that no browser is left running. */
const deadline = Number(process.env.PARHELION_BROWSER_DEADLINE) || Infinity;
const open = new Set();

if (deadline !== Infinity) {
  setTimeout(async () => {
    console.error("the browser suites took longer than they may: closing the browser");
    await Promise.allSettled([...open].map((browser) => browser.close()));
    process.exit(1);
  }, Math.max(0, deadline - Date.now())).unref();
}

/** A browser with one profile. */
export class Browser {
  /** @type {import("playwright-core").BrowserContext} */
  context;
  /** Uncaught errors and errors on the console (violations of the content security policy among them), of every page. */
  errors = [];
  #temporary;

  /**
   * Starts a browser.
   * @param {{ webgpu?: boolean | "card", userDataDir?: string, viewport?: { width: number, height: number }, args?: string[],
   *   context?: import("playwright-core").BrowserContextOptions }} options `webgpu`: on a software GPU, on the machine's card, or not at all;
   *   `userDataDir`: a profile that outlives the browser (its own, removed with it, if left out)
   */
  static async launch({ webgpu = true, userDataDir, viewport = { width: 1280, height: 800 }, args = [], context = {} } = {}) {
    const executablePath = findChromium();
    if (!executablePath) throw new Error("there is no Chromium: install it, or set CHROME to its program");
    const browser = new Browser();
    browser.#temporary = userDataDir ? undefined : await mkdtemp(join(tmpdir(), "parhelion-browser-"));
    const webgpuFlags = webgpu === "card" ? ON_A_CARD : webgpu ? WITH_WEBGPU : WITHOUT_WEBGPU;
    const flags = [...COMMON, ...webgpuFlags, ...args];
    const options = { executablePath, headless: true, viewport, args: flags, acceptDownloads: true, ...context };
    browser.context = await chromium.launchPersistentContext(userDataDir ?? browser.#temporary, options);
    browser.context.on("weberror", (error) => browser.errors.push(String(error.error())));
    browser.context.on("console", (message) => message.type() === "error" && browser.errors.push(message.text()));
    open.add(browser);
    return browser;
  }

  /** A new tab at `url`. */
  async open(url) {
    const page = await this.context.newPage();
    if (url) await page.goto(url);
    return page;
  }

  /** A session of the developer tools' protocol with `page`: quota, offline, heap. */
  devtools(page) {
    return this.context.newCDPSession(page);
  }

  /** Closes the browser as a user does. */
  async close() {
    open.delete(this);
    await this.context.close();
    if (this.#temporary) await rm(this.#temporary, { recursive: true, force: true, maxRetries: 10 });
  }
}

/** An empty page with the content security policy at `/blank.html`, besides the built files. */
export async function serveDist(options = {}) {
  const server = await Server.start({ root: DIST, ...options });
  server.mount("/blank.html", "<!doctype html>\n<html lang=\"en\"><title>parhelion</title><link rel=\"icon\" href=\"data:,\"></html>\n");
  return server;
}

/**
 * Runs `body` with a browser and a server, and closes both whatever happens.
 * @param {Parameters<typeof Browser.launch>[0]} options
 * @param {(browser: Browser, server: Server) => Promise<void>} body
 */
export async function withBrowser(options, body) {
  const server = await serveDist();
  try {
    const browser = await Browser.launch(options);
    try {
      await body(browser, server);
    } finally {
      await browser.close();
    }
  } finally {
    await server.close();
  }
}
