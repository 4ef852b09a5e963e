// Models in several files, made of those at hand: the random Llama of `fixtures/tiny_llama.py` as a repository, whole and in
// shards, and a GGUF file cut in two.

import { readFile } from "node:fs/promises";

const fixture = (name) => readFile(new URL(`../../fixtures/${name}`, import.meta.url));

/** Tokens, and the logits after the last of them by a forward pass written in numpy. */
export const { tokens: TOKENS, variants: [{ config: CONFIG, logits: LOGITS }] } = JSON.parse(await fixture("tiny_llama.json"));

/** A tokenizer of single characters with as many entries as the model has. */
function tokenizer(size) {
  const characters = Array.from({ length: 94 }, (_, index) => String.fromCharCode(33 + index));
  const words = ["<s>", "</s>", "Ġ", "Ċ", ...characters];
  while (words.length < size) words.push(`Ġ${words.length}`);
  const special = (id) => ({ id, content: words[id], single_word: false, lstrip: false, rstrip: false, normalized: false, special: true });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true };
  return {
    version: "1.0", truncation: null, padding: null, added_tokens: [special(0), special(1)], normalizer: null, pre_tokenizer: byteLevel,
    post_processor: null, decoder: byteLevel,
    model: { type: "BPE", dropout: null, unk_token: null, continuing_subword_prefix: null, end_of_word_suffix: null, fuse_unk: false, byte_fallback: false,
      vocab: Object.fromEntries(words.map((word, id) => [word, id])), merges: [] },
  };
}

const json = (value) => Buffer.from(JSON.stringify(value));

/** The files beside the weights: no generation_config.json, no special_tokens_map.json. */
const BESIDE = {
  "config.json": json(CONFIG),
  "tokenizer.json": json(tokenizer(CONFIG.vocab_size)),
  "tokenizer_config.json": json({ bos_token: "<s>", eos_token: "</s>" }),
  "chat_template.jinja": Buffer.from("{% for message in messages %}{{ message.content }}{% endfor %}"),
};

/** The repository with its weights in one file. */
export const WHOLE = { ...BESIDE, "model.safetensors": await fixture("tiny_llama.safetensors") };

export const SHARDS = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"];

/** The repository with its weights in two files; `paths` are what the index calls them. */
export function inShards(paths = SHARDS) {
  const shards = paths.map(() => ({ header: {}, data: [], length: 0 }));
  const map = {};
  for (const [number, [name, tensor, bytes]] of [...tensorsOf(WHOLE["model.safetensors"])].entries()) {
    const shard = shards[number % 2];
    shard.header[name] = { ...tensor, data_offsets: [shard.length, shard.length + bytes.length] };
    shard.data.push(bytes);
    shard.length += bytes.length;
    map[name] = paths[number % 2];
  }
  const files = shards.map(({ header, data }, number) => [SHARDS[number], safetensors(header, data)]);
  return { ...BESIDE, "model.safetensors.index.json": json({ metadata: {}, weight_map: map }), ...Object.fromEntries(files) };
}

function* tensorsOf(file) {
  const start = 8 + Number(file.readBigUInt64LE());
  for (const [name, { dtype, shape, data_offsets: [from, to] }] of Object.entries(JSON.parse(file.subarray(8, start)))) {
    yield [name, { dtype, shape }, file.subarray(start + from, start + to)];
  }
}

function safetensors(header, data) {
  const text = json(header);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(text.length));
  return Buffer.concat([length, text, ...data]);
}

/** A GGUF file as two: the first has all that is said of the model, each half of the tensors. */
export function splitGguf(file) {
  const { entries, count, tensors, data } = readGguf(file);
  const half = Math.ceil(tensors.length / 2);
  return [tensors.slice(0, half), tensors.slice(half)].map((part, number) => {
    const split = [kv("split.no", 2, u16(number)), kv("split.count", 2, u16(2)), kv("split.tensors.count", 5, u32(tensors.length))];
    const [first] = part;
    const last = part.at(-1);
    const infos = part.map(({ head, offset }) => Buffer.concat([head, u64(offset - first.offset)]));
    const head = [Buffer.from("GGUF"), u32(3), u64(part.length), u64(split.length + (number === 0 ? count : 0)), ...(number === 0 ? [entries] : []), ...split, ...infos];
    const length = head.reduce((sum, { length }) => sum + length, 0);
    return Buffer.concat([...head, Buffer.alloc(-length & 31), file.subarray(data + first.offset, data + last.end)]);
  });
}

const u16 = (value) => Buffer.from(Uint16Array.of(value).buffer);
const u32 = (value) => Buffer.from(Uint32Array.of(value).buffer);
const u64 = (value) => Buffer.from(BigUint64Array.of(BigInt(value)).buffer);
const kv = (key, type, value) => Buffer.concat([u64(key.length), Buffer.from(key), u32(type), value]);

/** Bytes of a value by its type; strings (8) and arrays (9) say theirs themselves. */
const WIDTHS = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8];

function readGguf(file) {
  let at = 8;
  const number = (bytes) => Number(bytes === 8 ? file.readBigUInt64LE((at += 8) - 8) : file.readUInt32LE((at += 4) - 4));
  const skip = (bytes) => (at += bytes);
  const skipString = () => skip(number(8));
  const skipValue = (type) => {
    if (type === 8) skipString();
    else if (type === 9) for (let item = number(4), left = number(8); left > 0; left--) skipValue(item);
    else skip(WIDTHS[type]);
  };
  const [tensorCount, count] = [number(8), number(8)];
  const start = at;
  for (let left = count; left > 0; left--) {
    skipString();
    skipValue(number(4));
  }
  const entries = file.subarray(start, at);
  const tensors = Array.from({ length: tensorCount }, () => {
    const from = at;
    skipString();
    skip(8 * number(4) + 4);
    return { head: file.subarray(from, at), offset: number(8) };
  });
  const data = (at + 31) & ~31;
  tensors.sort((a, b) => a.offset - b.offset);
  for (const [index, tensor] of tensors.entries()) tensor.end = tensors[index + 1]?.offset ?? file.length - data;
  return { entries, count, tensors, data };
}
