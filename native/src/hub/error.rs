//! Why a model of the hub cannot be had, and what to do about it.

use super::path::UnsafePath;
use crate::fetch::SourceError;
use crate::progress::bytes;

/// Nothing, or more than one thing, can be meant by a choice among a repository's files.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// No weights in a format that can be read.
    #[error("it has no GGUF file, and no config.json with safetensors weights: look for another repository of the same model")]
    NoModel,
    /// Several models.
    #[error("it has several models: name one after a colon{}", list(choices))]
    Ambiguous {
        /// What can be named, with the bytes of each.
        choices: Vec<(String, u64)>,
    },
    /// Nothing of that name.
    #[error("it has nothing called `{choice}`{}", offer(choices))]
    NoSuchChoice {
        /// What was asked for.
        choice: String,
        /// What can be named, with the bytes of each.
        choices: Vec<(String, u64)>,
    },
    /// A split file without all of its parts.
    #[error("{file} is one of several parts, and not all of them are there: name another file")]
    MissingParts {
        /// The first part there is.
        file: String,
    },
    /// A name that could leave the cache.
    #[error(transparent)]
    Unsafe(#[from] UnsafePath),
}

/// Why a repository of the hub did not give its files.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// No such repository, or none for this user.
    #[error("the hub has no repository of that name, or it is private: check the name, or set HF_TOKEN to a token that may read it")]
    NoRepository,
    /// The repository's terms were not accepted, or not by this user.
    #[error("access to it is restricted: accept its terms at {page}, and set HF_TOKEN to a token of that account{}", said(message))]
    Gated {
        /// The page to do it at.
        page: String,
        /// What the hub said.
        message: Option<String>,
    },
    /// The token is refused.
    #[error("the hub refused access ({status}): check the token in HF_TOKEN or in the token file{}", said(message))]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What the hub said.
        message: Option<String>,
    },
    /// No such branch, tag or commit.
    #[error("it has no revision `{revision}`: name a branch, a tag or a commit after `@`")]
    NoRevision {
        /// What was asked for.
        revision: String,
    },
    /// The hub's list of files makes no sense.
    #[error("the answer of {url} is no list of a repository's files ({reason}): check HF_ENDPOINT")]
    BadListing {
        /// The address asked.
        url: String,
        /// What is wrong.
        reason: String,
    },
    /// The repository's index of shards makes no sense.
    #[error("its {file} cannot be used: {reason}")]
    BadIndex {
        /// The index.
        file: String,
        /// What is wrong.
        reason: String,
    },
    /// The index names a file that the repository has not.
    #[error("its index names {file}, which it has not: the repository is incomplete")]
    NoFile {
        /// The file.
        file: String,
    },
    /// It is not clear what to fetch.
    #[error(transparent)]
    Choice(#[from] ChoiceError),
    /// The network was ruled out, and not all files are here.
    #[error("{what} on this machine, and --offline or HF_HUB_OFFLINE keeps it from being fetched: run `parhelion models pull` without it")]
    Offline {
        /// What is missing, in words: `it is not`.
        what: String,
    },
    /// The hub could not be asked.
    #[error(transparent)]
    Request(SourceError),
    /// One of its files could not be fetched.
    #[error("{file}: {source}")]
    File {
        /// The file's path in the repository.
        file: String,
        /// Why not.
        source: SourceError,
    },
}

impl From<UnsafePath> for HubError {
    fn from(error: UnsafePath) -> Self {
        Self::Choice(error.into())
    }
}

fn list(choices: &[(String, u64)]) -> String {
    choices.iter().map(|(choice, size)| format!("\n  :{choice}  ({})", bytes(*size))).collect()
}

fn offer(choices: &[(String, u64)]) -> String {
    if choices.is_empty() { String::new() } else { format!("; there is{}", list(choices)) }
}

fn said(message: &Option<String>) -> String {
    message.as_ref().map(|message| format!("; it says: {message}")).unwrap_or_default()
}
