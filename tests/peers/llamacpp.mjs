// Loads GGUF files in llama.cpp and in parhelion and compares what they answer: llama.cpp chooses tokens greedily, the same tokens are
// forced through parhelion, and where parhelion's two likeliest tokens are clearly apart both should choose the same. llama.cpp rounds
// activations to 8 bits: where tokens are close either may come first, and now and then its logits are a whole unit off (on the files that
// this was written with, arithmetic in f32 by numpy gave parhelion's to three digits there). So one clear step in 50 may differ.
//
//     npm install node-llama-cpp@3.22.1     (some hundred MB: no part of the tests that run for every change)
//     node tests/peers/llamacpp.mjs target/release/parhelion MODEL.gguf...    (TOKENS, THREADS: other numbers than 32 and 4)
//
// The prompts are those of SmolLM2 (tests/fixtures/smollm2_prompts.json), as token ids.
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const TOKENS = Number(process.env.TOKENS ?? 32);
/// How far apart, in natural logarithms of probability, the two likeliest tokens must be to be compared.
const MARGIN = 0.25;

const [parhelion, ...models] = process.argv.slice(2);
if (!models.length) {
    console.error("usage: node tests/peers/llamacpp.mjs PARHELION MODEL.gguf...");
    process.exit(2);
}
// From where it is called, not from this repository.
const { getLlama } = await import(pathToFileURL(createRequire(`${process.cwd()}/`).resolve("node-llama-cpp")));
const prompts = JSON.parse(readFileSync(new URL("../fixtures/smollm2_prompts.json", import.meta.url))).prompts;
const llama = await getLlama({ gpu: false, build: "never", progressLogs: false, logLevel: "error" });

async function greedy(context, ids) {
    const sequence = context.getSequence();
    const tokens = [];
    for await (const token of sequence.evaluate(ids, { temperature: 0, yieldEogToken: true })) {
        tokens.push(token);
        if (tokens.length === TOKENS) break;
    }
    await sequence.dispose();
    return tokens;
}

function forced(model, tokens) {
    const given = ["score", "--quiet", "--json", "--top", "2", "--device", "cpu", "--context", "512", "--model", model];
    return JSON.parse(execFileSync(parhelion, [...given, "--tokens", tokens.join(",")], { maxBuffer: 1 << 26 })).positions;
}

let failed = 0;
for (const path of models) {
    const model = await llama.loadModel({ modelPath: path, gpuLayers: 0 });
    const context = await model.createContext({ contextSize: 512, sequences: 1, threads: Number(process.env.THREADS ?? 4) });
    const count = { steps: 0, same: 0, clear: 0, clearlyDifferent: 0 };
    let widest = 0;
    for (const { name, ids } of prompts) {
        const chosen = await greedy(context, ids);
        const positions = forced(path, [...ids, ...chosen]);
        for (const [step, token] of chosen.entries()) {
            // The candidates for a token stand at its own position.
            const [first, second] = positions.find(({ index }) => index === ids.length + step).top;
            const margin = first.logprob - second.logprob;
            const same = first.id === token;
            count.steps += 1;
            count.same += same;
            count.clear += margin > MARGIN;
            if (same) continue;
            widest = Math.max(widest, margin);
            if (margin > MARGIN) {
                count.clearlyDifferent += 1;
                console.log(`  ${name}, step ${step}: ${token} by llama.cpp, ${first.id} here with a margin of ${margin.toFixed(3)}`);
            }
        }
    }
    failed += count.clearlyDifferent * 50 > count.clear;
    const { steps, same, clear, clearlyDifferent } = count;
    console.log(`${path}: ${same} of ${steps} tokens the same; ${clearlyDifferent} of ${clear} clear ones differ; widest margin of a difference ${widest.toFixed(3)}`);
    await context.dispose();
    await model.dispose();
}
process.exit(failed ? 1 : 0);
