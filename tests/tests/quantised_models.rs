//! Models that are quantised while they are loaded, against files that were quantised before: from GGUF files, and from repositories,
//! whose names, settings and tokenizers become GGUF's.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::{rc::Rc, sync::Arc};

use parhelion::{
    cpu::CpuExecutor,
    exec::Executor,
    gpu::{Adapters, GpuExecutor, GpuOptions},
    loader::{Checkpoint, MemoryRepository, MemorySource, Specials},
    quantise::{FilePlan, Quant, QuantType},
    session::{Input, Prepared, RowInput, Sampling, Session, SessionOptions},
};
use parhelion_bench::synth;
use parhelion_cli::host::{Driver, Stopwatch};
use parhelion_tests::{
    harness::{ADAPTER, Threads},
    models::gguf_of,
};
use pollster::block_on;
use serde_json::{Value, json};

const FIXTURE: &str = include_str!("../fixtures/tiny_llama.json");
const WEIGHTS: &[u8] = include_bytes!("../fixtures/tiny_llama.safetensors");

/// Rows of 192 and of 512 columns: Q4_K takes the latter alone.
fn published() -> Vec<u8> {
    let (shape, quant) = synth::find("tiny", "F16").unwrap();
    synth::gguf(shape, quant)
}

fn open(bytes: Vec<u8>) -> Checkpoint {
    block_on(Checkpoint::open(Arc::new(MemorySource::new("tiny.gguf", bytes)))).unwrap()
}

fn cpu() -> (Box<dyn Executor>, Driver) {
    (Box::new(CpuExecutor::new(Box::new(Threads))), Driver::Cpu)
}

fn gpu() -> (Box<dyn Executor>, Driver) {
    let adapters = block_on(Adapters::find());
    let index = adapters.choose(std::env::var(ADAPTER).ok().as_deref()).unwrap();
    let gpu = block_on(GpuExecutor::open(&adapters, index, &GpuOptions::default())).unwrap();
    let waiter = gpu.waiter();
    (Box::new(gpu), Driver::Gpu(waiter))
}

/// The logits of a few tokens, the bytes that the weights took, and those of everything while loading and after.
fn run((executor, driver): (Box<dyn Executor>, Driver), checkpoint: Checkpoint, quant: Option<Quant>) -> (Vec<Vec<f32>>, u64) {
    let options = SessionOptions { context: Some(64), reproducible: true, quant, ..SessionOptions::default() };
    driver.block_on(async {
        let prepared = Prepared::new(&checkpoint, executor.device(), options).await.unwrap();
        let memory = prepared.memory();
        let mut session = Session::load(checkpoint, prepared, executor, Rc::new(Stopwatch::start()), &mut |_| ()).await.unwrap();
        assert_eq!(session.memory().total(), memory.total(), "what tensors passed through was given back");
        let sequence = session.open_sequence().unwrap();
        let rows: Vec<_> = [5_u32, 90, 17].map(|token| RowInput { sequence, input: Input::Token(token) }).into();
        (session.forward(&rows, &[0, 1, 2]).await.unwrap(), memory.weights)
    })
}

#[test]
fn quantising_on_load_gives_what_a_quantised_file_gives() {
    let (as_published, all) = run(cpu(), open(published()), None);
    for target in [QuantType::Q8_0, QuantType::Q4_0, QuantType::Q4_K] {
        let quant = Quant { target, requantise: false };
        let file = open(gguf_of(&open(published()), quant));
        let (expected, weights) = run(cpu(), file.clone(), None);
        let (loaded, predicted) = run(cpu(), open(published()), Some(quant));
        assert!(loaded == expected, "{target:?} on the CPU");
        assert!(weights == predicted && predicted < all * 6 / 10, "{target:?}: {predicted} of {all} bytes, {weights} from a file");
        let (expected, _) = run(gpu(), file, None);
        let (loaded, _) = run(gpu(), open(published()), Some(quant));
        assert!(loaded == expected, "{target:?} on a GPU");
        let difference = loaded[2].iter().zip(&as_published[2]).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        let size = as_published[2].iter().map(|a| a.powi(2)).sum::<f32>().sqrt();
        let limit = if target == QuantType::Q8_0 { 0.03 } else { 0.4 };
        assert!(difference < limit * size, "{target:?}: logits are {difference} from logits of size {size}");
    }
}

#[test]
fn what_is_quantised_is_quantised_again_only_when_asked() {
    let q8_0 = gguf_of(&open(published()), Quant { target: QuantType::Q8_0, requantise: false });
    let (as_it_is, bytes) = run(cpu(), open(q8_0.clone()), None);
    let to = |requantise| Some(Quant { target: QuantType::Q4_0, requantise });
    let (left, bytes_left) = run(cpu(), open(q8_0.clone()), to(false));
    assert!(left == as_it_is && bytes_left == bytes);
    let (again, bytes_again) = run(cpu(), open(q8_0), to(true));
    assert!(again != as_it_is && bytes_again < bytes * 7 / 10, "{bytes_again} of {bytes}");
}

/// A tokenizer of single letters and a few merges, fewer tokens than the embedding has rows.
fn tokenizer_json(split: &Value) -> Value {
    let letters = ('a'..='z').chain(['Ġ', '0', '1', '2']).map(String::from);
    let all = ["<s>", "</s>"].map(String::from).into_iter().chain(letters).chain(["ab".into(), "Ġab".into(), "abc".into()]);
    let vocab: serde_json::Map<String, Value> = all.enumerate().map(|(id, text)| (text, json!(id))).collect();
    let special = |id: u32, text: &str| json!({ "id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true });
    json!({
        "added_tokens": [special(0, "<s>"), special(1, "</s>")],
        "normalizer": null,
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            split, { "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true },
        ]},
        "post_processor": null,
        "decoder": { "type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true },
        "model": { "type": "BPE", "vocab": vocab, "merges": [["a", "b"], ["Ġ", "ab"], ["ab", "c"]] },
    })
}

/// The fixture's repository with the configuration of a variant.
fn repository(variant: &str, split: &Value) -> Checkpoint {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let variants = fixture["variants"].as_array().unwrap();
    let config = &variants.iter().find(|known| known["name"] == variant).unwrap()["config"];
    let beside =
        json!({ "bos_token": "<s>", "eos_token": { "content": "</s>" }, "add_bos_token": true, "chat_template": "{{ messages }}" });
    let repository = MemoryRepository::new("tiny")
        .with("config.json", config.to_string())
        .with("model.safetensors", WEIGHTS.to_vec())
        .with("tokenizer.json", tokenizer_json(split).to_string())
        .with("tokenizer_config.json", beside.to_string())
        // No token can be seven times as likely as the likeliest.
        .with("generation_config.json", r#"{"temperature":1,"top_k":20,"top_p":0.8,"min_p":7,"repetition_penalty":1.05}"#);
    block_on(Checkpoint::open_repository(&repository)).unwrap()
}

#[test]
fn a_repository_becomes_a_file_that_computes_the_same() {
    let quant = Quant { target: QuantType::Q8_0, requantise: false };
    let digits = json!({ "type": "Digits", "individual_digits": true });
    for variant in ["untied", "tied", "linear", "llama3", "yarn"] {
        let file = open(gguf_of(&repository(variant, &digits), quant));
        let (expected, _) = run(cpu(), repository(variant, &digits), Some(quant));
        let (got, _) = run(cpu(), file.clone(), None);
        let worst = expected.iter().flatten().zip(got.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // The factors of Llama 3's frequencies are f32 in a file; all else is the same.
        assert!(worst <= if variant == "llama3" { 1e-4 } else { 0.0 }, "{variant}: {worst}");
        let metadata = file.metadata();
        assert_eq!(metadata.str("general.architecture").unwrap(), "llama");
        assert_eq!((metadata.u32("llama.block_count").unwrap(), metadata.u32("llama.attention.head_count_kv").unwrap()), (2, 2));
        assert_eq!(file.find_tensor("rope_freqs.weight").is_some(), variant == "llama3");
        assert_eq!(file.tensor("blk.0.attn_norm.weight").unwrap().dtype.name(), "F32");
        assert_eq!(file.tensor("blk.0.ffn_down.weight").unwrap().dtype.name(), "BF16", "rows of 48 are no whole blocks");
    }
}

#[test]
fn a_repository_s_tokenizer_becomes_entries() {
    let digits = json!({ "type": "Digits", "individual_digits": true });
    let repository = repository("untied", &digits);
    let file = open(gguf_of(&repository, Quant { target: QuantType::Q8_0, requantise: false }));
    let metadata = file.metadata();
    assert_eq!(metadata.str("tokenizer.ggml.pre").unwrap(), "smollm");
    assert_eq!(metadata.strings("tokenizer.ggml.tokens").unwrap().len(), 128, "a token for each row of the embedding");
    assert_eq!(metadata.u32("tokenizer.ggml.eos_token_id").unwrap(), 1);
    assert_eq!(metadata.str("tokenizer.chat_template").unwrap(), "{{ messages }}");
    let [ours, theirs] = [&repository, &file].map(|checkpoint| block_on(checkpoint.tokenizer()).unwrap());
    for text in ["abc ab 120</s>", "", "a  b\u{e9}", "<s>xyz"] {
        for specials in [Specials::Text, Specials::Parse] {
            assert_eq!(ours.encode(text, specials).unwrap(), theirs.encode(text, specials).unwrap(), "{text:?}");
        }
    }
    assert!(theirs.add_bos() && theirs.bos() == Some(0));
}

#[test]
fn what_publishers_recommend_for_sampling_is_kept() {
    let repository = repository("untied", &json!({ "type": "Digits", "individual_digits": true }));
    let wanted = Sampling { temperature: 1.0, top_k: 20, top_p: 0.8, repetition_penalty: 1.05, ..Sampling::default() };
    assert_eq!(Sampling::published(&repository), wanted);
    let file = open(gguf_of(&repository, Quant { target: QuantType::Q8_0, requantise: false }));
    assert_eq!(Sampling::published(&file), wanted);
    assert_eq!(Sampling::published(&open(published())), Sampling::default());
}

#[test]
fn a_tokenizer_that_gguf_has_no_name_for_is_refused() {
    let split = json!({ "type": "Split", "pattern": { "Regex": "[xyz]+" }, "behavior": "Isolated", "invert": false });
    let quant = Quant { target: QuantType::Q8_0, requantise: false };
    let error = block_on(FilePlan::new(&repository("untied", &split), quant)).unwrap_err().to_string();
    assert!(error.contains("tokenizer.json") && error.contains("[xyz]+"), "{error}");
}
