//! Several files at once, shown as one transfer.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::client::Client;
use super::error::{Failure, FetchError, SourceError};
use super::job::{Job, Wanted, require_space};
use super::part::Part;
use super::{Fetcher, deliver};
use crate::progress::{Progress, Unit};

/// So many files are fetched at once: enough to fill a line, few enough for a server to bear.
const AT_ONCE: usize = 4;

/// A file of a set.
pub(super) struct Item {
    pub(super) wanted: Wanted,
    pub(super) url: String,
    pub(super) lock: PathBuf,
}

/// Why a set is not complete.
pub(super) enum SetFailure {
    /// One file could not be had.
    File { name: String, source: SourceError },
    /// Nothing more can be had.
    Fatal(FetchError),
}

impl From<FetchError> for SetFailure {
    fn from(error: FetchError) -> Self {
        Self::Fatal(error)
    }
}

impl Fetcher<'_> {
    /// Fetches all of `items`, or stops at the first that cannot be had. What has arrived is kept.
    pub(super) fn set(&self, client: &Client, label: &str, items: &[Item]) -> Result<(), SetFailure> {
        let Some(first) = items.first() else { return Ok(()) };
        let already: Vec<u64> = items.iter().map(|item| item.wanted.part.metadata().map_or(0, |part| part.len())).collect();
        let sizes: Option<Vec<u64>> = items.iter().map(|item| item.wanted.size).collect();
        if let Some(sizes) = &sizes {
            let needed = sizes.iter().zip(&already).fold(0, |sum: u64, (size, have)| sum.saturating_add(size.saturating_sub(*have)));
            let directory = first.wanted.path.parent().unwrap_or(&first.wanted.path);
            std::fs::create_dir_all(directory).map_err(FetchError::cache("make", directory))?;
            require_space(directory, needed)?;
        }
        let total = sizes.map(|sizes| sizes.into_iter().fold(0, u64::saturating_add));
        let tally = Tally::begin(self.progress, label, total, already);
        // The largest first: the others find room beside it.
        let mut queue: Vec<usize> = (0..items.len()).collect();
        queue.sort_by_key(|index| std::cmp::Reverse(items[*index].wanted.size));
        let queue = Mutex::new(VecDeque::from(queue));
        let failed = AtomicBool::new(false);
        let failures = Mutex::new(Vec::new());
        // By a call of its own, so that the queue is not locked while the file is fetched.
        let next = || lock(&queue).pop_front();
        let work = || {
            while let Some(index) = next() {
                let stopped = || failed.load(Ordering::Relaxed) || self.interrupt.is_raised();
                let share = Share { tally: &tally, index };
                let job = Job { wanted: &items[index].wanted, progress: &share, stopped: &stopped };
                match self.item(client, &job, &items[index]) {
                    Ok(()) => tally.finished(index, items[index].wanted.size),
                    Err(failure) => {
                        failed.store(true, Ordering::Relaxed);
                        lock(&failures).push((index, failure));
                        return;
                    }
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 0..items.len().min(AT_ONCE) {
                scope.spawn(work);
            }
        });
        let kept = tally.end();
        let failures = failures.into_inner().unwrap_or_else(PoisonError::into_inner);
        first_cause(failures, items, kept)
    }

    fn item(&self, client: &Client, job: &Job<'_>, item: &Item) -> Result<(), Failure> {
        let _lock = job.lock(&item.lock)?;
        // Another process may have fetched it while this one waited.
        let there = item.wanted.path.metadata().is_ok_and(|file| file.is_file() && item.wanted.size.is_none_or(|size| size == file.len()));
        if there {
            return Ok(());
        }
        let mut fill = |part: &mut Part| self.download(client, &item.url, true).run(job, part);
        deliver(job, &super::address::display_url(&item.url), &mut fill)
    }
}

/// The failure that made the others stop.
fn first_cause(failures: Vec<(usize, Failure)>, items: &[Item], kept: u64) -> Result<(), SetFailure> {
    let mut interrupted = false;
    for (index, failure) in failures {
        match failure {
            Failure::Source(source) => return Err(SetFailure::File { name: items[index].wanted.name.clone(), source }),
            Failure::Fatal(FetchError::Interrupted { .. }) => interrupted = true,
            Failure::Fatal(error) => return Err(SetFailure::Fatal(error)),
        }
    }
    if interrupted { Err(SetFailure::Fatal(FetchError::Interrupted { bytes_kept: kept })) } else { Ok(()) }
}

/// What all files of a set together have reached.
struct Tally<'a> {
    progress: &'a dyn Progress,
    label: &'a str,
    state: Mutex<State>,
}

struct State {
    reached: Vec<u64>,
    finished: usize,
}

impl<'a> Tally<'a> {
    fn begin(progress: &'a dyn Progress, label: &'a str, total: Option<u64>, already: Vec<u64>) -> Self {
        let state = State { finished: 0, reached: already };
        progress.begin(&state.label(label), Unit::Bytes, total, state.sum());
        Self { progress, label, state: Mutex::new(state) }
    }

    fn reached(&self, index: usize, now: u64) {
        let mut state = lock(&self.state);
        state.reached[index] = now;
        // Told while locked, so that two threads cannot tell their sums in the wrong order.
        self.progress.reached(state.sum());
    }

    fn finished(&self, index: usize, size: Option<u64>) {
        let mut state = lock(&self.state);
        state.finished += 1;
        state.reached[index] = size.unwrap_or(state.reached[index]);
        self.progress.relabel(&state.label(self.label));
        self.progress.reached(state.sum());
    }

    /// Ends the display, and tells how many bytes are there.
    fn end(self) -> u64 {
        self.progress.end();
        lock(&self.state).sum()
    }
}

impl State {
    fn label(&self, label: &str) -> String {
        match self.reached.len() {
            1 => label.to_owned(),
            files => format!("{label} ({} of {files} files)", self.finished),
        }
    }

    fn sum(&self) -> u64 {
        self.reached.iter().fold(0, |sum, reached| sum.saturating_add(*reached))
    }
}

/// One file's part in the tally.
struct Share<'a> {
    tally: &'a Tally<'a>,
    index: usize,
}

impl Progress for Share<'_> {
    fn note(&self, line: &str) {
        self.tally.progress.note(line);
    }

    fn begin(&self, _label: &str, _unit: Unit, _total: Option<u64>, already: u64) {
        self.reached(already);
    }

    fn reached(&self, now: u64) {
        self.tally.reached(self.index, now);
    }

    fn relabel(&self, _label: &str) {}

    fn end(&self) {}
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
