//! Qwen 2 and 2.5: Llama's block with biases on queries, keys and values (2407.10671).

use parhelion_loader::LoadError;

use super::{
    Biases, Block, Family,
    config::{Config, Key, Keys},
    decoder,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["qwen2"], gguf: "qwen2", config, names: &[decoder::NAMES], build: decoder::build };

const USE_WINDOW: Key = Key::hf("use_sliding_window");
const FULL_LAYERS: Key = Key::hf("max_window_layers");

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let block = Block { biases: Biases { qkv: true, o: false, ffn: false }, ..c.block };
    Ok(Config { per_layer: layers(keys, c.layers)?, block, ..c })
}

/// Layers from a number on have a window, where the model says so at all.
pub(super) fn layers(keys: &Keys<'_>, layers: u32) -> Result<Vec<super::Layer>, LoadError> {
    let window = if keys.flag(USE_WINDOW, false)? { keys.window()? } else { None };
    let full = keys.size(FULL_LAYERS, 0..=u32::MAX, Some(layers))?;
    let windowed = keys.windowed_layers(layers, |i| i >= full)?;
    Ok(keys.layers(&windowed, window))
}
