/** A worker for what needs no model: listing what is stored, the catalogue. Started when needed, ended when idle. */
import { Connection } from "./connection.js";
import { ParhelionError } from "./errors.js";
import type { CallName, Calls } from "./protocol.js";

const IDLE_MS = 5000;

/** Makes calls through one shared worker, which lives as long as calls keep coming. */
export const utility = {
  async call<K extends CallName>(name: K, args: Calls[K]["args"]): Promise<Calls[K]["result"]> {
    clearTimeout(timer);
    const used = (connection ??= new Connection());
    try {
      return await used.call(name, args);
    } catch (error) {
      if (error instanceof ParhelionError && error.code === "internal") end(used);
      throw error;
    } finally {
      if (used === connection && used.pending === 0) {
        clearTimeout(timer);
        timer = setTimeout(() => end(used), IDLE_MS);
      }
    }
  },
};

let connection: Connection | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

function end(ended: Connection): void {
  if (connection === ended) connection = undefined;
  ended.close(new ParhelionError("internal", "The worker was ended; call again."));
}
