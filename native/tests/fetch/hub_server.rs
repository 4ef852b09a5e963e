//! A model hub on this machine: its listing, its redirects to the store that has the bytes, and its ways to refuse.

use std::collections::BTreeMap;
use std::sync::Arc;

use parhelion_cli::fetch::FetchError;
use parhelion_cli::hub::{HubError, HubName};
use serde_json::json;
use sha1::Digest as _;

use super::server::{Reply, Request, Server};
use super::{Bench, sha256};

/// The commit that `main` is at.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// Larger files lie in the store, as on the real hub.
const STORED: usize = 10_000;

/// Which of the hub's answers a request is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    Commit,
    Listing,
    File,
    Store,
}

type Files = BTreeMap<String, Vec<u8>>;

/// A hub with the repository `o/n`, and the store that it sends to.
pub(crate) struct Hub {
    pub(crate) hub: Server,
    pub(crate) store: Server,
    pub(crate) files: Arc<Files>,
}

pub(crate) fn git_sha1(bytes: &[u8]) -> String {
    let mut hasher = sha1::Sha1::new_with_prefix(format!("blob {}\0", bytes.len()));
    hasher.update(bytes);
    hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The listing of `files` as the hub gives it.
pub(crate) fn tree(files: &Files) -> Vec<serde_json::Value> {
    let object = |(path, bytes): (&String, &Vec<u8>)| {
        let mut object = json!({"type": "file", "path": path, "size": bytes.len(), "oid": git_sha1(bytes)});
        if bytes.len() > STORED {
            object["lfs"] = json!({"oid": sha256(bytes), "size": bytes.len(), "pointerSize": 134});
        }
        object
    };
    files.iter().map(object).collect()
}

pub(crate) fn json_reply(value: &serde_json::Value) -> Reply {
    Reply { status: 200, body: value.to_string().into_bytes(), ..Reply::default() }.header("Content-Type", "application/json")
}

impl Hub {
    /// A hub without faults.
    pub(crate) fn start(files: &[(&str, Vec<u8>)]) -> Self {
        Self::with_faults(files, |_, _, _| None)
    }

    /// A hub where `fault` may answer the n-th request to the hub, or to the store, in its own way.
    pub(crate) fn with_faults(
        files: &[(&str, Vec<u8>)],
        fault: impl Fn(Asked, &Request, usize) -> Option<Reply> + Send + Sync + 'static,
    ) -> Self {
        let files: Arc<Files> = Arc::new(files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect());
        let fault = Arc::new(fault);
        let (stored, faulty) = (Arc::clone(&files), Arc::clone(&fault));
        let store = Server::start(move |request, index| {
            faulty(Asked::Store, request, index).unwrap_or_else(|| {
                let blob = stored.values().find(|bytes| request.path == format!("/{}", sha256(bytes)));
                blob.map_or(Reply::status(404), |bytes| Reply::correct(request, bytes, "\"of the store\""))
            })
        });
        let (listed, store_url) = (Arc::clone(&files), store.url(""));
        let hub = Server::start(move |request, index| {
            let asked = match request.path.as_str() {
                path if path.contains("/revision/") => Asked::Commit,
                path if path.contains("/tree/") => Asked::Listing,
                _ => Asked::File,
            };
            fault(asked, request, index).unwrap_or_else(|| answer(asked, request, &listed, &store_url))
        });
        Self { hub, store, files }
    }

    /// A bench that asks this hub.
    pub(crate) fn bench(&self) -> Bench {
        let mut bench = Bench::new();
        bench.settings.hub.endpoint = self.hub.address();
        bench
    }

    /// The requests for bytes.
    pub(crate) fn file_requests(&self) -> usize {
        self.hub.requests().iter().filter(|request| request.path.contains("/resolve/")).count()
    }
}

fn answer(asked: Asked, request: &Request, files: &Files, store: &str) -> Reply {
    match asked {
        Asked::Commit if request.path == "/api/models/o/n/revision/main" => json_reply(&json!({"id": "o/n", "sha": COMMIT})),
        Asked::Commit if request.path.starts_with("/api/models/o/n/") => Reply::status(404).header("X-Error-Code", "RevisionNotFound"),
        Asked::Commit => Reply::status(401).header("X-Error-Code", "RepoNotFound"),
        Asked::Listing => json_reply(&tree(files).into()),
        Asked::File | Asked::Store => {
            let path = request.path.strip_prefix(&format!("/o/n/resolve/{COMMIT}/")).unwrap_or_default().replace("%20", " ");
            match files.get(&path) {
                None => Reply::status(404).header("X-Error-Code", "EntryNotFound"),
                Some(bytes) if bytes.len() > STORED => Reply::status(302)
                    .header("Location", format!("{store}{}", sha256(bytes)))
                    .header("X-Repo-Commit", COMMIT)
                    .header("X-Linked-Etag", format!("\"{}\"", sha256(bytes)))
                    .header("X-Linked-Size", bytes.len().to_string()),
                Some(bytes) => Reply::correct(request, bytes, &format!("\"{}\"", git_sha1(bytes))).header("X-Repo-Commit", COMMIT),
            }
        }
    }
}

pub(crate) fn name(text: &str) -> HubName {
    HubName::parse(text).unwrap().unwrap()
}

/// The hub's part of an error.
pub(crate) fn hub_error<T: std::fmt::Debug>(result: Result<T, FetchError>) -> HubError {
    match result {
        Err(FetchError::Repository { source, .. }) => *source,
        other => panic!("expected an error of the repository, got {other:?}"),
    }
}
