// The page around `<parhelion-chat>`: what an embedded element leaves to its page. It keeps the settings between visits,
// makes the page work offline and offers new versions of it.

import { TAG_NAME } from "../element/index.js";
import type { ParhelionChatElement, Settings } from "../element/index.js";
import { Banner } from "./banner.js";
import { offerUpdates } from "./updates.js";

const SETTINGS_KEY = "parhelion.settings";

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

const banner = new Banner(document.getElementById("banner") as HTMLElement);
const chat = document.querySelector(TAG_NAME) as ParhelionChatElement;
const settings = recall(SETTINGS_KEY);
if (typeof settings === "object" && settings !== null) chat.settings = settings as Partial<Settings>;
chat.addEventListener("parhelion-settings", (event) => keep(SETTINGS_KEY, (event as CustomEvent<Settings>).detail));
offerUpdates(banner);
