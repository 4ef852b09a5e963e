/** Paths in a repository: what they may be, and the addresses that they lead to. */
import { ParhelionError } from "./errors.js";

/** The longest path, in bytes. */
const MAX_PATH = 1024;

/**
 * Whether a path leads to a file inside its repository on every system: relative, of plain parts between single slashes. The
 * engine asks the same; indexes of shards come from strangers, so it is asked again where addresses are made.
 */
export function isInside(path: string): boolean {
  const plain = (part: string): boolean => part !== "" && part !== "." && part !== "..";
  return path.split("/").every(plain) && !/[\p{Cc}\p{Cs}\\:]/u.test(path) && new TextEncoder().encode(path).length <= MAX_PATH;
}

/**
 * The address of the file at `path` in the folder that `base` lies in (or is, if it ends in a slash); what `base` has after a
 * question mark goes with it.
 *
 * @throws ParhelionError `bad-file` for a path that leaves the folder
 */
export function addressIn(base: string, path: string): string {
  const folder = new URL(".", base);
  const address = isInside(path) ? new URL(path.split("/").map(encodeURIComponent).join("/"), folder) : undefined;
  if (address === undefined || !address.href.startsWith(folder.href)) {
    const shown = JSON.stringify(path.slice(0, 100));
    throw new ParhelionError("bad-file", `The path ${shown} leads out of ${folder.href}. Use another copy of the model.`);
  }
  address.search = new URL(base).search;
  return address.href;
}

/** The name of the file at an address; undefined if it has none that is a plain name. */
export function nameAt(address: string): string | undefined {
  try {
    const name = decodeURIComponent(new URL(address).pathname.split("/").pop() ?? "");
    return isInside(name) && !name.includes("/") ? name : undefined;
  } catch {
    return undefined;
  }
}

/** The most parts of a split model that are gone through. */
const MOST_PARTS = 1000;

/** The paths of all parts of the split GGUF that `path` is a part of, first to last; undefined if it is none. */
export function partsOf(path: string): string[] | undefined {
  const [, prefix, number = "", count = ""] = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/.exec(path) ?? [];
  const parts = Number(count);
  if (prefix === undefined || parts > MOST_PARTS || Number(number) < 1 || Number(number) > parts) return undefined;
  return Array.from({ length: parts }, (_, index) => `${prefix}-${String(index + 1).padStart(5, "0")}-of-${count}.gguf`);
}
