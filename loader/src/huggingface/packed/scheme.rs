//! Which way of quantisation config.json names, and its settings.

use std::fmt;

use crate::LoadError;
use crate::metadata::{Metadata, Value};

/// The object of the `transformers` library; MLX writes its settings there too, without `quant_method`.
const OBJECT: &str = "quantization_config";
/// MLX's own object.
const MLX_OBJECT: &str = "quantization";
const METHOD: &str = "quantization_config.quant_method";

/// A way of quantisation with its settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Scheme {
    /// `qweight`, `qzeros`, `scales`, `g_idx`.
    Gptq {
        bits: u32,
        /// Columns of a group, none: all.
        group: Option<u64>,
        /// Whether `g_idx` says which group each column is of (`desc_act`).
        ordered: bool,
        /// What is added to stored zero points.
        plus: u32,
    },
    /// `qweight`, `qzeros`, `scales`, 4 bits.
    Awq { group: Option<u64> },
    /// `weight`, `weight.absmax`, `weight.quant_map`, `weight.quant_state...`.
    Nf4,
    /// `weight`, `scales`, `biases`. A module may have settings of its own.
    Mlx { object: &'static str },
    /// `weight_packed`, `weight_scale`, `weight_zero_point` of compressed-tensors.
    Pack { bits: u32 },
    /// `weight` of signed bytes, `weight_scale` of compressed-tensors.
    Int8,
    /// `weight` of 8-bit floats, `weight_scale` or `weight_scale_inv`.
    Float8 {
        /// Rows and columns of a tile, where scales are for tiles.
        tile: Option<(u64, u64)>,
    },
    /// `..._blocks` and `..._scales` of all experts of a layer.
    Mxfp4,
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gptq { bits, .. } => write!(f, "GPTQ, {bits} bits"),
            Self::Awq { .. } => f.write_str("AWQ, 4 bits"),
            Self::Nf4 => f.write_str("bitsandbytes, NF4"),
            Self::Mlx { .. } => f.write_str("MLX, groups of columns with a scale and an offset"),
            Self::Pack { bits } => write!(f, "compressed-tensors, {bits} bits"),
            Self::Int8 => f.write_str("compressed-tensors, 8 bits"),
            Self::Float8 { .. } => f.write_str("8-bit floats with scales"),
            Self::Mxfp4 => f.write_str("MXFP4"),
        }
    }
}

/// Why quantised tensors are left as they are stored.
#[derive(Debug, Clone)]
pub(crate) struct Refusal {
    found: String,
    advice: String,
}

impl Refusal {
    /// What cannot be read.
    pub(super) fn found(&self) -> &str {
        self.found.trim_end_matches(',')
    }

    /// The error for a weight of the repository called `file`.
    pub(crate) fn error(&self, file: &str) -> LoadError {
        LoadError::Unsupported { file: file.to_owned(), found: self.found.clone(), advice: self.advice.clone() }
    }

    fn new(found: impl Into<String>) -> Self {
        Self { found: found.into(), advice: "use a GGUF conversion of the model, or its unquantised weights".to_owned() }
    }
}

/// What config.json says: none where weights are not quantised, or why they cannot be read.
pub(super) fn of(metadata: &Metadata) -> Result<Option<Result<Scheme, Refusal>>, LoadError> {
    let Some(method) = metadata.optional(METHOD, Metadata::str)? else { return Ok(of_mlx(metadata)) };
    Ok(Some(match method {
        "gptq" => gptq(metadata)?,
        "awq" => awq(metadata)?,
        "bitsandbytes" => bitsandbytes(metadata)?,
        "compressed-tensors" => compressed_tensors(metadata)?,
        "mxfp4" => Ok(Scheme::Mxfp4),
        "fp8" | "fbgemm_fp8" => Ok(Scheme::Float8 { tile: tile(metadata)? }),
        other => Err(Refusal::new(format!("{OBJECT}: quantisation by the method {other:?}"))),
    }))
}

fn key(name: &str) -> String {
    format!("{OBJECT}.{name}")
}

fn of_mlx(metadata: &Metadata) -> Option<Result<Scheme, Refusal>> {
    let object = [MLX_OBJECT, OBJECT].into_iter().find(|object| metadata.contains(&format!("{object}.bits")))?;
    let mode = match metadata.get(&format!("{object}.mode")) {
        Some(Value::String(mode)) => mode.as_str(),
        _ => "affine",
    };
    Some(if mode == "affine" { Ok(Scheme::Mlx { object }) } else { Err(Refusal::new(format!("{object}: MLX's mode {mode:?}"))) })
}

/// Columns of a group; -1 stands for all.
fn group(metadata: &Metadata, name: &str) -> Result<Option<u64>, LoadError> {
    let key = key(name);
    match metadata.i64(&key)? {
        -1 => Ok(None),
        columns => match u64::try_from(columns) {
            Ok(columns) if columns > 0 => Ok(Some(columns)),
            _ => Err(metadata.bad_value(&key, "a number over 0, or -1", columns.to_string())),
        },
    }
}

fn gptq(metadata: &Metadata) -> Result<Result<Scheme, Refusal>, LoadError> {
    let bits = metadata.u32(&key("bits"))?;
    let group = group(metadata, "group_size")?;
    let ordered = metadata.optional(&key("desc_act"), Metadata::bool)?.unwrap_or(false);
    let format = metadata.optional(&key("checkpoint_format"), Metadata::str)?.unwrap_or("gptq");
    let plus = match format {
        "gptq" => 1,
        "gptq_v2" => 0,
        other => return Ok(Err(Refusal::new(format!("{OBJECT}: GPTQ's format {other:?}")))),
    };
    Ok(match bits {
        2 | 3 | 4 | 8 => Ok(Scheme::Gptq { bits, group, ordered, plus }),
        _ => Err(Refusal::new(format!("{OBJECT}: GPTQ of {bits} bits"))),
    })
}

fn awq(metadata: &Metadata) -> Result<Result<Scheme, Refusal>, LoadError> {
    let either = |long: &'static str, short: &'static str| if metadata.contains(&key(long)) { long } else { short };
    let bits = metadata.u32(&key(either("bits", "w_bit")))?;
    let group = group(metadata, either("group_size", "q_group_size"))?;
    let version = metadata.optional(&key("version"), Metadata::str)?.unwrap_or("gemm");
    Ok(match (bits, version.to_ascii_lowercase().as_str()) {
        (4, "gemm") => Ok(Scheme::Awq { group }),
        (4, version) => Err(Refusal::new(format!("{OBJECT}: AWQ's layout {version:?}"))),
        (bits, _) => Err(Refusal::new(format!("{OBJECT}: AWQ of {bits} bits"))),
    })
}

fn bitsandbytes(metadata: &Metadata) -> Result<Result<Scheme, Refusal>, LoadError> {
    let four = metadata.optional(&key("load_in_4bit"), Metadata::bool)?.unwrap_or(false);
    let kind = metadata.optional(&key("bnb_4bit_quant_type"), Metadata::str)?.unwrap_or("fp4");
    Ok(match kind {
        "nf4" if four => Ok(Scheme::Nf4),
        kind if four => Err(Refusal::new(format!("{OBJECT}: bitsandbytes' type {kind:?}"))),
        _ => Err(Refusal::new(format!("{OBJECT}: bitsandbytes of 8 bits"))),
    })
}

fn compressed_tensors(metadata: &Metadata) -> Result<Result<Scheme, Refusal>, LoadError> {
    let format = metadata.str(&key("format"))?;
    Ok(match format {
        "pack-quantized" => match common_bits(metadata)? {
            Some(bits @ (4 | 8)) => Ok(Scheme::Pack { bits }),
            Some(bits) => Err(Refusal::new(format!("{OBJECT}: compressed-tensors of {bits} bits"))),
            None => Err(Refusal::new(format!("{OBJECT}: compressed-tensors of several numbers of bits"))),
        },
        "int-quantized" if common_bits(metadata)? == Some(8) => Ok(Scheme::Int8),
        "float-quantized" => Ok(Scheme::Float8 { tile: block_structure(metadata)? }),
        other => Err(Refusal::new(format!("{OBJECT}: compressed-tensors' format {other:?}"))),
    })
}

/// Bits of the weights of all groups of modules, none where they differ.
fn common_bits(metadata: &Metadata) -> Result<Option<u32>, LoadError> {
    let groups = key("config_groups.");
    let is_bits = |key: &&str| key.starts_with(&groups) && key.ends_with(".weights.num_bits");
    let mut keys = metadata.iter().map(|(key, _)| key).filter(is_bits);
    let first = match keys.next() {
        Some(first) => metadata.u32(first)?,
        None => metadata.u32(&key("config_groups.group_0.weights.num_bits"))?,
    };
    for key in keys {
        if metadata.u32(key)? != first {
            return Ok(None);
        }
    }
    Ok(Some(first))
}

fn tile(metadata: &Metadata) -> Result<Option<(u64, u64)>, LoadError> {
    size_of_tile(metadata, &key("weight_block_size"))
}

fn block_structure(metadata: &Metadata) -> Result<Option<(u64, u64)>, LoadError> {
    size_of_tile(metadata, &key("config_groups.group_0.weights.block_structure"))
}

fn size_of_tile(metadata: &Metadata, key: &str) -> Result<Option<(u64, u64)>, LoadError> {
    let sizes = metadata.optional(key, Metadata::u32s)?;
    match sizes.as_deref() {
        None => Ok(None),
        Some(&[rows, cols]) if rows > 0 && cols > 0 => Ok(Some((rows.into(), cols.into()))),
        Some(other) => Err(metadata.bad_value(key, "rows and columns of a tile", format!("{other:?}"))),
    }
}
