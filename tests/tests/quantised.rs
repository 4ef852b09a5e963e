//! What repositories store as several tensors, through loader and engine layout, against values that numpy computed by each format's
//! definition (`loader/tests/fixtures/quantised.py`).

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::collections::BTreeSet;

use parhelion::{
    cpu::CpuExecutor,
    exec::Serial,
    formats,
    models::Transform,
    quantise::{QuantType, QuantiseError, Quantiser},
};
use parhelion_loader::{Checkpoint, DType, MemoryRepository};
use parhelion_shaders::axes::Weight;
use parhelion_tests::dequantise::for_each_rows;
use pollster::block_on;
use serde_json::{Value, json};

const TENSORS: &[u8] = include_bytes!("../../loader/tests/fixtures/quantised.safetensors");
const CASES: &str = include_str!("../../loader/tests/fixtures/quantised.json");

fn open(config: &str, weights: Vec<u8>) -> Checkpoint {
    let repository = MemoryRepository::new("quantised").with("config.json", config).with("model.safetensors", weights);
    block_on(Checkpoint::open_repository(&repository)).unwrap()
}

/// A safetensors file of the tensors that another has under names that begin with `prefix`.
fn part_of(whole: &Checkpoint, prefix: &str) -> Vec<u8> {
    let (mut header, mut data) = (serde_json::Map::new(), Vec::new());
    for tensor in whole.tensors() {
        let Some(name) = tensor.name.strip_prefix(prefix).filter(|name| *name != "expected") else { continue };
        let start = data.len();
        data.extend_from_slice(&block_on(whole.read(tensor, 0, tensor.len)).unwrap());
        let entry = json!({ "dtype": tensor.dtype.name(), "shape": tensor.shape, "data_offsets": [start, data.len()] });
        header.insert(name.to_owned(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    [(header.len() as u64).to_le_bytes().as_slice(), &header, &data].concat()
}

#[test]
fn every_format_gives_the_values_of_its_definition() {
    let whole = open("{}", TENSORS.to_vec());
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let mut types = BTreeSet::new();
    for case in &cases {
        let name = case["name"].as_str().unwrap();
        let checkpoint = open(&case["config"].to_string(), part_of(&whole, &format!("{name}|")));
        let expected = whole.tensor(&format!("{name}|expected")).unwrap();
        let expected: Vec<f32> = bytemuck::pod_collect_to_vec(&block_on(whole.read(expected, 0, expected.len)).unwrap());
        types.extend(Some(checkpoint.tensor("m.weight").unwrap().dtype).filter(|dtype| dtype.ggml_id().is_none()).map(DType::name));
        let mut got = Vec::new();
        for_each_rows(&checkpoint, "m.weight", |row| got.extend_from_slice(row));
        // Zeros of either sign are the same weight.
        let wrong = got.iter().zip(&expected).position(|(got, expected)| got != expected);
        assert_eq!((got.len(), wrong), (expected.len(), None), "{name}");
    }
    let all = Weight::ALL.iter().flat_map(|&format| formats::info(format).sources);
    let brought = all.filter(|source| source.dtype.ggml_id().is_none()).map(|source| source.dtype.name());
    assert_eq!(types, brought.collect(), "every type that repositories bring");
}

/// Columns in an order of their own make values of 16 bits, which are then quantised as if they had been published so.
#[test]
fn values_of_shuffled_columns_are_quantised_like_published_ones() {
    let whole = open("{}", TENSORS.to_vec());
    let cases: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let case = cases.iter().find(|case| case["name"] == "gptq 4 bits, act order").unwrap();
    let packed = open(&case["config"].to_string(), part_of(&whole, "gptq 4 bits, act order|"));
    let info = packed.tensor("m.weight").unwrap();
    let data = block_on(packed.read(info, 0, info.len)).unwrap();
    let header = json!({ "m.weight": { "dtype": "F16", "shape": info.shape, "data_offsets": [0, data.len()] } }).to_string();
    let plain = open("{}", [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &data].concat());
    let quantised = |checkpoint: &Checkpoint| {
        let mut executor = CpuExecutor::new(Box::new(Serial));
        let mut bytes = Vec::new();
        let mut write = |chunk: &[u8]| -> Result<(), QuantiseError> {
            bytes.extend_from_slice(chunk);
            Ok(())
        };
        let info = checkpoint.tensor("m.weight").unwrap();
        let mut quantiser = Quantiser::new(checkpoint, &mut executor);
        block_on(quantiser.convert(info, Transform::None, QuantType::Q8_0, &mut write)).unwrap();
        bytes
    };
    let bytes = quantised(&packed);
    assert_eq!(bytes.len() as u64, info.elems() / 32 * 34);
    assert!(bytes == quantised(&plain));
}
