//! Names of a decoder's tensors.

use super::{Name, Reorder};

/// Tensors by the names that most families give them. `ffn.norm` is named as by families that normalise what a block is given alone.
pub(super) const NAMES: &[Name] = &[
    Name::plain("embed", "token_embd.weight", "model.embed_tokens.weight"),
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight"),
    Name::plain("attn.q", "blk.{i}.attn_q.weight", "model.layers.{i}.self_attn.q_proj.weight"),
    Name::plain("attn.k", "blk.{i}.attn_k.weight", "model.layers.{i}.self_attn.k_proj.weight"),
    Name::plain("attn.v", "blk.{i}.attn_v.weight", "model.layers.{i}.self_attn.v_proj.weight"),
    Name::plain("attn.qkv", "blk.{i}.attn_qkv.weight", "model.layers.{i}.self_attn.qkv_proj.weight"),
    Name::plain("attn.o", "blk.{i}.attn_output.weight", "model.layers.{i}.self_attn.o_proj.weight"),
    Name::plain("attn.q.bias", "blk.{i}.attn_q.bias", "model.layers.{i}.self_attn.q_proj.bias"),
    Name::plain("attn.k.bias", "blk.{i}.attn_k.bias", "model.layers.{i}.self_attn.k_proj.bias"),
    Name::plain("attn.v.bias", "blk.{i}.attn_v.bias", "model.layers.{i}.self_attn.v_proj.bias"),
    Name::plain("attn.o.bias", "blk.{i}.attn_output.bias", "model.layers.{i}.self_attn.o_proj.bias"),
    Name::plain("attn.q_norm", "blk.{i}.attn_q_norm.weight", "model.layers.{i}.self_attn.q_norm.weight"),
    Name::plain("attn.k_norm", "blk.{i}.attn_k_norm.weight", "model.layers.{i}.self_attn.k_norm.weight"),
    Name::plain("ffn.norm", "blk.{i}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    Name::plain("ffn.gate", "blk.{i}.ffn_gate.weight", "model.layers.{i}.mlp.gate_proj.weight"),
    Name::plain("ffn.up", "blk.{i}.ffn_up.weight", "model.layers.{i}.mlp.up_proj.weight"),
    Name::plain("ffn.gate_up", "blk.{i}.ffn_up.weight", "model.layers.{i}.mlp.gate_up_proj.weight"),
    Name::plain("ffn.down", "blk.{i}.ffn_down.weight", "model.layers.{i}.mlp.down_proj.weight"),
    Name::plain("ffn.gate.bias", "blk.{i}.ffn_gate.bias", "model.layers.{i}.mlp.gate_proj.bias"),
    Name::plain("ffn.up.bias", "blk.{i}.ffn_up.bias", "model.layers.{i}.mlp.up_proj.bias"),
    Name::plain("ffn.down.bias", "blk.{i}.ffn_down.bias", "model.layers.{i}.mlp.down_proj.bias"),
    Name::plain("norm", "output_norm.weight", "model.norm.weight"),
    Name::plain("output", "output.weight", "lm_head.weight").or("embed"),
];

/// Queries and keys of families whose GGUF files have the two halves of a head alternate.
pub(super) const INTERLEAVED: &[Name] = &[
    Name::plain("attn.q", "blk.{i}.attn_q.weight", "model.layers.{i}.self_attn.q_proj.weight").gguf_rows(Reorder::InterleavedHeads),
    Name::plain("attn.k", "blk.{i}.attn_k.weight", "model.layers.{i}.self_attn.k_proj.weight").gguf_rows(Reorder::InterleavedHeads),
    Name::plain("attn.q.bias", "blk.{i}.attn_q.bias", "model.layers.{i}.self_attn.q_proj.bias").gguf_rows(Reorder::InterleavedHeads),
    Name::plain("attn.k.bias", "blk.{i}.attn_k.bias", "model.layers.{i}.self_attn.k_proj.bias").gguf_rows(Reorder::InterleavedHeads),
];

/// `names` where there are biases.
pub(super) fn biases<'a>(there: bool, names: &'a [&'static str]) -> &'a [&'static str] {
    if there { names } else { &[] }
}
