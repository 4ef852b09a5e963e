/** From what the page named to files that can be opened. */
import { ParhelionError } from "../errors.js";
import { addressIn, isInside, nameAt, partsOf } from "../paths.js";
import type { WireFiles, WireRepository, WireSource } from "../protocol.js";
import type { CatalogueEntry, RemoteFile } from "../types.js";
import type { ModelPlace } from "./files.js";
import { PickedFiles } from "./picked.js";
import { RemoteFiles } from "./remote.js";

/** Looks names up in the catalogue. */
export function locate(source: WireSource, catalogue: CatalogueEntry[]): ModelPlace {
  if (source.kind === "files") return picked(source);
  if (source.kind === "remote") return remoteFile(source.file);
  if (source.kind === "repository") return remoteRepository(source);
  const entry = catalogue.find(({ id }) => id === source.id);
  if (entry === undefined) {
    const known = catalogue.map(({ id }) => id).join(", ");
    const message = `No model is called "${source.id}". The names are: ${known}. Or give an address, a repository or a file.`;
    throw new ParhelionError("not-found", message);
  }
  const { urls, sha256, bytes, fileName } = entry;
  return remoteFile({ url: urls, sha256, size: bytes, name: fileName });
}

function remoteFile(file: RemoteFile): ModelPlace {
  const [first] = [file.url].flat();
  if (first === undefined) throw new ParhelionError("option", "No address to download from was given.");
  const path = nameAt(first) ?? "model";
  const name = folderOf(first);
  const folder = name.split("/").pop() ?? name;
  return new RemoteFiles({ title: file.name ?? path, folder, name, bases: [file.url].flat(), file: path, given: file });
}

function remoteRepository({ base, title, file }: WireRepository): ModelPlace {
  // Refused before anything is asked of the server.
  if (file !== undefined) addressIn(base, file);
  return new RemoteFiles({ title, folder: title, name: folderOf(base), bases: [base], file });
}

function picked({ files, title }: WireFiles): ModelPlace {
  const [only] = files;
  // Alone it needs no name by which others would find it.
  if (files.length === 1 && only !== undefined && !isInside(only.path)) return new PickedFiles(title, [{ ...only, path: "model" }], "model");
  return new PickedFiles(title, files, modelAmong(files.map(({ path }) => path)));
}

/** The file that is the model among those picked; undefined if all together are. */
function modelAmong(paths: string[]): string | undefined {
  if (paths.length === 1) return paths[0];
  if (paths.includes("model.safetensors") || paths.includes("model.safetensors.index.json")) return undefined;
  const models = new Set(paths.filter((path) => /\.gguf$/i.test(path)).map((path) => partsOf(path)?.[0] ?? path));
  if (models.size > 1) {
    const message = `There are ${models.size} models among the files: ${[...models].join(", ")}. Pick the files of one.`;
    throw new ParhelionError("option", message);
  }
  // Any part will do: the engine says which others are missing, be it the first.
  const [model] = models;
  return paths.find((path) => path === model || (model !== undefined && partsOf(path)?.[0] === model));
}

/** The address of the folder that a file is in, or that is given, for messages: without a slash at its end or secrets after a `?`. */
function folderOf(url: string): string {
  return URL.canParse(url) ? new URL(".", url).href.replace(/\/$/, "") : url;
}
