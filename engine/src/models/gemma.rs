//! Gemma: Llama's block with GELU, scaled embeddings and norms whose weights are published less 1 (2403.08295). GGUF files have
//! the whole weights.

use parhelion_loader::LoadError;

use super::{
    Block, Family, Name, Norms, Scales,
    config::{Config, Key, Keys},
    decoder,
};
use crate::ops::activate::Activation;

pub(super) static FAMILY: Family =
    Family { architectures: &["gemma"], gguf: "gemma", config, names: &[NAMES, decoder::NAMES], build: decoder::build };

/// Norms at both ends, whose weights repositories publish less 1.
pub(super) const NORMS_OF_BOTH_ENDS: &[Name] = &[
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight").hf_shift(1.0),
    Name::plain("attn.post_norm", "blk.{i}.post_attention_norm.weight", "model.layers.{i}.post_attention_layernorm.weight").hf_shift(1.0),
    Name::plain("ffn.norm", "blk.{i}.ffn_norm.weight", "model.layers.{i}.pre_feedforward_layernorm.weight").hf_shift(1.0),
    Name::plain("ffn.post_norm", "blk.{i}.post_ffw_norm.weight", "model.layers.{i}.post_feedforward_layernorm.weight").hf_shift(1.0),
    Name::plain("norm", "output_norm.weight", "model.norm.weight").hf_shift(1.0),
];

const NAMES: &[Name] = &[
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight").hf_shift(1.0),
    Name::plain("ffn.norm", "blk.{i}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight").hf_shift(1.0),
    Name::plain("norm", "output_norm.weight", "model.norm.weight").hf_shift(1.0),
];

/// What queries are divided by the root of.
const QUERY_SCALAR: Key = Key::hf("query_pre_attn_scalar");

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    Ok(scaled(keys.decoder()?))
}

/// A decoder with Gemma's activation, which older repositories name `gelu` and mean the one by tanh, and its scaled embeddings.
pub(super) fn scaled(c: Config) -> Config {
    let block = Block { activation: Activation::GeluTanh, ..c.block };
    Config { block, scales: Scales { embedding: (c.hidden as f32).sqrt(), ..c.scales }, ..c }
}

/// Gemma's decoder with norms at both ends of a block and a scale of its own for scores. In GGUF files the model of so many layers
/// has another than the rest.
pub(super) fn sandwiched(keys: &Keys<'_>, c: Config, layers_of_27b: u32) -> Result<Config, LoadError> {
    let c = scaled(c);
    let unnamed = if c.layers == layers_of_27b { c.hidden / c.heads } else { c.head_dim };
    let scalar = keys.optional_positive(QUERY_SCALAR)?.unwrap_or(unnamed as f32);
    let block = Block { norms: Norms { before: true, after: true }, ..c.block };
    Ok(Config { block, scales: Scales { attention: Some(1.0 / scalar.sqrt()), ..c.scales }, ..c })
}
