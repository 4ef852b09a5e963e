/** Which files of weights an index names: for telling how much there is to download. The engine reads the index itself. */
import { isInside } from "../paths.js";
import type { ByteSource } from "../types.js";

/** Larger indexes, and such of more files, are left to the engine: what they would tell is not worth the memory or the requests. */
const MOST_BYTES = 1 << 24;
const MOST_FILES = 512;

/** The paths of the shards; none where the index does not say. Never rejects. */
export async function shardsOf(index: ByteSource): Promise<string[]> {
  if (index.size > MOST_BYTES) return [];
  try {
    const text = new TextDecoder().decode(await index.read(0, index.size));
    const { weight_map: map } = JSON.parse(text) as { weight_map?: unknown };
    const paths = new Set(typeof map === "object" && map !== null ? Object.values(map as Record<string, unknown>) : []);
    const inside = [...paths].filter((path): path is string => typeof path === "string" && isInside(path));
    return inside.length <= MOST_FILES ? inside : [];
  } catch {
    return [];
  }
}
