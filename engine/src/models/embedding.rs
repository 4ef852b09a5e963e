//! How the states of a text's tokens become one vector: pooling, dense layers, normalisation.

use super::Name;
use crate::graph::{Graph, ValueId};

/// How a text becomes a vector.
#[derive(Debug, Clone, PartialEq)]
pub struct Embedding {
    /// Which states count.
    pub pooling: Pooling,
    /// What follows the pooling.
    pub dense: Vec<DenseLayer>,
    /// Whether vectors are divided by their length.
    pub normalise: bool,
    /// Tokens after which a text is cut off; none: longer texts than the model takes are errors.
    pub cut_after: Option<u32>,
    /// What texts begin with, by its use: `query`, `document`.
    pub prompts: Vec<(String, String)>,
    /// The prompt that is used where none is asked for.
    pub default_prompt: Option<String>,
}

/// Which states of a text count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    /// All alike.
    Mean,
    /// The first token's: `[CLS]`.
    First,
    /// The last token's.
    Last,
}

/// A matrix that the pooled state is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DenseLayer {
    /// The number that repositories and GGUF files know it by: 2 or 3, the modules after the model and the pooling.
    pub number: u32,
    /// Its rows.
    pub rows: u32,
    /// Whether a bias is added.
    pub bias: bool,
}

/// The numbers of dense layers: those of their modules in repositories, after the model and the pooling.
pub(super) const DENSE_NUMBERS: [u32; 2] = [2, 3];

/// The dense layers' tensors, in any family. Repositories keep them in the files of their modules.
pub(super) const NAMES: &[Name] = &[
    Name::plain("dense.2", "dense_2.weight", "modules.2.linear.weight"),
    Name::plain("dense.2.bias", "dense_2.bias", "modules.2.linear.bias"),
    Name::plain("dense.3", "dense_3.weight", "modules.3.linear.weight"),
    Name::plain("dense.3.bias", "dense_3.bias", "modules.3.linear.bias"),
];

impl Embedding {
    /// What a model gives whose repository says nothing of it: the mean, as it is.
    pub(super) fn mean() -> Self {
        Self { pooling: Pooling::Mean, dense: Vec::new(), normalise: false, cut_after: None, prompts: Vec::new(), default_prompt: None }
    }

    /// Lists what follows the last layer, whose `states` are rows of the step, and names the output. The host divides by lengths.
    pub(super) fn build(&self, g: &Graph, states: ValueId) {
        let mut pooled = match self.pooling {
            Pooling::Mean => g.mean_of_sequences(states),
            // the host says which rows outputs come from
            Pooling::First | Pooling::Last => g.gather_outputs(states),
        };
        for layer in &self.dense {
            let (weight, bias) = if layer.number == DENSE_NUMBERS[0] { ("dense.2", "dense.2.bias") } else { ("dense.3", "dense.3.bias") };
            let all = [bias];
            let biases = if layer.bias { all.as_slice() } else { &[] };
            pooled = g.linear_with_bias(pooled, &[(weight, layer.rows)], biases);
        }
        g.set_embeddings(pooled);
    }
}
