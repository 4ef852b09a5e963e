// The engine's own module in a worker, without the package around it: for tests of what it computes. Answers one request after
// another, each `[id, name, ...arguments]` of the functions below.

import init, { Cancel, Checkpoint, Model, checkKernels } from "/wasm/parhelion_web.js";

let model;

/** A file that the server has, read by ranges. */
async function remote(url) {
  const answer = await fetch(url, { method: "HEAD" });
  const size = Number(answer.headers.get("content-length"));
  const read = async (offset, length) => {
    const part = await fetch(url, { headers: { range: `bytes=${offset}-${offset + length - 1}` } });
    return new Uint8Array(await part.arrayBuffer());
  };
  return { name: url, size, read };
}

const requests = {
  async load(url, options) {
    model?.dispose();
    const began = performance.now();
    const events = {};
    const open = async () => remote(url);
    const checkpoint = await Checkpoint.open({ name: "the server", open }, "model.gguf");
    model = await Model.load(checkpoint, options, (event) => {
      events[event.kind] = { ...event, at: performance.now() - began };
    });
    return { info: model.info(), events, milliseconds: performance.now() - began };
  },
  async generate(prompt, options) {
    const tokens = [];
    const began = performance.now();
    let first;
    const finished = await model.generate(new Uint32Array(prompt), new Uint32Array(), options, new Cancel(), (id, text, logprob) => {
      first ??= performance.now() - began;
      tokens.push({ id, text, logprob });
    });
    return { tokens, finished, first };
  },
  info() {
    return model.info();
  },
  async logits(tokens, from) {
    return model.logits(new Uint32Array(tokens), from);
  },
  async kernels(options) {
    const checks = [];
    const summary = await checkKernels(options, (check) => checks.push(check));
    return { summary, checks };
  },
  dispose() {
    model.dispose();
    model = undefined;
  },
};

let turn = init();
self.onmessage = ({ data: [id, name, ...args] }) => {
  turn = turn.then(async () => {
    try {
      self.postMessage([id, await requests[name](...args)]);
    } catch (error) {
      self.postMessage([id, undefined, `${error.code}: ${error.message}`]);
    }
  });
};
