// Stands in for the package's `index.js` in tests of the page's looks and of errors that a test cannot cause at will: the
// same interface, an answer from a script. `globalThis.fake`, set before the page loads, says what happens.

import { ParhelionError } from "./errors.js";

export * from "./errors.js";

const sleep = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

const fake = {
  webgpu: true,
  /** Codes that the next loads fail with, one each. */
  loadErrors: [],
  /** Codes that the next answers fail with, one each, after three tokens. */
  answerErrors: [],
  /** Stops loading at this phase until the signal fires. */
  holdAt: undefined,
  /** The next answer loses the device after three tokens and recovers. */
  lose: false,
  answer: "The sky is blue because air scatters *short* waves of light more than long ones.",
  tokenMs: 5,
  stored: [],
  persisted: false,
  calls: [],
  ...globalThis.fake,
};
globalThis.fake = fake;

const DEVICE = {
  name: "Example Graphics 780M", backend: "WebGPU", driver: "Mesa 26.1", subgroups: true, f16: true, maxBuffer: 2 ** 31,
  maxBinding: 2 ** 31 - 4, subgroupMin: 32, subgroupMax: 64, fallback: false,
};

const TIMINGS = { download: 8100, wasm: 90, check: 210, compile: 320, upload: 640, total: 9360, firstToken: 80 };

class FakeGeneration {
  #aborted = false;
  #settle;
  result = new Promise((resolve, reject) => (this.#settle = { resolve, reject }));

  constructor(session, messages, options) {
    Object.assign(this, { session, messages, options });
    this.result.catch(() => {});
  }

  abort() {
    this.#aborted = true;
  }

  async *[Symbol.asyncIterator]() {
    const words = fake.answer.match(/\S+\s*/g) ?? [];
    const code = fake.answerErrors.shift();
    let text = "";
    for (const [at, word] of words.entries()) {
      await sleep(fake.tokenMs);
      if (this.#aborted) break;
      if (at === 3 && code) {
        const error = new ParhelionError(code, `Caused by a test (${code}).`);
        this.#settle.reject(error);
        throw error;
      }
      if (at === 3 && fake.lose) await this.#recover();
      text += word;
      yield { text: word, id: at, logprob: -0.1 };
    }
    this.#finish(text, words.length);
  }

  async #recover() {
    fake.lose = false;
    this.session.recoveries += 1;
    for (const done of [1e6, 9e6]) {
      this.session.onProgress({ phase: "recovering", done, total: 9e6, bytesPerSecond: 0, secondsLeft: undefined });
      await sleep(300);
    }
  }

  #finish(text, generatedTokens) {
    this.session.used += 24 + generatedTokens;
    const timings = {
      promptTokens: 24, cachedTokens: 0, prefillMs: 60, generatedTokens, decodeMs: 1800, prefillRate: 400, decodeRate: 41.2,
      firstTokenMs: 80, totalMs: 1900, dispatchesPerToken: 212, peakBytes: 1.6e8,
    };
    this.#settle.resolve({ finishReason: this.#aborted ? "cancelled" : "stop", text, tokens: [], timings, recoveries: 0 });
  }
}

class FakeSession {
  used = 0;
  recoveries = 0;
  #current;

  constructor(name, options) {
    Object.assign(this, { name, options, onProgress: options.onProgress });
  }

  chat(messages, options) {
    fake.calls.push({ messages, options });
    return (this.#current = new FakeGeneration(this, messages, options));
  }

  abort() {
    this.#current?.abort();
  }

  async info() {
    const device = this.options.device === "cpu" || !fake.webgpu ? { ...DEVICE, backend: "scalar", name: "CPU" } : DEVICE;
    return {
      name: this.name, architecture: "llama", parameters: 134515008, context: this.options.context ?? 8192,
      contextUsed: this.used, vocabulary: 49152, layers: 30, device, check: { state: "run", dropped: [] },
      memory: { now: 1.43e8, peak: 1.6e8, weights: 9.8e7, kv: 3.8e7, scratch: 7e6 }, wasmBytes: 9e6, timings: TIMINGS,
      longestSubmitMs: 12, recoveries: this.recoveries, version: "0.1.0",
    };
  }

  async dispose() {
    fake.calls.push({ disposed: this.name });
  }
}

const PHASES = [
  ["download", 98362432], ["verify", 98362432], ["upload", 98362432], ["compile", 19], ["check", 24],
];

async function load(source, options) {
  const { signal, onProgress } = options;
  const named = source instanceof Blob ? source.name : Array.isArray(source) ? source.map((file) => file.webkitRelativePath || file.name) : source;
  fake.calls.push({ load: named, options: { ...options, signal: undefined, onProgress: undefined } });
  const code = fake.loadErrors.shift();
  for (const [phase, total] of PHASES) {
    const bytes = total > 1000;
    onProgress({ phase, done: total * 0.42, total, bytesPerSecond: bytes ? 12.3e6 : 0, secondsLeft: bytes ? 4.6 : undefined });
    await sleep(20);
    if (fake.holdAt === phase) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    if (signal.aborted) throw new ParhelionError("aborted", "Stopped by its AbortSignal.");
    if (code) throw new ParhelionError(code, `Caused by a test (${code}).`);
  }
  const name = typeof source === "string" ? source : (source.name ?? "model.gguf");
  return new FakeSession(name, options);
}

const CATALOGUE = [
  {
    id: "smollm2-135m-instruct", title: "SmolLM2 135M Instruct, 4 bits (Q4_1): small enough for any machine", license: "Apache-2.0",
    fileName: "SmolLM2-135M-Instruct.Q4_1.gguf", bytes: 98362432, sha256: "00", urls: ["https://models.example/smollm2.gguf"],
  },
  {
    id: "gemma-3-1b-it", title: "Gemma 3 1B, 4 bits (Q4_0): better answers, needs a graphics device", license: "Gemma",
    fileName: "gemma-3-1b-it-q4_0.gguf", bytes: 720425472, sha256: "01", urls: ["https://models.example/gemma-3-1b.gguf"],
  },
];

const offered = { name: "Example Graphics 780M", vendor: "example", fallback: false, subgroups: true, f16: true };

export const Parhelion = {
  load,
  async support() {
    return fake.webgpu
      ? { webgpu: true, reason: undefined, advice: undefined, device: offered }
      : { webgpu: false, reason: "This browser has no WebGPU.", advice: "Use a current browser.", device: undefined };
  },
  async catalogue() {
    return CATALOGUE;
  },
  storage: {
    list: async () => fake.stored,
    remove: async (key) => (fake.stored = fake.stored.filter((entry) => entry.key !== key)),
    clear: async () => (fake.stored = []),
    usage: async () => ({ usage: fake.stored.reduce((sum, { bytes }) => sum + bytes, 0), quota: 2.4e11, persisted: fake.persisted }),
    persist: async () => (fake.persisted = true),
  },
};
