//! SmolLM3: Llama's block, every fourth layer of which knows no positions.

use parhelion_loader::LoadError;

use super::{
    Family, Layer, Positions,
    config::{Config, Key, Keys},
    decoder,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["smollm3"], gguf: "smollm3", config, names: &[decoder::INTERLEAVED, decoder::NAMES], build: decoder::build };

/// For each layer 1 where it has a rotary embedding.
const ROTARY: Key = Key::hf("no_rope_layers");
/// Every so manieth has none, where there is no such list.
const INTERVAL: Key = Key::hf("no_rope_layer_interval");
const USE_WINDOW: Key = Key::hf("use_sliding_window");

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let interval = keys.size(INTERVAL, 1..=u32::MAX, Some(4))?;
    let rotary = keys.numbers_of_layers(ROTARY, c.layers)?;
    let rotary = rotary.unwrap_or_else(|| (1..=c.layers).map(|i| u32::from(!i.is_multiple_of(interval))).collect());
    let window = if keys.flag(USE_WINDOW, false)? { keys.window()? } else { None };
    let windowed = keys.windowed_layers(c.layers, |i| rotary[i as usize] == 0)?;
    let layer = |(layer, rotary)| Layer { positions: if rotary == 0 { Positions::None } else { Positions::Rotary }, ..layer };
    let per_layer = keys.layers(&windowed, window).into_iter().zip(rotary).map(layer).collect();
    Ok(Config { per_layer, ..c })
}
