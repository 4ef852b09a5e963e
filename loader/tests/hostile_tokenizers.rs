//! `tokenizer.json` files made to crash, hang or fill memory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

mod counting;

use std::time::{Duration, Instant};

use parhelion_loader::{HubFiles, LoadError, Specials, Tokenizer};
use serde_json::{Value, json};

fn files(tokenizer: &[u8]) -> HubFiles<'_> {
    HubFiles { name: "model", tokenizer_json: Some(tokenizer), ..HubFiles::default() }
}

/// A sound byte-level tokenizer of three tokens, but for what `change` does to it.
fn changed(change: impl FnOnce(&mut Value)) -> Value {
    let mut tokenizer = json!({
        "added_tokens": [{ "id": 3, "content": "<end>", "special": true }],
        "pre_tokenizer": { "type": "ByteLevel", "add_prefix_space": false },
        "decoder": { "type": "ByteLevel" },
        "model": { "type": "BPE", "vocab": { "a": 0, "b": 1, "ab": 2 }, "merges": ["a b"] },
    });
    change(&mut tokenizer);
    tokenizer
}

fn with(path: &str, value: Value) -> String {
    changed(|tokenizer| {
        let (parent, field) = path.rsplit_once('/').unwrap();
        tokenizer.pointer_mut(parent).unwrap()[field] = value;
    })
    .to_string()
}

fn split(pattern: &str) -> String {
    with("/pre_tokenizer", json!({ "type": "Split", "pattern": { "Regex": pattern }, "behavior": "Isolated" }))
}

/// What `work` returns, and the shortest of three times: others may have the machine for a while.
fn timed<T>(work: impl Fn() -> T) -> (T, Duration) {
    let run = || {
        let began = Instant::now();
        (work(), began.elapsed())
    };
    let (result, first) = run();
    (result, [run().1, run().1].into_iter().fold(first, Duration::min))
}

/// What a compiled pattern may take, whatever the file's size; published ones take as much.
const PATTERN: usize = 4 << 20;

fn open(file: &str) -> Result<Tokenizer, LoadError> {
    open_within(file, 8 * file.len() + (1 << 20))
}

fn open_within(file: &str, most: usize) -> Result<Tokenizer, LoadError> {
    let ((result, peak), time) = timed(|| counting::peak_of(|| Tokenizer::from_hub(&files(file.as_bytes()))));
    assert!(time < Duration::from_secs(1), "{time:?} for {}", &file[..file.len().min(200)]);
    assert!(peak <= most, "{peak} bytes for a file of {}: {}", file.len(), &file[..file.len().min(200)]);
    result
}

#[test]
fn a_sound_file_opens() {
    let tokenizer = open(&changed(|_| {}).to_string()).unwrap();
    assert_eq!(tokenizer.encode("ab a<end>", Specials::Parse).unwrap(), [2, 0, 3]);
    assert!(!tokenizer.encode("ab<end>", Specials::Text).unwrap().contains(&3));
}

#[test]
fn bad_files_are_refused_by_the_part_that_is_bad() {
    let deep = (0..300).fold(json!({ "type": "NFC" }), |inner, _| json!({ "type": "Sequence", "normalizers": [inner] }));
    let steps: Vec<Value> = (0..40).map(|_| json!({ "type": "NFC" })).collect();
    let many: Vec<Value> = (0..5000).map(|_| json!({ "type": "NFC" })).collect();
    let special = |content: String| json!([{ "id": 3, "content": content, "special": true }]);
    for (file, said) in [
        ("".to_owned(), "a tokenizer in JSON"),
        ("[]".to_owned(), "a tokenizer in JSON"),
        ("{".repeat(100_000), "a tokenizer in JSON"),
        (format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000)), "a tokenizer in JSON"),
        (with("/normalizer", deep), "normalizer"),
        (with("/normalizer", json!({ "type": "Sequence", "normalizers": steps })), "at most 16 steps"),
        (with("/normalizer", json!({ "type": "Sequence", "normalizers": many })), "at most 4096 values"),
        (with("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "AAAA" })), "precompiled_charsmap"),
        (with("/normalizer", json!({ "type": "Precompiled", "precompiled_charsmap": "!" })), "base64"),
        (with("/normalizer", json!({ "type": "Replace", "pattern": { "String": "" }, "content": "a" })), "normalizer.pattern"),
        (with("/normalizer", json!({ "type": "Prepend", "prepend": "x".repeat(100) })), "at most 64 bytes"),
        (with("/normalizer", json!({ "type": "Launch" })), "a normalizer that is known"),
        (with("/pre_tokenizer", json!({ "type": "Launch" })), "a pre-tokenizer that is known"),
        (with("/decoder", json!({ "type": "CTC" })), "a decoder that is known"),
        (with("/post_processor", json!({ "type": "Launch" })), "a post-processor that is known"),
        (with("/post_processor", json!({ "type": "BertProcessing", "sep": ["x", 9], "cls": ["x", 0] })), "post_processor.sep"),
        (with("/model/type", json!("WordLevel")), "model.type"),
        (with("/model/vocab", json!({})), "merge 0"),
        (with("/model/vocab", json!({ "a": -1 })), "a tokenizer in JSON"),
        (with("/model/vocab", json!({ "a": 4_294_967_296_u64 })), "a tokenizer in JSON"),
        (with("/model/vocab", json!({ "a": 0, "b": 1, "ab": 4_294_967_295_u64 })), "at most 65536 left out"),
        (with("/model/vocab", json!({ "a": 0, "b": 0, "ab": 1 })), "one text for each id"),
        (with("/model/vocab", json!([["a", 0.0]])), "an object of ids by text"),
        (with("/model/merges", json!(["ab"])), "no space between"),
        (with("/model/merges", json!([["a", "b", "a"]])), "more than two"),
        (with("/model/merges", json!([["a", "x"]])), "two tokens that together are one"),
        (with("/model/merges", json!(["b a"])), "two tokens that together are one"),
        (with("/model/unk_token", json!("zzz")), "model.unk_token"),
        (with("/model/dropout", json!(0.5)), "model.dropout"),
        (with("/added_tokens", special("x".repeat(300))), "at most 256"),
        (with("/added_tokens", json!([{ "id": 2, "content": "<end>" }])), "one text for each id"),
        (with("/model", json!({ "type": "Unigram", "vocab": [["a", 0.0]], "unk_id": 7 })), "model.unk_id"),
        (r#"{"model":{"type":"Unigram","vocab":[["a",1e999]]}}"#.to_owned(), "a tokenizer in JSON"),
    ] {
        let error = open(&file).err().unwrap_or_else(|| panic!("no error: {}", &file[..file.len().min(300)])).to_string();
        assert!(error.starts_with("model/tokenizer.json: ") && error.contains(said), "`{said}` is not in: {error}");
    }
    let missing = Tokenizer::from_hub(&HubFiles { name: "model", ..HubFiles::default() }).err().unwrap().to_string();
    assert!(missing.contains("tokenizer.json is missing"), "{missing}");
}

#[test]
fn patterns_that_cannot_be_matched_in_linear_time_are_refused() {
    for pattern in [
        r"(a)\1",
        r"(?<=a)b",
        r"a(?=b)",
        r"(?!a)b",
        r"\ba",
        r"a*+b",
        r"a?+b",
        "a*",
        "",
        "(",
        "[a",
        r"\p{Nonsense}",
        r"\s+(?!\S)|a",
        r"(\s+(?!\S)|\s+)",
        r"(?>a|ab)c",
        r"\p{L}{500}{500}",
        "(((a{100}){100}){100}){100}",
    ] {
        let error = open_within(&split(pattern), PATTERN).err().unwrap_or_else(|| panic!("{pattern} is taken")).to_string();
        assert!(error.contains("pre_tokenizer.pattern"), "{pattern}: {error}");
    }
    open_within(&split(&"(".repeat(4000)), PATTERN).err().unwrap();
    open_within(&split(&"a|".repeat(4000)), PATTERN).err().unwrap();
}

#[test]
fn patterns_that_are_taken_end_on_any_text() {
    let texts = ["a".repeat(200_000), "ab ".repeat(70_000), "é你😀".repeat(20_000), " ".repeat(200_000), "aA1!\n".repeat(40_000)];
    for pattern in
        ["(a+)+$", "(a|aa)+b", "(.*)*x", "a*b|a", "(a|b|ab)*c|[ab]", r"\w{30}x|\w*y", r"(?:\p{L}{1,20}\s?){1,20}z|.", r"\s+(?!\S)|\s+"]
    {
        let Ok(tokenizer) = open_within(&split(pattern), PATTERN) else { continue };
        for text in &texts {
            let (result, time) = timed(|| tokenizer.encode(text, Specials::Text).map(|ids| ids.len()));
            assert!(time < Duration::from_secs(1), "{pattern}: {time:?}");
            if let Err(error) = result {
                assert!(error.to_string().contains("splitting pattern") || error.to_string().contains("gave up"), "{pattern}: {error}");
            }
        }
    }
}

#[test]
fn steps_that_make_text_grow_are_stopped() {
    let double = json!({ "type": "Replace", "pattern": { "String": "a" }, "content": "aa" });
    let normalizer = json!({ "type": "Sequence", "normalizers": vec![double; 16] });
    let bytes = json!({ "type": "Sequence", "pretokenizers": vec![json!({ "type": "ByteLevel", "use_regex": false }); 15] });
    for (file, text) in [(with("/normalizer", normalizer), "a".repeat(1000)), (with("/pre_tokenizer", bytes), "é".repeat(1000))] {
        let tokenizer = open(&file).unwrap();
        let (result, peak) = counting::peak_of(|| tokenizer.encode(&text, Specials::Text));
        assert!(result.unwrap_err().to_string().contains("before it is encoded"));
        assert!(peak < 4 << 20, "{peak}");
    }
}

#[test]
fn large_vocabularies_stay_within_eight_times_their_bytes() {
    let texts: Vec<String> = (0..60_000).map(|number| format!("{number:x}")).collect();
    let vocab: serde_json::Map<String, Value> = texts.iter().enumerate().map(|(id, text)| (text.clone(), json!(id))).collect();
    let merges: Vec<String> =
        (16..60_000_u32).map(|number| format!("{number:x}")).map(|text| format!("{} {}", &text[..1], &text[1..])).collect();
    let merges: Vec<String> = merges.into_iter().filter(|merge| !merge.contains(" 0") || merge.ends_with(" 0")).collect();
    let whole = |model: Value| json!({ "decoder": { "type": "ByteLevel" }, "model": model }).to_string();
    open(&whole(json!({ "type": "BPE", "vocab": vocab, "merges": merges }))).unwrap();
    let scored: Vec<Value> = texts.iter().map(|text| json!([text, -1])).collect();
    open(&whole(json!({ "type": "Unigram", "vocab": scored, "unk_id": 0 }))).unwrap();
    let specials: Vec<Value> = (0..40_000).map(|id| json!({ "id": id + 3, "content": format!("<{id}>"), "special": true })).collect();
    open(&with("/added_tokens", json!(specials))).unwrap();
}

#[test]
fn files_beside_it_are_checked() {
    let tokenizer = changed(|_| {}).to_string();
    for (config, said) in [
        ("[", "tokenizer_config.json"),
        (r#"{"bos_token":[[[]]]}"#, "bos_token"),
        (r#"{"eos_token":{"text":"x"}}"#, "eos_token"),
        (r#"{"add_bos_token":"yes"}"#, "tokenizer_config.json"),
        (r#"{"chat_template":{"a":1}}"#, "chat_template"),
    ] {
        let files = HubFiles { tokenizer_config: Some(config.as_bytes()), ..files(tokenizer.as_bytes()) };
        let error = Tokenizer::from_hub(&files).err().unwrap_or_else(|| panic!("{config} is taken")).to_string();
        assert!(error.contains(said), "{config}: {error}");
    }
    for (generation, ends) in
        [(r#"{"eos_token_id":3}"#, vec![3]), (r#"{"eos_token_id":[3,2,99]}"#, vec![2, 3]), (r#"{"eos_token_id":null}"#, vec![])]
    {
        let files = HubFiles { generation_config: Some(generation.as_bytes()), ..files(tokenizer.as_bytes()) };
        assert_eq!(Tokenizer::from_hub(&files).unwrap().eos(), ends, "{generation}");
    }
    let files = HubFiles { generation_config: Some(br#"{"eos_token_id":-1}"#), ..files(tokenizer.as_bytes()) };
    assert!(Tokenizer::from_hub(&files).err().unwrap().to_string().contains("a token's id"));
}
