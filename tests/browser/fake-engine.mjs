// The worker's side of the package over a stand-in for the wasm module, in this thread: what the real module does rarely,
// or not at all on a sound machine, is done here at will.

import { Engine } from "../../web/dist/engine.js";
import { serve } from "../../web/dist/engine/serve.js";

/** An error as the wasm module throws it. */
export const coded = (code, message = code) => Object.assign(new Error(message), { code });

const turn = () => new Promise((resolve) => setTimeout(resolve, 0));

const DEVICE = { name: "stand-in", backend: "WebGPU", driver: "", subgroups: true, f16: false, maxBuffer: 1e9, maxBinding: 1e9, subgroupMin: 4, subgroupMax: 4, fallback: true };

/**
 * A wasm module whose model counts: each token is one more than the one before, and its text is its number and a space.
 * `script` holds what goes wrong: `beforeToken(n)` is called before the n-th token of an answer, `onLoad(options)` when a
 * model is loaded; both may throw. `paths` are those that it opens. `log` records what was asked of the module.
 */
export function fakeWasm(script = {}) {
  const log = { loads: [], opened: [], generates: [], live: 0, freed: 0, tokens: 0 };
  class Cancel {
    asked = false;
    cancel() {
      this.asked = true;
    }
    free() {}
  }
  class Checkpoint {
    /** Opens what `script.paths` lists, and of them what there is; without a list, the file at `path`. */
    static async open(repository, path) {
      const opened = new Checkpoint();
      opened.sources = [];
      for (const wanted of script.paths ?? [path]) {
        const source = await repository.open(wanted);
        log.opened.push([wanted, source?.size ?? null]);
        if (source !== null) opened.sources.push(source);
      }
      return opened;
    }
    free() {
      log.freed += 1;
    }
  }
  class Model {
    static async load({ sources }, options, events) {
      log.loads.push({ ...options });
      for (const source of sources) await source.read(0, source.size);
      await script.onLoad?.(options, log.loads.length);
      log.live += 1;
      events({ kind: "device", device: DEVICE });
      if (options.check) events({ kind: "check", kernels: 3, milliseconds: 1, dropped: script.dropped ?? [] });
      events({ kind: "plan", bytes: 10, weights: 6, kv: 3, scratch: 1 });
      events({ kind: "compile", done: 3, total: 3 });
      events({ kind: "upload", done: sources[0].size, total: sources[0].size });
      return new Model();
    }
    lost = false;
    answering = false;
    info() {
      this.idle();
      return { architecture: "counter", parameters: 1, context: 100, vocab: 100, layers: 1, device: DEVICE, memory: { now: 10, peak: 10, weights: 6, kv: 3, scratch: 1 }, load: {}, longestSubmitMs: 1 };
    }
    idle() {
      if (this.answering) throw coded("busy");
    }
    tokenize(text) {
      this.idle();
      return Uint32Array.from(text.split(" ").filter(Boolean), Number);
    }
    textTokens(text) {
      return this.tokenize(text);
    }
    detokenize(ids) {
      return [...ids].map((id) => `${id} `).join("");
    }
    chatTokens(messages) {
      return this.tokenize(messages.map(({ content }) => content).join(" "));
    }
    async generate(...args) {
      this.idle();
      this.answering = true;
      try {
        return await this.answer(...args);
      } finally {
        this.answering = false;
      }
    }
    async answer(prompt, generated, options, cancel, onToken) {
      log.generates.push({ prompt: [...prompt], generated: [...generated], options });
      const timings = { promptTokens: prompt.length, cachedTokens: 0, prefillMs: 1, generatedTokens: 0, decodeMs: 1, prefillRate: 1, decodeRate: 1, dispatchesPerToken: 1, peakBytes: 10 };
      const most = options.maxTokens ?? 20;
      let last = generated.at(-1) ?? prompt.at(-1);
      for (let count = generated.length; count < most; count++) {
        await turn();
        if (cancel.asked) return { reason: "cancelled", rest: "", timings };
        if (this.lost) throw coded("device-lost");
        await script.beforeToken?.(count, this);
        log.tokens += 1;
        onToken(++last, `${last} `, -0.5);
      }
      return { reason: "length", rest: script.rest ?? "", timings };
    }
    async logits(tokens, from) {
      if (this.lost) throw coded("device-lost");
      return new Float32Array((tokens.length - from) * 100);
    }
    contextUsed() {
      return 0;
    }
    loseDevice() {
      this.lost = true;
    }
    dispose() {
      log.live -= 1;
    }
    free() {}
  }
  const catalogue = [{ id: "counter", title: "Counter", license: "MIT", fileName: "counter.gguf", bytes: 8, sha256: "00", urls: ["https://example.invalid/counter.gguf"] }];
  const wasm = {
    default: async () => ({ memory: { buffer: new ArrayBuffer(16) } }),
    version: () => "0",
    catalogue: () => JSON.stringify(catalogue),
    adapters: async () => DEVICE,
    checkKernels: async () => ({ total: 0, failed: 0, device: DEVICE, milliseconds: 0 }),
    Cancel,
    Checkpoint,
    Model,
    Sha256: class {},
  };
  return { wasm, log };
}

/** Notes that live as long as the object. */
export function memoryNotes() {
  const notes = new Map();
  return { get: async (key) => notes.get(key), set: async (key, value) => void notes.set(key, structuredClone(value)) };
}

const store = {
  fetch: async ({ signal, name }) => {
    signal?.throwIfAborted();
    return { ...store.fromBlob(new Blob(["weights!"])), name, sha256: "00", absent: async () => [], rememberAbsent: async () => {}, close() {} };
  },
  fromBlob: (blob, name) => ({
    name: name ?? blob.name ?? "file",
    size: blob.size,
    read: async (offset, length) => new Uint8Array(await blob.slice(offset, offset + length).arrayBuffer()),
  }),
  list: async () => [],
  remove: async () => {},
  clear: async () => {},
  usage: async () => ({ usage: 1, quota: 2, persisted: false }),
};

/** What `createWorker` may return: a worker in this thread, whose messages are copied as they are between threads. */
export class FakeWorker extends EventTarget {
  terminated = false;
  #inner = new EventTarget();

  constructor({ wasm, notes = memoryNotes(), webgpu = true, store: given = {} }) {
    super();
    const support = async () => ({ webgpu, reason: webgpu ? undefined : "This browser has no WebGPU.", advice: undefined, device: undefined });
    const engine = new Engine({ wasm, notes, userAgent: "test", openStore: async () => ({ ...store, ...given }), support });
    const port = {
      postMessage: (data, transfer) => this.#deliver(this, structuredClone(data, { transfer })),
      addEventListener: (type, listener) => this.#inner.addEventListener(type, listener),
    };
    serve(port, engine.handlers);
  }

  postMessage(data, transfer) {
    this.#deliver(this.#inner, structuredClone(data, { transfer }));
  }

  terminate() {
    this.terminated = true;
  }

  #deliver(target, data) {
    setTimeout(() => this.terminated || target.dispatchEvent(new MessageEvent("message", { data })), 0);
  }
}
