//! Qwen 3: Qwen 2's layers with norms of queries and keys in place of biases (2505.09388).

use parhelion_loader::LoadError;

use super::{
    Block, Family, QkNorm,
    config::{Config, Keys},
    decoder, qwen2,
};

pub(super) static FAMILY: Family =
    Family { architectures: &["qwen3"], gguf: "qwen3", config, names: &[decoder::NAMES], build: decoder::build };

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.decoder()?;
    let block = Block { qk_norm: QkNorm::Heads, ..c.block };
    Ok(Config { per_layer: qwen2::layers(keys, c.layers)?, block, ..c })
}
