//! The tokenizers of published files: 10,000 strings as the `tokenizers` package encodes them, prompts as llama.cpp does.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::path::PathBuf;

use parhelion_loader::{Checkpoint, Specials, Tokenizer};
use parhelion_tests::fixtures;
use serde_json::Value;

#[path = "../../loader/tests/strings/mod.rs"]
mod strings;

/// Written by `vocabularies.py` beside it.
const VOCABULARIES: &str = include_str!("../fixtures/vocabularies.json");

fn compare(name: &str, path: Option<PathBuf>) {
    let Some(path) = path else { return };
    let fixture: Value = serde_json::from_str(VOCABULARIES).unwrap();
    let expected = &fixture[name];
    let checkpoint = pollster::block_on(Checkpoint::open_path(&path)).unwrap();
    let tokenizer = pollster::block_on(checkpoint.tokenizer()).unwrap();
    strings::compare_texts(name, &tokenizer, &strings::strings(), expected);
    for prompt in expected["prompts"].as_array().unwrap() {
        let ids = strings::numbers(&prompt["prompt_token_ids"]);
        assert_eq!(encoded(&tokenizer, prompt), ids, "{name}: {}", prompt["name"]);
    }
}

/// A prompt's ids, with the token before it that the reference was told to put there.
fn encoded(tokenizer: &Tokenizer, prompt: &Value) -> Vec<u32> {
    let specials = if prompt["parse_special"] == true { Specials::Parse } else { Specials::Text };
    let text = tokenizer.encode(prompt["prompt"].as_str().unwrap(), specials).unwrap();
    let before = tokenizer.bos().filter(|_| prompt["bos_prepended"] == true);
    before.into_iter().chain(text).collect()
}

#[test]
fn smollm2_gives_the_references_ids() {
    compare("smollm2", fixtures::smollm2());
}

#[test]
fn gemma_3_gives_the_references_ids() {
    compare("gemma3", fixtures::gemma3());
}

#[test]
fn qwen_2_5_gives_the_references_ids() {
    compare("qwen2_5_coder", fixtures::qwen2_5_coder());
}
