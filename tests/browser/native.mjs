// What the native program makes of the reference prompts, and how answers are compared with it.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

import { MODEL } from "./harness.mjs";

/** How far a logit or a logarithm of probability may be from the native one: both are f32 arithmetic in other orders. */
export const BOUND = 1e-3;
/** Tokens of context that the answers need. */
export const CONTEXT = 128;

/** The reference prompts as tokens: `{ name, ids }`. */
export const { prompts } = JSON.parse(await readFile(new URL("../fixtures/smollm2_prompts.json", import.meta.url), "utf8"));

/** What the native program expects at each position of `tokens`, on its scalar kernels. */
async function native(tokens) {
  const args = ["score", "--tokens", tokens.join(","), "--model", MODEL, "--device", "cpu", "--reproducible", "--top", "10", "--json"];
  const program = process.env.PARHELION_PROGRAM ?? "target/release/parhelion";
  const { stdout } = await promisify(execFile)(program, args, { maxBuffer: 1 << 26 });
  return JSON.parse(stdout).positions;
}

/**
 * Has the engine behind `call` answer a prompt with its likeliest tokens, each of which must be the native choice after those before it.
 * Returns the largest difference of the tokens' logarithms of probability from the native ones.
 */
export async function compareAnswer(call, { name, ids }, maxTokens) {
  const { tokens, finished } = await call("generate", ids, { temperature: 0, maxTokens });
  assert.ok(finished.reason === "length" ? tokens.length === maxTokens : finished.reason === "stop", `${name}: ended by ${finished.reason}`);
  const expected = await native([...ids, ...tokens.map(({ id }) => id)]);
  let worst = 0;
  tokens.forEach(({ id, logprob }, i) => {
    const { index, top } = expected[ids.length - 1 + i];
    assert.equal(index, ids.length + i);
    assert.equal(id, top[0].id, `${name}: token ${i}`);
    worst = Math.max(worst, Math.abs(logprob - top[0].logprob));
  });
  return { worst, tokens, finished, sequence: [...ids, ...tokens.map(({ id }) => id)], expected };
}
