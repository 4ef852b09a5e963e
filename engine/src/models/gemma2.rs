//! Gemma 2: norms at both ends of a block, a window in every other layer, and caps on scores and logits (2408.00118).

use parhelion_loader::LoadError;

use super::{
    Family, Scales,
    config::{Config, Key, Keys},
    decoder, gemma,
};

pub(super) static FAMILY: Family = Family {
    architectures: &["gemma2"],
    gguf: "gemma2",
    config,
    names: &[gemma::NORMS_OF_BOTH_ENDS, decoder::NAMES],
    build: decoder::build,
};

pub(super) const SCORE_CAP: Key = Key::new("attn_logit_softcapping", "attn_logit_softcapping");
pub(super) const LOGIT_CAP: Key = Key::new("final_logit_softcapping", "final_logit_softcapping");
/// Layers of the largest model.
const LAYERS_OF_27B: u32 = 46;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = gemma::sandwiched(keys, keys.decoder()?, LAYERS_OF_27B)?;
    let windowed = keys.windowed_layers(c.layers, |i| i.is_multiple_of(2))?;
    let scales = Scales { score_cap: Some(keys.positive(SCORE_CAP, 50.0)?), logit_cap: Some(keys.positive(LOGIT_CAP, 30.0)?), ..c.scales };
    Ok(Config { per_layer: keys.layers(&windowed, keys.window()?), scales, ..c })
}
