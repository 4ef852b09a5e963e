//! Llama and what shares its block: Llama 1 to 3, SmolLM2, TinyLlama and many fine-tunes.

use parhelion_loader::LoadError;

use super::{
    Family, Name, Reorder,
    config::{Config, Key, Keys},
};
use crate::{graph::Graph, ops::attention::AttentionShape};

pub(super) static FAMILY: Family = Family { architectures: &["llama"], config, names: NAMES, build };

const NAMES: &[Name] = &[
    Name::plain("embed", "token_embd.weight", "model.embed_tokens.weight"),
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight"),
    Name::plain("attn.q", "blk.{i}.attn_q.weight", "model.layers.{i}.self_attn.q_proj.weight").gguf_rows(Reorder::InterleavedHeads),
    Name::plain("attn.k", "blk.{i}.attn_k.weight", "model.layers.{i}.self_attn.k_proj.weight").gguf_rows(Reorder::InterleavedHeads),
    Name::plain("attn.v", "blk.{i}.attn_v.weight", "model.layers.{i}.self_attn.v_proj.weight"),
    Name::plain("attn.o", "blk.{i}.attn_output.weight", "model.layers.{i}.self_attn.o_proj.weight"),
    Name::plain("ffn.norm", "blk.{i}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    Name::plain("ffn.gate", "blk.{i}.ffn_gate.weight", "model.layers.{i}.mlp.gate_proj.weight"),
    Name::plain("ffn.up", "blk.{i}.ffn_up.weight", "model.layers.{i}.mlp.up_proj.weight"),
    Name::plain("ffn.down", "blk.{i}.ffn_down.weight", "model.layers.{i}.mlp.down_proj.weight"),
    Name::plain("norm", "output_norm.weight", "model.norm.weight"),
    Name::plain("output", "output.weight", "lm_head.weight").or("embed"),
];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse(Key::gguf("expert_count"), "mixtures of experts")?;
    keys.refuse(Key::hf("attention_bias"), "biases of attention")?;
    keys.refuse(Key::hf("mlp_bias"), "biases of the feed-forward block")?;
    keys.expect_text(Key::hf("hidden_act"), &["silu", "swish"])?;
    keys.decoder()
}

fn build(g: &Graph, c: &Config) {
    let shape = AttentionShape { q_heads: c.heads, kv_heads: c.kv_heads, head_dim: c.head_dim, window: None, scale: None };
    let rope = g.rope_table(&c.rope, c.context);
    let (q, kv) = (c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let x = g.embed("embed", c.vocab, c.hidden, 1.0);
    let mut delta = None;
    for i in 0..c.layers {
        g.layer(i);
        let h = g.add_rms_norm(x, delta, "attn.norm", c.norm_eps);
        let qkv = g.linear(h, &[("attn.q", q), ("attn.k", kv), ("attn.v", kv)]);
        let layer = g.rope_kv(qkv, &shape, &rope);
        let a = g.attention(qkv, &shape, layer);
        let o = g.linear(a, &[("attn.o", c.hidden)]);
        let h = g.add_rms_norm(x, Some(o), "ffn.norm", c.norm_eps);
        let gate_up = g.linear(h, &[("ffn.gate", c.ffn), ("ffn.up", c.ffn)]);
        delta = Some(g.linear(g.swiglu(gate_up), &[("ffn.down", c.hidden)]));
    }
    g.outside_layers();
    let h = g.gather_outputs(g.add_rms_norm(x, delta, "norm", c.norm_eps));
    let logits = g.linear(h, &[("output", c.vocab)]);
    g.set_logits(logits);
    g.sample(logits);
}
