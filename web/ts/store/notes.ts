import type { Backend, Folder } from "./backend.js";
import { type Manifest, parseManifest, serialiseManifest } from "./manifest.js";

/** The manifest alternates between two notes, so that one is whole at any moment. */
const SLOTS = ["manifest.0", "manifest.1"] as const;
const DAMAGED = "damaged";
const ABSENT = "absent";
/** Holds what belongs to no file; no key looks like this. */
const SETTINGS = "settings";
const PERSIST_ASKED = "persist-asked";

/** The newest whole manifest of a folder, or null. */
export async function readManifest(folder: Folder): Promise<Manifest | null> {
  let newest: Manifest | null = null;
  for (const slot of SLOTS) {
    const text = await folder.readNote(slot);
    const manifest = text === null ? null : parseManifest(text);
    if (manifest !== null && manifest.generation >= (newest?.generation ?? 0)) newest = manifest;
  }
  return newest;
}

/** Writes a manifest in place of the older of the two copies. Only under the file's lock. */
export async function writeManifest(folder: Folder, manifest: Manifest): Promise<void> {
  manifest.generation++;
  await folder.writeNote(manifest.generation % 2 === 0 ? SLOTS[0] : SLOTS[1], serialiseManifest(manifest));
}

/** Notes that a read found damage, so that the next fetch checks every chunk. Needs no lock. */
export function markDamaged(folder: Folder): Promise<void> {
  return folder.writeNote(DAMAGED, "1");
}

/** Whether {@link markDamaged} was called since {@link clearDamaged}. */
export async function isDamaged(folder: Folder): Promise<boolean> {
  return (await folder.readNote(DAMAGED)) !== null;
}

/** Every chunk was checked. */
export function clearDamaged(folder: Folder): Promise<void> {
  return folder.removeNote(DAMAGED);
}

/** The paths that {@link writeAbsent} wrote; none if what is there is not such a list, as anything of the origin can write there. */
export async function readAbsent(folder: Folder): Promise<string[]> {
  try {
    const value: unknown = JSON.parse((await folder.readNote(ABSENT)) ?? "[]");
    return Array.isArray(value) && value.every((path) => typeof path === "string") ? value : [];
  } catch {
    return [];
  }
}

/** Notes which files the server had not beside this one. Needs no lock: whoever writes it has asked the same server. */
export function writeAbsent(folder: Folder, paths: string[]): Promise<void> {
  return folder.writeNote(ABSENT, JSON.stringify(paths));
}

/** Whether the browser was asked for persistent storage by {@link setPersistAsked}'s caller; the first to ask gets false. */
export async function wasPersistAsked(backend: Backend): Promise<boolean> {
  return (await backend.folder(SETTINGS).readNote(PERSIST_ASKED)) !== null;
}

/** Remembers that the browser was asked for persistent storage. */
export function setPersistAsked(backend: Backend): Promise<void> {
  return backend.folder(SETTINGS).writeNote(PERSIST_ASKED, "1");
}
