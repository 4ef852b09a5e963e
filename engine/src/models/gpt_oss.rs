//! gpt-oss: experts with biases and a clamped gate, attention with sinks, a window in every other layer (2508.10925).

use parhelion_loader::LoadError;

use super::{
    Block, Family, Name, Reorder,
    config::{Config, Key, Keys},
    decoder,
    experts::{self, Experts},
};
use crate::ops::{
    activate::{Activation, SWISH_LIMIT, SWISH_SLOPE},
    rope_table::{RopeConfig, RopeScaling},
};

pub(super) static FAMILY: Family = Family {
    architectures: &["gpt_oss", "gpt-oss"],
    gguf: "gpt-oss",
    config,
    names: &[NAMES, EXPERTS, experts::NAMES, decoder::NAMES],
    build: decoder::build,
};

const NAMES: &[Name] = &[
    Name::plain("attn.sinks", "blk.{i}.attn_sinks.weight", "model.layers.{i}.self_attn.sinks"),
    Name::plain("ffn.norm", "blk.{i}.post_attention_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    Name::plain("ffn.router", "blk.{i}.ffn_gate_inp.weight", "model.layers.{i}.mlp.router.weight"),
    Name::plain("ffn.router.bias", "blk.{i}.ffn_gate_inp.bias", "model.layers.{i}.mlp.router.bias"),
    Name::plain("ffn.gate_exps.bias", "blk.{i}.ffn_gate_exps.bias", "model.layers.{i}.mlp.experts.gate_up_proj_bias")
        .hf_rows(Reorder::Alternate(0)),
    Name::plain("ffn.up_exps.bias", "blk.{i}.ffn_up_exps.bias", "model.layers.{i}.mlp.experts.gate_up_proj_bias")
        .hf_rows(Reorder::Alternate(1)),
    Name::plain("ffn.down_exps.bias", "blk.{i}.ffn_down_exps.bias", "model.layers.{i}.mlp.experts.down_proj_bias"),
];

/// Gates and what they multiply alternate in one tensor. Of MXFP4 its rows are outputs, of 16 bits its columns are.
const EXPERTS: &[Name] = &[
    Name::plain("ffn.gate_exps", "blk.{i}.ffn_gate_exps.weight", "model.layers.{i}.mlp.experts.gate_up_proj.weight")
        .hf_rows(Reorder::Alternate(0)),
    Name::plain("ffn.up_exps", "blk.{i}.ffn_up_exps.weight", "model.layers.{i}.mlp.experts.gate_up_proj.weight")
        .hf_rows(Reorder::Alternate(1)),
    Name::plain("ffn.down_exps", "blk.{i}.ffn_down_exps.weight", "model.layers.{i}.mlp.experts.down_proj.weight"),
    Name::plain("ffn.gate_exps", "blk.{i}.ffn_gate_exps.weight", "model.layers.{i}.mlp.experts.gate_up_proj")
        .hf_rows(Reorder::TransposedAlternate(0)),
    Name::plain("ffn.up_exps", "blk.{i}.ffn_up_exps.weight", "model.layers.{i}.mlp.experts.gate_up_proj")
        .hf_rows(Reorder::TransposedAlternate(1)),
    Name::plain("ffn.down_exps", "blk.{i}.ffn_down_exps.weight", "model.layers.{i}.mlp.experts.down_proj").hf_rows(Reorder::Transposed),
];

const COUNT: Key = Key::new("expert_count", "num_local_experts");
const FFN: Key = Key::new("expert_feed_forward_length", "intermediate_size");
/// What the activation has as constants.
const FIXED: [(Key, f32); 2] = [(Key::hf("swiglu_alpha"), SWISH_SLOPE), (Key::hf("swiglu_limit"), SWISH_LIMIT)];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    for (key, value) in FIXED {
        let said = keys.positive(key, value)?;
        if said != value {
            return Err(keys.bad(key, format!("{value}: others are not supported"), said));
        }
    }
    let biases = keys.biases_of_attention(true)?;
    let experts = Experts { activation: Activation::ClampedSwish, biases: true, ..Experts::named(keys, COUNT, FFN)? };
    let windowed = keys.windowed_layers(c.layers, |i| i % 2 == 0)?;
    let mut per_layer = keys.layers(&windowed, keys.window()?);
    per_layer.iter_mut().for_each(|layer| layer.experts = true);
    let block = Block { biases, experts: Some(experts), sinks: true, ..c.block };
    Ok(Config { per_layer, block, rope: untruncated(c.rope), ..c })
}

/// The model blends its frequencies between bounds that are no whole numbers of pairs, which GGUF files do not say.
fn untruncated(rope: RopeConfig) -> RopeConfig {
    match rope.scaling {
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor, .. } => {
            let scaling = RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate: false, attention_factor };
            RopeConfig { scaling, ..rope }
        }
        _ => rope,
    }
}
