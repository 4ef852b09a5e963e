// The service worker's life as the page sees it: registered once, and a new version waits until the reader agrees to
// reload, so that a page never mixes files of two versions and no answer is cut off.

import type { Banner } from "./banner.js";

/** Registers the service worker and offers to reload when a new version of the page is ready. */
export function offerUpdates(banner: Banner): void {
  const container = (navigator as { serviceWorker?: ServiceWorkerContainer }).serviceWorker;
  if (container === undefined) return;
  let agreed = false;
  container.addEventListener("controllerchange", () => agreed && location.reload());
  const offer = (waiting: ServiceWorker): void =>
    banner.ask("A new version of this page is ready.", "Reload", () => {
      agreed = true;
      waiting.postMessage({ kind: "activate" });
    });
  container
    .register(new URL("../sw.js", import.meta.url))
    .then((registration) => {
      if (registration.waiting !== null) offer(registration.waiting);
      registration.addEventListener("updatefound", () => watch(registration.installing, container, offer));
    })
    // A private window or a host without the worker: the page works, only not offline.
    .catch((error: unknown) => console.info("parhelion: this page will not work offline:", error));
}

function watch(
  worker: ServiceWorker | null,
  container: ServiceWorkerContainer,
  offer: (waiting: ServiceWorker) => void,
): void {
  worker?.addEventListener("statechange", () => {
    // The first version ever has nothing to replace and starts by itself.
    if (worker.state === "installed" && container.controller !== null) offer(worker);
  });
}
