//! Phi 3, 3.5 and 4: Llama's block with joined projections (2404.14219).

use parhelion_loader::LoadError;

use super::{
    Block, Family, Joined,
    config::{Config, Key, Keys},
    decoder,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["phi3"], gguf: "phi3", config, names: &[decoder::NAMES], build: decoder::build };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    keys.refuse(Key::gguf("expert_count"), "mixtures of experts")?;
    let c = keys.decoder()?;
    let block = Block { joined: Joined { qkv: true, gate_up: true }, ..c.block };
    let windowed = keys.windowed_layers(c.layers, |_| true)?;
    Ok(Config { per_layer: keys.layers(&windowed, keys.window()?), block, ..c })
}
