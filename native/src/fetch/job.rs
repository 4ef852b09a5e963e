//! One file to fetch: what is known of it, where it goes, who is told, and what stops it.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::digest::Digest;
use super::error::FetchError;
use crate::cache::with_added_extension;
use crate::progress::{Progress, Unit};

/// Room on the disk that a download leaves.
pub(super) const SPARE_SPACE: u64 = 16 << 20;
const LOCK_POLL: Duration = Duration::from_millis(200);

/// A file to fetch.
pub(super) struct Wanted {
    /// What it is called in messages; the ending tells what its bytes must start with.
    pub(super) name: String,
    /// Its place when it is whole and good.
    pub(super) path: PathBuf,
    /// Where its bytes gather until then.
    pub(super) part: PathBuf,
    /// Where to note which version of the server's file they are of. A file with a digest may do without.
    pub(super) record: Option<PathBuf>,
    /// Its size in bytes, where known.
    pub(super) size: Option<u64>,
    /// What it hashes to, where known. Git's hash needs the size.
    pub(super) digest: Option<Digest>,
}

impl Wanted {
    /// A file of this program's own cache, which notes beside its bytes where they are from.
    pub(super) fn in_own_cache(name: &str, path: PathBuf, size: Option<u64>, digest: Option<Digest>) -> Self {
        let part = with_added_extension(&path, "part");
        let record = Some(with_added_extension(&path, "part.json"));
        Self { name: name.to_owned(), path, part, record, size, digest }
    }
}

/// A file being fetched.
#[derive(Clone, Copy)]
pub(super) struct Job<'a> {
    pub(super) wanted: &'a Wanted,
    pub(super) progress: &'a dyn Progress,
    /// Whether to stop: the user wants it, or another file of the same set has failed.
    pub(super) stopped: &'a (dyn Fn() -> bool + Sync),
}

impl<'a> Job<'a> {
    pub(super) fn directory(&self) -> &'a Path {
        self.wanted.path.parent().unwrap_or(Path::new("."))
    }

    /// Sleeps for `time`, or returns an error as soon as the work is to stop.
    pub(super) fn sleep(&self, time: Duration) -> Result<(), ()> {
        sleep(time, self.stopped)
    }

    /// Starts a counted step that ends when what this returns is dropped.
    pub(super) fn begin_step(&self, label: &str, total: Option<u64>, already: u64) -> StepGuard<'a> {
        self.progress.begin(label, Unit::Bytes, total, already);
        StepGuard(self.progress)
    }

    /// Makes the directories of the file and its lock, and waits until no other process fetches it.
    pub(super) fn lock(&self, path: &Path) -> Result<File, FetchError> {
        for directory in [Some(self.directory()), path.parent()].into_iter().flatten() {
            fs::create_dir_all(directory).map_err(FetchError::cache("make", directory))?;
        }
        let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(FetchError::cache("open", path))?;
        let mut said = false;
        loop {
            match fs4::FileExt::try_lock(&file) {
                Ok(()) => return Ok(file),
                Err(fs4::TryLockError::Error(error)) => return Err(FetchError::cache("lock", path)(error)),
                Err(fs4::TryLockError::WouldBlock) => {
                    if !said {
                        self.progress.note(&format!("another process is fetching {}: waiting", self.wanted.name));
                        said = true;
                    }
                    self.sleep(LOCK_POLL).map_err(|()| FetchError::Interrupted { bytes_kept: 0 })?;
                }
            }
        }
    }
}

pub(super) struct StepGuard<'a>(&'a dyn Progress);

impl Drop for StepGuard<'_> {
    fn drop(&mut self) {
        self.0.end();
    }
}

/// Refuses to start what the disk of `directory` has no room for. A disk that does not tell is tried.
pub(super) fn require_space(directory: &Path, needed: u64) -> Result<(), FetchError> {
    let Ok(available) = fs4::available_space(directory) else {
        return Ok(());
    };
    if needed > 0 && available < needed.saturating_add(SPARE_SPACE) {
        return Err(FetchError::NoSpace { directory: directory.to_path_buf(), needed, available });
    }
    Ok(())
}

/// Sleeps for `time`, or returns an error as soon as `stopped` says so.
pub(super) fn sleep(time: Duration, stopped: &dyn Fn() -> bool) -> Result<(), ()> {
    const SLICE: Duration = Duration::from_millis(50);
    let mut left = time;
    while !left.is_zero() {
        if stopped() {
            return Err(());
        }
        let slice = left.min(SLICE);
        std::thread::sleep(slice);
        left -= slice;
    }
    if stopped() { Err(()) } else { Ok(()) }
}
