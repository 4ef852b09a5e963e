//! Models as the `transformers` library publishes them, against a forward pass written in numpy (`fixtures/tiny_llama.py`): whole
//! and in shards, in F32, F16 and BF16, tied and untied, with each way to stretch positions.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::rc::Rc;

use parhelion::{
    exec::DeviceLimits,
    loader::{Checkpoint, MemoryRepository},
    models,
    session::{Prepared, RowInput, Session, SessionOptions},
};
use parhelion_cli::host::{Device, DeviceChoice, DeviceRequest, Stopwatch, SwitchChoice};
use parhelion_tests::models::tokenizer_json;
use pollster::block_on;
use serde_json::{Value, json};

const FIXTURE: &str = include_str!("../fixtures/tiny_llama.json");
const WEIGHTS: &[u8] = include_bytes!("../fixtures/tiny_llama.safetensors");

struct Tensor {
    name: String,
    shape: Value,
    /// As published: BF16, whose values F16 and F32 hold too.
    values: Vec<half::bf16>,
}

fn published() -> Vec<Tensor> {
    let length = u64::from_le_bytes(WEIGHTS[..8].try_into().unwrap()) as usize;
    let header: serde_json::Map<String, Value> = serde_json::from_slice(&WEIGHTS[8..8 + length]).unwrap();
    let tensor = |(name, entry): (String, Value)| {
        let at = |i: usize| 8 + length + entry["data_offsets"][i].as_u64().unwrap() as usize;
        let bytes = WEIGHTS[at(0)..at(1)].chunks_exact(2);
        Tensor { name, shape: entry["shape"].clone(), values: bytes.map(|b| half::bf16::from_le_bytes([b[0], b[1]])).collect() }
    };
    header.into_iter().map(tensor).collect()
}

/// A safetensors file of some tensors, converted to `dtype`.
fn file<'a>(tensors: impl Iterator<Item = &'a Tensor>, dtype: &str) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::<u8>::new());
    for tensor in tensors {
        let start = data.len();
        for value in &tensor.values {
            match dtype {
                "BF16" => data.extend(value.to_le_bytes()),
                "F16" => data.extend(half::f16::from_f32(value.to_f32()).to_le_bytes()),
                _ => data.extend(value.to_f32().to_le_bytes()),
            }
        }
        header.insert(tensor.name.clone(), json!({ "dtype": dtype, "shape": tensor.shape, "data_offsets": [start, data.len()] }));
    }
    let header = serde_json::to_vec(&header).unwrap();
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat()
}

/// The tensors in three files, dealt in turn, with their index.
fn sharded(repository: MemoryRepository, tensors: &[&Tensor], dtype: &str) -> MemoryRepository {
    let path = |shard: usize| format!("model-{:05}-of-00003.safetensors", shard + 1);
    let map: serde_json::Map<String, Value> = tensors.iter().enumerate().map(|(i, t)| (t.name.clone(), json!(path(i % 3)))).collect();
    let index = json!({ "metadata": { "total_size": 1 }, "weight_map": map }).to_string();
    (0..3).fold(repository.with("model.safetensors.index.json", index), |repository, shard| {
        let dealt = tensors.iter().copied().enumerate().filter(|(i, _)| i % 3 == shard).map(|(_, tensor)| tensor);
        repository.with(&path(shard), file(dealt, dtype))
    })
}

/// The repository of a variant of the fixture. Tied ones leave the output head out, unless `redundant`.
fn repository(config: &Value, dtype: &str, shards: bool, redundant: bool) -> MemoryRepository {
    let all = published();
    let tied = config["tie_word_embeddings"] == true && !redundant;
    let tensors: Vec<&Tensor> = all.iter().filter(|tensor| !tied || tensor.name != "lm_head.weight").collect();
    let repository = MemoryRepository::new("tiny").with("config.json", config.to_string());
    match shards {
        true => sharded(repository, &tensors, dtype),
        false => repository.with("model.safetensors", file(tensors.into_iter(), dtype)),
    }
}

fn variant(name: &str) -> Value {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    fixture["variants"].as_array().unwrap().iter().find(|variant| variant["name"] == name).unwrap().clone()
}

fn open(repository: &MemoryRepository) -> Checkpoint {
    block_on(Checkpoint::open_repository(repository)).unwrap()
}

/// The message for a model that is refused.
fn refused(config: &Value) -> String {
    let checkpoint = open(&repository(config, "BF16", false, true));
    block_on(models::build(&checkpoint, &DeviceLimits::FLOOR)).err().unwrap().to_string()
}

#[test]
fn a_stored_copy_of_a_tied_head_is_left_alone() {
    let tied = &variant("tied")["config"];
    for redundant in [false, true] {
        let built = block_on(models::build(&open(&repository(tied, "BF16", false, redundant)), &DeviceLimits::FLOOR)).unwrap();
        let names: Vec<&str> = built.weights.iter().flat_map(|w| &w.sources).map(|source| source.info.name.as_str()).collect();
        assert!(!names.contains(&"lm_head.weight") && names.contains(&"model.embed_tokens.weight"), "{names:?}");
    }
}

#[test]
fn configurations_that_cannot_be_run_are_refused_by_name() {
    let changed = |key: &str, value: Value| {
        let mut config = variant("untied")["config"].clone();
        config[key] = value;
        refused(&config)
    };
    let cases: [(&str, Value, &[&str]); 16] = [
        ("model_type", json!("lemma"), &["`lemma`", "closest of the supported is `gemma`"]),
        ("model_type", Value::Null, &["config.json", "`model_type`"]),
        ("attention_bias", json!(true), &["tiny", "model.layers.0.self_attn.q_proj.bias"]),
        ("mlp_bias", json!(true), &["model.layers.0.mlp.gate_proj.bias"]),
        ("hidden_act", json!("tanh"), &["tiny/config.json", "`hidden_act`", "relu2", "tanh"]),
        ("num_hidden_layers", Value::Null, &["`num_hidden_layers`"]),
        ("num_hidden_layers", json!(3), &["model.layers.2."]),
        ("num_attention_heads", json!("4"), &["`num_attention_heads`", "a whole number"]),
        ("num_key_value_heads", json!(3), &["`num_key_value_heads`", "divisor"]),
        ("head_dim", json!(7), &["`head_dim`", "even"]),
        ("rope_scaling", json!({"rope_type": "ntk"}), &["`rope_scaling.rope_type`", "longrope or proportional", "ntk"]),
        ("rope_scaling", json!({"rope_type": "longrope", "short_factor": [1.0]}), &["`rope_scaling.long_factor`"]),
        ("rope_scaling", json!({"rope_type": "longrope", "short_factor": [1.0], "long_factor": [2.0]}), &["frequency factors is 1"]),
        ("rope_scaling", json!({"rope_type": "longrope", "short_factor": ["a"]}), &["`rope_scaling.short_factor`", "finite numbers"]),
        ("rope_scaling", json!({"rope_type": "dynamic", "factor": -1.0}), &["factor is -1"]),
        ("rope_scaling", json!({"rope_type": "llama3", "factor": 8.0}), &["`rope_scaling.low_freq_factor`"]),
    ];
    for (key, value, fragments) in cases {
        let what = format!("{key}: {value}");
        let error = changed(key, value);
        assert!(fragments.iter().all(|fragment| error.contains(fragment)), "{what}: {error}");
    }
}

#[test]
fn a_missing_head_that_is_not_tied_is_an_error() {
    let mut config = variant("tied")["config"].clone();
    let without_head = repository(&config, "BF16", false, false);
    assert!(block_on(models::build(&open(&without_head), &DeviceLimits::FLOOR)).is_ok());
    config["tie_word_embeddings"] = json!(false);
    let error = block_on(models::build(&open(&without_head.with("config.json", config.to_string())), &DeviceLimits::FLOOR)).err().unwrap();
    assert!(error.to_string().contains("lm_head.weight"), "{error}");
}

/// Sums run in another order than numpy's, in f32: logits of magnitude 2 come out within 1e-5, and the bound leaves room for drivers.
const TOLERANCE: f32 = 1e-4;

/// The largest difference between our logits of the last positions and the fixture's.
fn difference(variant: &Value, repository: MemoryRepository, request: &DeviceRequest) -> f32 {
    let fixture: Value = serde_json::from_str(FIXTURE).unwrap();
    let tokens: Vec<u32> = serde_json::from_value(fixture["tokens"].clone()).unwrap();
    let expected: Vec<Vec<f32>> = serde_json::from_value(variant["logits"].clone()).unwrap();
    let vocab = variant["config"]["vocab_size"].as_u64().unwrap();
    let repository = repository.with("tokenizer.json", tokenizer_json(vocab as usize));
    let Device { executor, driver, .. } = Device::open(request).unwrap();
    let options = SessionOptions { context: Some(64), chunk: 16, reproducible: true, ..SessionOptions::default() };
    let got = driver.block_on(async {
        let checkpoint = Checkpoint::open_repository(&repository).await.unwrap();
        let prepared = Prepared::new(&checkpoint, executor.device(), options).await.unwrap();
        let mut session = Session::load(checkpoint, prepared, executor, Rc::new(Stopwatch::start()), &mut |_| ()).await.unwrap();
        let sequence = session.open_sequence().unwrap();
        let rows: Vec<_> = tokens.iter().map(|&token| RowInput::token(sequence, token)).collect();
        let last: Vec<u32> = (tokens.len() - expected.len()..tokens.len()).map(|at| at as u32).collect();
        session.forward(&rows, &last).await.unwrap()
    });
    assert_eq!((got.len(), got[0].len() as u64), (expected.len(), vocab));
    got.iter().flatten().zip(expected.iter().flatten()).map(|(got, expected)| (got - expected).abs()).fold(0.0, f32::max)
}

/// Without a GPU, and with one at WebGPU's floor.
fn devices() -> [(&'static str, DeviceRequest); 2] {
    let gpu = DeviceRequest { choice: DeviceChoice::Gpu, switches: Some(SwitchChoice::Floor), ..DeviceRequest::default() };
    [("twins", DeviceRequest { choice: DeviceChoice::Cpu, ..DeviceRequest::default() }), ("GPU", gpu)]
}

#[test]
fn logits_are_the_reference_s_for_every_type_whole_and_in_shards() {
    let untied = variant("untied");
    for (device, request) in &devices() {
        for (dtype, shards) in [("BF16", false), ("F16", true), ("F32", false), ("BF16", true)] {
            let difference = difference(&untied, repository(&untied["config"], dtype, shards, false), request);
            assert!(difference < TOLERANCE, "{device}, {dtype}, shards {shards}: {difference}");
        }
    }
}

#[test]
fn logits_are_the_reference_s_for_tied_heads_and_stretched_positions() {
    for (device, request) in &devices() {
        for name in ["tied", "linear", "llama3", "yarn"] {
            let variant = variant(name);
            let difference = difference(&variant, repository(&variant["config"], "BF16", false, true), request);
            assert!(difference < TOLERANCE, "{device}, {name}: {difference}");
        }
    }
}
