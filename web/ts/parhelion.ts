/** The entry point: loading models, and what can be asked without one. */
import { Connection } from "./connection.js";
import { ParhelionError } from "./errors.js";
import { persist } from "./persist.js";
import type { DoctorArguments, WireLoadOptions, WireSource } from "./protocol.js";
import { Session } from "./session.js";
import { wireSource } from "./source.js";
import { support } from "./support.js";
import type { CatalogueEntry, DoctorReport, KernelCheck, LoadOptions, ModelSource, StorageUsage, StoredEntry, Support } from "./types.js";
import { utility } from "./utility.js";

/** What to check, for {@link Parhelion.doctor}. */
export interface DoctorOptions extends Partial<DoctorArguments> {
  /** Stops the check: the promise rejects with `aborted`. */
  signal?: AbortSignal;
}

/**
 * The entry point.
 *
 * ```ts
 * const session = await Parhelion.load("smollm2-135m-instruct", { onProgress: console.log });
 * for await (const token of session.chat([{ role: "user", content: "Hello!" }])) console.log(token.text);
 * await session.dispose();
 * ```
 */
export const Parhelion = {
  /**
   * Loads a model: gets its files (from the browser's storage if they are there, else from the network into it), opens the
   * device, checks it, and sends it the weights. It all happens in a worker of its own.
   */
  async load(source: ModelSource, options: LoadOptions = {}): Promise<Session> {
    const { onProgress, signal, createWorker, ...rest } = options;
    if (signal?.aborted === true) throw aborted(signal);
    const args: { source: WireSource; options: WireLoadOptions } = { source: wireSource(source), options: rest };
    const connection = new Connection(createWorker);
    const loaded = connection.call("load", args, { onEvent: (progress) => onProgress?.(progress), signal });
    try {
      const info = await (signal === undefined ? loaded : Promise.race([loaded, whenAborted(signal, loaded)]));
      return new Session(connection, info, onProgress);
    } catch (error) {
      // The worker is given the time to put away what it has downloaded.
      void connection.shutDown(ParhelionError.from(error));
      throw error;
    }
  },

  /** Whether models run on WebGPU in this browser, and if not, why and what the user can do. */
  support(): Promise<Support> {
    return support();
  },

  /** The models that {@link Parhelion.load} knows by name. */
  catalogue(): Promise<CatalogueEntry[]> {
    return utility.call("catalogue", undefined);
  },

  /**
   * Runs kernels on the device and compares what they compute with known answers.
   *
   * @param onCheck told of each comparison
   */
  async doctor(onCheck?: (check: KernelCheck) => void, options: DoctorOptions = {}): Promise<DoctorReport> {
    const { signal, ...rest } = options;
    if (signal?.aborted === true) throw aborted(signal);
    const connection = new Connection();
    try {
      const report = connection.call("doctor", { device: "webgpu", set: "small", ...rest }, { onEvent: (check) => onCheck?.(check) });
      return await (signal === undefined ? report : Promise.race([report, whenAborted(signal, report)]));
    } finally {
      connection.close(new ParhelionError("aborted", "The check has ended."));
    }
  },

  /** The models in the browser's storage. */
  storage: {
    /** What is stored. */
    list(): Promise<StoredEntry[]> {
      return utility.call("storageList", undefined);
    },
    /** Removes a stored file; {@link StoredEntry.key} names it. */
    async remove(key: string): Promise<void> {
      await utility.call("storageRemove", key);
    },
    /** Removes every stored file. */
    async clear(): Promise<void> {
      await utility.call("storageClear", undefined);
    },
    /** How much room is used, and how much there is. */
    usage(): Promise<StorageUsage> {
      return utility.call("storageUsage", undefined);
    },
    /**
     * Asks the browser not to throw stored files out by itself; it may ask the user. Returns whether it agreed.
     */
    persist(): Promise<boolean> {
      return persist();
    },
  },
} as const;

/** Rejects when the signal fires, unless `settled` comes first. */
function whenAborted(signal: AbortSignal, settled: Promise<unknown>): Promise<never> {
  return new Promise((_, reject) => {
    const abort = (): void => reject(aborted(signal));
    signal.addEventListener("abort", abort);
    const forget = (): void => signal.removeEventListener("abort", abort);
    settled.then(forget, forget);
  });
}

function aborted(signal: AbortSignal): ParhelionError {
  return new ParhelionError("aborted", "Stopped by its AbortSignal.", { cause: signal.reason });
}
