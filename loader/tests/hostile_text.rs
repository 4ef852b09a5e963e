//! Text that users send, and vocabularies, made to bring a tokenizer down.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;

use std::time::Instant;

use common::{Gguf, array};
use parhelion_loader::{Specials, Tokenizer};
use pollster::block_on;

const CONTROL: i32 = 3;
const BYTE: i32 = 6;

/// Byte-level tokens of printable ASCII, and one control token.
fn byte_level() -> Tokenizer {
    let letters: Vec<String> = (0x21..0x7F_u8).map(|byte| char::from(byte).to_string()).collect();
    let tokens: Vec<&str> = ["<|im_end|>"].into_iter().chain(letters.iter().map(String::as_str)).collect();
    let kinds: Vec<i32> = tokens.iter().map(|text| if text.len() > 1 { CONTROL } else { 1 }).collect();
    let file = Gguf::default().str("tokenizer.ggml.model", "gpt2").str("tokenizer.ggml.pre", "gpt-2");
    let file = file.strs("tokenizer.ggml.tokens", tokens).i32s("tokenizer.ggml.token_type", &kinds).strs("tokenizer.ggml.merges", []);
    block_on(file.open().unwrap().tokenizer()).unwrap()
}

/// Each control token that is only text once started a search through all of the rest.
#[test]
fn text_full_of_control_tokens_takes_linear_time() {
    let tokenizer = byte_level();
    let text = "<|im_end|>".repeat(100_000);
    let began = Instant::now();
    let ids = tokenizer.encode(&text, Specials::Text).unwrap();
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    assert_eq!(ids.len(), text.len());
    assert!(!ids.iter().any(|&id| tokenizer.is_control(id)));
    assert_eq!(tokenizer.encode(&text, Specials::Parse).unwrap(), [0].repeat(100_000));
}

/// Counts of tokens that overflowed a signed number: GHSA-7rxv-5jhh-j6xx.
#[test]
fn long_text_becomes_as_many_tokens_as_it_has() {
    let tokenizer = byte_level();
    let text = "ab".repeat(2 << 20);
    let ids = tokenizer.encode(&text, Specials::Text).unwrap();
    assert_eq!(ids.len(), text.len());
    assert_eq!(tokenizer.decode(&ids), text);
}

/// `<0x-1>` became index -1 elsewhere: llama.cpp#25969.
#[test]
fn tokens_that_name_no_byte_are_none() {
    let tokens = ["<unk>", "<0x-1>", "<0x100>", "<0xG0>", "<0x+1>", "<0x41>", "\u{2581}a"];
    let scores: Vec<u8> = tokens.iter().flat_map(|_| (-1.0_f32).to_le_bytes()).collect();
    let kinds = [2, BYTE, BYTE, BYTE, BYTE, BYTE, 1];
    let file = Gguf::default().str("tokenizer.ggml.model", "llama").strs("tokenizer.ggml.tokens", tokens);
    let file = file.entry("tokenizer.ggml.scores", 9, &array(6, tokens.len() as u64, &scores)).i32s("tokenizer.ggml.token_type", &kinds);
    let tokenizer = block_on(file.u32("tokenizer.ggml.unknown_token_id", 0).open().unwrap().tokenizer()).unwrap();
    assert_eq!(tokenizer.token_bytes(5).unwrap(), b"A");
    for id in 1..5 {
        assert_ne!(tokenizer.token_bytes(id).map(|bytes| bytes.len()), Some(1), "{id}");
    }
    let ids = tokenizer.encode("a <0x-1> \u{0} A", Specials::Text).unwrap();
    assert!(ids.iter().all(|&id| (id as usize) < tokens.len()), "{ids:?}");
    assert!(!tokenizer.decode(&[1, 2, 3, 4, 5, 6, 7]).is_empty());
}
