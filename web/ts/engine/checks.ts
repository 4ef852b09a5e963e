/** Remembers which devices were checked against known answers, with which models, and what they compute wrongly. */

/** What is remembered of a device. */
export interface CheckedDevice {
  /** Features that it computes wrongly with. */
  dropped: string[];
  /** Models whose kernels were checked on it: others use other kernels. */
  models: string[];
}

/** Small values by key that outlive the page. */
export interface Notes {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<void>;
}

/** The most models remembered for a device; the oldest are forgotten and checked again. */
const MODELS = 64;

/** The checks made on this origin. What cannot be read or written is checked again: nothing here rejects. */
export class CheckMemory {
  readonly #notes: Notes;

  constructor(notes: Notes) {
    this.#notes = notes;
  }

  /** What is known of a device. */
  async recall(device: string): Promise<CheckedDevice> {
    const value = await this.#notes.get(device).catch(() => undefined);
    return isCheckedDevice(value) ? value : { dropped: [], models: [] };
  }

  /** Adds that a model was checked on a device. */
  async remember(device: string, model: string, dropped: string[]): Promise<void> {
    const known = await this.recall(device);
    const models = [...known.models.filter((other) => other !== model), model].slice(-MODELS);
    const all = [...new Set([...known.dropped, ...dropped])];
    await this.#notes.set(device, { dropped: all, models } satisfies CheckedDevice).catch(() => undefined);
  }
}

function isCheckedDevice(value: unknown): value is CheckedDevice {
  if (typeof value !== "object" || value === null) return false;
  const { dropped, models } = value as Partial<Record<keyof CheckedDevice, unknown>>;
  return [dropped, models].every((list) => Array.isArray(list) && list.every((item) => typeof item === "string"));
}

const DATABASE = "parhelion";
const STORE = "notes";

/** Notes in IndexedDB, which is there in insecure contexts too. */
export const indexedDbNotes: Notes = {
  get: (key) => transact("readonly", (store) => store.get(key)),
  set: async (key, value) => void (await transact("readwrite", (store) => store.put(value, key))),
};

async function transact<T>(mode: IDBTransactionMode, act: (store: IDBObjectStore) => IDBRequest<T>): Promise<T> {
  const opening = indexedDB.open(DATABASE, 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
  const database = await settled(opening);
  try {
    return await settled(act(database.transaction(STORE, mode).objectStore(STORE)));
  } finally {
    database.close();
  }
}

function settled<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
