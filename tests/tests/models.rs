//! From files to models. Those that are sound GGUF but no model that can be run are refused with an error that names the file and
//! what is wrong with it, before anything is allocated for it.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::sync::Arc;

use parhelion::{
    exec::DeviceLimits,
    loader::{Checkpoint, MemorySource},
    models::{self, Built, ModelError},
    weights::WeightLayout,
};
use parhelion_bench::synth::{self, Shape};

const SHAPE: Shape = Shape { name: "tiny", layers: 2, hidden: 64, heads: 4, kv_heads: 2, head_dim: 16, ffn: 96, vocab: 300, untied: false };

fn build(bytes: Vec<u8>) -> Result<Built, ModelError> {
    let checkpoint = pollster::block_on(Checkpoint::open(Arc::new(MemorySource::new("tiny.gguf", bytes))))?;
    pollster::block_on(models::build(&checkpoint, &DeviceLimits::FLOOR))
}

fn sound() -> Vec<u8> {
    synth::gguf(&SHAPE, &synth::QUANTS[0])
}

fn find(bytes: &[u8], text: &str) -> usize {
    bytes.windows(text.len()).position(|window| window == text.as_bytes()).unwrap()
}

/// The first `from` in the file, as a string of its own, replaced by a text of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = sound();
    let at = find(&bytes, from);
    bytes[at..at + to.len()].copy_from_slice(to.as_bytes());
    bytes
}

/// The metadata number under `key` replaced.
fn with_number(key: &str, value: u32) -> Vec<u8> {
    let mut bytes = sound();
    let at = find(&bytes, key) + key.len() + 4;
    bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn refused(what: &str, bytes: Vec<u8>, fragments: &[&str]) {
    let error = build(bytes).err().unwrap_or_else(|| unreachable!("{what} was accepted")).to_string();
    for fragment in fragments {
        assert!(error.contains(fragment), "{what}: `{error}` does not say `{fragment}`");
    }
}

fn weights_of(bytes: Vec<u8>, tensor: &str) -> usize {
    let uses = |layout: &&WeightLayout| layout.sources.iter().any(|source| source.info.name == tensor);
    build(bytes).unwrap().weights.iter().filter(uses).count()
}

#[test]
fn a_tied_output_head_is_the_embedding_and_an_untied_one_is_not() {
    assert_eq!(weights_of(sound(), "token_embd.weight"), 1, "one weight serves both ends");
    let untied = synth::gguf(&Shape { untied: true, ..SHAPE }, &synth::QUANTS[0]);
    assert_eq!(weights_of(untied.clone(), "token_embd.weight"), 1);
    assert_eq!(weights_of(untied, "output.weight"), 1);
}

#[test]
fn bad_models_are_refused_by_name() {
    // the first "llama" in the file is the value of general.architecture
    refused(
        "an unknown architecture",
        renamed("llama", "llamo"),
        &["tiny.gguf", "`llamo`", "closest of the supported is `llama`", "qwen2"],
    );
    refused("a missing norm", renamed("output_norm.weight", "output_nurm.weight"), &["tiny.gguf", "output_norm.weight"]);
    refused("a tensor of another model", renamed("blk.1.ffn_up.weight", "blk.7.ffn_up.weight"), &["tiny.gguf", "blk.1.ffn_up.weight"]);
    let sizes: &[(&str, u32, &[&str])] = &[
        ("llama.block_count", 0, &["llama.block_count", "1 to 1024", "0"]),
        ("llama.block_count", u32::MAX, &["llama.block_count", "4294967295"]),
        ("llama.block_count", 1, &["tiny.gguf", "blk.1."]),
        ("llama.block_count", 3, &["tiny.gguf", "blk.2."]),
        ("llama.embedding_length", 0, &["llama.embedding_length"]),
        ("llama.embedding_length", 128, &["token_embd.weight", "[300, 64]", "[300, 128]"]),
        ("llama.feed_forward_length", 0, &["llama.feed_forward_length"]),
        ("llama.feed_forward_length", 64, &["ffn_gate.weight", "[96, 64]"]),
        ("llama.attention.head_count", 0, &["llama.attention.head_count"]),
        ("llama.attention.head_count", 3, &["head_count_kv", "divisor"]),
        ("llama.attention.head_count", 8, &["attn_q.weight", "[64, 64]"]),
        ("llama.attention.head_count_kv", 0, &["head_count_kv"]),
        ("llama.attention.head_count_kv", 3, &["head_count_kv", "divisor"]),
        ("llama.attention.key_length", 0, &["key_length"]),
        ("llama.attention.key_length", 15, &["key_length", "even"]),
        ("llama.attention.key_length", 1 << 20, &["key_length", "2 to 512"]),
        ("llama.attention.value_length", 32, &["value_length", "16"]),
        ("llama.rope.dimension_count", 7, &["rope.dimension_count", "even"]),
        ("llama.rope.dimension_count", 64, &["rope.dimension_count", "2 to 16"]),
        ("llama.rope.freq_base", 0, &["rope.freq_base", "over 0"]),
        ("llama.rope.freq_base", f32::NAN.to_bits(), &["rope.freq_base"]),
        ("llama.context_length", 0, &["context_length"]),
        ("llama.context_length", u32::MAX, &["context_length"]),
    ];
    for &(key, value, fragments) in sizes {
        refused(&format!("{key} = {value}"), with_number(key, value), fragments);
    }
}
