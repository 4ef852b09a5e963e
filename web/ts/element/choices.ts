// The models a user can choose from: the built-in catalogue, the ones the page's server lists, and what is stored.

import type { CatalogueEntry, ModelSource, RemoteFile, StoredEntry } from "../types.js";
import { nameFromUrl } from "./format.js";

/** A model that can be loaded with one click. */
export interface ModelChoice {
  /** The name that lists know it by, if it is of a list. */
  id?: string;
  /** What `Parhelion.load` gets. */
  source: ModelSource;
  /** The name for people. */
  title: string;
  /** A second line about it; empty for none. */
  note: string;
  /** Licence of the weights, where known. */
  license?: string;
  /** Size of the file, where known. */
  bytes?: number;
  /** Addresses it may be stored under. */
  urls: readonly string[];
  /** The file's name in a listing of what is stored. */
  fileName: string;
}

/** An entry of a served list of models; `url` is relative to the list. */
interface ServedEntry {
  id: string;
  title: string;
  license?: string;
  bytes?: number;
  sha256?: string;
  url: string;
}

/** Splits `"Name, format: what it is good for"`, the form of catalogue titles, after the name. */
function titleAndNote(text: string): { title: string; note: string } {
  const [, title = text, note = ""] = /^(.+?)[,:] (.*)$/.exec(text) ?? [];
  return { title, note };
}

/** The choice for an entry of the catalogue. */
export function choiceFromCatalogue(entry: CatalogueEntry): ModelChoice {
  const { id, license, bytes, urls, fileName } = entry;
  return { id, source: id, ...titleAndNote(entry.title), license, bytes, urls, fileName };
}

/** The choice for an address. */
export function choiceFromUrl(url: string): ModelChoice {
  return { source: url, title: nameFromUrl(url), note: "", urls: [url], fileName: nameFromUrl(url) };
}

/** The choice for a file on this device. */
export function choiceFromFile(file: File): ModelChoice {
  return { source: file, title: nameFromUrl(file.name), note: "", bytes: file.size, urls: [], fileName: file.name };
}

/** The choice for something stored that no list names. */
export function choiceFromStored(entry: StoredEntry): ModelChoice {
  return {
    source: { url: entry.url, name: entry.name },
    title: nameFromUrl(entry.name),
    note: "",
    bytes: entry.size,
    urls: [entry.url],
    fileName: entry.name,
  };
}

/** The choice for whatever a program or an attribute names. */
export function choiceFor(source: ModelSource, catalogue: readonly ModelChoice[]): ModelChoice {
  if (source instanceof File) return choiceFromFile(source);
  if (source instanceof Blob) return { ...choiceFromUrl("model"), source, bytes: source.size };
  if (source instanceof URL) return choiceFromUrl(source.href);
  if (typeof source !== "string") {
    const urls = [source.url].flat();
    return {
      ...choiceFromUrl(urls[0] ?? ""),
      source,
      urls,
      ...(source.size === undefined ? {} : { bytes: source.size }),
    };
  }
  const known = catalogue.find((choice) => choice.source === source);
  return known ?? { ...choiceFromUrl(new URL(source, document.baseURI).href), source, title: nameFromUrl(source) };
}

/** What is stored of a choice, if anything. */
export function storedOf(choice: ModelChoice, stored: readonly StoredEntry[]): StoredEntry | undefined {
  return stored.find(
    (entry) => choice.urls.includes(entry.url) || (entry.name === choice.fileName && entry.size === choice.bytes),
  );
}

/**
 * Reads a served list of models. A list that is missing, unreachable or malformed is no list: the page works on hosts
 * that have none.
 */
export async function fetchServedChoices(address: string): Promise<ModelChoice[]> {
  try {
    const response = await fetch(address);
    if (!response.ok) return [];
    const entries: unknown = await response.json();
    return Array.isArray(entries)
      ? entries.filter(isServedEntry).map((entry) => choiceFromServed(entry, response.url))
      : [];
  } catch {
    return [];
  }
}

/**
 * Both lists as one. A model on both is taken from the page's own server, which is near, and otherwise from where the
 * catalogue says.
 */
export function joinChoices(served: readonly ModelChoice[], catalogue: readonly ModelChoice[]): ModelChoice[] {
  const both = (choice: ModelChoice): ModelChoice | undefined => catalogue.find(({ id }) => id === choice.id);
  const near = served.map((choice) => {
    const urls = [...choice.urls, ...(both(choice)?.urls ?? [])];
    return { ...choice, urls, source: { ...(choice.source as RemoteFile), url: urls } };
  });
  return [...near, ...catalogue.filter(({ id }) => !served.some((choice) => choice.id === id))];
}

function isServedEntry(value: unknown): value is ServedEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  const optional = (key: string, type: string): boolean =>
    entry[key] === undefined || entry[key] === null || typeof entry[key] === type;
  return (
    typeof entry["id"] === "string" &&
    typeof entry["title"] === "string" &&
    typeof entry["url"] === "string" &&
    optional("license", "string") &&
    optional("bytes", "number") &&
    optional("sha256", "string")
  );
}

function choiceFromServed(entry: ServedEntry, list: string): ModelChoice {
  const url = new URL(entry.url, list).href;
  const fileName = `${nameFromUrl(url)}.gguf`;
  return {
    source: {
      url,
      ...(entry.sha256 ? { sha256: entry.sha256 } : {}),
      ...(entry.bytes ? { size: entry.bytes } : {}),
    },
    id: entry.id,
    ...titleAndNote(entry.title),
    ...(entry.license ? { license: entry.license } : {}),
    ...(entry.bytes ? { bytes: entry.bytes } : {}),
    urls: [url],
    fileName,
  };
}
