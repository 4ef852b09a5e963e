// The models a user can choose from: the built-in catalogue, the ones the page's server lists, and what is stored.

import { isLocal, wireSource } from "../source.js";
import type { CatalogueEntry, ModelSource, RemoteFile } from "../types.js";
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
  /** Size of the file or files, where known. */
  bytes?: number;
  /** Addresses it may be stored under; one that ends in a slash stands for all files below it. */
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

/** The choice for files on this device: one, or all of a model. */
export function choiceFromFiles(files: readonly File[]): ModelChoice {
  const [first] = files;
  const folder = first?.webkitRelativePath.split("/").at(-2);
  const name = files.length === 1 ? (first?.name ?? "model") : (folder ?? first?.name ?? "model");
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  const source = files.length === 1 && first !== undefined ? first : files;
  return { source, title: nameFromUrl(name), note: "", bytes, urls: [], fileName: name };
}

/** The choice for whatever a program or an attribute names. */
export function choiceFor(source: ModelSource, catalogue: readonly ModelChoice[]): ModelChoice {
  const known = catalogue.find((choice) => choice.source === source);
  if (known !== undefined) return known;
  if (isLocal(source)) {
    const blobs: readonly Blob[] = source instanceof Blob ? [source] : [...source];
    const files = blobs.filter((blob) => blob instanceof File);
    return { ...choiceFromFiles(files), source, bytes: blobs.reduce((sum, { size }) => sum + size, 0) };
  }
  const wire = wireSource(source);
  if (wire.kind === "repository") {
    const { base, title, file } = wire;
    const url = file === undefined ? base : new URL(file, base).href;
    return { source, title: file === undefined ? title : nameFromUrl(file), note: "", urls: [url], fileName: file ?? title };
  }
  const file: RemoteFile = wire.kind === "remote" ? wire.file : { url: String(source) };
  const urls = [file.url].flat();
  return { ...choiceFromUrl(urls[0] ?? ""), source, urls, ...(file.size === undefined ? {} : { bytes: file.size }) };
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
