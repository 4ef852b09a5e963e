//! What ends a command early, and the exit code it ends with.

use std::io;
use std::path::PathBuf;

use parhelion::exec::ExecError;
use parhelion::loader::{GgufWriteError, LoadError};
use parhelion::models::ModelError;
use parhelion::quantise::QuantiseError;
use parhelion::session::EngineError;

use super::models::{Damaged, NotFetched};
use crate::cache::NoCacheDirectory;
use crate::fetch::FetchError;
use crate::interrupt::EXIT_INTERRUPTED;
use crate::model::NameError;
use crate::progress::bytes;
use crate::serve::NoPage;

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
    /// Files of a model were damaged.
    #[error(transparent)]
    Damaged(#[from] Damaged),
    /// There is nowhere to keep models.
    #[error(transparent)]
    NoCache(#[from] NoCacheDirectory),
    /// A model file could not be read.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device failed, or there is none such.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// The engine could not do what it was asked.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// An embedding model where text is to be written.
    #[error("{name} is an embedding model, which makes vectors of texts and writes none: `parhelion embed` runs it")]
    MakesVectors {
        /// The model.
        name: String,
    },
    /// A model that writes text where vectors are to be made.
    #[error(
        "{name} writes text and makes no vectors: `parhelion run` runs it; embedding models are others, such as \
         sentence-transformers/all-MiniLM-L6-v2"
    )]
    WritesText {
        /// The model.
        name: String,
    },
    /// A file of texts could not be read.
    #[error("cannot read {}: {source}", path.display())]
    InputFile {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// Weights could not be quantised.
    #[error(transparent)]
    Quantise(#[from] QuantiseError),
    /// A model that GGUF has no form for.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// There is nothing to do.
    #[error(
        "{name}: no tensor becomes another type: those that could are quantised already; --requantize converts them all the same, which loses more"
    )]
    NothingToQuantise {
        /// The model.
        name: String,
    },
    /// A file is in the way.
    #[error("{} exists already; --force writes over it", path.display())]
    OutputExists {
        /// The file.
        path: PathBuf,
    },
    /// A model cannot be written.
    #[error("cannot write {}: {source}{}", path.display(), room_advice(source))]
    WriteModel {
        /// The file.
        path: PathBuf,
        /// Why.
        source: GgufWriteError,
    },
    /// The disk has too little room.
    #[error("{} needs {}, and {} is free there: make room, or write to another disk", path.display(), bytes(*needed), bytes(*free))]
    NoRoom {
        /// The file.
        path: PathBuf,
        /// Bytes of the file.
        needed: u64,
        /// Bytes that the disk has.
        free: u64,
    },
    /// Standard input could not be read.
    #[error("cannot read the input: {0}")]
    Input(io::Error),
    /// A conversation could not be saved.
    #[error("cannot save to {}: {source} (a file that exists is not overwritten)", path.display())]
    Save {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The device does not compute what it should.
    #[error(
        "{failed} kernel cases give wrong results on {device}: update its driver, or use --device cpu, \
         and report the output of `parhelion doctor --json`"
    )]
    KernelsFail {
        /// How many cases.
        failed: usize,
        /// The device.
        device: String,
    },
    /// There is no page to serve.
    #[error(transparent)]
    NoPage(#[from] NoPage),
    /// A server could not take its address.
    #[error("cannot listen on {address}: {source}; --port and --host choose another address, --port 0 any free port")]
    Listen {
        /// Host and port.
        address: String,
        /// The system's reason.
        source: io::Error,
    },
    /// A server could not go on.
    #[error("the server stopped: {0}")]
    Serve(io::Error),
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
            Self::UsageShown | Self::Usage(_) | Self::Engine(EngineError::Option { .. }) => 2,
            error if error.is_interruption() => EXIT_INTERRUPTED,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            _ => 1,
        }
    }

    /// Whether the user stopped it.
    pub fn is_interruption(&self) -> bool {
        matches!(self, Self::Interrupted | Self::Fetch(FetchError::Interrupted { .. }))
    }

    /// Whether the message adds to what the user has seen.
    pub fn is_worth_printing(&self) -> bool {
        !matches!(self, Self::UsageShown | Self::Interrupted) && self.exit_code() != 0
    }
}

/// What to do about a disk that is full.
fn room_advice(error: &GgufWriteError) -> &'static str {
    use std::io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};
    match error {
        GgufWriteError::Io(error) if matches!(error.kind(), StorageFull | QuotaExceeded | FileTooLarge) => {
            ": make room, or write to another disk"
        }
        _ => "",
    }
}
