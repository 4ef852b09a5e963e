// A modal dialog with a title and a close button; the browser keeps the focus inside and gives it back.

import { button, h } from "./dom.js";

/** A dialog, and how to open it. */
export interface Dialog {
  readonly element: HTMLDialogElement;
  /** The part between title and end, for the owner to fill. */
  readonly body: HTMLElement;
  open(): void;
  close(): void;
}

let count = 0;

/** Builds a dialog; `onClose` runs however it was closed. */
export function buildDialog(title: string, onClose: () => void = () => undefined): Dialog {
  const id = `dialog-${(count += 1)}`;
  const body = h("div", { class: "dialog-body" });
  const element = h(
    "dialog",
    { class: "dialog", part: "dialog", attributes: { "aria-labelledby": id }, on: { close: onClose } },
    h(
      "div",
      { class: "dialog-head" },
      h("h2", { attributes: { id } }, title),
      button("Close", { look: "icon", icon: "close", onClick: () => element.close() }),
    ),
    body,
  );
  // A click on the backdrop is one on the dialog itself, as its content covers all of its box.
  element.addEventListener("click", (event) => event.target === element && element.close());
  return { element, body, open: () => element.showModal(), close: () => element.close() };
}
