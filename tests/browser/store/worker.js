// Drives the store in a dedicated worker, as parhelion's own worker does.
import { ModelStore } from "/store/index.js";
import { Sha256 } from "./sha256.js";

let store;
const files = new Map();
const stops = new Map();

async function digest(bytes) {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(hash, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

async function folder(key) {
  return (await (await navigator.storage.getDirectory()).getDirectoryHandle("parhelion")).getDirectoryHandle(key);
}

async function withAccess(key, name, action) {
  const access = await (await (await folder(key)).getFileHandle(name, { create: true })).createSyncAccessHandle();
  try {
    return action(access);
  } finally {
    access.close();
  }
}

const calls = {
  async open({ cache = false, nothing = false, retry = {} }) {
    if (nothing) Object.defineProperty(globalThis, "caches", { value: undefined });
    if (cache || nothing) delete Object.getPrototypeOf(navigator.storage).getDirectory;
    const askPersist = () => {
      postMessage({ persist: true });
      return Promise.resolve(true);
    };
    store = await ModelStore.open({ newHash: () => new Sha256(), askPersist, retry: { firstDelay: 20, ...retry } });
  },
  async fetch(request) {
    const stop = new AbortController();
    stops.set(request.name, stop);
    const phases = new Set();
    let resumedFrom = 0;
    const onProgress = (progress) => {
      phases.add(progress.phase);
      resumedFrom = progress.resumedFrom;
      postMessage({ progress });
    };
    const file = await store.fetch({ ...request, signal: stop.signal, onProgress });
    files.get(file.key)?.close();
    files.set(file.key, file);
    const { key, name, size, sha256 } = file;
    return { key, name, size, sha256, phases: [...phases], resumedFrom };
  },
  abort: async (name) => stops.get(name).abort(),
  openBlob: async (blob) => void files.set("blob", store.fromBlob(blob)),
  async read({ key, offset, length }) {
    return digest(await files.get(key).read(offset, length));
  },
  /** Digests of many ranges, all asked for at once. */
  readAll: ({ key, ranges }) =>
    Promise.all(ranges.map(async ([offset, length]) => digest(await files.get(key).read(offset, length)))),
  close: async (key) => files.get(key).close(),
  list: () => store.list(),
  remove: (key) => store.remove(key),
  clear: () => store.clear(),
  usage: () => store.usage(),
  flip: ({ key, offset, bit }) =>
    withAccess(key, "weights", (access) => {
      const byte = new Uint8Array(1);
      access.read(byte, { at: offset });
      byte[0] ^= 1 << bit;
      access.write(byte, { at: offset });
    }),
  truncate: ({ key, size }) => withAccess(key, "weights", (access) => access.truncate(size)),
  removeEntry: async ({ key, name }) => (await folder(key)).removeEntry(name),
  writeNote: ({ key, name, text }) =>
    withAccess(key, name, (access) => {
      access.truncate(0);
      access.write(new TextEncoder().encode(text), { at: 0 });
    }),
  readNote: async ({ key, name }) => (await (await (await folder(key)).getFileHandle(name)).getFile()).text(),
  folders: async () =>
    Array.fromAsync((await (await navigator.storage.getDirectory()).getDirectoryHandle("parhelion")).keys()),
  cacheEntries: async () => (await (await caches.open("parhelion")).keys()).length,
};

addEventListener("message", async ({ data: { id, name, argument } }) => {
  try {
    postMessage({ id, value: await calls[name](argument) });
  } catch (error) {
    postMessage({ id, error: { code: error.code ?? error.name, message: error.message } });
  }
});
