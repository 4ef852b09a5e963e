// The page around `<parhelion-chat>`: what an embedded element leaves to its page. It keeps the settings between visits,
// makes the page work offline, offers new versions of it, and asks once to keep stored models.

import { TAG_NAME } from "../element/index.js";
import type { ParhelionChatElement, Settings } from "../element/index.js";
import { Parhelion } from "../index.js";
import { Banner } from "./banner.js";
import { offerUpdates } from "./updates.js";

const SETTINGS_KEY = "parhelion.settings";
const ASKED_KEY = "parhelion.asked-to-keep";

/** Reads what an earlier visit kept; nothing where storage is blocked or holds something else. */
function recall(key: string): unknown {
  try {
    return JSON.parse(localStorage.getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** Keeps a value for the next visit, where the browser allows it. */
function keep(key: string, value: unknown): void {
  try {
    localStorage.setItem(key, JSON.stringify(value));
  } catch {
    // Without storage the next visit begins with the defaults.
  }
}

/** Once a model is stored and in use, asks once whether the browser should keep it. */
async function askToKeep(banner: Banner): Promise<void> {
  if (recall(ASKED_KEY) === true) return;
  const [stored, usage] = await Promise.all([Parhelion.storage.list(), Parhelion.storage.usage()]);
  if (usage.persisted || stored.length === 0) return;
  keep(ASKED_KEY, true);
  banner.ask("Keep this model on this device, even when space gets short?", "Keep", () => void Parhelion.storage.persist());
}

const banner = new Banner(document.getElementById("banner") as HTMLElement);
const chat = document.querySelector(TAG_NAME) as ParhelionChatElement;
const settings = recall(SETTINGS_KEY);
if (typeof settings === "object" && settings !== null) chat.settings = settings as Partial<Settings>;
chat.addEventListener("parhelion-settings", (event) => keep(SETTINGS_KEY, (event as CustomEvent<Settings>).detail));
chat.addEventListener("parhelion-answer", () => void askToKeep(banner).catch(() => undefined), { once: true });
offerUpdates(banner);
