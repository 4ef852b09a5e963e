// `<parhelion-chat>`: the chat as one tag. This file joins the conversation's state with its views; what each view shows
// and does is in the view's own file.

import { Parhelion, ParhelionError } from "../index.js";
import type { Session } from "../index.js";
import type { ChatMessage, ModelSource, SessionInfo, StorageUsage, StoredEntry, Support } from "../types.js";
import { choiceFor, choiceFromCatalogue, choiceFromFiles, fetchServedChoices, joinChoices } from "./choices.js";
import type { ModelChoice } from "./choices.js";
import { ComposerView } from "./composer.js";
import { ConversationView } from "./conversation.js";
import { button, h, icon, mark, setText } from "./dom.js";
import { acceptDrops } from "./drop.js";
import { explain } from "./failures.js";
import type { Remedy } from "./failures.js";
import { LoadingView, phaseText } from "./loading.js";
import { PickerView } from "./picker.js";
import { cleanSettings } from "./settings.js";
import type { Settings } from "./settings.js";
import { SettingsView } from "./settings-dialog.js";
import { Chat } from "./state.js";
import type { Turn } from "./state.js";
import { StorageView } from "./storage-dialog.js";
import { styleSheet } from "./styles.js";

type View = "picker" | "loading" | "chat";

/** How long a copied button shows that it worked, in milliseconds. */
const COPIED_MS = 1500;

/**
 * A chat with a model that runs on the reader's own device.
 *
 * Attributes: `model` (name, address; without it the reader chooses), `models` (address of a JSON list of further models),
 * `system`, `context`, `device` (`auto`, `webgpu`, `cpu`), `reproducible`, `autoload` (loads `model` without a click).
 *
 * Events, all bubbling and composed: `parhelion-load` (detail {@link SessionInfo}), `parhelion-answer` (detail
 * `{ content, timings, finished }`), `parhelion-error` (detail {@link ParhelionError}), `parhelion-settings` (detail
 * {@link Settings}).
 */
export class ParhelionChatElement extends HTMLElement {
  static readonly observedAttributes = ["model", "models", "system", "context", "device", "reproducible"];

  readonly #root = this.attachShadow({ mode: "open" });
  readonly #chat = new Chat({
    changed: () => this.#update(),
    wrote: (turn) => this.#conversation.wrote(turn, this.#chat),
    loaded: (info) => this.#loaded(info),
    answered: (turn) => this.#answered(turn),
    failed: (error) => this.#failed(error),
  });
  readonly #picker = new PickerView({
    load: (choice) => this.#start(choice),
    loadOnCpu: (choice) => this.#startOnCpu(choice),
  });
  readonly #loading = new LoadingView({ stop: () => this.#chat.stop(), remedy: (remedy) => this.#remedy(remedy) });
  readonly #conversation = new ConversationView({
    regenerate: () => this.#regenerate(),
    copy: (text, from) => void this.#copy(text, from),
    remedy: (remedy) => this.#remedy(remedy),
    suggest: (text) => this.#suggest(text),
  });
  readonly #composer = new ComposerView({ send: (text) => this.#send(text), stop: () => this.#chat.stop() });
  readonly #settingsView = new SettingsView({
    change: (settings) => this.#settingsChanged(settings),
    reload: () => void this.#chat.reload(),
  });
  readonly #storageView = new StorageView({
    remove: (entry) => void this.#changeStorage(() => Parhelion.storage.remove(entry.key)),
    clear: () => void this.#changeStorage(() => Parhelion.storage.clear()),
    persist: () => void this.#changeStorage(() => Parhelion.storage.persist()),
    change: () => void this.#chooseAnother(),
  });
  readonly #status = h("div", { class: "visually-hidden", attributes: { role: "status", "aria-live": "polite" } });
  readonly #drop = acceptDrops(
    this,
    () => !this.#fixed,
    (files) => this.#start(choiceFromFiles(files)),
  );
  readonly #modelName = h("span", { class: "brand-name", part: "title" });
  readonly #newChat = button("New chat", { look: "bar", icon: "plus", onClick: () => this.#startNewChat() });
  readonly #chatView = h("div", { class: "body" }, this.#conversation.element, this.#composer.element);
  #view: View | undefined;
  #announcedPhase = "";
  #catalogue: ModelChoice[] = [];
  #served: ModelChoice[] = [];
  #stored: StoredEntry[] = [];
  #usage: StorageUsage | undefined;
  #support: Support | undefined;
  #begun = false;

  /** Escape stops the answer wherever in the chat the keyboard is, and when it is nowhere in particular. */
  readonly #key = (event: KeyboardEvent): void => {
    const { activeElement } = document;
    const mine = activeElement === this || activeElement === document.body || activeElement === null;
    const inDialog = this.#root.activeElement?.closest("dialog") != null;
    if (event.key === "Escape" && mine && !inDialog && this.#chat.activity === "answering") this.#chat.stop();
  };

  constructor() {
    super();
    this.#root.adoptedStyleSheets = [styleSheet()];
    this.#root.append(this.#buildFrame());
  }

  /** The settings; setting them replaces all, and what is missing or out of range takes its default. */
  get settings(): Settings {
    return this.#chat.settings;
  }

  set settings(settings: Partial<Settings>) {
    this.#chat.settings = cleanSettings(settings);
  }

  /** The conversation so far. */
  get messages(): ChatMessage[] {
    return this.#chat.messages;
  }

  /** The loaded session, for programs that want more than the element shows; undefined while none is loaded. */
  get session(): Session | undefined {
    return this.#chat.session;
  }

  /** Loads a model: a name, an address, a file, or by default the one of the attribute `model`. */
  async load(source: ModelSource | undefined = this.getAttribute("model") ?? undefined): Promise<void> {
    if (source === undefined) throw new ParhelionError("option", "Give a model, or set the attribute `model`.");
    await this.#chat.load(this.#choiceFor(source));
  }

  /** Sends a message as if the reader had written it; settles when the answer has ended. */
  async send(text: string): Promise<void> {
    await this.#chat.send(text);
  }

  /** Stops loading, or the answer being written. */
  stop(): void {
    this.#chat.stop();
  }

  /** Begins a new conversation. */
  newChat(): void {
    this.#chat.newChat();
  }

  connectedCallback(): void {
    document.addEventListener("keydown", this.#key);
    if (this.#begun) return;
    this.#begun = true;
    this.#update();
    void this.#begin();
  }

  disconnectedCallback(): void {
    document.removeEventListener("keydown", this.#key);
    // Moving an element disconnects and connects it in one go: only one that stays away gives its model back.
    queueMicrotask(() => {
      if (this.isConnected) return;
      this.#begun = false;
      void this.#chat.unload();
    });
  }

  attributeChangedCallback(name: string, _: string | null, value: string | null): void {
    if (name === "model") return void (this.#begun && this.#update());
    if (name === "models") return void (this.#begun && this.#refresh());
    const parts: Record<string, unknown> = { ...this.#chat.settings };
    if (name === "context") parts[name] = value === null ? null : Number(value);
    else parts[name] = name === "reproducible" ? value !== null && value !== "false" : (value ?? undefined);
    this.settings = parts as Partial<Settings>;
  }

  get #fixed(): boolean {
    return this.hasAttribute("model");
  }

  async #begin(): Promise<void> {
    const catalogue = Parhelion.catalogue().then(
      (entries) => (this.#catalogue = entries.map(choiceFromCatalogue)),
      (thrown) => this.#failed(ParhelionError.from(thrown)),
    );
    await Promise.all([catalogue, Parhelion.support().then((support) => (this.#support = support)), this.#refresh()]);
    this.#update();
    if (this.#fixed && this.hasAttribute("autoload")) await this.load();
  }

  /** Reads again what is stored and served. Without storage there is simply nothing stored. */
  async #refresh(): Promise<void> {
    const list = this.getAttribute("models");
    const served = list === null || this.#fixed ? [] : fetchServedChoices(list);
    [this.#stored, this.#usage, this.#served] = await Promise.all([
      Parhelion.storage.list().catch(() => []),
      Parhelion.storage.usage().catch(() => undefined),
      served,
    ]);
    this.#update();
    this.#updateStorage();
  }

  #buildFrame(): HTMLElement {
    const storage = button("Models", { look: "bar", icon: "layers", onClick: () => this.#openStorage() });
    const settings = button("Settings", { look: "bar", icon: "sliders", onClick: () => this.#settingsView.open() });
    const brand = h("div", { class: "brand" }, mark("mark"), this.#modelName);
    return h(
      "div",
      { class: "app", part: "app" },
      h("div", { class: "bar-top", part: "header" }, brand, this.#newChat, storage, settings),
      this.#picker.element,
      this.#loading.element,
      this.#chatView,
      this.#drop,
      this.#settingsView.element,
      this.#storageView.element,
      this.#status,
    );
  }

  #update(): void {
    const chat = this.#chat;
    const failed = chat.failure !== undefined;
    const view: View = failed || chat.activity === "loading" ? "loading" : chat.ready ? "chat" : "picker";
    const held = this.#holdsFocus();
    const from = this.#view;
    this.#view = view;
    this.#picker.element.hidden = view !== "picker";
    this.#loading.element.hidden = view !== "loading";
    this.#chatView.hidden = view !== "chat";
    this.#newChat.hidden = chat.turns.length === 0;
    setText(this.#modelName, chat.ready || view === "loading" ? (chat.model?.title ?? "") : "parhelion");
    if (view === "picker") this.#updatePicker();
    if (view === "loading") this.#loading.update(chat);
    if (view === "chat") this.#conversation.update(chat);
    this.#composer.update(chat);
    this.#settingsView.update(chat);
    this.#announceProgress();
    if (from !== undefined && from !== view && held) this.#focusView();
  }

  /** Whether the keyboard is in here, or nowhere in particular. */
  #holdsFocus(): boolean {
    return this.#root.activeElement !== null;
  }

  #focusView(): void {
    if (this.#view === "picker") this.#picker.focus();
    else if (this.#view === "loading") this.#loading.focus();
    else this.#composer.focus();
  }

  #updatePicker(): void {
    const model = this.getAttribute("model");
    this.#picker.update({
      choices: model === null ? joinChoices(this.#served, this.#catalogue) : [this.#choiceFor(model)],
      stored: this.#stored,
      support: this.#support,
      cpuChosen: this.#chat.settings.device === "cpu",
      fixed: this.#fixed,
    });
  }

  #choiceFor(source: ModelSource): ModelChoice {
    return choiceFor(source, this.#catalogue);
  }

  #start(choice: ModelChoice): void {
    void this.#chat.load(choice);
  }

  #startOnCpu(choice: ModelChoice): void {
    this.#chat.settings = { ...this.#chat.settings, device: "cpu" };
    void this.#chat.load(choice);
  }

  #send(text: string): void {
    this.#conversation.follow();
    void this.#chat.send(text);
  }

  #regenerate(): void {
    void this.#chat.regenerate();
    // The button that was pressed went with the answer it stood under.
    this.#composer.focus();
  }

  #suggest(text: string): void {
    this.#composer.text = text;
    this.#composer.focus();
  }

  #startNewChat(): void {
    this.#chat.newChat();
    this.#announce("New chat.");
    this.#focusView();
  }

  async #chooseAnother(): Promise<void> {
    await this.#chat.unload();
    await this.#refresh();
    this.#picker.focus();
  }

  #remedy(remedy: Remedy): void {
    const chat = this.#chat;
    const answering = chat.failure === undefined;
    const actions: Record<Remedy, () => void> = {
      retry: () => (answering ? this.#regenerate() : void chat.reload()),
      resume: () => (answering ? this.#regenerate() : void chat.reload()),
      "start-over": () => void chat.startOver(),
      "reload-model": () => void chat.reload(),
      "use-cpu": () => void chat.loadOnCpu(),
      "smaller-context": () => void chat.loadWithLessContext(),
      "delete-models": () => this.#openStorage(),
      choose: () => void this.#chooseAnother(),
      "new-chat": () => this.#startNewChat(),
      settings: () => this.#settingsView.open(),
    };
    actions[remedy]();
  }

  #settingsChanged(settings: Settings): void {
    this.#chat.settings = settings;
    this.#emit("parhelion-settings", settings);
  }

  #openStorage(): void {
    this.#updateStorage();
    this.#storageView.open();
    void this.#refresh();
  }

  #updateStorage(): void {
    this.#storageView.update({
      info: this.#chat.info,
      stored: this.#stored,
      usage: this.#usage,
      support: this.#support,
      choosable: !this.#fixed,
    });
  }

  async #changeStorage(change: () => Promise<unknown>): Promise<void> {
    try {
      await change();
      this.#announce("Done.");
    } catch (thrown) {
      this.#failed(ParhelionError.from(thrown, "storage"));
    }
    await this.#refresh();
  }

  async #copy(text: string, from: HTMLButtonElement): Promise<void> {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      return this.#announce("The browser does not allow copying here. Select the text and copy it.");
    }
    this.#announce("Copied.");
    from.replaceChildren(icon("check"));
    setTimeout(() => from.replaceChildren(icon("copy")), COPIED_MS);
  }

  #loaded(info: SessionInfo): void {
    this.#announce(`${this.#chat.model?.title ?? info.name} is ready. Write a message.`);
    this.#emit("parhelion-load", info);
    void this.#refresh();
  }

  #answered(turn: Turn): void {
    if (turn.failure === undefined)
      this.#announce(turn.state === "stopped" ? `Stopped. ${turn.content}` : turn.content);
    this.#emit("parhelion-answer", { content: turn.content, timings: turn.timings, finished: turn.state === "done" });
  }

  #failed(error: ParhelionError): void {
    const { title, advice } = explain(error);
    this.#announce(`${title} ${advice}`);
    this.#emit("parhelion-error", error);
  }

  /** Says a phase when it begins; the numbers in between are for those who look at the bar. */
  #announceProgress(): void {
    const { activity, progress } = this.#chat;
    const text = activity === "loading" || progress !== undefined ? phaseText(progress) : "";
    if (text === this.#announcedPhase) return;
    this.#announcedPhase = text;
    if (text !== "") this.#announce(`${text}.`);
  }

  #announce(text: string): void {
    // New text even where it reads as before: every announcement is spoken.
    this.#status.replaceChildren(text);
  }

  #emit(name: string, detail: unknown): void {
    this.dispatchEvent(new CustomEvent(name, { detail, bubbles: true, composed: true }));
  }
}
