//! Ministral 3: Mistral's block, YaRN, and queries that grow with their position. GGUF files call it Mistral 3.

use parhelion_loader::LoadError;

use super::{
    Family,
    config::{Config, Keys},
    decoder,
};
use crate::ops::rope_table::RopeConfig;

pub(super) static FAMILY: Family = Family {
    architectures: &["ministral3", "mistral3"],
    gguf: "mistral3",
    config,
    names: &[decoder::INTERLEAVED, decoder::NAMES],
    build: decoder::build,
};

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let windowed = keys.windowed_layers(c.layers, |_| true)?;
    let rope = RopeConfig { temperature: keys.temperature(c.context)?, ..c.rope };
    Ok(Config { per_layer: keys.layers(&windowed, keys.window()?), rope, ..c })
}
