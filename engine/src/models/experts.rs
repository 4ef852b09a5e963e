//! Feed-forward blocks of experts, of which a router chooses a few for each token.

use parhelion_loader::LoadError;

use super::{
    Config, Name,
    config::{Key, Keys},
    decoder_names,
};
use crate::{
    graph::{Graph, ValueId},
    ops::{
        activate::Activation,
        route::{MAX_EXPERTS, MAX_USED, Routing, Score},
    },
};

/// The experts of a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Experts {
    /// How many there are.
    pub count: u32,
    /// Elements inside one.
    pub ffn: u32,
    /// How a token's are chosen.
    pub routing: Routing,
    /// The gate's function.
    pub activation: Activation,
    /// Whether the choice adds a vector to the scores.
    pub choice_bias: bool,
    /// Whether the router and the experts have biases.
    pub biases: bool,
}

const COUNT: Key = Key::new("expert_count", "num_experts");
const USED: Key = Key::new("expert_used_count", "num_experts_per_tok");
const FFN: Key = Key::new("expert_feed_forward_length", "moe_intermediate_size");

/// Tensors by the names that most families give them.
pub(super) const NAMES: &[Name] = &[
    Name::plain("ffn.router", "blk.{i}.ffn_gate_inp.weight", "model.layers.{i}.mlp.gate.weight"),
    Name::plain("ffn.gate_exps", "blk.{i}.ffn_gate_exps.weight", "model.layers.{i}.mlp.experts.{e}.gate_proj.weight"),
    Name::plain("ffn.up_exps", "blk.{i}.ffn_up_exps.weight", "model.layers.{i}.mlp.experts.{e}.up_proj.weight"),
    Name::plain("ffn.down_exps", "blk.{i}.ffn_down_exps.weight", "model.layers.{i}.mlp.experts.{e}.down_proj.weight"),
];

impl Experts {
    /// Those of a model whose router takes the softmax of all experts and divides the weights of the chosen by their sum.
    pub(super) fn read(keys: &Keys<'_>) -> Result<Self, LoadError> {
        Self::named(keys, COUNT, FFN)
    }

    /// The same where config.json calls their number and the elements inside otherwise.
    pub(super) fn named(keys: &Keys<'_>, count: Key, ffn: Key) -> Result<Self, LoadError> {
        let count = keys.size(count, 1..=MAX_EXPERTS, None)?;
        Ok(Self {
            count,
            ffn: keys.size(ffn, 1..=1 << 20, None)?,
            routing: Routing {
                used: keys.size(USED, 1..=MAX_USED.min(count), None)?,
                score: Score::Softmax,
                renormalise: Some(0.0),
                scale: 1.0,
            },
            activation: Activation::Silu,
            choice_bias: false,
            biases: false,
        })
    }
}

/// What the experts of each token make of it.
pub(super) fn feed_forward(g: &Graph, c: &Config, experts: &Experts, h: ValueId) -> ValueId {
    let &Experts { count, ffn, routing, activation, choice_bias, biases } = experts;
    let biased = |names: &'static [&'static str]| decoder_names::biases(biases, names);
    let logits = g.linear_with_bias(h, &[("ffn.router", count)], biased(&["ffn.router.bias"]));
    let chosen = g.route(logits, routing, choice_bias.then_some("ffn.choice_bias"));
    let parts = [("ffn.gate_exps", ffn), ("ffn.up_exps", ffn)];
    let gate_up = g.experts((h, c.hidden), &chosen, &parts, biased(&["ffn.gate_exps.bias", "ffn.up_exps.bias"]));
    let inner = g.gated_experts(gate_up, (chosen.used, ffn), activation);
    let outputs = g.experts((inner, ffn), &chosen, &[("ffn.down_exps", c.hidden)], biased(&["ffn.down_exps.bias"]));
    g.mix_experts(outputs, c.hidden, &chosen)
}
