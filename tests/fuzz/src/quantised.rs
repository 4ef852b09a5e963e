//! Modules of quantised repositories: the tensors of one matrix, as each way of quantisation stores them.

use libfuzzer_sys::arbitrary::{Result, Unstructured};

use crate::build::number;

/// What config.json says, and the tensors of a matrix of `r` rows and `c` columns in groups of `g`: name, type, dimensions.
type Scheme = (&'static str, fn(u64, u64, u64) -> Vec<(&'static str, &'static str, Vec<u64>)>);

const SCHEMES: [Scheme; 8] = [
    (r#"{"model_type":"llama"}"#, |r, c, _| vec![("weight", "F16", vec![r, c])]),
    (r#"{"quantization_config":{"quant_method":"gptq","bits":4,"group_size":32}}"#, |r, c, g| {
        let [packed, scales] = [vec![c / g, r / 8], vec![c / g, r]];
        vec![("qweight", "I32", vec![c / 8, r]), ("qzeros", "I32", packed), ("scales", "F16", scales), ("g_idx", "I32", vec![c])]
    }),
    (r#"{"quantization_config":{"quant_method":"awq","bits":4,"group_size":32,"version":"gemm"}}"#, |r, c, g| {
        vec![("qweight", "I32", vec![c, r / 8]), ("qzeros", "I32", vec![c / g, r / 8]), ("scales", "F16", vec![c / g, r])]
    }),
    (r#"{"quantization":{"bits":4,"group_size":32}}"#, |r, c, g| {
        vec![("weight", "U32", vec![r, c / 8]), ("scales", "F16", vec![r, c / g]), ("biases", "F16", vec![r, c / g])]
    }),
    (r#"{"quantization_config":{"quant_method":"bitsandbytes","load_in_4bit":true,"bnb_4bit_quant_type":"nf4"}}"#, |r, c, _| {
        let blocks = (r * c).div_ceil(64);
        let state = ("weight.quant_state.bitsandbytes__nf4", "U8", vec![c]);
        vec![("weight", "U8", vec![r * c / 2, 1]), ("weight.absmax", "F32", vec![blocks]), ("weight.quant_map", "F32", vec![16]), state]
    }),
    (
        r#"{"quantization_config":{"quant_method":"compressed-tensors","format":"pack-quantized","config_groups":{"group_0":{"weights":{"num_bits":4,"group_size":32,"strategy":"group","type":"int","symmetric":true},"targets":["Linear"]}}}}"#,
        |r, c, g| vec![("weight_packed", "I32", vec![r, c / 8]), ("weight_scale", "F16", vec![r, c / g]), ("weight_shape", "I64", vec![2])],
    ),
    (r#"{"quantization_config":{"quant_method":"fp8","weight_block_size":[32,32]}}"#, |r, c, _| {
        vec![("weight", "F8_E4M3", vec![r, c]), ("weight_scale_inv", "F32", vec![r.div_ceil(32), c.div_ceil(32)])]
    }),
    (r#"{"quantization_config":{"quant_method":"gptq","bits":3,"group_size":16,"desc_act":true}}"#, |r, c, g| {
        let [zeros, scales] = [vec![2 * c / g, (3 * r).div_ceil(32)], vec![2 * c / g, r]];
        vec![("qweight", "I32", vec![3 * c / 32, r]), ("qzeros", "I32", zeros), ("scales", "F16", scales), ("g_idx", "I32", vec![c])]
    }),
];

/// The configuration of the way that `number` stands for.
pub(crate) fn config(number: u8) -> &'static str {
    SCHEMES[usize::from(number) % SCHEMES.len()].0
}

/// The tensors of one matrix stored that way, at times one of them with another dimension.
pub(crate) fn module(scheme: u8, input: &mut Unstructured) -> Result<Vec<(&'static str, &'static str, Vec<u64>)>> {
    let rows = 8 * input.int_in_range(1..=4_u64)?;
    let columns = 32 * input.int_in_range(1..=3_u64)?;
    let mut tensors = SCHEMES[usize::from(scheme) % SCHEMES.len()].1(rows, columns, 32);
    if input.ratio(1, 4)? {
        let tensor = input.int_in_range(0..=tensors.len() - 1)?;
        let shape = &mut tensors[tensor].2;
        let dimension = input.int_in_range(0..=shape.len() - 1)?;
        shape[dimension] = number(input)?;
    }
    Ok(tensors)
}
