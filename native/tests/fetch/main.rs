//! Downloads against a server that cuts, lies, changes its mind or stays silent. Nothing leaves this machine.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

// The stand-in for `pip` is a shell script.
mod hub;
mod hub_faults;
mod hub_names;
#[cfg(unix)]
mod hub_program;
mod hub_server;
#[cfg(unix)]
mod pip;
mod server;
mod sources;
mod transfers;

use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use parhelion_cli::cache::Cache;
use parhelion_cli::catalogue::{Model, Source};
use parhelion_cli::fetch::{FetchError, Fetcher, Settings, SourceError, Timeouts};
use parhelion_cli::hub::HubSettings;
use parhelion_cli::interrupt::Interrupt;
use parhelion_cli::progress::{Progress, Unit};
use sha2::{Digest, Sha256};

const FILE: &str = "model.gguf";

/// Bytes that look like a GGUF file and compress badly.
fn weights(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed * 2 + 1;
    let noise = std::iter::repeat_with(move || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    b"GGUF".iter().copied().chain(noise).take(len).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Keeps what was said, and can interrupt at a given byte.
#[derive(Default)]
struct Recorder {
    notes: Mutex<Vec<String>>,
    labels: Mutex<Vec<String>>,
    stop_at: Option<(u64, Interrupt)>,
}

impl Progress for Recorder {
    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.to_owned());
    }
    fn begin(&self, _label: &str, _unit: Unit, _total: Option<u64>, _already: u64) {}
    fn reached(&self, bytes: u64) {
        if let Some((at, interrupt)) = &self.stop_at
            && bytes >= *at
        {
            interrupt.raise();
        }
    }
    fn relabel(&self, label: &str) {
        self.labels.lock().unwrap().push(label.to_owned());
    }
    fn end(&self) {}
}

struct Bench {
    root: tempfile::TempDir,
    cache: Cache,
    settings: Settings,
    recorder: Recorder,
    interrupt: Interrupt,
}

impl Bench {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let settings = Settings {
            hub: HubSettings {
                endpoint: "http://127.0.0.1:9".to_owned(),
                token: None,
                cache: Some(root.path().join("hub")),
                offline: false,
            },
            pip: Vec::new(),
            timeouts: Timeouts { connect: Duration::from_secs(2), response: Duration::from_millis(400), stall: Duration::from_millis(400) },
            retry_waits: vec![Duration::from_millis(1); 3],
        };
        Self { cache: Cache::at(root.path().join("cache")), root, settings, recorder: Recorder::default(), interrupt: Interrupt::default() }
    }

    fn fetcher(&self) -> Fetcher<'_> {
        Fetcher { cache: &self.cache, settings: &self.settings, progress: &self.recorder, interrupt: &self.interrupt }
    }

    /// Fetches `body` by its size and hash from `sources`.
    fn fetch(&self, body: &[u8], sources: &[Source<'_>]) -> Result<PathBuf, FetchError> {
        self.fetcher().model(&model(Some(body.len() as u64), Some(&sha256(body)), sources))
    }

    fn notes(&self) -> String {
        self.recorder.notes.lock().unwrap().join("\n")
    }

    fn models_dir(&self) -> PathBuf {
        self.cache.models_dir()
    }

    fn assert_no_leftovers(&self) {
        for name in ["model.gguf.part", "model.gguf.part.json"] {
            assert!(!self.models_dir().join(name).exists(), "{name} is left");
        }
    }
}

fn model<'a>(bytes: Option<u64>, sha256: Option<&'a str>, sources: &'a [Source<'a>]) -> Model<'a> {
    Model { id: "test", title: "", license: "", file_name: FILE, bytes, sha256, sources }
}

/// The errors of the sources tried.
fn attempts(result: Result<PathBuf, FetchError>) -> Vec<SourceError> {
    match result {
        Err(FetchError::NoSource { attempts, .. }) => attempts.into_iter().map(|(_, error)| error).collect(),
        other => panic!("expected every source to fail, got {other:?}"),
    }
}
