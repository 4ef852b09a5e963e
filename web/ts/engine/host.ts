/** A model on a device, and getting it back when the device goes away. */
import { ParhelionError } from "../errors.js";
import { stopped } from "./files.js";
import type { OpenModel } from "./files.js";
import type { CheckInfo, LoadTimings, Progress } from "../types.js";
import type * as Wasm from "../wasm/parhelion_web.js";
import type { Checkpoint, Model, ModelOptions } from "../wasm/parhelion_web.js";
import type { CheckMemory } from "./checks.js";
import { LoadClock, loadProgress, phase } from "./clock.js";

/** A second loss sooner than this after the last, in milliseconds, is the caller's to deal with. */
const LOSS_INTERVAL_MS = 60_000;
/** Waits for a device to come back after a loss, in milliseconds: a browser's GPU process takes a moment to restart. */
const RETURN_MS = [100, 300, 1000, 3000];

/** Errors of a stored file that opening it again mends, by fetching the pieces that are damaged or gone. */
const MENDABLE: ReadonlySet<unknown> = new Set(["integrity", "evicted"]);

/** What a host loads its model with, and may load it with again. */
export interface HostOptions {
  readonly wasm: typeof Wasm;
  readonly checks: CheckMemory;
  /** Which browser this is. */
  readonly userAgent: string;
  readonly model: ModelOptions;
  /** What the session is called. */
  readonly name: string;
  /** Where the model's files are; they are closed after each load, so that they can be removed from the store meanwhile. */
  openModel(signal: AbortSignal, report: (progress: Progress) => void): Promise<OpenModel>;
}

/** How a load or a recovery goes on. */
export type Report = (progress: Progress) => void;

/** Keeps a model loaded. */
export class ModelHost {
  /** What the check against known answers said when the model was loaded. */
  check: CheckInfo = { state: "off", dropped: [] };
  /** Times that the model was loaded again. */
  recoveries = 0;
  readonly #options: HostOptions;
  #model: Model | undefined;
  #lastLoss = Number.NEGATIVE_INFINITY;

  constructor(options: HostOptions) {
    this.#options = options;
  }

  /** The name of the model's file or repository. */
  get name(): string {
    return this.#options.name;
  }

  /** The model as it is. @throws ParhelionError `device-lost` if it was lost and is not back */
  get model(): Model {
    if (this.#model === undefined) throw new ParhelionError("device-lost", LOST);
    return this.#model;
  }

  /** Loads the model and returns how long that took. */
  async load(clock: LoadClock, signal: AbortSignal, report: Report): Promise<LoadTimings> {
    try {
      await this.#load(clock, signal, report);
    } catch (thrown) {
      if (!MENDABLE.has(codeOf(thrown)) || signal.aborted) throw thrown;
      await this.#load(clock, signal, report);
    }
    report(phase("ready"));
    return clock.timings;
  }

  /**
   * Runs `act` with the model. If the device is lost meanwhile, loads the model again and runs it again, once: a second
   * loss, or one within a minute of the last, is the error `device-lost`.
   */
  async run<T>(report: Report, signal: AbortSignal, act: (model: Model) => Promise<T>): Promise<T> {
    try {
      return await act(this.#model ?? (await this.#reload(signal, report)));
    } catch (thrown) {
      if (!this.#noteLoss(thrown)) throw thrown;
    }
    try {
      return await act(await this.#reload(signal, report));
    } catch (thrown) {
      this.#noteLoss(thrown);
      throw thrown;
    }
  }

  /** Frees the device and everything on it. */
  dispose(): void {
    const model = this.#model;
    this.#model = undefined;
    model?.dispose();
    model?.free();
  }

  /** Whether the error is a loss of the device that may be recovered from; throws if it is one that may not. */
  #noteLoss(thrown: unknown): boolean {
    if (codeOf(thrown) !== "device-lost") return false;
    const since = performance.now() - this.#lastLoss;
    this.#lastLoss = performance.now();
    this.dispose();
    if (since < LOSS_INTERVAL_MS) throw new ParhelionError("device-lost", LOST_AGAIN, { cause: thrown });
    return true;
  }

  async #reload(signal: AbortSignal, report: Report): Promise<Model> {
    report(phase("recovering"));
    const wait = RETURN_MS.values();
    for (;;) {
      try {
        await this.load(new LoadClock(), signal, report);
        this.recoveries += 1;
        return this.model;
      } catch (thrown) {
        const next = codeOf(thrown) === "no-device" ? wait.next() : undefined;
        if (next?.value === undefined) throw thrown;
        await new Promise((resolve) => setTimeout(resolve, next.value));
      }
    }
  }

  async #load(clock: LoadClock, signal: AbortSignal, report: Report): Promise<void> {
    const files = await this.#options.openModel(signal, report);
    try {
      const checkpoint = await this.#options.wasm.Checkpoint.open(files, files.file);
      try {
        clock.lap("download");
        this.#model = await this.#open(checkpoint, await files.identity(), clock, signal, report);
      } finally {
        checkpoint.free();
      }
      clock.lap("upload");
      await files.settle();
    } catch (thrown) {
      throw signal.aborted && codeOf(thrown) !== "aborted" ? stopped() : thrown;
    } finally {
      files.close();
    }
  }

  /** Brings a model to the device. `identity` is the same for the same model. */
  async #open(checkpoint: Checkpoint, identity: string, clock: LoadClock, signal: AbortSignal, report: Report): Promise<Model> {
    const { wasm, checks, model: options } = this.#options;
    const device = options.device === "webgpu" ? await this.#deviceKey() : undefined;
    const known = device === undefined ? { dropped: [], models: [] } : await checks.recall(device);
    const remembered = known.models.includes(identity);
    const check = device !== undefined && (options.check ?? !remembered);
    const off = Object.fromEntries(known.dropped.map((feature) => [feature, false]));
    const progressOf = loadProgress(clock);
    let dropped: string[] | undefined;
    const onEvent = (event: Wasm.LoadEvent): void => {
      if (event.kind === "check") dropped = event.dropped;
      const progress = progressOf(event);
      if (progress !== undefined) report(progress);
    };
    const model = await wasm.Model.load(checkpoint, { ...options, ...off, check }, onEvent);
    if (signal.aborted) {
      model.dispose();
      model.free();
      throw stopped();
    }
    if (device !== undefined && dropped !== undefined) await checks.remember(device, identity, dropped);
    const state = dropped !== undefined ? "run" : remembered ? "remembered" : "off";
    this.check = { state, dropped: [...new Set([...known.dropped, ...(dropped ?? [])])] };
    return model;
  }

  /** What decides whether kernels that were right will be right again: the device, the browser, and the kernels. */
  async #deviceKey(): Promise<string> {
    const { wasm, model, userAgent } = this.#options;
    const device = await wasm.adapters();
    const asked = [model.subgroups ?? true, model.f16 ?? true, model.reproducible ?? false, model.kvCache ?? null];
    return JSON.stringify([wasm.version(), userAgent, device, asked]);
  }
}

const LOST = "The GPU device was lost; the model is loaded again with the next answer. Try again then.";
const LOST_AGAIN =
  "The GPU device was lost again soon after it had been recovered. Close other programs and tabs that use the GPU and try again, " +
  'choose a smaller model, or load it with device: "cpu".';

function codeOf(thrown: unknown): unknown {
  return typeof thrown === "object" && thrown !== null ? (thrown as { code?: unknown }).code : undefined;
}
