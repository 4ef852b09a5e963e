//! Each family of tokenizers, from both sources, against the `tokenizers` Python package: 10,000 strings each.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod common;
mod strings;

use common::Gguf;
use parhelion_loader::{Array, Checkpoint, GgufLayout, GgufWriter, HubFiles, LoadError, MemoryRepository, Tokenizer, Value as Entry};
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

/// The entries that a repository with this tokenizer gets in GGUF, for an embedding of `rows` rows.
fn entries(tokenizer: &Value, rows: u32) -> Result<Vec<(String, Entry)>, LoadError> {
    let weights = br#"{"w":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#;
    let weights = [(weights.len() as u64).to_le_bytes().as_slice(), weights, &[0; 4]].concat();
    let repository = MemoryRepository::new("model")
        .with("config.json", r#"{"model_type":"llama"}"#)
        .with("model.safetensors", weights)
        .with("tokenizer.json", tokenizer.to_string());
    pollster::block_on(pollster::block_on(Checkpoint::open_repository(&repository)).unwrap().gguf_tokenizer(rows))
}

/// A GGUF file of these entries.
fn written(entries: &[(String, Entry)]) -> Checkpoint {
    let layout = GgufLayout::new(entries.iter().map(|(key, value)| (key.as_str(), value)), std::iter::empty()).unwrap();
    common::open(GgufWriter::new(Vec::new(), layout).unwrap().finish().unwrap()).unwrap()
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

/// What `tokenizer` becomes, with two rows more than tokens, after a comparison with the entries that were written by rules of llama.cpp.
fn entries_as_converted(tokenizer: &Value, converted: &Value) -> Vec<(String, Entry)> {
    let tokens = texts(&converted["tokens"]);
    let ours = entries(tokenizer, tokens.len() as u32 + 2).unwrap();
    let entry = |name: &str| ours.iter().find(|(key, _)| *key == format!("tokenizer.ggml.{name}")).map(|(_, value)| value);
    assert_eq!(entry("model"), Some(&Entry::String(converted["model"].as_str().unwrap().to_owned())));
    let Some(Entry::Array(Array::String(written))) = entry("tokens") else { panic!("no tokens") };
    assert_eq!(
        written.iter().collect::<Vec<_>>(),
        [tokens.as_slice(), &[&*format!("[PAD{}]", tokens.len()), &format!("[PAD{}]", tokens.len() + 1)]].concat()
    );
    // The unknown token has a number of its own, or that of control tokens.
    let theirs = kinds(converted).into_iter().map(|kind| if kind == 2 { 3 } else { kind });
    assert_eq!(entry("token_type"), Some(&Entry::Array(Array::I32(theirs.chain([5, 5]).collect()))));
    for (name, key) in [("bos", "bos"), ("eos", "eos"), ("unknown", "unknown"), ("separator", "seperator")] {
        // The end that nothing puts after a text is named in another file than this test has.
        if let (Some(id), Some(written)) = (converted[name].as_u64(), entry(&format!("{key}_token_id"))) {
            assert_eq!(written, &Entry::U32(id as u32), "{name}");
        }
    }
    ours
}

fn both_sources(fixture: &str) {
    let fixture: Value = serde_json::from_str(fixture).unwrap();
    let strings = strings();
    for tokenizer in fixture["tokenizers"].as_array().unwrap() {
        let name = tokenizer["name"].as_str().unwrap();
        let entries = &tokenizer["gguf"];
        let mut published = tokenizer["tokenizer_json"].clone();
        if let Some(table) = entries.get("charsmap") {
            published["normalizer"]["normalizers"][0]["precompiled_charsmap"] = table.clone();
        }
        let from_hub = from_hub(&published, &json!({}));
        compare(&format!("{name} from tokenizer.json"), &from_hub, &strings, tokenizer);
        compare_cut(name, &from_hub, &tokenizer["cut"]);
        let from_gguf = from_gguf(entries);
        compare(&format!("{name} from GGUF"), &from_gguf, &strings, tokenizer);
        let written = written(&entries_as_converted(&published, entries));
        let from_written = pollster::block_on(written.tokenizer()).unwrap();
        compare(&format!("{name} written as GGUF"), &from_written, &strings, tokenizer);
        // The `##` that the reference leaves at the beginning of a text is not in GGUF files.
        if name != "bert" {
            compare_cut(name, &from_gguf, &tokenizer["cut"]);
            compare_cut(name, &from_written, &tokenizer["cut"]);
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

#[test]
fn tokenizers_that_gguf_cannot_describe_are_refused() {
    let of = |fixture: &str| serde_json::from_str::<Value>(fixture).unwrap()["tokenizers"][0]["tokenizer_json"].clone();
    let refused = |fixture: &str, change: &dyn Fn(&mut Value)| {
        let mut tokenizer = of(fixture);
        if fixture == UNIGRAM {
            tokenizer["normalizer"]["normalizers"][0]["precompiled_charsmap"] = json!("");
        }
        change(&mut tokenizer);
        entries(&tokenizer, 2000).unwrap_err().to_string()
    };
    let metaspace = json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first", "split": false });
    let cases = [
        ("a rule for the first word", refused(SENTENCEPIECE_BPE, &|it| it["pre_tokenizer"] = metaspace.clone()), "`pre_tokenizer`"),
        ("no marks for spaces", refused(SENTENCEPIECE_BPE, &|it| it["normalizer"] = Value::Null), "`normalizer`"),
        (
            "merges left out",
            refused(SENTENCEPIECE_BPE, &|it| drop(it["model"]["merges"].as_array_mut().unwrap().remove(7))),
            "`model.merges`",
        ),
        ("too few rows", entries(&of(SENTENCEPIECE_BPE), 1000).unwrap_err().to_string(), "1000 rows"),
        ("bytes in unigram", refused(UNIGRAM, &|it| it["model"]["byte_fallback"] = json!(true)), "`model.byte_fallback`"),
        ("spaces kept", refused(UNIGRAM, &|it| it["normalizer"]["normalizers"][1]["strip_left"] = json!(true)), "`normalizer`"),
        ("words not split", refused(UNIGRAM, &|it| it["pre_tokenizer"]["split"] = json!(false)), "`pre_tokenizer`"),
        (
            "letter case",
            refused(WORD_PIECE, &|it| it["normalizer"] = json!({ "type": "BertNormalizer", "lowercase": false })),
            "lower case",
        ),
        ("another split", refused(WORD_PIECE, &|it| it["pre_tokenizer"] = json!({ "type": "Whitespace" })), "`pre_tokenizer`"),
        ("another prefix", refused(WORD_PIECE, &|it| it["model"]["continuing_subword_prefix"] = json!("@@")), "`##`"),
    ];
    for (what, error, fragment) in cases {
        assert!(error.contains(fragment), "{what}: {error}");
    }
}
