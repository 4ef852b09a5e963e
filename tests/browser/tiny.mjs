// The synthetic model that tests run where weights do not matter: under 5 MB, with a tokenizer and a chat template.

import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

const WORKSPACE = fileURLToPath(new URL("../..", import.meta.url));

let made;

/** The path of the model: `$PARHELION_TEST_TINY`, or made once for each run. */
export function tinyModel() {
  made ??= make();
  return made;
}

async function make() {
  const given = process.env.PARHELION_TEST_TINY;
  if (given && existsSync(given)) return given;
  const path = join(await mkdtemp(join(tmpdir(), "parhelion-tiny-")), "tiny.gguf");
  const synth = ["synth", "--shape", "tiny", "--out", path];
  // By itself the program has other features than with the whole workspace: cargo would build half of it again.
  const built = process.env.PARHELION_BENCH;
  if (built) await promisify(execFile)(built, synth);
  else await promisify(execFile)("cargo", ["run", "--release", "--quiet", "-p", "parhelion-bench", "--", ...synth], { cwd: WORKSPACE });
  return path;
}
