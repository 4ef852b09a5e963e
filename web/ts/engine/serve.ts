/** The worker's end of the wire: runs the calls that come in and sends back what becomes of them. */
import { ParhelionError } from "../errors.js";
import { packError } from "../protocol.js";
import type { CallName, Calls, Port, Reply, Request } from "../protocol.js";

/** What a call is given besides its arguments. */
export interface CallContext<K extends CallName> {
  /** Tells the page something while the call runs. */
  emit(event: Calls[K]["event"]): void;
  /** Fires when the page wants the call to stop. */
  signal: AbortSignal;
}

/** What answers each call. */
export type Handlers = {
  [K in CallName]: (args: Calls[K]["args"], context: CallContext<K>) => Promise<Calls[K]["result"]>;
};

/** What the worker can say to the page by itself. */
export interface Wire {
  /** Says that the engine failed for good. */
  fail(thrown: unknown): void;
  /** Has the page ask the browser to keep what is stored. */
  askPersist(): Promise<boolean>;
}

/** Answers the calls that come through `port`. */
export function serve(port: Port<Reply, Request>, handlers: Handlers): Wire {
  const asking: ((agreed: boolean) => void)[] = [];
  const running = new Map<number, AbortController>();
  const fail = (thrown: unknown): void => port.postMessage({ type: "failed", error: packError(failure(thrown)) }, []);
  const run = async <K extends CallName>(id: number, name: K, args: Calls[K]["args"]): Promise<void> => {
    const controller = new AbortController();
    running.set(id, controller);
    const emit = (event: Calls[K]["event"]): void => port.postMessage({ type: "event", id, event }, []);
    try {
      const value = await handlers[name](args, { emit, signal: controller.signal });
      port.postMessage({ type: "result", id, value }, transferables(value));
    } catch (thrown) {
      if (isFatal(thrown)) fail(thrown);
      else port.postMessage({ type: "error", id, error: packError(ParhelionError.from(thrown)) }, []);
    } finally {
      running.delete(id);
    }
  };
  port.addEventListener("message", ({ data }) => {
    if (data.type === "cancel") running.get(data.id)?.abort();
    else if (data.type === "persisted") asking.shift()?.(data.agreed);
    else void run(data.id, data.name, data.args);
  });
  const askPersist = (): Promise<boolean> =>
    new Promise((resolve) => {
      asking.push(resolve);
      port.postMessage({ type: "persist" }, []);
    });
  return { fail, askPersist };
}

/** A trap in wasm leaves the module in a state that nothing can be said of: it must not be called again. */
function isFatal(thrown: unknown): boolean {
  return thrown instanceof WebAssembly.RuntimeError;
}

function failure(thrown: unknown): ParhelionError {
  const message = thrown instanceof Error ? thrown.message : String(thrown);
  return new ParhelionError(
    "internal",
    `parhelion's engine stopped: ${message}. This session is lost; load the model again, and please report this with the browser's console output.`,
    { cause: thrown },
  );
}

function transferables(value: unknown): Transferable[] {
  if (Array.isArray(value)) return value.flatMap(transferables);
  return ArrayBuffer.isView(value) && value.buffer instanceof ArrayBuffer ? [value.buffer] : [];
}
