//! BERT as encoders of texts have it (1810.04805): MiniLM, BGE, E5 and many more.

use parhelion_loader::LoadError;

use super::{
    Biases, Block, Family, Name,
    config::{Config, Keys},
    encoder,
};
use crate::ops::activate::Activation;

pub(super) static FAMILY: Family =
    Family { architectures: &["bert"], gguf: "bert", config, names: &[NAMES, encoder::NAMES], build: encoder::build };

const NAMES: &[Name] = &[
    Name::plain("embed.position", "position_embd.weight", "embeddings.position_embeddings.weight"),
    Name::plain("embed.norm", "token_embd_norm.weight", "embeddings.LayerNorm.weight"),
    Name::plain("embed.norm.bias", "token_embd_norm.bias", "embeddings.LayerNorm.bias"),
    Name::plain("attn.q", "blk.{i}.attn_q.weight", "encoder.layer.{i}.attention.self.query.weight"),
    Name::plain("attn.k", "blk.{i}.attn_k.weight", "encoder.layer.{i}.attention.self.key.weight"),
    Name::plain("attn.v", "blk.{i}.attn_v.weight", "encoder.layer.{i}.attention.self.value.weight"),
    Name::plain("attn.o", "blk.{i}.attn_output.weight", "encoder.layer.{i}.attention.output.dense.weight"),
    Name::plain("attn.q.bias", "blk.{i}.attn_q.bias", "encoder.layer.{i}.attention.self.query.bias"),
    Name::plain("attn.k.bias", "blk.{i}.attn_k.bias", "encoder.layer.{i}.attention.self.key.bias"),
    Name::plain("attn.v.bias", "blk.{i}.attn_v.bias", "encoder.layer.{i}.attention.self.value.bias"),
    Name::plain("attn.o.bias", "blk.{i}.attn_output.bias", "encoder.layer.{i}.attention.output.dense.bias"),
    Name::plain("attn.norm", "blk.{i}.attn_output_norm.weight", "encoder.layer.{i}.attention.output.LayerNorm.weight"),
    Name::plain("attn.norm.bias", "blk.{i}.attn_output_norm.bias", "encoder.layer.{i}.attention.output.LayerNorm.bias"),
    Name::plain("ffn.up", "blk.{i}.ffn_up.weight", "encoder.layer.{i}.intermediate.dense.weight"),
    Name::plain("ffn.up.bias", "blk.{i}.ffn_up.bias", "encoder.layer.{i}.intermediate.dense.bias"),
    Name::plain("ffn.down", "blk.{i}.ffn_down.weight", "encoder.layer.{i}.output.dense.weight"),
    Name::plain("ffn.down.bias", "blk.{i}.ffn_down.bias", "encoder.layer.{i}.output.dense.bias"),
    Name::plain("ffn.norm", "blk.{i}.layer_output_norm.weight", "encoder.layer.{i}.output.LayerNorm.weight"),
    Name::plain("ffn.norm.bias", "blk.{i}.layer_output_norm.bias", "encoder.layer.{i}.output.LayerNorm.bias"),
];

/// What guesses whether one sentence follows another, and the numbers from 0 on.
const UNUSED: &[&str] = &["pooler.dense.weight", "pooler.dense.bias", "embeddings.position_ids"];

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = keys.encoder()?;
    let biases = Biases { qkv: true, o: true, ffn: true };
    let block = Block { activation: keys.activation(Activation::GeluErf)?, biases, gated: false, ..c.block };
    let tables = super::Tables { positions: Some(c.context), ..c.tables };
    keys.learned_positions()?;
    Ok(Config { block, tables, unused: UNUSED, ..c })
}
