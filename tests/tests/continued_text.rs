//! The space at the beginning of an answer, in a vocabulary that puts one in front of any text: a part of the answer where that goes on
//! with the prompt's text, left out where the answer is a text of its own.

#![allow(clippy::unwrap_used, reason = "a test ends where something is amiss")]

use std::rc::Rc;

use parhelion::{
    cpu::CpuExecutor,
    exec::Executor,
    loader::{Checkpoint, MemoryRepository},
    session::{GenerateOptions, Prepared, Sampling, Session, SessionOptions},
};
use parhelion_cli::host::Stopwatch;
use parhelion_tests::harness::Threads;
use pollster::block_on;
use serde_json::{Value, json};

const FIXTURE: &str = include_str!("../fixtures/tiny_llama.json");
const WEIGHTS: &[u8] = include_bytes!("../fixtures/tiny_llama.safetensors");

/// Llama 2's kind of tokenizer, in which every token is a word with the space before it.
fn tokenizer() -> Value {
    let vocab: serde_json::Map<String, Value> = (0..128).map(|id| (format!("\u{2581}w{id}"), json!(id))).collect();
    let marked = json!({ "type": "Replace", "pattern": { "String": " " }, "content": "\u{2581}" });
    let decoders = json!([
        { "type": "Replace", "pattern": { "String": "\u{2581}" }, "content": " " }, { "type": "ByteFallback" }, { "type": "Fuse" },
        { "type": "Strip", "content": " ", "start": 1, "stop": 0 },
    ]);
    json!({
        "normalizer": { "type": "Sequence", "normalizers": [{ "type": "Prepend", "prepend": "\u{2581}" }, marked] },
        "decoder": { "type": "Sequence", "decoders": decoders },
        "model": { "type": "BPE", "vocab": vocab, "merges": [], "byte_fallback": true },
    })
}

fn session() -> Session {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let variants = fixture["variants"].as_array().unwrap();
    let config = &variants.iter().find(|known| known["name"] == "untied").unwrap()["config"];
    let repository = MemoryRepository::new("tiny")
        .with("config.json", config.to_string())
        .with("model.safetensors", WEIGHTS.to_vec())
        .with("tokenizer.json", tokenizer().to_string());
    let checkpoint = block_on(Checkpoint::open_repository(&repository)).unwrap();
    let executor: Box<dyn Executor> = Box::new(CpuExecutor::new(Box::new(Threads)));
    let options = SessionOptions { context: Some(32), ..SessionOptions::default() };
    let prepared = block_on(Prepared::new(&checkpoint, executor.device(), options)).unwrap();
    block_on(Session::load(checkpoint, prepared, executor, Rc::new(Stopwatch::start()), &mut |_| ())).unwrap()
}

/// The tokens and the text that follow on `generated`.
fn answer(session: &mut Session, generated: &[u32], continues_text: bool) -> (Vec<u32>, String) {
    let options =
        GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(4), ignore_end: true, continues_text, ..GenerateOptions::default() };
    let sequence = session.open_sequence().unwrap();
    let (mut ids, mut text) = (Vec::new(), String::new());
    let mut generation = block_on(session.resume(sequence, &[5, 90, 17], generated, options)).unwrap();
    while let Some(token) = block_on(generation.next()).unwrap() {
        ids.push(token.id);
        text.push_str(&token.text);
    }
    text.push_str(generation.rest());
    drop(generation);
    session.close_sequence(sequence);
    (ids, text)
}

#[test]
fn the_first_space_counts_where_text_goes_on() {
    let mut session = session();
    let (ids, own) = answer(&mut session, &[], false);
    let words: Vec<String> = ids.iter().map(|id| format!("w{id}")).collect();
    assert_eq!((ids.len(), own), (4, words.join(" ")));
    assert_eq!(answer(&mut session, &[], true), (ids.clone(), format!(" {}", words.join(" "))));
    for continues in [false, true] {
        let (rest, text) = answer(&mut session, &ids[..2], continues);
        assert_eq!((rest.as_slice(), text), (&ids[2..], format!(" {}", words[2..].join(" "))), "after two tokens");
    }
}
