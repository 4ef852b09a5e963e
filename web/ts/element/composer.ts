// Where a message is written: Enter sends, Shift+Enter breaks the line, the same button sends and stops; below it how
// much of the context is used and where the model runs.

import { h, icon, setAttribute, setText } from "./dom.js";
import { formatCount } from "./format.js";
import type { Chat } from "./state.js";

/** What the composer asks of the element it stands in. */
export interface ComposerActions {
  send(text: string): void;
  stop(): void;
}

/** Draws the composer. */
export class ComposerView {
  readonly element: HTMLElement;
  readonly #input: HTMLTextAreaElement;
  readonly #button: HTMLButtonElement;
  readonly #context = h("span", { class: "context" });
  readonly #meter = h("span", { class: "meter", attributes: { "aria-hidden": true } }, h("span"));
  readonly #device = h("span", { class: "device" });
  readonly #actions: ComposerActions;
  #answering = false;
  #ready = false;

  constructor(actions: ComposerActions) {
    this.#actions = actions;
    this.#input = h("textarea", {
      class: "message-input",
      part: "input",
      attributes: { rows: 1, "aria-label": "Message", placeholder: "Write a message", enterkeyhint: "send" },
      on: { input: () => this.#changed(), keydown: (event) => this.#key(event as KeyboardEvent) },
    });
    this.#button = h("button", { class: "button send", part: "send-button", attributes: { type: "submit" } });
    this.element = h(
      "form",
      {
        class: "composer",
        part: "composer",
        on: {
          submit: (event) => {
            event.preventDefault();
            this.#submit();
          },
        },
      },
      h("div", { class: "compose-box" }, this.#input, this.#button),
      h(
        "div",
        { class: "status-line", part: "status" },
        h("span", { class: "context-part" }, this.#meter, this.#context),
        this.#device,
      ),
    );
  }

  /** Puts the keyboard into the message. */
  focus(): void {
    this.#input.focus();
  }

  /** Replaces what is written. */
  set text(text: string) {
    this.#input.value = text;
    this.#changed();
  }

  /** Brings everything up to date with the chat. */
  update(chat: Chat): void {
    this.#answering = chat.activity === "answering";
    this.#ready = chat.ready;
    const name = this.#answering ? "Stop (Esc)" : "Send";
    if (this.#button.getAttribute("aria-label") !== name) {
      this.#button.setAttribute("aria-label", name);
      this.#button.title = name;
      this.#button.replaceChildren(icon(this.#answering ? "stop" : "send"));
    }
    const { info } = chat;
    this.#meter.hidden = info === undefined;
    if (info !== undefined) {
      setText(this.#context, `${formatCount(info.contextUsed)} of ${formatCount(info.context)} tokens of context used`);
      const used = this.#meter.firstElementChild as HTMLElement;
      used.style.transform = `scaleX(${Math.min(1, info.contextUsed / Math.max(1, info.context))})`;
      setAttribute(this.#meter, "data-full", info.contextUsed > 0.85 * info.context);
      setText(this.#device, info.device.backend === "scalar" ? "CPU" : `WebGPU · ${info.device.name}`);
    }
    this.#changed();
  }

  #changed(): void {
    this.#button.disabled = !this.#answering && (!this.#ready || this.#input.value.trim() === "");
    // Where the browser cannot size a text field by its content, it is measured.
    if (CSS.supports("field-sizing", "content")) return;
    this.#input.style.height = "auto";
    this.#input.style.height = `${this.#input.scrollHeight}px`;
  }

  #key(event: KeyboardEvent): void {
    // While an input method composes a character, Enter belongs to it.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    if (!this.#answering) this.#submit();
  }

  #submit(): void {
    if (this.#answering) return this.#actions.stop();
    const text = this.#input.value;
    if (!this.#ready || text.trim() === "") return;
    this.text = "";
    this.#actions.send(text.trim());
  }
}
