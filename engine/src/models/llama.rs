//! Llama and what shares its block: Llama 1 to 3, SmolLM2, TinyLlama and many fine-tunes.

use parhelion_loader::LoadError;

use super::{
    Family,
    config::{Config, Key, Keys},
    decoder,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["llama"], gguf: "llama", config, names: &[decoder::INTERLEAVED, decoder::NAMES], build: decoder::build };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse(Key::gguf("expert_count"), "mixtures of experts")?;
    keys.decoder()
}
