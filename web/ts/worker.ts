/** The dedicated worker that a model runs in: nothing but wiring. */
import { indexedDbNotes } from "./engine/checks.js";
import { Engine } from "./engine.js";
import { serve } from "./engine/serve.js";
import type { Port } from "./protocol.js";
import type { Reply, Request } from "./protocol.js";
import { ModelStore } from "./store/index.js";
import { support } from "./support.js";
import * as wasm from "./wasm/parhelion_web.js";

declare const self: DedicatedWorkerGlobalScope & Port<Reply, Request>;

const engine = new Engine({
  wasm,
  notes: indexedDbNotes,
  userAgent: navigator.userAgent,
  openStore: (newHash) => ModelStore.open({ newHash, askPersist: () => wire.askPersist() }),
  support,
});
const wire = serve(self, engine.handlers);

// A trap inside a promise of the wasm module reaches nobody who waits: it is told here, so that nothing hangs.
self.addEventListener("unhandledrejection", ({ reason }) => {
  if (reason instanceof WebAssembly.RuntimeError) wire.fail(reason);
});
