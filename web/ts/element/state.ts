// The conversation without its looks: which model is loaded or loading, the turns so far, and every action a user can
// take. Views draw what this holds and call its methods; it knows nothing of the document.

import type { ParhelionError } from "../errors.js";
import { Parhelion, ParhelionError as Failure } from "../index.js";
import type { Session } from "../index.js";
import type { ChatMessage, GenerationTimings, ModelSource, Progress, SessionInfo } from "../types.js";
import type { ModelChoice } from "./choices.js";
import { DEFAULT_SETTINGS, generateOptions, loadOptions, needsReload } from "./settings.js";
import type { Settings } from "./settings.js";
import { isPartOf } from "./stored.js";

/** One message of the conversation as it is shown. */
export interface Turn {
  readonly id: number;
  readonly role: "user" | "assistant";
  content: string;
  /** `"stopped"` was cut short by the user, `"cut"` by a limit. */
  state: "writing" | "done" | "stopped" | "cut" | "failed";
  /** Tokens of this answer so far. */
  tokens: number;
  /** When its first token came, in `performance.now()` milliseconds. */
  firstTokenAt: number | undefined;
  /** Set when the answer is finished. */
  timings: GenerationTimings | undefined;
  /** Why the answer failed. */
  failure: ParhelionError | undefined;
}

/** What the chat is doing. */
export type Activity = "idle" | "loading" | "answering";

/** Who draws the chat. */
export interface ChatListener {
  /** Anything but the text of the answer being written changed. */
  changed(): void;
  /** The answer being written grew. */
  wrote(turn: Turn): void;
  /** A model is ready to chat. */
  loaded(info: SessionInfo): void;
  /** An answer ended, whichever way. */
  answered(turn: Turn): void;
  /** Loading failed, or an answer did. */
  failed(error: ParhelionError): void;
}

/** What a first attempt with less context asks for, in tokens; later ones halve it. */
const SHORTER_CONTEXT = 2048;
const SHORTEST_CONTEXT = 256;

/** A conversation with one model at a time. */
export class Chat {
  /** What is being done. */
  activity: Activity = "idle";
  /** The model that is loaded or loading, or failed to load. */
  model: ModelChoice | undefined;
  /** What is known of the loaded model; undefined until it is loaded. */
  info: SessionInfo | undefined;
  /** How loading, or recovery from a lost device, goes on. */
  progress: Progress | undefined;
  /** Why loading failed. */
  failure: ParhelionError | undefined;
  /** The conversation. */
  turns: Turn[] = [];
  /** The settings that the loaded model was loaded with. */
  loadedWith: Settings | undefined;

  #settings: Settings = { ...DEFAULT_SETTINGS };
  #session: Session | undefined;
  #abort: AbortController | undefined;
  #nextId = 1;
  readonly #listener: ChatListener;

  constructor(listener: ChatListener) {
    this.#listener = listener;
  }

  /** The settings; replaced as a whole, never changed in place. */
  get settings(): Settings {
    return this.#settings;
  }

  set settings(settings: Settings) {
    this.#settings = settings;
    this.#listener.changed();
  }

  /** Whether a model is loaded and can answer. */
  get ready(): boolean {
    return this.#session !== undefined;
  }

  /** The loaded session, for programs that want more than the element shows. */
  get session(): Session | undefined {
    return this.#session;
  }

  /** Whether the device was lost and the model is being loaded again. */
  get recovering(): boolean {
    return this.activity === "answering" && this.progress !== undefined;
  }

  /** Whether settings changed that act only when the model is loaded again. */
  get reloadNeeded(): boolean {
    return this.loadedWith !== undefined && needsReload(this.loadedWith, this.#settings);
  }

  /** The conversation as a program gets it, without what failed or is still being written. */
  get messages(): ChatMessage[] {
    return this.turns
      .filter((turn) => turn.content !== "" && turn.state !== "writing")
      .map(({ role, content }) => ({ role, content }));
  }

  /** Loads a model in place of the present one. The turns stay. */
  async load(choice: ModelChoice): Promise<void> {
    this.#abort?.abort();
    const abort = new AbortController();
    this.#abort = abort;
    const settings = this.#settings;
    Object.assign(this, { activity: "loading", model: choice, failure: undefined, progress: undefined });
    this.#listener.changed();
    await this.#dispose();
    try {
      const session = await Parhelion.load(choice.source, {
        ...loadOptions(settings),
        signal: abort.signal,
        onProgress: (progress) => this.#progressed(abort, progress),
      });
      if (this.#abort !== abort) return void (await session.dispose());
      this.#session = session;
      this.loadedWith = settings;
      this.info = await session.info();
      this.#idle();
      this.#listener.loaded(this.info);
    } catch (thrown) {
      if (this.#abort === abort) this.#loadFailed(Failure.from(thrown));
    }
  }

  /** Loads the present model again, with the present settings. */
  async reload(): Promise<void> {
    if (this.model !== undefined) await this.load(this.model);
  }

  /** Throws away what is stored of the present model and fetches it again. */
  async startOver(): Promise<void> {
    const choice = this.model;
    if (choice === undefined) return;
    try {
      for (const entry of await Parhelion.storage.list()) {
        if (isPartOf(entry, choice)) await Parhelion.storage.remove(entry.key);
      }
    } catch (thrown) {
      return this.#loadFailed(Failure.from(thrown));
    }
    await this.load(choice);
  }

  /** Loads the present model with less context. */
  async loadWithLessContext(): Promise<void> {
    const present = this.#settings.context ?? 2 * SHORTER_CONTEXT;
    const context = Math.max(SHORTEST_CONTEXT, Math.floor(present / 2));
    this.#settings = { ...this.#settings, context };
    await this.reload();
  }

  /** Loads the present model on the CPU. */
  async loadOnCpu(): Promise<void> {
    this.#settings = { ...this.#settings, device: "cpu" };
    await this.reload();
  }

  /** Stops loading, or the answer being written. */
  stop(): void {
    if (this.activity === "answering") this.#session?.abort();
    else if (this.activity === "loading") this.#abort?.abort();
  }

  /** Goes back to the choice of a model; the turns stay. */
  async unload(): Promise<void> {
    this.#abort?.abort();
    this.#abort = undefined;
    Object.assign(this, { model: undefined, failure: undefined });
    this.#idle();
    await this.#dispose();
    this.#listener.changed();
  }

  /** Asks the model; the answer is a new turn. Does nothing while it cannot answer. */
  async send(text: string): Promise<void> {
    if (this.activity !== "idle" || !this.ready || text.trim() === "") return;
    this.turns.push({ ...this.#newTurn("user"), content: text, state: "done" });
    await this.#answer();
  }

  /** Replaces the last answer by another one. */
  async regenerate(): Promise<void> {
    if (this.activity !== "idle" || !this.ready) return;
    if (this.turns.at(-1)?.role === "assistant") this.turns.pop();
    if (this.turns.at(-1)?.role === "user") await this.#answer();
  }

  /** Begins a new conversation with the same model. */
  newChat(): void {
    this.stop();
    this.turns = [];
    this.#listener.changed();
  }

  #newTurn(role: Turn["role"]): Turn {
    const id = this.#nextId++;
    return {
      id,
      role,
      content: "",
      state: "writing",
      tokens: 0,
      firstTokenAt: undefined,
      timings: undefined,
      failure: undefined,
    };
  }

  #progressed(abort: AbortController, progress: Progress): void {
    if (this.#abort !== abort) return;
    const over = this.activity === "idle" || (this.activity === "answering" && progress.phase === "ready");
    this.progress = over ? undefined : progress;
    this.#listener.changed();
  }

  #loadFailed(error: ParhelionError): void {
    this.failure = error;
    this.#idle();
    this.#listener.failed(error);
  }

  #idle(): void {
    this.activity = "idle";
    this.progress = undefined;
    this.#listener.changed();
  }

  async #dispose(): Promise<void> {
    const session = this.#session;
    Object.assign(this, { info: undefined, loadedWith: undefined });
    this.#session = undefined;
    await session?.dispose();
  }

  async #answer(): Promise<void> {
    const session = this.#session;
    if (session === undefined) return;
    const system = this.#settings.system.trim();
    const messages: ChatMessage[] = [...(system === "" ? [] : [{ role: "system", content: system }]), ...this.messages];
    const turn = this.#newTurn("assistant");
    this.turns.push(turn);
    this.activity = "answering";
    this.#listener.changed();
    try {
      const answer = session.chat(messages, generateOptions(this.#settings));
      for await (const token of answer) this.#took(turn, token.text);
      const result = await answer.result;
      turn.timings = result.timings;
      turn.state =
        result.finishReason === "cancelled" ? "stopped" : result.finishReason.startsWith("stop") ? "done" : "cut";
      if (this.#session === session) this.info = await session.info();
    } catch (thrown) {
      const error = Failure.from(thrown);
      const meant = error.code === "aborted" || this.#session !== session;
      turn.state = meant ? "stopped" : "failed";
      if (!meant) turn.failure = error;
    }
    if (this.#session !== session || !this.turns.includes(turn)) return this.#leave(session);
    this.#idle();
    if (turn.failure !== undefined) this.#listener.failed(turn.failure);
    this.#listener.answered(turn);
  }

  /** Ends an answer that nobody waits for any more: the model was replaced, or a new conversation begun. */
  #leave(session: Session): void {
    if (this.#session === session) this.#idle();
    else this.#listener.changed();
  }

  #took(turn: Turn, text: string): void {
    turn.firstTokenAt ??= performance.now();
    turn.tokens += 1;
    turn.content += text;
    if (this.progress !== undefined) {
      this.progress = undefined;
      this.#listener.changed();
    }
    this.#listener.wrote(turn);
  }
}

/** A model for which only the source is known. */
export function plainChoice(source: ModelSource, title: string): ModelChoice {
  return { source, title, note: "", urls: [], fileName: title };
}
