//! Quantisation of published weights: which tensors become what, and how their rows are converted on a device, a few MiB at a
//! time. Rows of any format are put on the device in the engine's layout, an embedding gather makes f32 of them, and a
//! quantising kernel makes planes of the target from those: one way for all sources, on GPUs and by the scalar twins.

mod file;
mod publish;
mod stage;
mod tensor;

use parhelion_loader::DType;
use parhelion_shaders::axes::{Target, Weight};

use crate::formats;

pub use file::{Content, FilePlan, PlannedTensor};
pub(crate) use stage::{Job, Planes, Stage};
pub use tensor::{QuantiseError, Quantiser};

/// A type that weights can be quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(non_camel_case_types, reason = "the names under which these formats are published")]
pub enum QuantType {
    /// 8 bits and an f16 scale a block of 32: 8.5 bits a weight. The bits of ggml's reference.
    Q8_0,
    /// 5 bits and an f16 scale a block of 32: 5.5 bits a weight. The bits of ggml's reference.
    Q5_0,
    /// 4 bits and an f16 scale a block of 32: 4.5 bits a weight. The bits of ggml's reference.
    Q4_0,
    /// 4 bits, and scales and minima of 6 bits, in blocks of 256: 4.5 bits a weight. The search for them is our own.
    Q4_K,
}

impl QuantType {
    /// All of them, the largest first.
    pub const ALL: &'static [Self] = &[Self::Q8_0, Self::Q5_0, Self::Q4_0, Self::Q4_K];

    /// The type of tensors in a file.
    pub fn dtype(self) -> DType {
        match self {
            Self::Q8_0 => DType::Q8_0,
            Self::Q5_0 => DType::Q5_0,
            Self::Q4_0 => DType::Q4_0,
            Self::Q4_K => DType::Q4_K,
        }
    }

    /// The format of the planes.
    pub(crate) fn format(self) -> Weight {
        match self {
            Self::Q8_0 => Weight::Q8_0,
            Self::Q5_0 => Weight::Q5_0,
            Self::Q4_0 => Weight::Q4_0,
            Self::Q4_K => Weight::Q4K,
        }
    }

    /// The target of the kernel for blocks of 32; none where blocks are of 256.
    pub(crate) fn target(self) -> Option<Target> {
        match self {
            Self::Q8_0 => Some(Target::Q8_0),
            Self::Q5_0 => Some(Target::Q5_0),
            Self::Q4_0 => Some(Target::Q4_0),
            Self::Q4_K => None,
        }
    }

    /// ggml's number for files that are mostly of this type (`general.file_type`).
    pub fn file_type(self) -> u32 {
        match self {
            Self::Q4_0 => 2,
            Self::Q8_0 => 7,
            Self::Q5_0 => 8,
            Self::Q4_K => 14,
        }
    }
}

/// What a model's weights are quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Quant {
    /// The type of most matrices.
    pub target: QuantType,
    /// Whether tensors that are quantised already are quantised again, which loses more; they are left as they are otherwise.
    pub requantise: bool,
}

/// Matrices that are small and matter much, or that programs read in their own ways: ends of GGUF's names.
const KEPT: &[&str] = &[
    "_norm.weight",
    "ffn_gate_inp.weight",
    "ffn_gate_inp_shexp.weight",
    "position_embd.weight",
    "token_types.weight",
    "ssm_conv1d.weight",
    "shortconv.conv.weight",
];

impl Quant {
    /// What to make of the tensor that GGUF calls `name`; none to keep it as it is. `tied`: the model has no output matrix of its
    /// own.
    ///
    /// Matrices become the target, but for these:
    /// - The output matrix, or the embedding that is used as one, becomes Q8_0 where the target has fewer bits: its errors go
    ///   straight into the probabilities. (llama.cpp takes Q6_K for it.)
    /// - Rows that are no whole blocks of 256 become Q5_0 where the target is Q4_K, as in llama.cpp: they lose less, not more.
    /// - Norms, biases, routers, convolutions, and rows that are no whole blocks of 32 keep their type.
    pub fn type_of(&self, name: &str, dtype: DType, shape: &[u64], tied: bool) -> Option<QuantType> {
        let [.., _, cols] = *shape else { return None };
        let quantised = dtype.block_elems() > 1;
        let usable = formats::of(dtype).is_some_and(|format| cols.is_multiple_of(formats::info(format).columns() as u64));
        if !usable || quantised && !self.requantise || !name.ends_with(".weight") || KEPT.iter().any(|end| name.ends_with(end)) {
            return None;
        }
        let output = name == "output.weight" || tied && name == "token_embd.weight";
        let wanted = if output { QuantType::Q8_0 } else { self.target };
        let chosen = match wanted {
            QuantType::Q4_K if !cols.is_multiple_of(256) => QuantType::Q5_0,
            wanted => wanted,
        };
        (cols.is_multiple_of(chosen.dtype().block_elems()) && chosen.dtype() != dtype).then_some(chosen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quant(target: QuantType) -> Quant {
        Quant { target, requantise: false }
    }

    #[test]
    fn the_output_keeps_eight_bits_and_odd_rows_lose_less() {
        let to = |target, name, cols, tied| quant(target).type_of(name, DType::F16, &[64, cols], tied);
        assert_eq!(to(QuantType::Q4_K, "blk.0.attn_q.weight", 512, false), Some(QuantType::Q4_K));
        assert_eq!(to(QuantType::Q4_K, "blk.0.attn_q.weight", 576, false), Some(QuantType::Q5_0));
        assert_eq!(to(QuantType::Q4_0, "blk.0.attn_q.weight", 576, false), Some(QuantType::Q4_0));
        assert_eq!(to(QuantType::Q4_0, "output.weight", 576, false), Some(QuantType::Q8_0));
        assert_eq!(to(QuantType::Q4_K, "token_embd.weight", 512, true), Some(QuantType::Q8_0));
        assert_eq!(to(QuantType::Q4_K, "token_embd.weight", 512, false), Some(QuantType::Q4_K));
        assert_eq!(to(QuantType::Q8_0, "blk.0.ffn_up.weight", 48, false), None);
        assert_eq!(to(QuantType::Q8_0, "blk.0.attn_q.bias", 64, false), None);
        assert_eq!(to(QuantType::Q8_0, "blk.0.ffn_gate_inp.weight", 64, false), None);
    }

    #[test]
    fn what_is_quantised_stays_unless_asked_for() {
        let name = "blk.0.ffn_up.weight";
        assert_eq!(quant(QuantType::Q8_0).type_of(name, DType::Q4_1, &[64, 64], false), None);
        let again = Quant { requantise: true, ..quant(QuantType::Q8_0) };
        assert_eq!(again.type_of(name, DType::Q4_1, &[64, 64], false), Some(QuantType::Q8_0));
        assert_eq!(again.type_of(name, DType::Q8_0, &[64, 64], false), None);
        assert_eq!(again.type_of(name, DType::I32, &[64, 64], false), None);
        assert_eq!(again.type_of("blk.0.attn_norm.weight", DType::F32, &[64], false), None);
    }
}
