/** From what the page named to bytes that can be read. */
import { ParhelionError } from "../errors.js";
import type { WireSource } from "../protocol.js";
import type { ByteSource, CatalogueEntry, RemoteFile, TransferProgress } from "../types.js";

/** The part of the model store that loading needs. */
export interface FileStore {
  fetch(
    request: RemoteFile & { signal?: AbortSignal; onProgress?(progress: TransferProgress): void },
  ): Promise<ByteSource & { readonly sha256: string; close(): void }>;
  fromBlob(file: Blob & { name?: string }): ByteSource;
}

/** A file open for reading. */
export interface OpenFile {
  readonly source: ByteSource;
  /** The same for the same contents, as far as can be told without reading them. */
  readonly identity: string;
  close(): void;
}

/** Where a file is, and how large it is if somebody knows. */
export type Located = { blob: Blob & { name?: string }; size: number } | { file: RemoteFile; size: number | undefined };

/** Looks names up in the catalogue. */
export function locate(source: WireSource, catalogue: CatalogueEntry[]): Located {
  if (source.kind === "blob") return { blob: source.blob, size: source.blob.size };
  if (source.kind === "remote") return { file: source.file, size: source.file.size };
  const entry = catalogue.find(({ id }) => id === source.id);
  if (entry === undefined) {
    const known = catalogue.map(({ id }) => id).join(", ");
    throw new ParhelionError("not-found", `No model is called "${source.id}". The names are: ${known}. Or give an address or a file.`);
  }
  const { urls, sha256, bytes, fileName } = entry;
  return { file: { url: urls, sha256, size: bytes, name: fileName }, size: bytes };
}

/** The size that the server gives for a file; undefined if it does not say. Never rejects. */
export async function remoteSize(file: RemoteFile, signal: AbortSignal): Promise<number | undefined> {
  for (const url of [file.url].flat()) {
    const response = await fetch(url, { method: "HEAD", signal }).catch(() => undefined);
    const length = Number(response?.ok === true ? response.headers.get("content-length") : Number.NaN);
    if (Number.isSafeInteger(length) && length > 0) return length;
  }
  return undefined;
}

/** Opens the file: from the store, from the network through the store, or in place. */
export async function openFile(
  store: () => Promise<FileStore>,
  located: Located,
  signal: AbortSignal,
  onProgress: (progress: TransferProgress) => void,
): Promise<OpenFile> {
  if ("blob" in located) {
    const source = (await store()).fromBlob(located.blob);
    return { source: stoppable(source, signal), identity: `${source.name} ${source.size}`, close: () => undefined };
  }
  const file = await (await store()).fetch({ ...located.file, signal, onProgress });
  return { source: stoppable(file, signal), identity: file.sha256, close: () => file.close() };
}

/** The same bytes, until the signal fires: so loading stops at its next read. */
function stoppable(source: ByteSource, signal: AbortSignal): ByteSource {
  return {
    name: source.name,
    size: source.size,
    read: (offset, length) => (signal.aborted ? Promise.reject(stopped()) : source.read(offset, length)),
  };
}

/** The error of a load that the page stopped. */
export function stopped(): ParhelionError {
  return new ParhelionError("aborted", "Loading was stopped.");
}
