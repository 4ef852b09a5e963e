//! Quantised repositories against values that numpy computed by each format's definition (`fixtures/quantised.py`), bit for bit.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

#[path = "common/safetensors.rs"]
mod common;

use common::{of, open, repository};
use parhelion_loader::{Checkpoint, DType, TensorInfo};
use pollster::block_on;
use safetensors::SafeTensors;
use serde_json::Value;

const TENSORS: &[u8] = include_bytes!("fixtures/quantised.safetensors");
const CASES: &str = include_str!("fixtures/quantised.json");

/// NF4's values, by their f32 bits, from bitsandbytes.
const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

struct Case {
    name: String,
    config: Value,
    /// Name, type, shape, bytes.
    parts: Vec<(String, String, Vec<u64>, Vec<u8>)>,
    expected: Vec<f32>,
}

fn cases() -> Vec<Case> {
    let file = SafeTensors::deserialize(TENSORS).unwrap();
    let listed: Vec<Value> = serde_json::from_str(CASES).unwrap();
    let case = |case: Value| {
        let name = case["name"].as_str().unwrap().to_owned();
        let own = |full: &str| full.strip_prefix(&name).and_then(|rest| rest.strip_prefix('|')).map(str::to_owned);
        let mut parts = Vec::new();
        let mut expected = Vec::new();
        for (full, view) in file.tensors() {
            let Some(part) = own(&full) else { continue };
            if part == "expected" {
                expected = view.data().chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect();
            } else {
                let shape = view.shape().iter().map(|&dim| dim as u64).collect();
                parts.push((part, format!("{:?}", view.dtype()), shape, view.data().to_vec()));
            }
        }
        Case { name, config: case["config"].clone(), parts, expected }
    };
    listed.into_iter().map(case).collect()
}

impl Case {
    fn open(&self) -> Checkpoint {
        self.try_open().unwrap_or_else(|error| panic!("{}: {error}", self.name))
    }

    fn try_open(&self) -> Result<Checkpoint, parhelion_loader::LoadError> {
        let parts: Vec<_> = self.parts.iter().map(|(name, dtype, shape, bytes)| (&**name, &**dtype, &**shape, bytes.clone())).collect();
        open(&repository(&self.config.to_string(), of(&parts)))
    }

    /// The message for the case after a change, at opening or at its weight.
    fn refused(mut self, change: impl Fn(&mut Self)) -> String {
        change(&mut self);
        match self.try_open() {
            Ok(checkpoint) => checkpoint.tensor("m.weight").err().map_or_else(|| "accepted".to_owned(), |error| error.to_string()),
            Err(error) => error.to_string(),
        }
    }

    fn part(&mut self, name: &str) -> &mut (String, String, Vec<u64>, Vec<u8>) {
        self.parts.iter_mut().find(|part| part.0 == name).unwrap()
    }
}

fn named(name: &str) -> Case {
    cases().into_iter().find(|case| case.name == name).unwrap()
}

fn float8(byte: u8, exponent_bits: i32) -> f32 {
    let mantissa_bits = 7 - exponent_bits;
    let bias = (1 << (exponent_bits - 1)) - 1;
    let exponent = i32::from(byte & 0x7F) >> mantissa_bits;
    let mantissa = f32::from(byte & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits) as f32;
    let value = if exponent == 0 { mantissa * 2_f32.powi(1 - bias) } else { (1.0 + mantissa) * 2_f32.powi(exponent - bias) };
    if byte & 0x80 == 0 { value } else { -value }
}

/// The values of blocks, by the layout that `DType` documents.
fn values(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    let float = |bytes: &[u8]| f32::from_le_bytes(bytes.try_into().unwrap());
    let nibble = |codes: &[u8], i: usize| codes[i / 32 * 16 + i % 16] >> (i % 32 / 16 * 4) & 15;
    let block = |b: &[u8]| -> Vec<f32> {
        let d = float(&b[..4]);
        match dtype {
            DType::AFFINE4_32 | DType::AFFINE4_64 | DType::AFFINE4_128 => {
                (0..2 * (b.len() - 8)).map(|i| f32::from(nibble(&b[8..], i)) * d + float(&b[4..8])).collect()
            }
            DType::AFFINE8_32 | DType::AFFINE8_64 => b[8..].iter().map(|&q| f32::from(q) * d + float(&b[4..8])).collect(),
            DType::NF4 => (0..64).map(|i| NF4[usize::from(nibble(&b[4..], i))] * d).collect(),
            DType::SCALED_F8_E4M3 => b[4..].iter().map(|&q| float8(q, 4) * d).collect(),
            DType::SCALED_F8_E5M2 => b[4..].iter().map(|&q| float8(q, 5) * d).collect(),
            other => panic!("{other} is not a type of quantised repositories"),
        }
    };
    let two = || bytes.as_chunks::<2>().0.iter();
    match dtype {
        DType::F16 => two().map(|&two| half::f16::from_le_bytes(two).to_f32()).collect(),
        DType::BF16 => two().map(|&two| half::bf16::from_le_bytes(two).to_f32()).collect(),
        _ => bytes.chunks_exact(dtype.block_bytes() as usize).flat_map(block).collect(),
    }
}

fn rows(checkpoint: &Checkpoint, tensor: &TensorInfo, first: u64, count: u64) -> Vec<u8> {
    block_on(checkpoint.read_rows(tensor, first, count)).unwrap().into_owned()
}

#[test]
fn every_format_gives_the_values_of_its_definition() {
    let cases = cases();
    assert_eq!(cases.len(), 27);
    for case in cases {
        let checkpoint = case.open();
        let names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect();
        assert_eq!(names, ["m.weight"], "{}", case.name);
        let tensor = checkpoint.tensor("m.weight").unwrap();
        let &[count, cols] = tensor.shape.as_slice() else { panic!("{}: {:?}", case.name, tensor.shape) };
        assert_eq!(tensor.elems() as usize, case.expected.len(), "{}", case.name);
        let bytes = rows(&checkpoint, tensor, 0, count);
        assert_eq!(bytes.len() as u64, tensor.len, "{}", case.name);
        let got = values(tensor.dtype, &bytes);
        // Zeros of either sign are the same weight.
        let wrong = got.iter().zip(&case.expected).position(|(got, expected)| got != expected);
        assert_eq!(wrong.map(|at| (at as u64 / cols, at as u64 % cols, got[at], case.expected[at])), None, "{}", case.name);
        // Any rows are those of the whole, wherever words begin.
        let row = tensor.row_bytes() as usize;
        for (first, some) in [(0, 1), (3, 7), (7, 2), (9, 15), (23, 1), (5, 0)] {
            let expected = &bytes[first as usize * row..(first + some) as usize * row];
            assert_eq!(rows(&checkpoint, tensor, first, some), expected, "{}: {some} rows from {first}", case.name);
            assert_eq!(*block_on(checkpoint.read(tensor, first * row as u64, some * row as u64)).unwrap(), *expected, "{}", case.name);
        }
        assert!(block_on(checkpoint.read_rows(tensor, 20, 5)).is_err(), "{}: past the end", case.name);
        assert!(block_on(checkpoint.read(tensor, 1, row as u64)).is_err(), "{}: a part of a row", case.name);
    }
}

#[test]
fn plain_tensors_of_quantised_models_stay() {
    let mut case = named("mlx 4 bits, groups of 64");
    case.parts.push(("norm.weight".into(), "BF16".into(), vec![2], vec![0; 4]));
    case.parts.push(("other.scales".into(), "F32".into(), vec![1], vec![0; 4]));
    let checkpoint = case.open();
    let mut names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["m.weight", "norm.weight", "other.scales"]);
}

#[test]
fn what_cannot_be_read_says_so() {
    let set = |key: &'static str, value: Value| move |case: &mut Case| case.config["quantization_config"][key] = value.clone();
    let gptq = || named("gptq 4 bits, groups of 32");
    let nf4 = || named("nf4");
    let cases: [(&str, String, &str); 11] = [
        ("another method", gptq().refused(set("quant_method", "hqq".into())), "\"hqq\""),
        ("5 bits", gptq().refused(set("bits", 5.into())), "GPTQ of 5 bits"),
        ("marlin", gptq().refused(set("checkpoint_format", "marlin".into())), "\"marlin\""),
        ("no bits", gptq().refused(set("bits", Value::Null)), "`quantization_config.bits`"),
        ("a group of 0", gptq().refused(set("group_size", 0.into())), "`quantization_config.group_size`"),
        ("gemv", named("awq, groups of 64").refused(set("version", "gemv".into())), "AWQ's layout \"gemv\""),
        ("fp4", nf4().refused(set("bnb_4bit_quant_type", "fp4".into())), "\"fp4\""),
        ("8 bits", nf4().refused(set("load_in_4bit", false.into())), "bitsandbytes of 8 bits"),
        ("sparse", named("pack-quantized 8 bits").refused(set("format", "marlin-24".into())), "\"marlin-24\""),
        ("6 bits", named("mlx 4 bits, groups of 64").refused(|case| case.config["quantization"]["bits"] = 6.into()), "6 bits of MLX's"),
        (
            "another mode",
            named("mlx 4 bits, groups of 64").refused(|case| case.config["quantization"]["mode"] = "nvfp4".into()),
            "MLX's mode \"nvfp4\"",
        ),
    ];
    for (what, error, fragment) in cases {
        assert!(error.contains(fragment), "{what}: {error}");
    }
}

#[test]
fn parts_that_do_not_fit_together_are_refused_by_name() {
    let shape = |part: &'static str, shape: &'static [u64]| {
        move |case: &mut Case| {
            let part = case.part(part);
            let size = part.3.len() as u64 / part.2.iter().product::<u64>();
            part.2 = shape.to_vec();
            part.3 = vec![0; (shape.iter().product::<u64>() * size) as usize];
        }
    };
    let without = |part: &'static str| move |case: &mut Case| case.parts.retain(|(name, ..)| name != part);
    let state = |text: &'static str| {
        move |case: &mut Case| {
            let part = case.part("m.weight.quant_state.bitsandbytes__nf4");
            (part.2, part.3) = (vec![text.len() as u64], text.as_bytes().to_vec());
        }
    };
    let gptq = || named("gptq 4 bits, groups of 32");
    let ordered = || named("gptq 4 bits, act order");
    let cases: [(&str, String, &str); 18] = [
        ("groups of too few columns", ordered().refused(shape("m.g_idx", &[96])), "m.g_idx"),
        ("groups in floats", ordered().refused(|case| case.part("m.g_idx").1 = "F32".into()), "words of 32 bits"),
        ("a part of a code", named("gptq 3 bits, groups of 32").refused(shape("m.qweight", &[11, 24])), "whole codes of 3 bits"),
        ("no scales", gptq().refused(without("m.scales")), "`scales` among them"),
        ("no zeros", gptq().refused(without("m.qzeros")), "`qzeros` among them"),
        ("too few scales", gptq().refused(shape("m.scales", &[4, 16])), "m.scales"),
        ("other groups", gptq().refused(shape("m.scales", &[2, 24])), "m.qzeros"),
        (
            "groups of 12",
            gptq().refused(|case| {
                shape("m.scales", &[10, 24])(case);
                shape("m.qzeros", &[10, 3])(case);
            }),
            "groups of 32 columns",
        ),
        (
            "no groups",
            gptq().refused(|case| {
                shape("m.scales", &[0, 24])(case);
                shape("m.qzeros", &[0, 3])(case);
            }),
            "groups of 32 columns",
        ),
        ("codes of bytes", gptq().refused(|case| case.part("m.qweight").1 = "F32".into()), "words of 32 bits"),
        (
            "no rows",
            gptq().refused(|case| {
                shape("m.qweight", &[16, 0])(case);
                shape("m.scales", &[4, 0])(case);
                shape("m.qzeros", &[4, 0])(case);
            }),
            "whole blocks of 32",
        ),
        ("twice", gptq().refused(|case| case.parts.push(("m.weight".into(), "F32".into(), vec![1], vec![0; 4]))), "quantised and plain"),
        ("no JSON", named("nf4").refused(state("{")), "bitsandbytes' description"),
        ("a vector", named("nf4").refused(state(r#"{"shape":[3072],"blocksize":64}"#)), "the shape of a matrix"),
        ("a huge shape", named("nf4").refused(state(r#"{"shape":[4294967296,4294967296],"blocksize":64}"#)), "each two of"),
        ("blocks of 0", named("nf4").refused(state(r#"{"shape":[24,128],"blocksize":0}"#)), "each of 3072 blocks"),
        ("blocks of 48", named("nf4").refused(state(r#"{"shape":[24,128],"blocksize":48}"#)), "3072"),
        ("tiles", named("fp8, tiles").refused(shape("m.weight_scale_inv", &[2, 2])), "one for each tile"),
    ];
    for (what, error, fragment) in cases {
        assert!(error.contains(fragment) || (what == "blocks of 48" && error.contains("64 blocks")), "{what}: {error}");
    }
}

/// What no shape tells is found when rows are read.
#[test]
fn columns_of_groups_without_scales_are_refused() {
    for name in ["gptq 4 bits, act order", "gptq 4 bits, act order of neighbours"] {
        for group in [4_i32, -1, i32::MAX] {
            for at in [2, 127] {
                let error = named(name).refused(|case| case.part("m.g_idx").3[4 * at..][..4].copy_from_slice(&group.to_le_bytes()));
                assert!(
                    error.contains("m.g_idx") && error.contains("below 4") && error.contains(&group.to_string()),
                    "{name}, {at}: {error}"
                );
            }
        }
    }
}

#[test]
fn types_follow_from_how_columns_are_grouped() {
    let types = [
        ("gptq 2 bits, groups of 64", DType::AFFINE4_64),
        ("gptq 3 bits, groups of 32", DType::AFFINE4_32),
        ("gptq 4 bits, act order", DType::F16),
        ("gptq 4 bits, act order of neighbours", DType::AFFINE4_32),
        ("pack-quantized 4 bits, act order", DType::BF16),
    ];
    for (name, expected) in types {
        assert_eq!(named(name).open().tensor("m.weight").unwrap().dtype, expected, "{name}");
    }
}

/// The values that codes stand for are the file's own, and others than NF4's are refused when rows are read.
#[test]
fn other_values_than_nf4_s_are_refused() {
    let mut case = named("nf4");
    case.part("m.weight.quant_map").3[0] = 1;
    let checkpoint = case.open();
    let tensor = checkpoint.tensor("m.weight").unwrap();
    let error = block_on(checkpoint.read_rows(tensor, 0, 1)).unwrap_err().to_string();
    assert!(error.contains("values of its own"), "{error}");
}

/// Experts of gpt-oss's, `[2, 3, 64]`, with another shape for the blocks or the exponents.
fn experts(blocks: &[u64], exponents: Option<&[u64]>) -> Result<Checkpoint, parhelion_loader::LoadError> {
    let bytes = |shape: &[u64]| (0..shape.iter().product::<u64>()).map(|i| (i * 37 + 11) as u8).collect::<Vec<u8>>();
    let name = "m.experts.gate_up_proj";
    let (first, second, bias) = (format!("{name}_blocks"), format!("{name}_scales"), format!("{name}_bias"));
    let mut parts = vec![(&*first, "U8", blocks, bytes(blocks)), (&*bias, "BF16", &[2, 3][..], vec![0; 12])];
    parts.extend(exponents.map(|shape| (&*second, "U8", shape, bytes(shape))));
    let config = serde_json::json!({ "quantization_config": { "quant_method": "mxfp4" } });
    open(&repository(&config.to_string(), of(&parts)))
}

#[test]
fn experts_in_mxfp4_are_one_tensor_of_blocks_with_their_exponent() {
    let checkpoint = experts(&[2, 3, 2, 16], Some(&[2, 3, 2])).unwrap();
    let names: Vec<&str> = checkpoint.tensors().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["m.experts.gate_up_proj.weight", "m.experts.gate_up_proj_bias"]);
    let tensor = checkpoint.tensor("m.experts.gate_up_proj.weight").unwrap();
    assert_eq!((tensor.dtype, &tensor.shape[..], tensor.len), (DType::MXFP4, &[2, 3, 64][..], 12 * 17));
    let byte = |i: usize| (i * 37 + 11) as u8;
    for block in 0..12 {
        let code = |column: usize| byte(16 * block + column / 2) >> (4 * (column % 2)) & 15;
        let expected: Vec<u8> = std::iter::once(byte(block)).chain((0..16).map(|i| code(i) | code(i + 16) << 4)).collect();
        let row = rows(&checkpoint, tensor, block as u64 / 2, 1);
        assert_eq!(row[block % 2 * 17..][..17], expected, "block {block}");
    }
}

#[test]
fn experts_in_mxfp4_that_do_not_fit_together_are_refused_by_name() {
    let refused = |blocks: &[u64], exponents: Option<&[u64]>| experts(blocks, exponents).err().unwrap().to_string();
    for (what, error, fragment) in [
        ("no exponents", refused(&[2, 3, 2, 16], None), "`scales` among them"),
        ("too few exponents", refused(&[2, 3, 2, 16], Some(&[2, 3, 1])), "gate_up_proj_scales"),
        ("blocks of 8 bytes", refused(&[2, 3, 2, 8], Some(&[2, 3, 2])), "blocks of 16 bytes"),
        ("one matrix", refused(&[3, 2, 16], Some(&[3, 2])), "blocks of 16 bytes"),
        ("no experts", refused(&[0, 3, 2, 16], Some(&[0, 3, 2])), "experts with rows"),
    ] {
        assert!(error.contains(fragment), "{what}: {error}");
    }
}
