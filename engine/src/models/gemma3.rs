//! Gemma 3, its language model: Gemma 2's block with norms of queries and keys in place of the cap on scores; five layers with a
//! window, which have a rotary embedding of their own, between two without (2503.19786). EmbeddingGemma is the same with rows that see both sides.

use parhelion_loader::LoadError;

use super::{
    Block, Family, Layer, Name, QkNorm, Scales,
    config::{Config, Key, Keys},
    decoder, gemma, gemma2,
};

pub(super) static FAMILY: Family = Family {
    architectures: &["gemma3", "gemma3_text", EMBEDDING],
    gguf: "gemma3",
    config,
    names: &[NAMES, gemma::NORMS_OF_BOTH_ENDS, decoder::NAMES],
    build: decoder::build,
};

const NAMES: &[Name] = &[
    Name::plain("attn.q_norm", "blk.{i}.attn_q_norm.weight", "model.layers.{i}.self_attn.q_norm.weight").hf_shift(1.0),
    Name::plain("attn.k_norm", "blk.{i}.attn_k_norm.weight", "model.layers.{i}.self_attn.k_norm.weight").hf_shift(1.0),
];

/// What GGUF files call EmbeddingGemma, whose tokens see what follows them (2509.20354).
const EMBEDDING: &str = "gemma-embedding";
/// What config.json says of it.
const BOTH_SIDES: Key = Key::hf("use_bidirectional_attention");
const PERIOD: Key = Key::hf("sliding_window_pattern");
const LAYERS_OF_27B: u32 = 62;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let both_sides = keys.architecture() == EMBEDDING || keys.flag(BOTH_SIDES, false)?;
    let c = gemma::sandwiched(keys, keys.decoder()?, LAYERS_OF_27B)?;
    let period = keys.size(PERIOD, 1..=u32::MAX, Some(6))?;
    let windowed = keys.windowed_layers(c.layers, |i| !(i + 1).is_multiple_of(period))?;
    // a window on both sides is half as long on each, and the token itself
    let window = keys.window()?.map(|window| if both_sides { window / 2 + 1 } else { window });
    let per_layer = keys.layers(&windowed, window).into_iter().map(Layer::rotated_locally).collect();
    let block = Block { qk_norm: QkNorm::Heads, ..c.block };
    let (score_cap, logit_cap) = (keys.optional_positive(gemma2::SCORE_CAP)?, keys.optional_positive(gemma2::LOGIT_CAP)?);
    let scales = Scales { score_cap, logit_cap, ..c.scales };
    Ok(Config { both_sides, scales, local_rope: Some(keys.local_rope(c.head_dim)?), per_layer, block, ..c })
}
