//! Why a session cannot do what it was asked.

use parhelion_loader::LoadError;

use super::RestoreError;
use crate::{exec::ExecError, models::ModelError, plan::PlanError, weights::WeightError};

/// Everything that can go wrong between opening a model and its last token.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EngineError {
    /// The file cannot be read, or its tokenizer or template cannot.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The file holds no model that can be run.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model does not fit the device.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A weight cannot be loaded.
    #[error(transparent)]
    Weight(#[from] WeightError),
    /// The device failed.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A model that makes vectors of texts was asked for text.
    #[error("{file} is an embedding model, which makes vectors of texts and writes none: ask it to embed")]
    WritesNothing {
        /// The file.
        file: String,
    },
    /// A model that writes text was asked for vectors.
    #[error("{file} is no embedding model: it writes text, and nothing in it says how a text becomes a vector")]
    EmbedsNothing {
        /// The file.
        file: String,
    },
    /// A text without tokens.
    #[error("text {index} has no tokens: leave it out")]
    EmptyText {
        /// Which of the texts, from 0.
        index: usize,
    },
    /// A text that does not fit the context.
    #[error(
        "text {index} has {tokens} tokens and the context holds {context}: split it, or ask for a larger context if the model takes one"
    )]
    TextTooLong {
        /// Which of the texts, from 0.
        index: usize,
        /// Its tokens.
        tokens: usize,
        /// Tokens the context holds.
        context: u32,
    },
    /// A prompt that the model does not name.
    #[error("the model has no prompt called `{name}`: {known}")]
    UnknownTextPrompt {
        /// What was asked for.
        name: String,
        /// What there is, in words.
        known: String,
    },
    /// A prompt without tokens.
    #[error("the prompt has no tokens: give it some text")]
    EmptyPrompt,
    /// A prompt that does not fit the context.
    #[error("the prompt has {prompt} tokens and the context holds {context}: shorten it or ask for a larger context")]
    PromptTooLong {
        /// Tokens of the prompt.
        prompt: usize,
        /// Tokens the context holds.
        context: u32,
    },
    /// A token that the model does not have.
    #[error("token {token} is not in the model's vocabulary of {vocab}")]
    UnknownToken {
        /// The token.
        token: u32,
        /// Size of the vocabulary.
        vocab: u32,
    },
    /// An embedding that the model cannot take.
    #[error("an input embedding has {got} elements and the model's have {expected}")]
    EmbeddingSize {
        /// Elements given.
        got: usize,
        /// Columns of the model's embedding; 0 for a model without one.
        expected: u32,
    },
    /// A sequence that was closed, or more sequences than the session has room for.
    #[error("{reason}")]
    Sequence {
        /// What is wrong.
        reason: String,
    },
    /// A saved sequence that cannot be restored.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// A sampling option outside its range.
    #[error("{option} must be {range}, got {got}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What is allowed.
        range: &'static str,
        /// What was given.
        got: String,
    },
    /// The model has no chat template.
    #[error("{file} has no chat template: use raw text completion")]
    NoChatTemplate {
        /// The file.
        file: String,
    },
}
