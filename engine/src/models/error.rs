//! What keeps a model from being run, or from being written as another.

use parhelion_loader::LoadError;

use crate::{graph::GraphError, weights::WeightError};

/// Why a file cannot be run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ModelError {
    /// The file's fault.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A weight's.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// A model whose sizes contradict each other.
    #[error("the model's configuration does not fit together: {0}")]
    Graph(#[from] GraphError),
    /// No family of this name.
    #[error(
        "{file}: models of architecture `{architecture}` are not supported yet; the closest of the supported is `{closest}`, all are: {known}"
    )]
    Architecture {
        /// The file.
        file: String,
        /// What the file says.
        architecture: String,
        /// The known one that is spelled most like it.
        closest: String,
        /// The known ones.
        known: String,
    },
    /// A model that GGUF has no form for.
    #[error("{file}: cannot be written as GGUF: {what}")]
    NoGguf {
        /// The model.
        file: String,
        /// What has no form.
        what: String,
    },
    /// Tensors that the model does not use: the file is of another kind than it says.
    #[error("{file}: {count} tensors are not part of architecture `{architecture}`: {names}")]
    UnusedTensors {
        /// The file.
        file: String,
        /// What the file says.
        architecture: String,
        /// How many.
        count: usize,
        /// The first few.
        names: String,
    },
}
