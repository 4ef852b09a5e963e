// Prints what the loader says of every bad model on a 32-bit machine: `node bad-models.mjs bad_models.wasm`.

import { readFileSync, writeSync } from "node:fs";

const module = await WebAssembly.compile(readFileSync(process.argv[2]));
// Of what the module asks for, the loader calls the browser's random numbers alone, which key its hash tables; it does
// without here, so that every run is the same.
const imports = {};
for (const { module: from, name } of WebAssembly.Module.imports(module)) {
  imports[from] ??= {};
  imports[from][name] = () => 0;
}
const { memory, verdicts, verdicts_len: length } = (await WebAssembly.instantiate(module, imports)).exports;
const at = verdicts();
writeSync(1, new Uint8Array(memory.buffer, at, length()));
