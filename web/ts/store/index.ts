/** Models kept in the browser: downloads that resume, storage that is checked, local files. For dedicated workers. */
export { BlobSource } from "./blob-source.js";
export { ModelStore } from "./store.js";
export { StoredFile } from "./stored-file.js";
export type { FetchRequest, FileFormat, IncrementalHash, RetryPolicy, StoreDependencies, StoredSource } from "./types.js";
