//! LFM2's mixtures of experts: LFM2's layers, of which all but the first have experts that a router chooses by sigmoids and a bias.

use parhelion_loader::LoadError;

use super::{
    Block, Family, Name,
    config::{Config, Key, Keys},
    decoder,
    experts::Experts,
    lfm2,
};
use crate::ops::route::Score;

pub(super) static FAMILY: Family = Family {
    architectures: &["lfm2_moe", "lfm2moe"],
    gguf: "lfm2moe",
    config,
    names: &[NAMES, lfm2::NAMES, decoder::NAMES],
    build: decoder::build,
};

const NAMES: &[Name] = &[
    Name::plain("ffn.router", "blk.{i}.ffn_gate_inp.weight", "model.layers.{i}.feed_forward.gate.weight"),
    Name::plain("ffn.choice_bias", "blk.{i}.exp_probs_b.bias", "model.layers.{i}.feed_forward.expert_bias"),
    Name::plain("ffn.gate_exps", "blk.{i}.ffn_gate_exps.weight", "model.layers.{i}.feed_forward.experts.{e}.w1.weight"),
    Name::plain("ffn.up_exps", "blk.{i}.ffn_up_exps.weight", "model.layers.{i}.feed_forward.experts.{e}.w3.weight"),
    Name::plain("ffn.down_exps", "blk.{i}.ffn_down_exps.weight", "model.layers.{i}.feed_forward.experts.{e}.w2.weight"),
];

/// Layers in front that have no experts.
const DENSE: Key = Key::new("leading_dense_block_count", "num_dense_layers");
const CHOICE_BIAS: Key = Key::hf("use_expert_bias");
const RENORMALISE: Key = Key::hf("norm_topk_prob");
const SCALE: Key = Key::new("expert_weights_scale", "routed_scaling_factor");
/// GGUF's number of the scores: those of LFM2 are sigmoids.
const SCORE: Key = Key::gguf("expert_gating_func");
const SIGMOID: u32 = 2;
/// What the library adds to the sum of weights.
const FLOOR: f32 = 1e-6;

fn config(keys: &Keys<'_>) -> Result<Config, LoadError> {
    let c = lfm2::decoder_of(keys, keys.feed_forward()?)?;
    let mut experts = Experts::read(keys)?;
    keys.size(SCORE, SIGMOID..=SIGMOID, Some(SIGMOID))?;
    experts.routing.score = Score::Sigmoid;
    experts.routing.renormalise = keys.flag(RENORMALISE, true)?.then_some(FLOOR);
    experts.routing.scale = keys.positive(SCALE, 1.0)?;
    experts.choice_bias = keys.flag(CHOICE_BIAS, true)?;
    let dense = keys.size(DENSE, 0..=c.layers, Some(2))?;
    let mut per_layer = c.per_layer;
    per_layer.iter_mut().skip(dense as usize).for_each(|layer| layer.experts = true);
    Ok(Config { per_layer, block: Block { experts: Some(experts), ..c.block }, ..c })
}
