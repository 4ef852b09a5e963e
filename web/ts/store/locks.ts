import { ParhelionError } from "../errors.js";
import { aborted } from "./failure.js";

/**
 * Two locks for each stored file, shared by all tabs of the origin and let go by the browser when a tab dies:
 * one to change it, held while downloading and while opening it; one that readers share.
 */
const changing = (key: string): string => `parhelion/change/${key}`;
const reading = (key: string): string => `parhelion/read/${key}`;

/**
 * Runs `action` while nobody else changes the file. Where somebody does, `waiting` is called, and its result when the
 * wait is over.
 */
export async function whileChanging<T>(
  key: string,
  signal: AbortSignal | undefined,
  waiting: () => () => void,
  action: () => Promise<T>,
): Promise<T> {
  const name = changing(key);
  const first = await navigator.locks.request(
    name,
    { ifAvailable: true },
    async (lock) => lock && { value: await action() },
  );
  if (first !== null) return first.value;
  let waited: (() => void) | undefined = waiting();
  const done = (): void => {
    waited?.();
    waited = undefined;
  };
  const run = (): Promise<T> => {
    done();
    return action();
  };
  try {
    return await navigator.locks.request(name, signal === undefined ? {} : { signal }, run);
  } catch (cause) {
    // Waited is set as long as the action has not begun: then it was the wait that ended.
    throw waited !== undefined && signal?.aborted ? aborted(signal) : cause;
  } finally {
    done();
  }
}

/** Becomes a reader of the file; the result ends that. */
export function startReading(key: string): Promise<() => void> {
  return new Promise((resolve, reject) => {
    const held = navigator.locks.request(
      reading(key),
      { mode: "shared" },
      () => new Promise<void>((end) => resolve(end)),
    );
    held.catch(reject);
  });
}

/**
 * Runs `action` while nobody reads the file; the caller holds it for changing.
 *
 * @throws ParhelionError `busy` if somebody does
 */
export function withoutReaders(key: string, action: () => Promise<void>): Promise<void> {
  return ifFree(
    reading(key),
    "A model that is in use cannot be removed. Close the tabs or dispose of the sessions that use it, then try again.",
    action,
  );
}

/**
 * Runs `action` while nobody else changes the file.
 *
 * @throws ParhelionError `busy` if somebody does
 */
export function ifUnchanging(key: string, action: () => Promise<void>): Promise<void> {
  return ifFree(
    changing(key),
    "The model is being downloaded or opened. Stop that or wait for it, then try again.",
    action,
  );
}

async function ifFree(name: string, message: string, action: () => Promise<void>): Promise<void> {
  await navigator.locks.request(name, { ifAvailable: true }, async (lock) => {
    if (lock === null) throw new ParhelionError("busy", message);
    await action();
  });
}

/** How far the tab that downloads a file is. */
export interface Announcement {
  key: string;
  done: number;
  total: number | null;
}

const CHANNEL = "parhelion/downloads";

/** Tells other tabs how a download goes on. */
export class Announcer {
  private readonly channel = new BroadcastChannel(CHANNEL);

  constructor(private readonly key: string) {}

  announce(done: number, total: number | undefined): void {
    this.channel.postMessage({ key: this.key, done, total: total ?? null } satisfies Announcement);
  }

  close(): void {
    this.channel.close();
  }
}

/** Hears how another tab's download of this file goes on; the result ends that. */
export function hear(key: string, listener: (done: number, total: number | null) => void): () => void {
  const channel = new BroadcastChannel(CHANNEL);
  channel.onmessage = ({ data }: MessageEvent<Partial<Announcement> | null>): void => {
    if (data?.key !== key || typeof data.done !== "number") return;
    listener(data.done, typeof data.total === "number" ? data.total : null);
  };
  return () => channel.close();
}
