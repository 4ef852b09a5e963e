//! Gemma: Llama's block with GELU, scaled embeddings and norms whose weights are published less 1 (2403.08295). GGUF files have
//! the whole weights.

use parhelion_loader::LoadError;

use super::{
    Block, Family, Name, Scales,
    config::{Config, Keys},
    decoder,
};
use crate::ops::activate::Activation;

pub(super) static FAMILY: Family =
    Family { architectures: &["gemma"], gguf: "gemma", config, names: &[NAMES, decoder::NAMES], build: decoder::build };

const NAMES: &[Name] = &[
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight").hf_shift(1.0),
    Name::plain("ffn.norm", "blk.{i}.ffn_norm.weight", "model.layers.{i}.post_attention_layernorm.weight").hf_shift(1.0),
    Name::plain("norm", "output_norm.weight", "model.norm.weight").hf_shift(1.0),
];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    Ok(scaled(keys.decoder()?))
}

/// A decoder with Gemma's activation, which older repositories name `gelu` and mean the one by tanh, and its scaled embeddings.
pub(super) fn scaled(c: Config) -> Config {
    let block = Block { activation: Activation::GeluTanh, ..c.block };
    Config { block, scales: Scales { embedding: (c.hidden as f32).sqrt(), ..c.scales }, ..c }
}
