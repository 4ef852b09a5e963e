// One line above the chat with a question of the page's own, a button that says yes and one that puts it away.

import { h } from "../element/dom.js";

/** The banner; a new question replaces the one before it. */
export class Banner {
  readonly #element: HTMLElement;

  constructor(element: HTMLElement) {
    this.#element = element;
  }

  /** Shows a question. */
  ask(question: string, yes: string, onYes: () => void): void {
    const answer = (label: string, act: () => void): HTMLElement =>
      h("button", { attributes: { type: "button" }, on: { click: () => this.#answer(act) } }, label);
    this.#element.replaceChildren(
      h("p", {}, question),
      answer(yes, onYes),
      answer("Not now", () => undefined),
    );
    this.#element.hidden = false;
  }

  #answer(act: () => void): void {
    this.#element.hidden = true;
    act();
  }
}
