//! What ends a command early, and the exit code it ends with.

use std::io;

use super::models::NotFetched;
use crate::cache::NoCacheDirectory;
use crate::fetch::FetchError;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::model::NameError;

/// Why a command did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// The command line made no sense, which was told already.
    #[error("the command line could not be understood")]
    UsageShown,
    /// The command line made no sense.
    #[error("{0}\n\nFor more information, try '--help'.")]
    Usage(String),
    /// A model's name meant nothing.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A model could not be fetched.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A model is known but not on this machine.
    #[error(transparent)]
    NotFetched(#[from] NotFetched),
    /// There is nowhere to keep models.
    #[error(transparent)]
    NoCache(#[from] NoCacheDirectory),
    /// Output could not be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
    /// Ctrl-C cannot be caught.
    #[error("cannot handle Ctrl-C: {0}")]
    Signal(ctrlc::Error),
    /// The user stopped it.
    #[error("interrupted")]
    Interrupted,
}

impl CommandError {
    /// 1 for an error, 2 for a command line that makes no sense, 130 for an interruption; 0 where whoever read the
    /// output has seen enough.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::UsageShown | Self::Usage(_) => 2,
            Self::Interrupted | Self::Fetch(FetchError::Interrupted { .. }) => u8::try_from(EXIT_INTERRUPTED).unwrap_or(1),
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }

    /// Whether the message adds to what the user has seen.
    pub fn is_worth_printing(&self) -> bool {
        !matches!(self, Self::UsageShown | Self::Interrupted) && self.exit_code() != 0
    }
}
