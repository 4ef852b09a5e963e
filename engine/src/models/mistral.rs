//! Mistral and Ministral: Llama's block, in some versions with a window (2310.06825). Their GGUF files say that they are Llama.

use parhelion_loader::LoadError;

use super::{
    Family,
    config::{Config, Keys},
    decoder,
};

pub(super) static FAMILY: Family = Family {
    architectures: &["mistral", "ministral"],
    gguf: "llama",
    config,
    names: &[decoder::INTERLEAVED, decoder::NAMES],
    build: decoder::build,
};

pub(super) fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let windowed = keys.windowed_layers(c.layers, |_| true)?;
    Ok(Config { per_layer: keys.layers(&windowed, keys.window()?), ..c })
}
