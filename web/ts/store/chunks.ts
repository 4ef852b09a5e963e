/** Arithmetic of the chunks that a stored file is hashed and checked in. */

/** Bytes of a chunk; the last of a file may be shorter. Part of the stored format. */
export const CHUNK_BYTES = 8 * 1024 * 1024;

/** The most chunks of a file: 1 TiB, far over any model and small enough to keep a hostile manifest small. */
export const MAX_CHUNKS = 1 << 17;

/** How many chunks a file of `size` bytes has. */
export function chunkCount(size: number): number {
  return Math.ceil(size / CHUNK_BYTES);
}

/** Bytes in chunk `index` of a file of `size` bytes; of a file of unknown size, what fits. */
export function chunkLength(size: number | null, index: number): number {
  if (size === null) return CHUNK_BYTES;
  return Math.max(0, Math.min(CHUNK_BYTES, size - index * CHUNK_BYTES));
}

/** What is known about one chunk of a file that is not complete. */
export interface ChunkState {
  /** Whether its hash was recorded, so that the bytes there can be checked. */
  hashed: boolean;
  /** Bytes of it that are stored. */
  stored: number;
}

/** Bytes to fetch in one request. */
export interface Gap {
  /** Bytes of the first chunk that are there already and are kept. */
  kept: number;
  /** The first byte to fetch. */
  from: number;
  /** One past the last byte; null for everything up to the end of the file. */
  to: number | null;
}

/**
 * The run of bytes to fetch, beginning with chunk `first` whose contents are missing or damaged: up to the next chunk
 * that can be checked instead of fetched.
 *
 * Bytes of a chunk that was begun but not hashed are kept only if `trustTail`: nothing but the hash of the whole file can
 * vouch for them (after a power failure they may be zeros), so it has to be known.
 */
export function nextGap(
  first: number,
  size: number | null,
  state: (index: number) => ChunkState,
  trustTail: boolean,
): Gap {
  const { hashed, stored } = state(first);
  const kept = trustTail && !hashed ? Math.min(stored, chunkLength(size, first)) : 0;
  const from = first * CHUNK_BYTES + kept;
  if (size === null) return { kept, from, to: null };
  for (let index = first + 1; index < chunkCount(size); index++) {
    const next = state(index);
    if (next.hashed && next.stored === chunkLength(size, index)) return { kept, from, to: index * CHUNK_BYTES };
  }
  return { kept, from, to: null };
}

/** How many of the `stored` bytes of a file a download goes on from, as {@link nextGap} sees it; null for an unknown size. */
export function usableBytes(stored: number, size: number | null, trustTail: boolean): number {
  if (size !== null && stored >= size) return size;
  return trustTail ? stored : stored - (stored % CHUNK_BYTES);
}

/** The chunks that `length` bytes from `offset` on lie in: first and one past the last. */
export function chunksOf(offset: number, length: number): [first: number, end: number] {
  const first = Math.floor(offset / CHUNK_BYTES);
  return [first, length === 0 ? first : Math.ceil((offset + length) / CHUNK_BYTES)];
}
