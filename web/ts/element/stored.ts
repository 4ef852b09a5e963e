// What is stored, as models: a file by itself, the parts of a split one, or the files of a repository.

import { partsOf } from "../paths.js";
import type { StoredEntry } from "../types.js";
import type { ModelChoice } from "./choices.js";
import { nameFromUrl } from "./format.js";

/** How much of a model is stored. */
export interface Stored {
  /** Bytes stored. */
  bytes: number;
  /** Bytes of all files that were begun. */
  size: number;
  /** Whether all of it is here. */
  complete: boolean;
}

const CONFIG = "/config.json";

/** Whether a stored file is what a choice leads to, or a part of it. */
export function isPartOf(entry: { url: string; name: string }, choice: ModelChoice): boolean {
  return leadsTo(choice, entry.url) || entry.name === choice.fileName;
}

/** What is stored of a choice, if anything. */
export function storedOf(choice: ModelChoice, stored: readonly StoredEntry[]): Stored | undefined {
  const entries = stored.filter(
    (entry) => leadsTo(choice, entry.url) || (entry.name === choice.fileName && entry.size === choice.bytes),
  );
  return entries.length === 0 ? undefined : together(entries);
}

/** The models that are stored and that no choice leads to. */
export function storedChoices(stored: readonly StoredEntry[], known: readonly ModelChoice[]): ModelChoice[] {
  const choices: ModelChoice[] = [];
  const unknown = (entry: StoredEntry): boolean => [...known, ...choices].every((choice) => storedOf(choice, [entry]) === undefined);
  for (const entry of stored) {
    const { pathname } = new URL(entry.url || "about:blank");
    if (pathname.endsWith(CONFIG) && unknown(entry)) choices.push(repositoryOf(entry, stored));
  }
  // Of a repository without its config.json there is nothing to choose.
  const alone = stored.filter(({ url }) => !/\.(?:json|jinja|safetensors)$/i.test(url.split(/[?#]/, 1)[0] ?? ""));
  for (const entry of alone) {
    if (unknown(entry)) choices.push(fileOf(entry, stored));
  }
  return choices;
}

function repositoryOf(config: StoredEntry, stored: readonly StoredEntry[]): ModelChoice {
  const { href: base } = new URL(".", config.url);
  const { search } = new URL(config.url);
  const title = config.name.endsWith(CONFIG) ? config.name.slice(0, -CONFIG.length) : base;
  const choice = { source: { repository: base + search }, title, note: "", urls: [base], fileName: title };
  return { ...choice, bytes: storedOf(choice, stored)?.size ?? config.size };
}

function fileOf(entry: StoredEntry, stored: readonly StoredEntry[]): ModelChoice {
  const url = partsOf(entry.url)?.[0] ?? entry.url;
  const single = url === entry.url && partsOf(url) === undefined;
  const choice: ModelChoice = {
    source: single ? { url, name: entry.name } : url,
    title: nameFromUrl(single ? entry.name : url),
    note: "",
    urls: [url],
    fileName: entry.name,
  };
  return { ...choice, bytes: storedOf(choice, stored)?.size ?? entry.size };
}

function leadsTo(choice: ModelChoice, address: string): boolean {
  return choice.urls.some((url) => (url.endsWith("/") ? address.startsWith(url) : (partsOf(url) ?? [url]).includes(address)));
}

function together(entries: readonly StoredEntry[]): Stored {
  const sum = (count: (entry: StoredEntry) => number): number => entries.reduce((total, entry) => total + count(entry), 0);
  const shards = entries.flatMap(({ url }) => /-of-(\d{5})\.(?:gguf|safetensors)$/.exec(url)?.[1] ?? []);
  const weights = entries.length === 1 || entries.some(({ url }) => /\.(?:gguf|safetensors)$/i.test(url));
  const complete = weights && entries.every((entry) => entry.complete) && shards.every((count) => Number(count) === shards.length);
  return { bytes: sum(({ bytes }) => bytes), size: sum(({ size }) => size), complete };
}
