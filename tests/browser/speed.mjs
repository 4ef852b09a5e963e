// How fast a model loads and answers in the browser on this machine's card:
//
//     node tests/browser/speed.mjs model.gguf [--software] [-- FLAGS OF CHROMIUM]
//
// Prints, for a browser that has never seen the page with pipelines compiled side by side and one after another, when loading
// reached its stages and the first token; then decode (128 tokens after a short prompt) and prefill (512 tokens) for each
// choice of switches. Medians over warm runs.

import { mountEngine, startEngine } from "./engine.mjs";
import { Browser, serveDist } from "./harness.mjs";

const RUNS = 5;
const GREEDY = { temperature: 0, ignoreEnd: true };

const words = process.argv.slice(2);
const split = words.includes("--") ? words.indexOf("--") : words.length;
const own = words.slice(0, split);
const flags = words.slice(split + 1);
const software = own.includes("--software");
const model = own.find((word) => !word.startsWith("--"));
if (!model) {
  console.error("usage: node tests/browser/speed.mjs model.gguf [--software] [-- FLAGS OF CHROMIUM]");
  process.exit(2);
}

const server = await serveDist();
server.mount("/model.gguf", model);
mountEngine(server);

/** Runs `body` with the engine in a browser of its own. */
async function inBrowser(body) {
  const browser = await Browser.launch({ webgpu: software ? true : "card", args: flags });
  try {
    const page = await browser.open(server.url("/blank.html"));
    await hardwareAdapter(page);
    await body(await startEngine(page));
  } finally {
    await browser.close();
  }
}

/** A browser gives no adapter, or another, in its first moments. */
async function hardwareAdapter(page) {
  const ready = () => page.evaluate(async () => Boolean((await navigator.gpu?.requestAdapter())?.info));
  for (let tries = 0; tries < 10 && !(await ready()); tries += 1) await page.waitForTimeout(500);
}

/** Ids of a prompt: `first` makes it unlike others, so that nothing of it is cached. */
function prompt(length, first) {
  return [first, ...Array.from({ length: length - 1 }, (_, i) => 5 + ((i * 7919 + 13) % 1000))];
}

function median(values) {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)];
}

async function cold(precompile) {
  await inBrowser(async (call) => {
    const { info, events, milliseconds } = await call("load", "/model.gguf", { device: "webgpu", precompile, check: true });
    const { name, subgroups, f16 } = info.device;
    console.log(`${name}, subgroups ${subgroups}, f16 ${f16}; pipelines ${precompile ? "side by side" : "one after another"}`);
    const at = (kind) => `${kind} ${events[kind]?.at.toFixed(0)}`;
    console.log(`  load ${milliseconds.toFixed(0)} ms: ${["device", "check", "upload", "compile"].map(at).join(", ")}`);
    console.log(`  check of ${events.check.kernels} kernels: ${events.check.milliseconds.toFixed(0)} ms`);
    const { first } = await call("generate", prompt(40, 3), { ...GREEDY, maxTokens: 2 });
    const { first: warm } = await call("generate", prompt(40, 4), { ...GREEDY, maxTokens: 2 });
    console.log(`  first token of a 40-token prompt: ${first.toFixed(0)} ms, then ${warm.toFixed(0)} ms`);
  });
}

async function speed(call, label, options) {
  await call("load", "/model.gguf", { device: "webgpu", ...options });
  const rates = async (length, maxTokens, rate) => {
    const values = [];
    for (let run = 0; run <= RUNS; run += 1) {
      const { finished } = await call("generate", prompt(length, 10 + run), { ...GREEDY, maxTokens });
      if (run > 0) values.push(finished.timings[rate]);
    }
    return median(values);
  };
  const decode = await rates(12, 128, "decodeRate");
  const prefill = await rates(512, 1, "prefillRate");
  const { longestSubmitMs } = await call("info");
  console.log(`${label}: decode ${decode.toFixed(1)} tok/s, prefill ${prefill.toFixed(0)} tok/s, longest submission ${longestSubmitMs?.toFixed(0)} ms`);
}

try {
  await cold(true);
  await cold(false);
  await inBrowser(async (call) => {
    await speed(call, "as the device offers", {});
    await speed(call, "no subgroups", { subgroups: false });
    await speed(call, "reproducible", { reproducible: true });
  });
} finally {
  await server.close();
}
