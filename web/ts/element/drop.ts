// Model files dropped anywhere on the chat.

import { h } from "./dom.js";

/** Makes `target` take dropped files; returns the overlay that says so while some are held over it. */
export function acceptDrops(target: HTMLElement, open: () => boolean, take: (files: File[]) => void): HTMLElement {
  const overlay = h("div", { class: "drop", attributes: { hidden: true } }, "Drop a GGUF file, or all files of a model, to load it");
  target.addEventListener("dragover", (event) => {
    if (!open() || event.dataTransfer?.types.includes("Files") !== true) return;
    event.preventDefault();
    overlay.hidden = false;
  });
  target.addEventListener("dragleave", () => (overlay.hidden = true));
  target.addEventListener("drop", (event) => {
    overlay.hidden = true;
    const files = [...(event.dataTransfer?.files ?? [])];
    if (!open() || files.length === 0) return;
    event.preventDefault();
    take(files);
  });
  return overlay;
}
