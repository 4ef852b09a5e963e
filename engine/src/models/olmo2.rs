//! OLMo 2: what blocks add is normalised in place of what they are given, and so are queries and keys as a whole (2501.00656).

use parhelion_loader::LoadError;

use super::{
    Block, Family, Name, Norms, QkNorm,
    config::{Config, Keys},
    decoder,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["olmo2"], gguf: "olmo2", config, names: &[NAMES, decoder::NAMES], build: decoder::build };

const NAMES: &[Name] = &[
    Name::plain("attn.post_norm", "blk.{i}.post_attention_norm.weight", "model.layers.{i}.post_attention_layernorm.weight"),
    Name::plain("ffn.post_norm", "blk.{i}.post_ffw_norm.weight", "model.layers.{i}.post_feedforward_layernorm.weight"),
];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let block = Block { norms: Norms { before: false, after: true }, qk_norm: QkNorm::Whole, ..c.block };
    Ok(Config { block, ..c })
}
