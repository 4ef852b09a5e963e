//! Gemma 3, its language model: Gemma 2's block with norms of queries and keys in place of the cap on scores; five layers with a
//! window, which have a rotary embedding of their own, between two without (2503.19786).

use parhelion_loader::LoadError;

use super::{
    Block, Family, Layer, Name, QkNorm, Scales,
    config::{Config, Key, Keys},
    decoder, gemma, gemma2,
};

pub(super) static FAMILY: Family = Family {
    architectures: &["gemma3", "gemma3_text"],
    gguf: "gemma3",
    config,
    names: &[NAMES, gemma::NORMS_OF_BOTH_ENDS, decoder::NAMES],
    build: decoder::build,
};

const NAMES: &[Name] = &[
    Name::plain("attn.q_norm", "blk.{i}.attn_q_norm.weight", "model.layers.{i}.self_attn.q_norm.weight").hf_shift(1.0),
    Name::plain("attn.k_norm", "blk.{i}.attn_k_norm.weight", "model.layers.{i}.self_attn.k_norm.weight").hf_shift(1.0),
];

const PERIOD: Key = Key::hf("sliding_window_pattern");
const LAYERS_OF_27B: u32 = 62;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse(Key::hf("use_bidirectional_attention"), "texts whose tokens see what follows them")?;
    let c = gemma::sandwiched(keys, keys.decoder()?, LAYERS_OF_27B)?;
    let period = keys.size(PERIOD, 1..=u32::MAX, Some(6))?;
    let windowed = keys.windowed_layers(c.layers, |i| !(i + 1).is_multiple_of(period))?;
    let per_layer = keys.layers(&windowed, keys.window()?).into_iter().map(Layer::rotated_locally).collect();
    let block = Block { qk_norm: QkNorm::Heads, ..c.block };
    let (score_cap, logit_cap) = (keys.optional_positive(gemma2::SCORE_CAP)?, keys.optional_positive(gemma2::LOGIT_CAP)?);
    let scales = Scales { score_cap, logit_cap, ..c.scales };
    Ok(Config { scales, local_rope: Some(keys.local_rope(c.head_dim)?), per_layer, block, ..c })
}
