//! Mixtures of experts as they are published: gpt-oss's MXFP4 against the same values in BF16, weights that are quantised while they
//! are loaded, and experts in several bindings.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::{fs, path::PathBuf, sync::Arc};

use half::bf16;
use parhelion::{
    exec::DeviceLimits,
    loader::{Checkpoint, DType, MemoryRepository, MemorySource},
    models,
    quantise::{Quant, QuantType},
    session::{Prepared, RowInput, SessionOptions},
};
use parhelion_cli::host::Device;
use parhelion_tests::models::{load, rows, scalar, tokenizer_json};
use pollster::block_on;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::{Value, json};

const VOCABULARY: usize = 64;
const TOKENS: [u32; 12] = [3, 10, 17, 24, 31, 38, 45, 52, 59, 2, 9, 16];

fn file(family: &str, name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families").join(family).join(name)).unwrap()
}

fn open(config: &[u8], weights: Vec<u8>) -> Checkpoint {
    let repository = MemoryRepository::new("experts")
        .with("config.json", config.to_vec())
        .with("model.safetensors", weights)
        .with("tokenizer.json", tokenizer_json(VOCABULARY));
    block_on(Checkpoint::open_repository(&repository)).unwrap()
}

fn repository(family: &str) -> Checkpoint {
    open(&file(family, "config.json"), file(family, "model.safetensors"))
}

fn gguf(family: &str) -> Checkpoint {
    let name = format!("{family}.gguf");
    let source = Arc::new(MemorySource::new(&name, file(family, &name)));
    block_on(Checkpoint::open(source)).unwrap()
}

/// The logits of all tokens in one piece, and the bytes of the weights.
fn run(checkpoint: Checkpoint, quant: Option<Quant>) -> (Vec<f32>, u64) {
    let Device { executor, driver, .. } = Device::open(&scalar().request).unwrap();
    let options = SessionOptions { context: Some(64), reproducible: true, quant, ..SessionOptions::default() };
    let weights = block_on(Prepared::new(&checkpoint, executor.device(), options)).unwrap().memory().weights;
    let mut session = load(checkpoint, executor, &driver, options);
    let sequence = session.open_sequence().unwrap();
    let outputs: Vec<u32> = (0..TOKENS.len() as u32).collect();
    let rows: Vec<RowInput> = rows(sequence, &TOKENS);
    let logits = driver.block_on(session.forward(&rows, &outputs)).unwrap();
    (logits.concat(), weights)
}

/// The root of the mean square of the difference, relative to that of `expected`.
fn distance(got: &[f32], expected: &[f32]) -> f64 {
    let square = |values: &mut dyn Iterator<Item = f32>| values.map(|value| f64::from(value).powi(2)).sum::<f64>();
    let difference = square(&mut got.iter().zip(expected).map(|(got, expected)| got - expected));
    (difference / square(&mut expected.iter().copied())).sqrt()
}

/// The values of codes of 4 bits (OCP's E2M1), without their sign.
const E2M1: [f32; 8] = [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0];

/// A tensor of experts in both forms: blocks and exponents by rows, and BF16 by columns.
struct Expert {
    shape: [usize; 3],
    blocks: Vec<u8>,
    exponents: Vec<u8>,
    transposed: Vec<u8>,
}

/// `rows` rows of `cols` columns for each expert.
fn expert(seed: u32, [experts, rows, cols]: [usize; 3]) -> Expert {
    let mut state = seed;
    let mut random = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let blocks: Vec<u8> = (0..experts * rows * cols / 2).map(|_| random()).collect();
    let exponents: Vec<u8> = (0..experts * rows * cols / 32).map(|_| 123 + random() % 3).collect();
    let value = |expert: usize, row: usize, col: usize| {
        let at = (expert * rows + row) * cols + col;
        let code = blocks[at / 2] >> (4 * (at % 2)) & 15;
        let sign = if code & 8 == 0 { 1.0 } else { -1.0 };
        sign * E2M1[usize::from(code & 7)] * 2.0_f32.powi(i32::from(exponents[at / 32]) - 127)
    };
    let places = (0..experts).flat_map(|expert| (0..cols).flat_map(move |col| (0..rows).map(move |row| (expert, row, col))));
    let transposed = places.flat_map(|(expert, row, col)| bf16::from_f32(value(expert, row, col)).to_le_bytes()).collect();
    Expert { shape: [experts, rows, cols], blocks, exponents, transposed }
}

/// gpt-oss with experts of 32 elements, a block of MXFP4; in that type, and in BF16 with columns for rows.
fn gpt_oss() -> [Checkpoint; 2] {
    let bytes = file("gpt_oss", "model.safetensors");
    let published = SafeTensors::deserialize(&bytes).unwrap();
    let names: Vec<&str> = published.names().into_iter().filter(|name| name.contains(".experts.")).collect();
    let made: Vec<(&str, Expert)> = (0..)
        .zip(names.iter().filter(|name| !name.ends_with("_bias")))
        .map(|(i, &name)| (name, expert(i, [6, if name.ends_with("gate_up_proj") { 64 } else { 32 }, 32])))
        .collect();
    let biases: Vec<u8> = (0..6 * 64).flat_map(|i| bf16::from_f32((i % 13) as f32 / 16.0 - 0.375).to_le_bytes()).collect();
    let repository = |mxfp4: bool| {
        let mut config: Value = serde_json::from_slice(&file("gpt_oss", "config.json")).unwrap();
        config["intermediate_size"] = json!(32);
        let mut tensors: Vec<(String, TensorView<'_>)> = published
            .iter()
            .filter(|(name, _)| made.iter().all(|(known, _)| known != name))
            .map(|(name, view)| {
                let ours = name.ends_with("gate_up_proj_bias").then(|| TensorView::new(Dtype::BF16, vec![6, 64], &biases).unwrap());
                (name.to_owned(), ours.unwrap_or(view))
            })
            .collect();
        for (name, Expert { shape: [experts, rows, cols], blocks, exponents, transposed }) in &made {
            if mxfp4 {
                let blocks = TensorView::new(Dtype::U8, vec![*experts, *rows, cols / 32, 16], blocks).unwrap();
                let exponents = TensorView::new(Dtype::U8, vec![*experts, *rows, cols / 32], exponents).unwrap();
                tensors.extend([(format!("{name}_blocks"), blocks), (format!("{name}_scales"), exponents)]);
            } else {
                tensors.push(((*name).to_owned(), TensorView::new(Dtype::BF16, vec![*experts, *cols, *rows], transposed).unwrap()));
            }
        }
        if mxfp4 {
            config["quantization_config"] = json!({ "quant_method": "mxfp4" });
        }
        open(config.to_string().as_bytes(), safetensors::serialize(tensors, None).unwrap())
    };
    [repository(true), repository(false)]
}

#[test]
fn gpt_oss_gives_the_same_from_mxfp4_and_from_the_same_values_in_bf16() {
    let [mxfp4, plain] = gpt_oss();
    let tensor = mxfp4.tensor("model.layers.1.mlp.experts.gate_up_proj.weight").unwrap();
    assert_eq!((tensor.dtype, &tensor.shape[..]), (DType::MXFP4, &[6, 64, 32][..]));
    assert_eq!(mxfp4.quantisation(), Some("MXFP4"));
    let ((got, small), (expected, large)) = (run(mxfp4, None), run(plain, None));
    assert!(small < large, "{small} bytes of weights for {large}");
    // Scales multiply sums of a block in the one case and values in the other.
    let distance = distance(&got, &expected);
    assert!(distance < 1e-5, "{distance}");
}

#[test]
fn experts_are_quantised_while_they_are_loaded() {
    let quant = Some(Quant { target: QuantType::Q8_0, requantise: false });
    for family in ["qwen3_moe", "gpt_oss"] {
        let (as_published, all) = run(repository(family), None);
        let (got, bytes) = run(repository(family), quant);
        let (of_gguf, _) = run(gguf(family), quant);
        assert!(got == of_gguf, "{family}: a repository and a GGUF file of the same values");
        assert!(bytes < all * 3 / 4, "{family}: {bytes} of {all} bytes");
        let distance = distance(&got, &as_published);
        // Rounded weights make a token choose other experts now and then.
        assert!(distance > 0.0 && distance < 0.2, "{family}: {distance}");
    }
}

#[test]
fn a_layer_s_experts_are_split_where_a_binding_ends() {
    let whole = block_on(models::build(&repository("qwen3_moe"), &DeviceLimits::FLOOR)).unwrap();
    // three of twelve gates and factors of 16 rows of 32 columns in BF16, and half of another
    let limits = DeviceLimits { max_binding: 3584, ..DeviceLimits::FLOOR };
    let split = block_on(models::build(&repository("qwen3_moe"), &limits)).unwrap();
    let of_experts = |label: &str| label.contains("experts.0.up_proj");
    for (whole, split) in whole.weights.iter().zip(&split.weights).filter(|(whole, _)| of_experts(&whole.label)) {
        assert_eq!((whole.parts.len(), split.parts.len()), (1, 4), "{}", whole.label);
        let rows: u32 = split.parts.iter().map(|part| part.rows).sum();
        assert_eq!(rows, whole.parts[0].rows);
        assert!(split.parts.iter().all(|part| part.quant_bytes <= limits.max_binding));
    }
    assert_eq!(whole.weights.iter().filter(|weight| of_experts(&weight.label)).count(), 2);
}
