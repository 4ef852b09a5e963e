//! LFM2 and LFM2.5: gated short convolutions in most layers, attention with norms of queries and keys in some (2511.23404).

use parhelion_loader::{Dialect, LoadError};

use super::{
    Block, Family, Name, QkNorm,
    config::{Config, Key, Keys},
    decoder::{self, Layer, Mixer},
};
use crate::ops::short_conv::MAX_TAPS;

pub(super) static FAMILY: Family =
    Family { architectures: &["lfm2"], gguf: "lfm2", config, names: &[NAMES, decoder::NAMES], build: decoder::build };

pub(super) const NAMES: &[Name] = &[
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.operator_norm.weight"),
    Name::plain("attn.o", "blk.{i}.attn_output.weight", "model.layers.{i}.self_attn.out_proj.weight"),
    Name::plain("attn.q_norm", "blk.{i}.attn_q_norm.weight", "model.layers.{i}.self_attn.q_layernorm.weight"),
    Name::plain("attn.k_norm", "blk.{i}.attn_k_norm.weight", "model.layers.{i}.self_attn.k_layernorm.weight"),
    Name::plain("conv.in", "blk.{i}.shortconv.in_proj.weight", "model.layers.{i}.conv.in_proj.weight"),
    Name::plain("conv.filters", "blk.{i}.shortconv.conv.weight", "model.layers.{i}.conv.conv.weight"),
    Name::plain("conv.out", "blk.{i}.shortconv.out_proj.weight", "model.layers.{i}.conv.out_proj.weight"),
    Name::plain("ffn.norm", "blk.{i}.ffn_norm.weight", "model.layers.{i}.ffn_norm.weight"),
    Name::plain("ffn.gate", "blk.{i}.ffn_gate.weight", "model.layers.{i}.feed_forward.w1.weight"),
    Name::plain("ffn.up", "blk.{i}.ffn_up.weight", "model.layers.{i}.feed_forward.w3.weight"),
    Name::plain("ffn.down", "blk.{i}.ffn_down.weight", "model.layers.{i}.feed_forward.w2.weight"),
    Name::plain("norm", "token_embd_norm.weight", "model.embedding_norm.weight"),
];

const TAPS: Key = Key::new("shortconv.l_cache", "conv_L_cache");
const ATTENTION_LAYERS: Key = Key::hf("full_attn_idxs");
const FFN: Key = Key::hf("block_ff_dim");
const FFN_SIZES: std::ops::RangeInclusive<u32> = 1..=1 << 20;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    decoder_of(keys, feed_forward(keys)?)
}

/// The decoder with feed-forward blocks of `ffn` elements.
pub(super) fn decoder_of(keys: &Keys<'_>, ffn: u32) -> Result<Config, LoadError> {
    keys.refuse(Key::hf("conv_bias"), "biases of convolutions")?;
    let c = keys.decoder_with(ffn)?;
    let (norm_eps, tied) = match keys.dialect() {
        Dialect::Gguf => (c.norm_eps, c.tied),
        Dialect::HuggingFace => {
            (keys.positive(Key::hf("norm_eps"), 1e-5)?, Some(keys.flag(Key::hf("tie_embedding"), c.tied.unwrap_or(true))?))
        }
    };
    let block = Block { qk_norm: QkNorm::Heads, ..c.block };
    Ok(Config { per_layer: layers(keys, c.layers)?, norm_eps, tied, block, ..c })
}

/// Elements inside feed-forward blocks. Repositories may give three halves of them, before they are rounded up.
fn feed_forward(keys: &Keys<'_>) -> Result<u32, LoadError> {
    if keys.dialect() == Dialect::Gguf {
        return keys.feed_forward();
    }
    let ffn = match keys.optional_size(FFN, FFN_SIZES)? {
        Some(ffn) => ffn,
        None => keys.feed_forward()?,
    };
    if !keys.flag(Key::hf("block_auto_adjust_ff_dim"), true)? {
        return Ok(ffn);
    }
    let factor = keys.positive(Key::hf("block_ffn_dim_multiplier"), 1.0)?;
    let multiple = keys.size(Key::hf("block_multiple_of"), FFN_SIZES, Some(256))?;
    let scaled = f64::from(factor) * f64::from(2 * ffn / 3); // what is past a u32 becomes the largest one
    let rounded = (scaled as u32).checked_next_multiple_of(multiple).filter(|ffn| FFN_SIZES.contains(ffn));
    rounded.ok_or_else(|| keys.bad(FFN, format!("a size that is {} at the most when adjusted", FFN_SIZES.end()), ffn))
}

/// Which layers have attention, as the repository says; GGUF files list heads of keys for those alone.
fn layers(keys: &Keys<'_>, layers: u32) -> Result<Vec<Layer>, LoadError> {
    let taps = keys.size(TAPS, 2..=MAX_TAPS, Some(3))?;
    let attention: Vec<bool> = match keys.kinds_of_layers(layers, &["conv", "full_attention"])? {
        Some(kinds) => kinds.into_iter().map(|kind| kind == 1).collect(),
        None => match (keys.dialect(), keys.numbers(ATTENTION_LAYERS)?) {
            (Dialect::Gguf, _) => keys.kv_heads_of_layers(layers)?.into_iter().map(|heads| heads > 0).collect(),
            (_, Some(with)) => (0..layers).map(|i| with.contains(&i)).collect(),
            (_, None) => vec![true; layers as usize],
        },
    };
    let layer = |attention| if attention { Layer::FULL } else { Layer { mixer: Mixer::ShortConv { taps }, ..Layer::FULL } };
    Ok(attention.into_iter().map(layer).collect())
}
