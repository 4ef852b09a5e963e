/** The page's end of the wire to a worker: calls become promises, and every promise settles. */
import { deferred } from "./deferred.js";
import { ParhelionError } from "./errors.js";
import { persist } from "./persist.js";
import { unpackError } from "./protocol.js";
import type { CallName, Calls, Reply, Request } from "./protocol.js";

/** How long a worker may take to free what it holds before it is ended all the same. */
const SHUT_DOWN_MS = 5000;

/** What a call may be given besides its arguments. */
export interface CallOptions<K extends CallName> {
  onEvent?: (event: Calls[K]["event"]) => void;
  /** Fires once the worker should stop the call; the worker's answer still settles the promise. */
  signal?: AbortSignal | undefined;
  transfer?: Transferable[];
}

interface Pending {
  resolve(value: unknown): void;
  reject(error: ParhelionError): void;
  onEvent(event: unknown): void;
}

/** A worker and the calls that wait for it. */
export class Connection {
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  #nextId = 1;
  #error: ParhelionError | undefined;

  /** Starts the worker. */
  constructor(createWorker: () => Worker = defaultWorker) {
    this.#worker = startWorker(createWorker);
    this.#worker.addEventListener("message", (event: MessageEvent<Reply>) => this.#receive(event.data));
    this.#worker.addEventListener("error", (event) => {
      event.preventDefault();
      this.close(workerFailure(event.message));
    });
    this.#worker.addEventListener("messageerror", () => this.close(workerFailure("a message could not be read")));
  }

  /** Calls that wait for an answer. */
  get pending(): number {
    return this.#pending.size;
  }

  /** Asks the worker for something. */
  call<K extends CallName>(name: K, args: Calls[K]["args"], options: CallOptions<K> = {}): Promise<Calls[K]["result"]> {
    if (this.#error !== undefined) return Promise.reject(this.#error);
    const id = this.#nextId++;
    const { promise, resolve, reject } = deferred<unknown>();
    const { signal } = options;
    const cancel = (): void => this.#post({ type: "cancel", id }, []);
    signal?.addEventListener("abort", cancel);
    const settle = (): void => {
      this.#pending.delete(id);
      signal?.removeEventListener("abort", cancel);
    };
    this.#pending.set(id, {
      resolve: (value) => (settle(), resolve(value)),
      reject: (error) => (settle(), reject(error)),
      onEvent: (event) => options.onEvent?.(event as Calls[K]["event"]),
    });
    try {
      this.#post({ type: "call", id, name, args } as Request, options.transfer ?? []);
      if (signal?.aborted === true) cancel();
    } catch (error) {
      const message = `An argument cannot be sent to the worker: ${String(error)}. Pass plain data.`;
      this.#pending.get(id)?.reject(new ParhelionError("option", message, { cause: error }));
    }
    return promise as Promise<Calls[K]["result"]>;
  }

  /** Ends the worker at once; whatever waits for it, and every later call, rejects with `error`. */
  close(error: ParhelionError): void {
    this.#error ??= error;
    this.#worker.terminate();
    for (const pending of [...this.#pending.values()]) pending.reject(error);
  }

  /**
   * Has the worker finish the calls that wait and free what it holds, then ends it; if that takes too long, ends it all
   * the same. Later calls reject with `error` at once.
   */
  async shutDown(error: ParhelionError): Promise<void> {
    const freed = this.call("dispose", undefined).catch(() => undefined);
    this.#error ??= error;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise((resolve) => (timer = setTimeout(resolve, SHUT_DOWN_MS)));
    await Promise.race([freed, late]);
    clearTimeout(timer);
    this.close(error);
  }

  #post(request: Request, transfer: Transferable[]): void {
    this.#worker.postMessage(request, transfer);
  }

  #receive(reply: Reply): void {
    if (reply.type === "failed") return this.close(unpackError(reply.error));
    if (reply.type === "persist") return void persist().then((agreed) => this.#post({ type: "persisted", agreed }, []));
    const pending = this.#pending.get(reply.id);
    if (pending === undefined) return;
    if (reply.type === "result") pending.resolve(reply.value);
    else if (reply.type === "error") pending.reject(unpackError(reply.error));
    else pending.onEvent(reply.event);
  }
}

function defaultWorker(): Worker {
  return new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "parhelion" });
}

function startWorker(createWorker: () => Worker): Worker {
  try {
    return createWorker();
  } catch (error) {
    throw new ParhelionError(
      "internal",
      `The browser refused to start parhelion's worker: ${String(error)}. A worker must come from the page's own origin and ` +
        "the page's Content-Security-Policy must allow it (worker-src 'self'); the option createWorker can start it another way.",
      { cause: error },
    );
  }
}

function workerFailure(message: string | undefined): ParhelionError {
  const what = message === undefined || message === "" ? "it could not be fetched or started" : message;
  return new ParhelionError(
    "internal",
    `parhelion's worker failed: ${what}. Load the model again; if it happens again, check that worker.js and the folder wasm ` +
      "are served next to it, and that the page's Content-Security-Policy allows worker-src 'self' and script-src 'self' 'wasm-unsafe-eval'.",
  );
}
