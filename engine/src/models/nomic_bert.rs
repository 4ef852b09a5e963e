//! Nomic BERT: BERT's encoder with a rotary embedding, a gated feed-forward block and no biases (2402.01613). Its first repositories
//! have GPT-2's names of settings.

use parhelion_loader::LoadError;

use super::{
    Biases, Block, Family, Joined, Name,
    config::{Config, Key, Keys},
    encoder,
};
use crate::ops::rope_table::RopeConfig;

pub(super) static FAMILY: Family = Family {
    architectures: &["nomic_bert", "nomic-bert"],
    gguf: "nomic-bert",
    config,
    names: &[NAMES, encoder::NAMES],
    build: encoder::build,
};

const NAMES: &[Name] = &[
    Name::plain("embed.norm", "token_embd_norm.weight", "emb_ln.weight"),
    Name::plain("embed.norm.bias", "token_embd_norm.bias", "emb_ln.bias"),
    Name::plain("attn.qkv", "blk.{i}.attn_qkv.weight", "encoder.layers.{i}.attn.Wqkv.weight"),
    Name::plain("attn.o", "blk.{i}.attn_output.weight", "encoder.layers.{i}.attn.out_proj.weight"),
    Name::plain("attn.norm", "blk.{i}.attn_output_norm.weight", "encoder.layers.{i}.norm1.weight"),
    Name::plain("attn.norm.bias", "blk.{i}.attn_output_norm.bias", "encoder.layers.{i}.norm1.bias"),
    Name::plain("ffn.up", "blk.{i}.ffn_up.weight", "encoder.layers.{i}.mlp.fc11.weight"),
    Name::plain("ffn.gate", "blk.{i}.ffn_gate.weight", "encoder.layers.{i}.mlp.fc12.weight"),
    Name::plain("ffn.down", "blk.{i}.ffn_down.weight", "encoder.layers.{i}.mlp.fc2.weight"),
    Name::plain("ffn.norm", "blk.{i}.layer_output_norm.weight", "encoder.layers.{i}.norm2.weight"),
    Name::plain("ffn.norm.bias", "blk.{i}.layer_output_norm.bias", "encoder.layers.{i}.norm2.bias"),
];

/// The base of the frequencies by its first name.
const THETA: Key = Key::hf("rotary_emb_base");
/// Settings of models that are none of these, and what they say.
const OTHERS: [(&str, &str); 5] = [
    ("qkv_proj_bias", "biases of queries, keys and values"),
    ("mlp_fc1_bias", "biases of the feed-forward block"),
    ("prenorm", "norms of what blocks are given"),
    ("rotary_emb_interleaved", "neighbours rotated together"),
    ("num_experts", "mixtures of experts"),
];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    for (name, what) in OTHERS {
        keys.refuse(Key::hf(name), what)?;
    }
    let c = keys.encoder()?;
    let theta = keys.optional_positive(THETA)?.map_or(c.rope.theta, f64::from);
    let block = Block { biases: Biases::default(), joined: Joined { qkv: true, gate_up: false }, ..c.block };
    Ok(Config { rope: RopeConfig { theta, ..c.rope }, block, ..c })
}
