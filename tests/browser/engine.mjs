// The engine's module in a browser's worker, called from tests.

import { fileURLToPath } from "node:url";

/** Lets pages of `server` start the engine's worker. */
export function mountEngine(server) {
  server.mount("/test/engine-worker.js", fileURLToPath(new URL("engine-worker.js", import.meta.url)));
}

/** Starts a worker in `page` and gives what calls it: `call(name, ...arguments)`, as in `engine-worker.js`. */
export async function startEngine(page) {
  await page.evaluate(() => {
    const worker = new Worker("/test/engine-worker.js", { type: "module" });
    const waiting = new Map();
    worker.onmessage = ({ data: [id, value, error] }) => {
      const { resolve, reject } = waiting.get(id);
      waiting.delete(id);
      if (error) reject(new Error(error));
      else resolve(value);
    };
    worker.onerror = ({ message }) => waiting.forEach(({ reject }) => reject(new Error(message)));
    let next = 0;
    globalThis.callEngine = (...request) =>
      new Promise((resolve, reject) => {
        waiting.set(next, { resolve, reject });
        worker.postMessage([next, ...request]);
        next += 1;
      });
  });
  return (...request) => page.evaluate((request) => callEngine(...request), request);
}
