//! Operators: what a graph is made of. An operator is one file here: its shape rule, its choice of kernels, and the
//! scalar twins of those kernels. The method of [`crate::graph::Graph`] that families call stands in the same file:
//!
//! | file | methods on `Graph` |
//! |---|---|
//! | `embed` | `embed("embed", vocab, cols, scale) -> ValueId`; `add_embedding(x, "embed.position", entries, EntryOf::Position)`: in place |
//! | `rms_norm` | `rms_norm(x, "attn.norm", eps)`, `add_rms_norm(x, Some(delta), "ffn.norm", eps)` (adds `delta` to `x` in place) |
//! | `layer_norm` | `add_layer_norm(x, Some(delta), ["attn.norm", "attn.norm.bias"], eps)` |
//! | `mean_rows` | `mean_of_sequences(x)`: `[Step, n] -> [Outputs, n]` |
//! | `rms_norm_columns` | `rms_norm_columns(qkv, [("attn.q_norm", q), ("attn.k_norm", kv)], eps)`: in place, each range for itself |
//! | `add` | `add_scaled(x, delta, scale)`: in place |
//! | `linear` | `linear(x, &[("attn.q", rows), ...])`: one weight of joined rows, one output `[_, sum of rows]`; `linear_with_bias` |
//! | `experts` | `experts(x, &experts, &[("ffn.gate_exps", rows), ...], biases)`: each of a token's experts; `mix_experts` adds them up |
//! | `route` | `route(logits, &Routing { used, .. }, Some("ffn.gate.bias"))`: a token's experts and their weights |
//! | `activate` | `gated(gate_up, Activation::Silu)`: `[_, 2n] -> [_, n]`; `activated(x, Activation::GeluErf)` |
//! | `scale_logits` | `scale_logits(logits, scale, Some(cap))`: in place |
//! | `gather_rows` | `gather_outputs(x)`: `[Step, n] -> [Outputs, n]` |
//! | `rope_kv` | `rope_kv(qkv, &AttentionShape, HeadSetup { norm, rope })` or `&RopeTable`: norms and rotates heads in place, writes the layer's cache; returns the layer's number |
//! | `attention` | `attention(qkv, &AttentionShape, layer)`: `[Step, heads * head_dim]` |
//! | `short_conv` | `short_conv(x, "conv.filter", &ConvShape)`: convolves each channel over a sequence's tokens, with a state between steps |
//! | `delta_net` | `delta_net(qkv, (gates, first), ["delta.decay", "delta.dt_bias"], &DeltaShape)`: the gated delta rule, with a state between steps |
//! | `gate_heads` | `gate_heads(x, by, Gates, Gating)`: in place; `without_gates(qkv, &AttentionShape)` |
//! | `sample` | `sample(logits)`: processes the logits in place, samples, advances the sequences |

pub mod activate;
mod add;
pub mod attention;
mod attention_twin;
pub(crate) mod blocks;
pub mod delta_net;
pub mod embed;
pub mod experts;
pub mod gate_heads;
mod gather_rows;
pub mod kv;
mod layer_norm;
pub(crate) mod linear;
mod linear_twin;
#[cfg(test)]
mod linear_twin_tests;
mod mean_rows;
pub(crate) mod quantise;
pub(crate) mod quantise_k;
mod rms_norm;
mod rms_norm_columns;
pub mod rope_kv;
pub mod rope_table;
pub mod route;
pub mod sample;
mod scale_logits;
pub mod short_conv;
pub mod state;
mod twin;

pub(crate) use twin::f16_to_f32;

use std::{cell::RefCell, fmt::Debug};

use parhelion_shaders::Call;

use crate::{
    exec::Parallel,
    recorder::Recorder,
    recording::BufferSlice,
    shape::{Bounds, Shape},
};

/// One operator of a graph.
pub trait Operator: Debug {
    /// What errors and profiles call it: `rms_norm`.
    fn name(&self) -> &'static str;

    /// The shape of the output from those of the inputs; none where the operator only changes state or its inputs.
    ///
    /// # Errors
    /// What does not fit, in words: the graph adds the operator's label.
    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String>;

    /// Bytes of scratch memory that `record` needs for steps within `bounds`; 0 for most.
    fn scratch_bytes(&self, bounds: &Bounds) -> u64 {
        let _ = bounds;
        0
    }

    /// Adds the operator's dispatches for the step that `recorder` is bound to.
    ///
    /// # Errors
    /// What this device or step cannot do, in words.
    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String>;
}

/// A grid for `items` of work, `per_group` a workgroup.
///
/// # Errors
/// For more work than a grid can hold.
pub(crate) fn grid(items: u64, per_group: u32) -> Result<[u32; 3], String> {
    let groups =
        u32::try_from(items.div_ceil(u64::from(per_group.max(1)))).map_err(|_| format!("{items} items are too many for a dispatch"))?;
    let [x, y] = parhelion_shaders::grid(groups);
    Ok([x, y, 1])
}

/// A kernel's scalar twin: does to slices what the kernel does to buffers.
pub type Twin = fn(&TwinArgs<'_>) -> Result<(), String>;

/// The twin of each kernel, by the kernel's name.
pub static TWINS: &[(&str, Twin)] = &[
    ("activate", activate::twin),
    ("add", add::twin),
    ("attention_decode", attention_twin::decode),
    ("attention_merge", attention_twin::merge),
    ("attention_prefill", attention_twin::prefill),
    ("delta_net", delta_net::twin),
    ("drop_gates", gate_heads::drop_gates_twin),
    ("embed", embed::twin),
    ("gate_heads", gate_heads::twin),
    ("gather_rows", gather_rows::twin),
    ("layer_norm", layer_norm::twin),
    ("logits_process", sample::process_twin),
    ("matmul", linear_twin::matmul),
    ("matvec", linear_twin::matvec),
    ("mean_rows", mean_rows::twin),
    ("mix_experts", experts::mix_twin),
    ("quantise", quantise::twin),
    ("quantise_k", quantise_k::twin),
    ("rms_norm", rms_norm::twin),
    ("rms_norm_columns", rms_norm_columns::twin),
    ("rope_kv", rope_kv::twin),
    ("route", route::twin),
    ("sample", sample::sample_twin),
    ("scale_logits", scale_logits::twin),
    ("short_conv", short_conv::twin),
];

/// What a twin is given.
pub struct TwinArgs<'a> {
    /// The call: variant, constants, parameters, grid.
    pub call: &'a Call<BufferSlice>,
    /// Threads for the outer loop.
    pub parallel: &'a dyn Parallel,
    bindings: RefCell<Vec<(u32, TwinSlice<'a>)>>,
}

/// What is bound to a slot, as 32-bit words.
#[derive(Debug)]
pub enum TwinSlice<'a> {
    /// A binding that the kernel only reads.
    Read(&'a [u32]),
    /// A binding that the kernel writes.
    Write(&'a mut [u32]),
}

impl<'a> TwinArgs<'a> {
    /// Arguments for one call.
    pub fn new(call: &'a Call<BufferSlice>, bindings: Vec<(u32, TwinSlice<'a>)>, parallel: &'a dyn Parallel) -> Self {
        Self { call, parallel, bindings: RefCell::new(bindings) }
    }

    /// Takes the words of a read binding; none if the slot is not bound for reading or was taken before.
    pub fn read(&self, slot: u32) -> Option<&'a [u32]> {
        match self.take(slot, |slice| matches!(slice, TwinSlice::Read(_)))? {
            TwinSlice::Read(words) => Some(words),
            TwinSlice::Write(_) => None,
        }
    }

    /// Takes the words of a written binding; none if the slot is not bound for writing or was taken before.
    pub fn write(&self, slot: u32) -> Option<&'a mut [u32]> {
        match self.take(slot, |slice| matches!(slice, TwinSlice::Write(_)))? {
            TwinSlice::Write(words) => Some(words),
            TwinSlice::Read(_) => None,
        }
    }

    fn take(&self, slot: u32, wanted: impl Fn(&TwinSlice<'_>) -> bool) -> Option<TwinSlice<'a>> {
        let mut bindings = self.bindings.borrow_mut();
        let at = bindings.iter().position(|(bound, slice)| *bound == slot && wanted(slice))?;
        Some(bindings.swap_remove(at).1)
    }
}
