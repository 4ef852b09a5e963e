// Loads GGUF files in llama.cpp and in parhelion and compares what they answer. llama.cpp chooses tokens greedily, and the same tokens
// are forced through parhelion.
//
// llama.cpp multiplies quantised weights by activations that it has rounded to 8 bits, so its choice is not always that of the file's own
// values. How far off it is is measured, not guessed: it is given the same values a second time, as the f32 that the `gguf` package makes
// of them (plain.py), where it rounds no activations. What must hold:
//
// - Wherever parhelion's two likeliest tokens are further apart than F32_MARGIN, llama.cpp without its rounding chooses parhelion's. No
//   exception.
// - Its choice on the file itself may differ there only because its rounding moved these tokens, which is printed with what it moved
//   them by; in the median it moves two tokens against each other by less than ROUNDING, as it could not if it read the file wrong.
//
//     npm install node-llama-cpp@3.22.1     (some hundred MB: no part of the tests that run for every change)
//     pip install gguf==0.19.0
//     node tests/peers/llamacpp.mjs target/release/parhelion MODEL.gguf...    (TOKENS, THREADS: other numbers than 32 and 4; PYTHON)
//
// The prompts are those of SmolLM2 (tests/fixtures/smollm2_prompts.json), as token ids.
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const TOKENS = Number(process.env.TOKENS ?? 32);
const THREADS = Number(process.env.THREADS ?? 4);
const PYTHON = process.env.PYTHON ?? "python3";
/// Natural logarithms of probability. What llama.cpp computes in f32 is up to 0.02 off on these prompts; parhelion's logits differ from
/// those of torch in f32 by 0.00004 at most.
const F32_MARGIN = 0.03;
/// As above, for what rounding activations to 8 bits moves the gap between two likely tokens by.
const ROUNDING = 0.25;

const [parhelion, ...models] = process.argv.slice(2);
if (!models.length) {
    console.error("usage: node tests/peers/llamacpp.mjs PARHELION MODEL.gguf...");
    process.exit(2);
}
// From where it is called, not from this repository.
const { getLlama } = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve("node-llama-cpp")));
const prompts = JSON.parse(readFileSync(new URL("../fixtures/smollm2_prompts.json", import.meta.url))).prompts;
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error" });

/// A model in llama.cpp, its cache in f32.
async function load(modelPath) {
    const model = await llama.loadModel({ modelPath, gpuLayers: 0 });
    const cache = { experimentalKvCacheKeyType: "F32", experimentalKvCacheValueType: "F32" };
    return { model, context: await model.createContext({ contextSize: 512, sequences: 1, threads: THREADS, ...cache }) };
}

async function unload({ model, context }) {
    await context.dispose();
    await model.dispose();
}

/// The tokens that llama.cpp chooses after `ids`.
async function greedy({ context }, ids) {
    const sequence = context.getSequence();
    const tokens = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        tokens.push(token);
        if (tokens.length === TOKENS) break;
    }
    await sequence.dispose();
    return tokens;
}

/// llama.cpp's logits for each of `chosen` after `ids`: of the tokens in `wanted`, and of the likeliest, which is first. Tokens are given
/// as in `greedy`, since llama.cpp rounds otherwise in larger batches.
async function logits({ context }, ids, chosen, wanted) {
    const sequence = context.getSequence();
    const all = [];
    for (const [step, tokens] of wanted.entries()) {
        const options = { generateNext: { logits: { filter: { tokens, includeMax: true } } } };
        const given = step === 0 ? [...ids.slice(0, -1), [ids.at(-1), options]] : [[chosen[step - 1], options]];
        all.push((await sequence.controlledEvaluate(given)).at(-1).next.logits);
    }
    await sequence.dispose();
    return all;
}

/// parhelion's two likeliest tokens in the place of each of `chosen`.
function forced(model, ids, chosen) {
    const given = ["score", "--quiet", "--json", "--reproducible", "--top", "2", "--device", "cpu", "--context", "512", "--model", model];
    const answer = execFileSync(parhelion, [...given, "--tokens", [...ids, ...chosen].join(",")], { maxBuffer: 1 << 26 });
    // The candidates for a token stand at its own position.
    const top = new Map(JSON.parse(answer).positions.map(({ index, top }) => [index, top]));
    return chosen.map((_, step) => top.get(ids.length + step));
}

/// What llama.cpp chose on a model's file, and parhelion's candidates there.
async function choices(path) {
    const file = await load(path);
    const runs = [];
    for (const { name, ids } of prompts) {
        const chosen = await greedy(file, ids);
        const ours = forced(path, ids, chosen);
        const wanted = ours.map(([first, second], step) => [...new Set([first.id, second.id, chosen[step]])]);
        runs.push({ name, ids, chosen, ours, wanted, rounded: await logits(file, ids, chosen, wanted) });
    }
    await unload(file);
    return runs;
}

/// Adds what llama.cpp makes of the same values in f32.
async function addPlain(path, runs) {
    const directory = mkdtempSync(join(tmpdir(), "parhelion-peers-"));
    try {
        const target = join(directory, "plain.gguf");
        execFileSync(PYTHON, [fileURLToPath(new URL("plain.py", import.meta.url)), path, target], { stdio: ["ignore", "ignore", "inherit"] });
        const plain = await load(target);
        for (const run of runs) run.plain = await logits(plain, run.ids, run.chosen, run.wanted);
        await unload(plain);
    } finally {
        rmSync(directory, { recursive: true });
    }
}

/// Compares the steps of all prompts; whether all holds that must.
function compare(path, runs) {
    const count = { steps: 0, clear: 0, wrong: 0, same: 0, rounded: 0 };
    const moved = [];
    let f32 = 0;
    for (const { name, chosen, ours, rounded, plain } of runs) {
        for (const [step, [first, second]] of ours.entries()) {
            const [margin, token] = [first.logprob - second.logprob, chosen[step]];
            const gap = (logits, other) => logits.get(first.id) - logits.get(other);
            f32 = Math.max(f32, Math.abs(gap(plain[step], second.id) - margin));
            moved.push(Math.abs(gap(rounded[step], second.id) - gap(plain[step], second.id)));
            count.steps += 1;
            count.same += token === first.id;
            if (margin <= F32_MARGIN) continue;
            count.clear += 1;
            const [likeliest] = plain[step].keys();
            if (likeliest !== first.id) {
                count.wrong += 1;
                console.log(`  ${name}, step ${step}: ${likeliest} by llama.cpp in f32, ${first.id} here with a margin of ${margin.toFixed(4)}`);
            } else if (token !== first.id) {
                count.rounded += 1;
                const [before, after] = [gap(plain[step], token), gap(rounded[step], token)].map((gap) => gap.toFixed(3));
                console.log(`  ${name}, step ${step}: llama.cpp's rounding moves ${first.id} from ${before} above ${token} to ${after}`);
            }
        }
    }
    const median = moved.sort((a, b) => a - b)[moved.length >> 1];
    console.log(
        `${path}: ${count.same} of ${count.steps} tokens the same. In f32 llama.cpp differs at ${count.wrong} of ${count.clear} clear steps ` +
            `(logits by at most ${f32.toExponential(1)}); its rounding decides ${count.rounded} (moves by ${median.toFixed(3)} in the median)`,
    );
    return count.wrong === 0 && f32 < F32_MARGIN && median < ROUNDING;
}

let failed = 0;
for (const path of models) {
    const runs = await choices(path);
    await addPlain(path, runs);
    failed += !compare(path, runs);
}
process.exit(failed ? 1 : 0);
