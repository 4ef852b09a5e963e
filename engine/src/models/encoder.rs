//! The encoder that BERT's descendants share: rows see all of their text, and what a block adds is normalised together with the
//! stream, by LayerNorm. Positions are a table or a rotary embedding.

use super::{Config, Name, decoder};
use crate::{graph::Graph, ops::embed::EntryOf};

/// Tensors by the names that all have in common.
pub(super) const NAMES: &[Name] = &[
    Name::plain("embed", "token_embd.weight", "embeddings.word_embeddings.weight"),
    Name::plain("embed.kind", "token_types.weight", "embeddings.token_type_embeddings.weight"),
];

/// Lists the operators of an encoder.
pub(super) fn build(g: &Graph, c: &Config) {
    let norm = |x, delta, names| g.add_layer_norm(x, delta, names, c.norm_eps);
    let rope = c.tables.positions.is_none().then(|| g.rope_table(&c.rope, c.context));
    let x = g.embed("embed", c.vocab, c.hidden, c.scales.embedding);
    if let Some(positions) = c.tables.positions {
        g.add_embedding(x, "embed.position", positions, EntryOf::Position);
    }
    if let Some(kinds) = c.tables.kinds {
        g.add_embedding(x, "embed.kind", kinds, EntryOf::First);
    }
    let mut h = norm(x, None, ["embed.norm", "embed.norm.bias"]);
    for i in 0..c.layers {
        g.layer(i);
        let attended = decoder::attention(g, c, h, None, rope.as_ref());
        h = norm(h, Some(attended), ["attn.norm", "attn.norm.bias"]);
        let fed = decoder::feed_forward(g, c, h);
        h = norm(h, Some(fed), ["ffn.norm", "ffn.norm.bias"]);
    }
    g.outside_layers();
    match &c.embedding {
        Some(embedding) => embedding.build(g, h),
        None => g.set_embeddings(g.gather_outputs(h)),
    }
}
