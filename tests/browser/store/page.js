// The page's side of worker.js: `store.call(name, argument)` gives `{value}` or `{error: {code, message}}`.
const waiting = new Map();
const worker = new Worker("/tests/worker.js", { type: "module" });

globalThis.store = {
  worker,
  /** The latest progress, and how often the worker asked for persistent storage. */
  progress: undefined,
  persistAsked: 0,
  call(name, argument) {
    return new Promise((resolve) => {
      const id = waiting.size;
      if (name === "fetch") store.progress = undefined;
      waiting.set(id, resolve);
      worker.postMessage({ id, name, argument });
    });
  },
};

worker.addEventListener("message", ({ data }) => {
  if (data.progress !== undefined) store.progress = data.progress;
  else if (data.persist) store.persistAsked++;
  else waiting.get(data.id)(data);
});
