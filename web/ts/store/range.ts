import { ParhelionError } from "../errors.js";

/** @throws ParhelionError `option` unless the bytes asked for lie in the file */
export function checkRange(name: string, size: number, offset: number, length: number): void {
  const counts = Number.isSafeInteger(offset) && Number.isSafeInteger(length) && offset >= 0 && length >= 0;
  if (counts && length <= size && offset <= size - length) return;
  throw new ParhelionError("option", `${name} has ${size} bytes; ${length} from ${offset} on are not all in it.`);
}
