/** The worker's part of parhelion: answers the page's calls with the wasm module and the store. */
import { answer, promptTokens } from "./engine/answer.js";
import { CheckMemory } from "./engine/checks.js";
import type { Notes } from "./engine/checks.js";
import { LoadClock } from "./engine/clock.js";
import { chooseDevice } from "./engine/device.js";
import { stopped } from "./engine/files.js";
import type { FileStore } from "./engine/files.js";
import { ModelHost } from "./engine/host.js";
import type { CallContext, Handlers } from "./engine/serve.js";
import { locate } from "./engine/source.js";
import { Turns } from "./engine/turns.js";
import { ParhelionError } from "./errors.js";
import type { Calls, WireLoadOptions } from "./protocol.js";
import type { CatalogueEntry, LoadTimings, Progress, SessionInfo, StorageUsage, StoredEntry, Support } from "./types.js";
import type * as Wasm from "./wasm/parhelion_web.js";

/** The part of the model store that the engine needs. */
export interface EngineStore extends FileStore {
  list(): Promise<StoredEntry[]>;
  remove(key: string): Promise<void>;
  clear(): Promise<void>;
  usage(): Promise<StorageUsage>;
}

/** What the engine is built on. */
export interface EngineDependencies {
  readonly wasm: typeof Wasm;
  readonly notes: Notes;
  /** Which browser this is. */
  readonly userAgent: string;
  openStore(newHash: () => Wasm.Sha256): Promise<EngineStore>;
  support(): Promise<Support>;
}

/** Texts that are embedded between two looks at whether to stop. */
const TEXTS_AT_ONCE = 32;

/** Answers calls; holds at most one model. */
export class Engine {
  readonly handlers: Handlers = {
    load: (args, context) => this.#turns.take(() => this.#load(args, context)),
    generate: (args, context) => this.#turns.take(() => this.#generate(args, context)),
    logits: (args, context) => this.#turns.take(() => this.#logits(args, context)),
    embed: (args, context) => this.#turns.take(() => this.#embed(args, context)),
    dispose: () => this.#turns.take(() => this.#dispose()),
    info: () => this.#turns.take(async () => this.#info()),
    tokenize: ({ text, special }) => this.#ask((model) => model.tokenize(text, special)),
    detokenize: (tokens) => this.#ask((model) => model.detokenize(tokens)),
    chatTokens: ({ messages, tools }) => this.#ask((model) => promptTokens(model, { kind: "chat", messages, tools })),
    loseDevice: async () => void this.#loaded.model.loseDevice(),
    catalogue: () => this.#catalogue(),
    doctor: async (args, { emit }) => (await this.#wasm()).checkKernels(args, emit),
    storageList: async () => (await this.#store()).list(),
    storageRemove: async (key) => void (await (await this.#store()).remove(key)),
    storageClear: async () => void (await (await this.#store()).clear()),
    storageUsage: async () => (await this.#store()).usage(),
  };
  readonly #deps: EngineDependencies;
  readonly #turns = new Turns();
  readonly #checks: CheckMemory;
  #host: ModelHost | undefined;
  #timings: LoadTimings | undefined;
  #opened: Promise<EngineStore> | undefined;
  #started: Promise<{ readonly memory: WebAssembly.Memory }> | undefined;
  #wasmMemory: WebAssembly.Memory | undefined;

  constructor(deps: EngineDependencies) {
    this.#deps = deps;
    this.#checks = new CheckMemory(deps.notes);
  }

  get #loaded(): ModelHost {
    if (this.#host === undefined) throw new ParhelionError("disposed", "No model is loaded. Load one with Parhelion.load.");
    return this.#host;
  }

  /** The wasm module, started. */
  async #wasm(): Promise<typeof Wasm> {
    const { wasm } = this.#deps;
    this.#started ??= wasm.default().catch((thrown: unknown) => {
      this.#started = undefined;
      throw new ParhelionError(
        "internal",
        `parhelion's wasm module could not be started: ${String(thrown)}. Check that wasm/parhelion_web_bg.wasm is served next to the ` +
          "worker, and that the Content-Security-Policy has script-src 'wasm-unsafe-eval'.",
        { cause: thrown },
      );
    });
    this.#wasmMemory = (await this.#started).memory;
    return wasm;
  }

  #store(): Promise<EngineStore> {
    this.#opened ??= this.#deps.openStore(() => new this.#deps.wasm.Sha256()).catch((thrown: unknown) => {
      this.#opened = undefined;
      throw thrown;
    });
    return this.#opened;
  }

  async #catalogue(): Promise<CatalogueEntry[]> {
    return JSON.parse((await this.#wasm()).catalogue()) as CatalogueEntry[];
  }

  async #load({ source, options }: Calls["load"]["args"], { emit, signal }: CallContext<"load">): Promise<SessionInfo> {
    if (this.#host !== undefined) throw new ParhelionError("busy", "This worker has a model already; Parhelion.load starts one for each.");
    const clock = new LoadClock();
    const wasm = await this.#wasm();
    clock.lap("wasm");
    const place = locate(source, await this.#catalogue());
    const device = await chooseDevice(options.device ?? "auto", this.#deps.support, () => place.size(signal));
    clock.lap("device");
    if (signal.aborted) throw stopped();
    const host = new ModelHost({
      wasm,
      checks: this.#checks,
      userAgent: this.#deps.userAgent,
      model: modelOptions(options, device),
      name: place.title,
      openModel: async (stop, report) => place.open(await this.#store(), stop, report),
    });
    this.#timings = await host.load(clock, signal, emit);
    this.#host = host;
    return this.#info();
  }

  async #generate({ prompt, options }: Calls["generate"]["args"], { emit, signal }: CallContext<"generate">): Promise<Calls["generate"]["result"]> {
    const newCancel = (): Wasm.Cancel => new this.#deps.wasm.Cancel();
    const result = await answer(prompt, options, { host: this.#loaded, newCancel, emit, signal });
    if (this.#timings !== undefined) this.#timings.firstToken ??= result.timings.firstTokenMs;
    return result;
  }

  #logits({ tokens, from }: Calls["logits"]["args"], { signal }: CallContext<"logits">): Promise<Float32Array> {
    const ignore = (_: Progress): void => undefined;
    return this.#loaded.run(ignore, signal, (model) => model.logits(tokens, from));
  }

  /** A few texts at a time, so that it can be stopped between them. */
  async #embed({ texts, prompt }: Calls["embed"]["args"], { signal }: CallContext<"embed">): Promise<Float32Array[]> {
    const ignore = (_: Progress): void => undefined;
    const vectors: Float32Array[] = [];
    for (let first = 0; first < texts.length; first += TEXTS_AT_ONCE) {
      if (signal.aborted) throw stopped();
      const some = texts.slice(first, first + TEXTS_AT_ONCE);
      const all = await this.#loaded.run(ignore, signal, (model) => model.embed(some, prompt));
      const dimensions = all.length / some.length;
      // Each has a buffer of its own, which goes to the page.
      vectors.push(...some.map((_, i) => all.slice(i * dimensions, (i + 1) * dimensions)));
    }
    return vectors;
  }

  /** Asks the model something between answers: while it answers, it can be asked nothing. */
  #ask<T>(question: (model: Wasm.Model) => T): Promise<T> {
    return this.#turns.take(async () => question(this.#loaded.model));
  }

  async #dispose(): Promise<undefined> {
    const host = this.#host;
    this.#host = undefined;
    host?.dispose();
    return undefined;
  }

  #info(): SessionInfo {
    const host = this.#loaded;
    const { model } = host;
    const { vocab, architecture, parameters, context, layers, makes, device, memory, longestSubmitMs } = model.info();
    return {
      name: host.name,
      architecture,
      parameters,
      context,
      contextUsed: model.contextUsed(),
      vocabulary: vocab,
      layers,
      makes,
      device,
      check: host.check,
      memory,
      longestSubmitMs,
      wasmBytes: this.#wasmMemory?.buffer.byteLength ?? 0,
      timings: this.#timings ?? new LoadClock().timings,
      recoveries: host.recoveries,
      version: this.#deps.wasm.version(),
    };
  }
}

function modelOptions({ device: _, ...options }: WireLoadOptions, device: "webgpu" | "cpu"): Wasm.ModelOptions {
  return { ...options, device };
}
