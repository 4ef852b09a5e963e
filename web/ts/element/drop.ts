// A model file dropped anywhere on the chat.

import { h } from "./dom.js";

/** Makes `target` take a dropped file; returns the overlay that says so while one is held over it. */
export function acceptDrops(target: HTMLElement, open: () => boolean, take: (file: File) => void): HTMLElement {
  const overlay = h("div", { class: "drop", attributes: { hidden: true } }, "Drop a GGUF file to load it");
  target.addEventListener("dragover", (event) => {
    if (!open() || event.dataTransfer?.types.includes("Files") !== true) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  target.addEventListener("dragleave", () => (overlay.hidden = true));
  target.addEventListener("drop", (event) => {
    overlay.hidden = true;
    const file = event.dataTransfer?.files[0];
    if (!open() || file === undefined) return;
    event.preventDefault();
    take(file);
  });
  return overlay;
}
