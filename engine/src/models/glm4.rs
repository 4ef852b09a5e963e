//! GLM 4 of 2025 (0414): norms at both ends of a block, and neighbours in half of each head rotated together.

use parhelion_loader::LoadError;

use super::{
    Block, Family, Joined, Name, Norms,
    config::{Config, Keys},
    decoder,
};
use crate::ops::rope_table::{Pairing, RopeConfig};

pub(super) static FAMILY: Family =
    Family { architectures: &["glm4"], gguf: "glm4", config, names: &[NAMES, decoder::NAMES], build: decoder::build };

const NAMES: &[Name] = &[
    Name::plain("attn.post_norm", "blk.{i}.post_attention_norm.weight", "model.layers.{i}.post_self_attn_layernorm.weight"),
    Name::plain("ffn.post_norm", "blk.{i}.post_ffw_norm.weight", "model.layers.{i}.post_mlp_layernorm.weight"),
];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let block = Block {
        norms: Norms { before: true, after: true },
        biases: keys.biases_of_inputs(true)?,
        joined: Joined { qkv: false, gate_up: true },
        ..c.block
    };
    Ok(Config { rope: RopeConfig { pairing: Pairing::Interleaved, ..c.rope }, block, ..c })
}
