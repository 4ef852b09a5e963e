//! The decoder that most families share, and how they differ from it: what a [`Block`] and a [`Layer`] say. A family that
//! differs in these alone is a configuration and names, with [`build`] for its list of operators.

use super::decoder_names::biases;
pub(super) use super::decoder_names::{INTERLEAVED, NAMES};
use super::{
    Config,
    experts::{self, Experts},
    mixers::{self, Delta},
};
use crate::{
    graph::{Graph, ValueId},
    ops::{
        activate::Activation,
        attention::AttentionShape,
        gate_heads::{Gates, Gating},
        rope_kv::{HeadNorm, HeadSetup},
        rope_table::RopeTable,
    },
};

/// What all layers of a decoder have in common.
#[derive(Debug, Clone, PartialEq)]
pub struct Block {
    /// The gate's function.
    pub activation: Activation,
    /// Where blocks are normalised.
    pub norms: Norms,
    /// How queries and keys are normalised.
    pub qk_norm: QkNorm,
    /// Which products have biases.
    pub biases: Biases,
    /// Which projections are published as one tensor.
    pub joined: Joined,
    /// Whether each query head is published with a gate of its output behind it.
    pub output_gate: bool,
    /// The experts of layers that have some in place of a feed-forward block.
    pub experts: Option<Experts>,
    /// Whether each head of attention has a sink: one more score, of nothing.
    pub sinks: bool,
    /// Whether the feed-forward block's activation is the gate of another factor.
    pub gated: bool,
}

/// Which ends of a block are normalised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Norms {
    /// What a block is given.
    pub before: bool,
    /// What a block adds to the residual stream.
    pub after: bool,
}

/// RMSNorm of queries and keys before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QkNorm {
    /// There is none.
    None,
    /// Each head by itself, with one weight for all.
    Heads,
    /// All heads together.
    Whole,
}

/// Which products have biases.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Biases {
    /// Queries, keys and values.
    pub qkv: bool,
    /// Attention's output.
    pub o: bool,
    /// The feed-forward block's matrices.
    pub ffn: bool,
}

/// Which projections are published as one tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Joined {
    /// Queries, keys and values.
    pub qkv: bool,
    /// The gate and what it multiplies.
    pub gate_up: bool,
}

/// What is a layer's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    /// Entries that a row sees, its own the last of them; none: all before it.
    pub window: Option<u32>,
    /// How the layer knows positions.
    pub positions: Positions,
    /// How tokens learn of others.
    pub mixer: Mixer,
    /// Whether it has experts in place of a feed-forward block.
    pub experts: bool,
}

/// How the tokens of a layer learn of others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixer {
    /// By attention.
    Attention,
    /// By a gated convolution over the last tokens, each channel for itself.
    ShortConv {
        /// Tokens that it sees.
        taps: u32,
    },
    /// By the gated delta rule.
    DeltaNet(Delta),
}

/// How a layer knows positions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Positions {
    /// By the model's rotary embedding.
    Rotary,
    /// By the rotary embedding of layers with a window.
    LocalRotary,
    /// Not at all.
    None,
}

impl Layer {
    /// A layer that sees everything.
    pub const FULL: Self = Self { window: None, positions: Positions::Rotary, mixer: Mixer::Attention, experts: false };
}

/// The residual stream. What a block gives is added where the next one begins, in the same pass as its norm.
struct Stream<'a> {
    g: &'a Graph,
    c: &'a Config,
    x: ValueId,
    delta: Option<ValueId>,
}

impl Stream<'_> {
    /// The stream normalised with the weight `name`.
    fn normalised(&mut self, name: &'static str) -> ValueId {
        self.g.add_scaled_rms_norm(self.x, self.delta.take(), self.c.scales.residual, name, self.c.norm_eps)
    }

    /// The stream as it is.
    fn plain(&mut self) -> ValueId {
        if let Some(delta) = self.delta.take() {
            self.g.add_scaled(self.x, delta, self.c.scales.residual);
        }
        self.x
    }

    /// One block with the norms that the family has; their names.
    fn block(&mut self, before: &'static str, after: &'static str, body: impl FnOnce(ValueId) -> ValueId) {
        let Norms { before: normalise_input, after: normalise_output } = self.c.block.norms;
        let input = if normalise_input { self.normalised(before) } else { self.plain() };
        let output = body(input);
        self.delta = Some(if normalise_output { self.g.rms_norm(output, after, self.c.norm_eps) } else { output });
    }
}

/// Lists the operators of a decoder.
pub(super) fn build(g: &Graph, c: &Config) {
    let global = g.rope_table(&c.rope, c.context);
    let local = c.local_rope.as_ref().map(|rope| g.rope_table(rope, c.context));
    let x = g.embed("embed", c.vocab, c.hidden, c.scales.embedding);
    let mut stream = Stream { g, c, x, delta: None };
    for (i, layer) in (0..c.layers).zip(&c.per_layer) {
        g.layer(i);
        let rope = match layer.positions {
            Positions::Rotary => Some(&global),
            Positions::LocalRotary => Some(local.as_ref().unwrap_or(&global)),
            Positions::None => None,
        };
        stream.block("attn.norm", "attn.post_norm", |h| match layer.mixer {
            Mixer::Attention => attention(g, c, h, layer.window, rope),
            Mixer::ShortConv { taps } => mixers::short_conv(g, c, h, taps),
            Mixer::DeltaNet(delta) => mixers::delta_net(g, c, h, &delta),
        });
        stream.block("ffn.norm", "ffn.post_norm", |h| match &c.block.experts {
            Some(experts) if layer.experts => experts::feed_forward(g, c, experts, h),
            _ => feed_forward(g, c, h),
        });
    }
    g.outside_layers();
    let states = stream.normalised("norm");
    if let Some(embedding) = &c.embedding {
        return embedding.build(g, states);
    }
    let h = g.gather_outputs(states);
    let logits = g.linear(h, &[("output", c.vocab)]);
    if c.scales.logits != 1.0 || c.scales.logit_cap.is_some() {
        g.scale_logits(logits, c.scales.logits, c.scales.logit_cap);
    }
    g.set_logits(logits);
    g.sample(logits);
}

/// Attention of the rows of `h`, from their projection to what is added to the stream.
pub(super) fn attention(g: &Graph, c: &Config, h: ValueId, window: Option<u32>, rope: Option<&RopeTable>) -> ValueId {
    let block = &c.block;
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let projected = if block.joined.qkv {
        g.linear(h, &[("attn.qkv", q + 2 * kv)])
    } else {
        let names = biases(block.biases.qkv, &["attn.q.bias", "attn.k.bias", "attn.v.bias"]);
        let q = if block.output_gate { 2 * q } else { q };
        g.linear_with_bias(h, &[("attn.q", q), ("attn.k", kv), ("attn.v", kv)], names)
    };
    let shape = AttentionShape::new(c.heads, c.kv_heads, c.head_dim);
    let qkv = if block.output_gate { g.without_gates(projected, &shape) } else { projected };
    if block.qk_norm == QkNorm::Whole {
        g.rms_norm_columns(qkv, [("attn.q_norm", q), ("attn.k_norm", kv)], c.norm_eps);
    }
    let scales = &c.scales;
    let sinks = block.sinks.then_some("attn.sinks");
    let (scale, softcap) = (scales.attention, scales.score_cap);
    let shape = AttentionShape { window, both_sides: c.both_sides, scale, softcap, sinks, ..shape };
    let norm = (block.qk_norm == QkNorm::Heads).then(|| HeadNorm::new("attn.q_norm", "attn.k_norm", c.norm_eps));
    let layer = g.rope_kv(qkv, &shape, HeadSetup { norm, rope });
    let a = g.attention(qkv, &shape, layer);
    if block.output_gate {
        let gates = Gates { heads: c.heads, head_dim: c.head_dim, first: c.head_dim, step: 2 * c.head_dim };
        g.gate_heads(a, projected, gates, Gating::Sigmoid);
    }
    g.linear_with_bias(a, &[("attn.o", c.hidden)], biases(block.biases.o, &["attn.o.bias"]))
}

/// The feed-forward block of the rows of `h`.
pub(super) fn feed_forward(g: &Graph, c: &Config, h: ValueId) -> ValueId {
    let block = &c.block;
    if !block.gated {
        let up = g.linear_with_bias(h, &[("ffn.up", c.ffn)], biases(block.biases.ffn, &["ffn.up.bias"]));
        let inner = g.activated(up, block.activation);
        return g.linear_with_bias(inner, &[("ffn.down", c.hidden)], biases(block.biases.ffn, &["ffn.down.bias"]));
    }
    let gate_up = if block.joined.gate_up {
        g.linear(h, &[("ffn.gate_up", 2 * c.ffn)])
    } else {
        g.linear_with_bias(h, &[("ffn.gate", c.ffn), ("ffn.up", c.ffn)], biases(block.biases.ffn, &["ffn.gate.bias", "ffn.up.bias"]))
    };
    let inner = g.gated(gate_up, block.activation);
    g.linear_with_bias(inner, &[("ffn.down", c.hidden)], biases(block.biases.ffn, &["ffn.down.bias"]))
}
