// Makes the page in dist/ complete: copies what needs no compiler, and writes the service worker with the list of all
// files of the page and their hashes. Runs last, when the compiled scripts and the wasm module are in place.
//
//     node scripts/page.mjs [dist]

import { createHash } from "node:crypto";
import { cp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { join, relative, resolve, sep } from "node:path";
import { fileURLToPath } from "node:url";

const web = resolve(fileURLToPath(import.meta.url), "../..");
const dist = resolve(process.argv[2] ?? join(web, "dist"));

/** What the page consists of; types, maps and licences are for developers and stay off the reader's device. */
const PAGE_FILE = /\.(?:html|js|css|wasm|svg|png|webmanifest)$/;

/** Not of the page: the worker itself, and what only a development build leaves behind. */
const LEFT_OUT = new Set(["sw.js", "service-worker.js"]);

await cp(join(web, "page"), dist, { recursive: true });

const entries = await readdir(dist, { recursive: true, withFileTypes: true });
const paths = entries
  .filter((entry) => entry.isFile())
  .map((entry) =>
    relative(dist, join(entry.parentPath ?? entry.path, entry.name))
      .split(sep)
      .join("/"),
  )
  .filter((path) => PAGE_FILE.test(path) && !LEFT_OUT.has(path))
  .sort();

const files = {};
for (const path of paths) files[path] = sha256(await readFile(join(dist, path)));
const version = sha256(JSON.stringify(files)).slice(0, 16);

const compiled = await readFile(join(dist, "service-worker.js"), "utf8");
await writeFile(join(dist, "sw.js"), `self.PRECACHE = ${JSON.stringify({ version, files }, null, 1)};\n${compiled}`);
for (const leftover of ["service-worker.js", "service-worker.d.ts"]) await rm(join(dist, leftover), { force: true });

console.log(`page: ${paths.length} files for offline use, version ${version}`);

function sha256(data) {
  return createHash("sha256").update(data).digest("hex");
}
