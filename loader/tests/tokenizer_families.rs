//! Each family of tokenizers, from both sources, against the `tokenizers` Python package: 10,000 strings each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;
mod strings;

use common::Gguf;
use parhelion_loader::{HubFiles, Tokenizer};
use serde_json::{Value, json};
use strings::{compare, compare_cut, numbers, strings, texts};

/// Written by `fixtures/tokenizers/families.py`.
const BYTE_LEVEL: &str = include_str!("fixtures/tokenizers/byte_level.json");
const SENTENCEPIECE_BPE: &str = include_str!("fixtures/tokenizers/sentencepiece_bpe.json");
const UNIGRAM: &str = include_str!("fixtures/tokenizers/unigram.json");
const WORD_PIECE: &str = include_str!("fixtures/tokenizers/word_piece.json");

fn from_hub(tokenizer: &Value, config: &Value) -> Tokenizer {
    let (tokenizer, config) = (tokenizer.to_string(), config.to_string());
    let files = HubFiles {
        name: "model",
        tokenizer_json: Some(tokenizer.as_bytes()),
        tokenizer_config: Some(config.as_bytes()),
        ..HubFiles::default()
    };
    Tokenizer::from_hub(&files).unwrap()
}

fn kinds(entries: &Value) -> Vec<i32> {
    numbers(&entries["kinds"]).into_iter().map(|kind| kind as i32).collect()
}

/// A GGUF file with the entries of a fixture, as the `gguf` Python package writes them.
fn from_gguf(entries: &Value) -> Tokenizer {
    let mut file = Gguf::default()
        .str("tokenizer.ggml.model", entries["model"].as_str().unwrap())
        .strs("tokenizer.ggml.tokens", texts(&entries["tokens"]))
        .i32s("tokenizer.ggml.token_type", &kinds(entries));
    if let Some(scores) = entries["scores"].as_array() {
        let scores: Vec<f32> = scores.iter().map(|score| score.as_f64().unwrap() as f32).collect();
        file = file.f32s("tokenizer.ggml.scores", &scores);
    }
    if let Some(adds) = entries["add_space_prefix"].as_bool() {
        file = file.bool("tokenizer.ggml.add_space_prefix", adds);
    }
    if let Some(table) = entries["charsmap"].as_str() {
        file = file.u8s("tokenizer.ggml.precompiled_charsmap", &base64(table));
    }
    for (name, key) in [("bos", "bos"), ("eos", "eos"), ("unknown", "unknown"), ("separator", "seperator")] {
        if let Some(id) = entries[name].as_u64() {
            file = file.u32(&format!("tokenizer.ggml.{key}_token_id"), id as u32);
        }
    }
    pollster::block_on(file.open().unwrap().tokenizer()).unwrap()
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |byte: u8| DIGITS.iter().position(|&digit| digit == byte).unwrap() as u32;
    let four = |four: &[u8]| {
        let bits = four.iter().fold(0, |bits, &byte| bits << 6 | digit(byte)) << (6 * (4 - four.len()));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    text.trim_end_matches('=').as_bytes().chunks(4).flat_map(four).collect()
}

/// `tokenizer.json` for one rule of the byte-level fixture.
fn byte_level_json(fixture: &Value, rule: &Value) -> Value {
    let added = fixture["added_tokens"].clone();
    let first_added = added[0]["id"].as_u64().unwrap() as usize;
    let vocab: serde_json::Map<String, Value> =
        texts(&fixture["tokens"])[..first_added].iter().enumerate().map(|(id, text)| ((*text).to_owned(), json!(id))).collect();
    json!({
        "added_tokens": added,
        "normalizer": rule["normalizer"],
        "pre_tokenizer": rule["pre_tokenizer"],
        "decoder": rule["decoder"],
        "model": { "type": "BPE", "vocab": vocab, "merges": fixture["merges"], "ignore_merges": rule["ignore_merges"] },
    })
}

#[test]
fn byte_level_rules_give_the_reference_s_ids_from_both_sources() {
    let fixture: Value = serde_json::from_str(BYTE_LEVEL).unwrap();
    let strings = strings();
    let rules = fixture["rules"].as_object().unwrap();
    assert!(rules.len() > 20);
    for (name, rule) in rules {
        let file = Gguf::default()
            .str("tokenizer.ggml.model", "gpt2")
            .str("tokenizer.ggml.pre", name)
            .i32s("tokenizer.ggml.token_type", &kinds(&fixture))
            .strs("tokenizer.ggml.tokens", texts(&fixture["tokens"]))
            .strs("tokenizer.ggml.merges", texts(&fixture["merges"]));
        let from_gguf = pollster::block_on(file.open().unwrap().tokenizer()).unwrap();
        compare(&format!("{name} from GGUF"), &from_gguf, &strings, rule);
        let from_hub = from_hub(&byte_level_json(&fixture, rule), &json!({}));
        compare(&format!("{name} from tokenizer.json"), &from_hub, &strings, rule);
        compare_cut(name, &from_gguf, &fixture["cut"]);
    }
}

fn both_sources(fixture: &str) {
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let strings = strings();
    for tokenizer in fixture["tokenizers"].as_array().unwrap() {
        let name = tokenizer["name"].as_str().unwrap();
        let entries = &tokenizer["gguf"];
        let mut written = tokenizer["tokenizer_json"].clone();
        if let Some(table) = entries.get("charsmap") {
            written["normalizer"]["normalizers"][0]["precompiled_charsmap"] = table.clone();
        }
        let from_hub = from_hub(&written, &json!({}));
        compare(&format!("{name} from tokenizer.json"), &from_hub, &strings, tokenizer);
        compare_cut(name, &from_hub, &tokenizer["cut"]);
        let from_gguf = from_gguf(entries);
        compare(&format!("{name} from GGUF"), &from_gguf, &strings, tokenizer);
        // The `##` that the reference leaves at the beginning of a text is not in GGUF files.
        if name != "bert" {
            compare_cut(name, &from_gguf, &tokenizer["cut"]);
        }
    }
}

#[test]
fn sentencepiece_bpe_gives_the_reference_s_ids_from_both_sources() {
    both_sources(SENTENCEPIECE_BPE);
}

#[test]
fn unigram_gives_the_reference_s_ids_from_both_sources() {
    both_sources(UNIGRAM);
}

#[test]
fn word_piece_gives_the_reference_s_ids_from_both_sources() {
    both_sources(WORD_PIECE);
}
