//! Each splitting rule against the `tokenizers` Python package, over a small vocabulary.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;

use common::Gguf;
use parhelion_loader::{Specials, Tokenizer};
use serde_json::Value;

/// Written by `byte_level_bpe.py` beside it.
const FIXTURE: &str = include_str!("fixtures/byte_level_bpe.json");
const RULES: [&str; 5] = ["gpt-2", "smollm", "default", "qwen2", "llama-bpe"];

fn fixture() -> Value {
    serde_json::from_str(FIXTURE).unwrap()
}

fn texts(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

fn tokenizer(fixture: &Value, rule: &str) -> Tokenizer {
    let tokens = texts(&fixture["tokens"]);
    let kind = |text: &&str| match () {
        () if texts(&fixture["control"]).contains(text) => 3,
        () if texts(&fixture["user_defined"]).contains(text) => 4,
        () => 1,
    };
    let file = Gguf::default()
        .str("tokenizer.ggml.model", "gpt2")
        .str("tokenizer.ggml.pre", rule)
        .i32s("tokenizer.ggml.token_type", &tokens.iter().map(kind).collect::<Vec<i32>>())
        .strs("tokenizer.ggml.tokens", tokens)
        .strs("tokenizer.ggml.merges", texts(&fixture["merges"]));
    pollster::block_on(file.open().unwrap().tokenizer()).unwrap()
}

#[test]
fn chosen_texts_give_the_reference_s_ids() {
    let fixture = fixture();
    for rule in RULES {
        let tokenizer = tokenizer(&fixture, rule);
        for case in fixture["exact"].as_array().unwrap() {
            let text = case["text"].as_str().unwrap();
            let expected: Vec<u32> = case["ids"][rule].as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect();
            assert_eq!(tokenizer.encode(text, Specials::Parse).unwrap(), expected, "{rule}: {text:?}");
        }
    }
}

/// Strings of the pool's pieces, drawn by xorshift64* as the script draws them.
fn random_strings(pool: &[&str]) -> Vec<String> {
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    let mut draw = |below: usize| {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33) as usize % below
    };
    (0..2000).map(|_| (0..draw(24)).map(|_| pool[draw(pool.len())]).collect()).collect()
}

#[test]
fn random_texts_give_the_reference_s_ids_and_come_back() {
    let fixture = fixture();
    let strings = random_strings(&texts(&fixture["pool"]));
    for rule in RULES {
        let tokenizer = tokenizer(&fixture, rule);
        let mut digest = 0xCBF2_9CE4_8422_2325_u64;
        for text in &strings {
            let ids = tokenizer.encode(text, Specials::Parse).unwrap();
            if rule != "qwen2" {
                assert_eq!(tokenizer.decode(&ids), *text, "{rule}");
            }
            for id in ids.into_iter().chain([u32::MAX]) {
                digest = (digest ^ u64::from(id)).wrapping_mul(0x100_0000_01B3);
            }
        }
        assert_eq!(format!("{digest:016x}"), fixture["random_digest"][rule].as_str().unwrap(), "{rule}");
    }
}

#[test]
fn control_tokens_are_text_unless_parsed_but_markup_is_always_a_token() {
    let fixture = fixture();
    let tokenizer = tokenizer(&fixture, "qwen2");
    let [start, think] = ["<|im_start|>", "<think>"].map(|text| tokenizer.token_id(text).unwrap());
    let text = "<|im_start|><think>";
    assert_eq!(tokenizer.encode(text, Specials::Parse).unwrap(), [start, think]);
    let as_text = tokenizer.encode(text, Specials::Text).unwrap();
    assert!(!as_text.contains(&start) && as_text.ends_with(&[think]));
    assert_eq!(tokenizer.decode(&as_text), text);
    assert_eq!(tokenizer.decode(&[start, think]), "<think>");
    assert_eq!(tokenizer.token_text(start).as_deref(), Some("<|im_start|>"));
    assert_eq!(tokenizer.eos(), [tokenizer.token_id("<|im_end|>").unwrap()]);
}

#[test]
fn a_decoder_waits_for_the_rest_of_a_character() {
    let fixture = fixture();
    let tokenizer = tokenizer(&fixture, "gpt-2");
    let bytes = |text: &str| -> Vec<u32> {
        // Byte by byte, as no merge would make it.
        text.bytes().flat_map(|byte| (0..256).find(|&id| tokenizer.token_bytes(id).unwrap() == [byte])).collect()
    };
    let mut decoder = tokenizer.decoder();
    let pieces: Vec<String> = bytes("aé😀").into_iter().map(|id| decoder.push(id)).collect();
    assert_eq!(pieces, ["a", "", "é", "", "", "", "😀"]);
    assert_eq!(decoder.finish(), "");

    let cut: Vec<String> = bytes("😀")[..2].iter().map(|&id| decoder.push(id)).collect();
    assert_eq!((cut.concat().as_str(), decoder.finish().as_str()), ("", "\u{FFFD}"));
    assert_eq!(decoder.push(bytes("b")[0]), "b", "a finished decoder begins anew");

    // A character cut short by another: one replacement for the bytes that began it.
    let cut: String = bytes("😀")[..3].iter().chain(&bytes("x")).map(|&id| decoder.push(id)).collect();
    assert_eq!(cut, "\u{FFFD}x");
    assert_eq!(decoder.push(u32::MAX), "", "ids outside the vocabulary have no text");
    assert_eq!((tokenizer.token_text(u32::MAX), tokenizer.token_bytes(u32::MAX)), (None, None));
}
