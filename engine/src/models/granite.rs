//! Granite 3 and 4 without experts or recurrent layers: Llama's block with factors on embeddings, scores, the residual stream and
//! logits.

use parhelion_loader::{Dialect, LoadError};

use super::{
    Family, Scales,
    config::{Config, Key, Keys},
    decoder,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["granite"], gguf: "granite", config, names: &[decoder::INTERLEAVED, decoder::NAMES], build: decoder::build };

const EMBEDDING: Key = Key::new("embedding_scale", "embedding_multiplier");
const RESIDUAL: Key = Key::new("residual_scale", "residual_multiplier");
const ATTENTION: Key = Key::new("attention.scale", "attention_multiplier");
/// What logits are divided by.
const LOGITS: Key = Key::new("logit_scale", "logits_scaling");

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    // A GGUF file that does not say has the usual scale, a repository none.
    let unnamed = (keys.dialect() == Dialect::HuggingFace).then_some(1.0);
    let scales = Scales {
        embedding: keys.positive(EMBEDDING, 1.0)?,
        residual: keys.positive(RESIDUAL, 1.0)?,
        attention: keys.optional_positive(ATTENTION)?.or(unnamed),
        logits: 1.0 / keys.positive(LOGITS, 1.0)?,
        ..c.scales
    };
    Ok(Config { scales, ..c })
}
