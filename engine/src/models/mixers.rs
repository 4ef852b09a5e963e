//! How tokens of a layer learn of others where not by attention alone: short convolutions and the gated delta rule.

use super::Config;
use crate::{
    graph::{Graph, ValueId},
    ops::{
        delta_net::DeltaShape,
        gate_heads::{Gates, Gating},
        short_conv::ConvShape,
    },
};

/// Linear attention by the gated delta rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delta {
    /// Its heads.
    pub shape: DeltaShape,
    /// Tokens that the convolution in front of it sees.
    pub taps: u32,
}

/// A gated convolution of each channel over the last `taps` tokens.
pub(super) fn short_conv(g: &Graph, c: &Config, h: ValueId, taps: u32) -> ValueId {
    let x = g.linear(h, &[("conv.in", 3 * c.hidden)]);
    let y = g.short_conv(x, "conv.filters", &ConvShape { channels: c.hidden, taps, gated: true });
    g.linear(y, &[("conv.out", c.hidden)])
}

/// The gated delta rule over convolved queries, keys and values; heads are normalised and gated after it.
pub(super) fn delta_net(g: &Graph, c: &Config, h: ValueId, delta: &Delta) -> ValueId {
    let Delta { shape, taps } = delta;
    let (channels, values, heads) = (shape.qkv_cols(), shape.value_cols(), shape.value_heads);
    let x = g.linear(h, &[("delta.qkv", channels), ("delta.gate", values), ("delta.beta", heads), ("delta.alpha", heads)]);
    let qkv = g.short_conv(x, "delta.filters", &ConvShape { channels, taps: *taps, gated: false });
    let y = g.delta_net(qkv, (x, channels.saturating_add(values)), ["delta.decay", "delta.dt_bias"], shape);
    let gates = Gates { heads, head_dim: shape.value_dim, first: channels, step: shape.value_dim };
    g.gate_heads(y, x, gates, Gating::NormSilu { norm: "delta.norm", eps: c.norm_eps });
    g.linear(y, &[("delta.out", c.hidden)])
}
