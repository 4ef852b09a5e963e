//! Ministral 3: Mistral's block, YaRN, and queries that grow with their position. GGUF files call it Mistral 3.

use parhelion_loader::LoadError;

use super::{
    Family,
    config::{Config, Keys},
    decoder, mistral,
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
    let c = mistral::config(keys)?;
    let rope = RopeConfig { temperature: keys.temperature(c.context)?, ..c.rope };
    Ok(Config { rope, ..c })
}
