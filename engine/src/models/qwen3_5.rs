//! Qwen 3.5, its language model: linear attention by the gated delta rule in most layers, attention with gates on its outputs in every
//! fourth, both rotated in a part of their heads.

use parhelion_loader::{Dialect, LoadError};

use super::{
    Block, Family, Name, QkNorm,
    config::{Config, Key, Keys},
    decoder::{self, Layer, Mixer},
    mixers::Delta,
};
use crate::ops::{
    delta_net::{Decay, DeltaShape, HeadOrder, MAX_KEY_DIM, MAX_VALUE_DIM},
    rope_table::RopeConfig,
    short_conv::MAX_TAPS,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["qwen35", "qwen3_5_text"], gguf: "qwen35", config, names: &[NAMES, decoder::NAMES], build: decoder::build };

const NAMES: &[Name] = &[
    Name::plain("attn.norm", "blk.{i}.attn_norm.weight", "model.layers.{i}.input_layernorm.weight").hf_shift(1.0),
    Name::plain("attn.q_norm", "blk.{i}.attn_q_norm.weight", "model.layers.{i}.self_attn.q_norm.weight").hf_shift(1.0),
    Name::plain("attn.k_norm", "blk.{i}.attn_k_norm.weight", "model.layers.{i}.self_attn.k_norm.weight").hf_shift(1.0),
    Name::plain("ffn.norm", "blk.{i}.post_attention_norm.weight", "model.layers.{i}.post_attention_layernorm.weight").hf_shift(1.0),
    Name::plain("norm", "output_norm.weight", "model.norm.weight").hf_shift(1.0),
    Name::plain("delta.qkv", "blk.{i}.attn_qkv.weight", "model.layers.{i}.linear_attn.in_proj_qkv.weight"),
    Name::plain("delta.gate", "blk.{i}.attn_gate.weight", "model.layers.{i}.linear_attn.in_proj_z.weight"),
    Name::plain("delta.beta", "blk.{i}.ssm_beta.weight", "model.layers.{i}.linear_attn.in_proj_b.weight"),
    Name::plain("delta.alpha", "blk.{i}.ssm_alpha.weight", "model.layers.{i}.linear_attn.in_proj_a.weight"),
    Name::plain("delta.filters", "blk.{i}.ssm_conv1d.weight", "model.layers.{i}.linear_attn.conv1d.weight"),
    Name::plain("delta.decay", "blk.{i}.ssm_a", "model.layers.{i}.linear_attn.A_log"),
    Name::plain("delta.dt_bias", "blk.{i}.ssm_dt.bias", "model.layers.{i}.linear_attn.dt_bias"),
    Name::plain("delta.norm", "blk.{i}.ssm_norm.weight", "model.layers.{i}.linear_attn.norm.weight"),
    Name::plain("delta.out", "blk.{i}.ssm_out.weight", "model.layers.{i}.linear_attn.out_proj.weight"),
];

const TAPS: Key = Key::new("ssm.conv_kernel", "linear_conv_kernel_dim");
const KEY_DIM: Key = Key::new("ssm.state_size", "linear_key_head_dim");
const KEY_HEADS: Key = Key::new("ssm.group_count", "linear_num_key_heads");
const VALUE_HEADS: Key = Key::new("ssm.time_step_rank", "linear_num_value_heads");
const VALUE_DIM: Key = Key::hf("linear_value_head_dim");
const VALUE_COLS: Key = Key::gguf("ssm.inner_size");
const INTERVAL: Key = Key::new("full_attention_interval", "full_attention_interval");
/// Layers behind the others that predict tokens further on.
const PREDICTING: Key = Key::gguf("nextn_predict_layers");
const HEADS: std::ops::RangeInclusive<u32> = 1..=1024;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let predicting = keys.size(PREDICTING, 0..=c.layers - 1, Some(0))?;
    let layers = c.layers - predicting;
    let delta = Mixer::DeltaNet(Delta { shape: heads(keys)?, taps: keys.size(TAPS, 2..=MAX_TAPS, Some(4))? });
    let interval = keys.size(INTERVAL, 1..=u32::MAX, Some(4))?;
    let linear: Vec<bool> = match keys.kinds_of_layers(layers, &["full_attention", "linear_attention"])? {
        Some(kinds) => kinds.into_iter().map(|kind| kind == 1).collect(),
        None => (1..=layers).map(|i| !i.is_multiple_of(interval)).collect(),
    };
    let layer = |linear| if linear { Layer { mixer: delta, ..Layer::FULL } } else { Layer::FULL };
    let block = Block { qk_norm: QkNorm::Heads, output_gate: true, ..c.block };
    // A quarter of a head is rotated where the model does not say. Texts have the same position on all three axes of images.
    let dims = if keys.says_rotated_part() { c.rope.dims } else { (c.head_dim / 8 * 2).max(2) };
    Ok(Config { layers, predicting, per_layer: linear.into_iter().map(layer).collect(), rope: RopeConfig { dims, ..c.rope }, block, ..c })
}

/// The heads of linear attention. GGUF files have value heads in another order, and the decay itself.
fn heads(keys: &Keys<'_>) -> Result<DeltaShape, LoadError> {
    let key_dim = keys.size(KEY_DIM, 1..=MAX_KEY_DIM, Some(128))?;
    let value_heads = keys.size(VALUE_HEADS, HEADS, Some(32))?;
    let (value_dim, order, decay) = match keys.dialect() {
        Dialect::HuggingFace => (keys.size(VALUE_DIM, 1..=MAX_VALUE_DIM, Some(128))?, HeadOrder::Grouped, Decay::Logarithm),
        Dialect::Gguf => {
            let value_dim = match keys.optional_size(VALUE_COLS, 1..=1 << 20)? {
                Some(cols) if !cols.is_multiple_of(value_heads) => {
                    return Err(keys.bad(VALUE_COLS, format!("a multiple of the {value_heads} value heads"), cols));
                }
                Some(cols) => cols / value_heads,
                None => key_dim,
            };
            (value_dim, HeadOrder::Tiled, Decay::Negative)
        }
    };
    let key_heads = keys.size(KEY_HEADS, HEADS, Some(16))?;
    Ok(DeltaShape { key_heads, value_heads, key_dim, value_dim, order, decay })
}
