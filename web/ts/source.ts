/** What pages may name as a model, in the form that is sent to the worker. */
import { ParhelionError } from "./errors.js";
import type { WireFiles, WireSource } from "./protocol.js";
import type { ModelSource, RemoteFile, RemoteRepository } from "./types.js";

/** Where repositories are that are named by owner and name alone. */
const HUB = "https://huggingface.co";

/** `owner/name` or `owner/name@revision`; a file's ending makes it a file's address. */
const HUB_ID = /^[A-Za-z0-9][\w.-]*\/[A-Za-z0-9][\w.-]*(?:@[\w./-]+)?$/;
const FILE = /\.(?:gguf|safetensors)$/i;

/** Whether a text names a repository of a hub. */
export function isHubId(text: string): boolean {
  return HUB_ID.test(text) && !FILE.test(text);
}

/** @throws ParhelionError `option` for what names no model */
export function wireSource(source: ModelSource): WireSource {
  if (typeof source === "string") return named(source);
  if (source instanceof URL) return at(source.href);
  if (isLocal(source)) return picked(source instanceof Blob ? [source] : [...source]);
  if ("repository" in source) return repository(source);
  const file: RemoteFile = { ...source, url: [source.url].flat().map(absolute) };
  return { kind: "remote", file };
}

/** Whether a source is on this device, so that nothing is downloaded. */
export function isLocal(source: ModelSource): source is Blob | readonly Blob[] | FileList {
  return source instanceof Blob || isList(source);
}

function isList(source: ModelSource): source is readonly Blob[] | FileList {
  return Array.isArray(source) || (typeof FileList !== "undefined" && source instanceof FileList);
}

function named(text: string): WireSource {
  if (isHubId(text)) return repository({ repository: text });
  return text.includes("/") || FILE.test(text) ? at(absolute(text)) : { kind: "catalogue", id: text };
}

/** An address that ends in a slash is that of a repository, any other that of a file. */
function at(url: string): WireSource {
  return new URL(url).pathname.endsWith("/") ? { kind: "repository", base: url, title: lastPart(url) } : { kind: "remote", file: { url } };
}

function repository({ repository: place, revision, endpoint = HUB, file }: RemoteRepository): WireSource {
  const chosen = file === undefined ? {} : { file };
  if (!isHubId(place)) {
    const url = new URL(absolute(place));
    if (revision !== undefined) throw new ParhelionError("option", `revision belongs to names such as owner/name, not to the address "${place}".`);
    if (!url.pathname.endsWith("/")) url.pathname += "/";
    return { kind: "repository", base: url.href, title: lastPart(url.href), ...chosen };
  }
  const [name = "", named = "main"] = place.split("@");
  const base = new URL(`${name}/resolve/${encodeURIComponent(revision ?? named)}/`, absolute(endpoint.replace(/\/*$/, "/")));
  return { kind: "repository", base: base.href, title: name, ...chosen };
}

/** Files by their paths below the folder that holds them all. */
function picked(blobs: readonly (Blob & { name?: string; webkitRelativePath?: string })[]): WireFiles {
  const files = blobs.map((blob) => ({ path: blob.webkitRelativePath || blob.name || "file", blob: blob as Blob }));
  const [first] = files;
  if (first === undefined) throw new ParhelionError("option", "No file was given. Pick a model's file, or all files of its repository.");
  const common = commonFolder(files.map(({ path }) => path));
  const inside = files.map(({ path, blob }) => ({ path: path.slice(common.length), blob }));
  const seen = new Set<string>();
  for (const { path } of inside) {
    if (seen.has(path)) throw new ParhelionError("option", `There are two files called ${path}. Pick the files of one model.`);
    seen.add(path);
  }
  const folder = common.split("/").at(-2) ?? "picked files";
  return { kind: "files", title: files.length === 1 ? first.path.slice(common.length) : folder, files: inside };
}

/** The longest path of folders, with its last slash, that all paths begin with. */
function commonFolder([first = "", ...others]: string[]): string {
  let folder = first.slice(0, first.lastIndexOf("/") + 1);
  while (!others.every((path) => path.startsWith(folder))) folder = folder.slice(0, folder.lastIndexOf("/", folder.length - 2) + 1);
  return folder;
}

/** The last folder of an address, for people. */
function lastPart(url: string): string {
  const { host, pathname } = new URL(url);
  const last = pathname.split("/").filter(Boolean).pop() ?? host;
  try {
    return decodeURIComponent(last);
  } catch {
    return last;
  }
}

function absolute(url: string): string {
  try {
    return new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href).href;
  } catch (error) {
    throw new ParhelionError("option", `"${url}" is no address. Give an absolute one, or one relative to the page.`, { cause: error });
  }
}
