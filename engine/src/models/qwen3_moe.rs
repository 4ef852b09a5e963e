//! Qwen 3's mixtures of experts: Qwen 3's attention, and experts in place of the feed-forward block (2505.09388).

use parhelion_loader::{Dialect, LoadError};

use super::{
    Block, Family, QkNorm,
    config::{Config, Key, Keys},
    decoder,
    experts::{self, Experts},
    qwen2,
};

pub(super) static FAMILY: Family = Family {
    architectures: &["qwen3_moe", "qwen3moe"],
    gguf: "qwen3moe",
    config,
    names: &[experts::NAMES, decoder::NAMES],
    build: decoder::build,
};

/// Whether the weights of a token's experts are divided by their sum; GGUF files have no word for it and mean that they are.
const RENORMALISE: Key = Key::hf("norm_topk_prob");
/// Every so manieth layer has experts.
const STEP: Key = Key::hf("decoder_sparse_step");
/// Layers that have none.
const DENSE: Key = Key::hf("mlp_only_layers");

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let mut experts = Experts::read(keys)?;
    if !keys.flag(RENORMALISE, keys.dialect() == Dialect::Gguf)? {
        experts.routing.renormalise = None;
    }
    let step = keys.size(STEP, 1..=u32::MAX, Some(1))?;
    let dense = keys.numbers(DENSE)?.unwrap_or_default();
    let mut per_layer = qwen2::layers(keys, c.layers)?;
    for (i, layer) in (0..c.layers).zip(&mut per_layer) {
        layer.experts = (i + 1).is_multiple_of(step) && !dense.contains(&i);
    }
    let block = Block { qk_norm: QkNorm::Heads, experts: Some(experts), ..c.block };
    Ok(Config { per_layer, block, ..c })
}
