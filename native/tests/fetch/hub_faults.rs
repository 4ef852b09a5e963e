//! A hub and a store that cut, lie, refuse and redirect: the right file in the end, or an error that says what to do.
//! Whatever happens, no wrong byte is ever found under a file's name.

use std::path::Path;
use std::time::{Duration, Instant};

use parhelion_cli::fetch::{FetchError, Freshness, SourceError};
use parhelion_cli::hub::HubError;
use serde_json::json;

use super::hub_server::{Asked, Hub, hub_error, json_reply, name, tree};
use super::server::{Reply, Request, Server};
use super::{Bench, sha256, weights};

const SIZE: usize = 600_000;
const GGUF: &str = "m-Q4_0.gguf";

fn body() -> Vec<u8> {
    weights(40, SIZE)
}

fn hub(fault: impl Fn(Asked, &Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Hub {
    Hub::with_faults(&[(GGUF, body())], fault)
}

/// A fault of the store's n-th answer.
fn store(fault: impl Fn(&Request, usize) -> Option<Reply> + Send + Sync + 'static) -> Hub {
    hub(move |asked, request, index| if asked == Asked::Store { fault(request, index) } else { None })
}

fn fetch(bench: &Bench) -> Result<std::path::PathBuf, FetchError> {
    bench.fetcher().repository(&name("o/n"), Freshness::AsCached)
}

fn assert_delivers(hub: &Hub) -> Bench {
    let bench = hub.bench();
    assert_eq!(std::fs::read(fetch(&bench).unwrap()).unwrap(), body());
    bench
}

/// The error of the one file, after which nothing wrong is left.
fn file_error(bench: &Bench) -> SourceError {
    match hub_error(fetch(bench)) {
        HubError::File { source, file } => {
            assert_eq!(file, GGUF);
            assert_nothing_usable(&bench.root.path().join("hub"));
            source
        }
        other => panic!("expected an error of the file, got {other}"),
    }
}

/// No blob under its final name, no link, no ref.
fn assert_nothing_usable(cache: &Path) {
    let repository = cache.join("models--o--n");
    let blobs = std::fs::read_dir(repository.join("blobs")).into_iter().flatten().flatten();
    for blob in blobs {
        assert!(blob.file_name().to_string_lossy().ends_with(".incomplete"), "{:?}", blob.file_name());
    }
    assert!(!repository.join("snapshots").exists() && !repository.join("refs").exists());
}

#[test]
fn resets_and_cuts_are_gone_on_from() {
    let hub = store(|request, index| (index < 4).then(|| Reply::correct(request, &body(), "\"v\"").cut_after(130_000)));
    assert_delivers(&hub);
    let starts: Vec<_> = hub.store.requests().iter().map(Request::range_start).collect();
    assert_eq!(starts, [None, Some(130_000), Some(260_000), Some(390_000), Some(520_000)]);
}

#[test]
fn wrong_bytes_of_the_right_size_are_never_kept() {
    let hub = store(|request, _| Some(Reply::correct(request, &weights(41, SIZE), "\"v\"")));
    let bench = hub.bench();
    assert!(matches!(file_error(&bench), SourceError::Hash { .. }));
    // A cut in between makes it come in pieces, which is worth one more attempt, and no more.
    let hub = store(|request, index| {
        let reply = Reply::correct(request, &weights(41, SIZE), "\"v\"");
        Some(if index == 0 { reply.cut_after(200_000) } else { reply })
    });
    assert!(matches!(file_error(&hub.bench()), SourceError::Hash { .. }));
    assert_eq!(hub.store.requests().len(), 3);
}

/// Also where the file's tag tells that it is another one, or lies that it is not.
#[test]
fn a_file_that_changes_in_mid_download_is_fetched_whole() {
    for tag in ["\"new\"", "\"of the store\""] {
        let hub = store(move |request, index| match index {
            0 => Some(Reply::correct(request, &body(), "\"of the store\"").cut_after(250_000)),
            1 => Some(Reply::correct(request, &weights(42, SIZE), tag)),
            _ => None,
        });
        let bench = assert_delivers(&hub);
        assert!(bench.notes().contains("fetching it whole"), "{}", bench.notes());
    }
}

#[test]
fn pages_and_encodings_in_place_of_files_are_refused() {
    let page = b"<!doctype html><p>Sign in to this network".to_vec();
    let replies = [
        Reply::whole(&page, "").header("Content-Type", "text/html"),
        Reply::whole(&page, "").header("Content-Length", SIZE.to_string()),
        Reply::whole(&body(), "").header("Content-Encoding", "gzip"),
    ];
    for reply in replies {
        let hub = store(move |_, _| Some(reply.clone()));
        let error = file_error(&hub.bench());
        assert!(matches!(error, SourceError::NotAModel { .. } | SourceError::Size { .. }), "{error}");
    }
}

#[test]
fn lengths_that_lie_are_found_out() {
    for (length, told) in [(SIZE - 1, "Size"), (SIZE + 1, "Size")] {
        let hub = store(move |_, _| Some(Reply::whole(&body(), "").header("Content-Length", length.to_string())));
        let error = file_error(&hub.bench());
        assert!(matches!(error, SourceError::Size { .. }), "{length} {told}: {error}");
    }
    // More than promised is not read; less is a cut.
    let hub = store(|request, _| {
        let mut reply = Reply::correct(request, &body(), "\"v\"");
        reply.headers.push(("Content-Length", reply.body.len().to_string()));
        reply.body.extend_from_slice(b"and more");
        Some(reply)
    });
    assert_delivers(&hub);
    let hub = store(|request, _| Some(Reply::correct(request, &body(), "\"v\"").cut_after(10)));
    assert!(matches!(file_error(&hub.bench()), SourceError::Broken { .. } | SourceError::Hash { .. }));
}

#[test]
fn listings_that_lie_are_found_out() {
    let lies = |key: &'static str, value: serde_json::Value| {
        hub(move |asked, _, _| {
            (asked == Asked::Listing).then(|| {
                let mut files = tree(&[(GGUF.to_owned(), body())].into());
                files[0]["lfs"][key] = value.clone();
                json_reply(&files.into())
            })
        })
    };
    for size in [SIZE - 1, SIZE + 1, 0, 1 << 20] {
        let hub = lies("size", size.into());
        let result = fetch(&hub.bench());
        assert!(matches!(hub_error(result), HubError::File { source: SourceError::Size { .. } | SourceError::Hash { .. }, .. }), "{size}");
    }
    let bench = lies("size", (1_u64 << 60).into()).bench();
    assert!(matches!(fetch(&bench), Err(FetchError::NoSpace { .. })));
    let bench = lies("oid", "0".repeat(64).into()).bench();
    assert!(matches!(file_error(&bench), SourceError::Hash { .. }));
    let bench = lies("oid", "../../../evil".into()).bench();
    assert!(matches!(hub_error(fetch(&bench)), HubError::BadListing { .. }));
}

#[test]
fn answers_that_are_no_listing_are_refused() {
    let page = || Reply::whole(b"<html>portal</html>", "").header("Content-Type", "text/html");
    for asked_for in [Asked::Commit, Asked::Listing] {
        let hub = hub(move |asked, _, _| (asked == asked_for).then(page));
        let error = hub_error(fetch(&hub.bench()));
        assert!(matches!(error, HubError::BadListing { .. }) && error.to_string().contains("HF_ENDPOINT"), "{error}");
    }
    let hub = hub(|asked, _, _| (asked == Asked::Commit).then(|| json_reply(&json!({"sha": "../../x"}))));
    assert!(matches!(hub_error(fetch(&hub.bench())), HubError::BadListing { .. }));
}

#[test]
fn a_refused_range_starts_over() {
    let hub = store(|request, index| match index {
        0 => Some(Reply::correct(request, &body(), "\"v\"").cut_after(100_000)),
        1 => Some(Reply::status(416)),
        _ => None,
    });
    assert_delivers(&hub);
    assert_eq!(hub.store.requests().len(), 3);
}

#[test]
fn overload_is_waited_for_as_long_as_asked() {
    for status in [429, 503] {
        let hub = hub(move |_, _, index| (index == 0).then(|| Reply::status(status).header("Retry-After", "1")));
        let start = Instant::now();
        assert_delivers(&hub);
        assert!(start.elapsed() >= Duration::from_secs(2), "one second for the hub, one for the store");
    }
    // Nobody waits an hour unasked.
    let hub = hub(|asked, _, _| (asked == Asked::File).then(|| Reply::status(429).header("Retry-After", "3600")));
    let start = Instant::now();
    let error = file_error(&hub.bench());
    assert!(matches!(error, SourceError::Status { status: 429, .. }) && error.to_string().contains("later"), "{error}");
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[test]
fn failing_servers_are_asked_again_and_then_given_up() {
    let hub = hub(|_, _, index| (index < 2).then(|| Reply::status(500)));
    assert_delivers(&hub);
    let hub = store(|_, _| Some(Reply::status(502)));
    assert!(matches!(file_error(&hub.bench()), SourceError::Status { status: 502, .. }));
    assert_eq!(hub.store.requests().len(), 1 + 3, "the first, then one after each wait");
}

/// The store, and whoever else bytes come from, never sees the token.
#[test]
fn the_token_stays_with_the_hub() {
    let stranger = Server::start(|request, _| Reply::correct(request, &body(), "\"v\""));
    let leads_to = stranger.url("somewhere");
    let hub = store(move |_, index| (index == 0).then(|| Reply::status(307).header("Location", leads_to.clone())));
    let mut bench = hub.bench();
    bench.settings.hub.token = Some("secret".to_owned());
    assert_eq!(std::fs::read(fetch(&bench).unwrap()).unwrap(), body());
    let seen = |server: &Server| server.requests().iter().map(|request| request.headers.contains_key("authorization")).collect::<Vec<_>>();
    assert_eq!(seen(&hub.hub), [true, true, true], "commit, listing, file");
    assert_eq!((seen(&hub.store), seen(&stranger)), (vec![false], vec![false]));
    assert!(hub.store.requests()[0].headers.values().all(|value| !value.contains("secret")));
}

#[test]
fn redirects_that_do_not_end_or_lead_astray_are_refused() {
    for location in ["/loop", "?again=1", "ftp://127.0.0.1/x", "file:///etc/passwd", "", "http://"] {
        let hub = hub(move |asked, _, _| (asked == Asked::File).then(|| Reply::status(302).header("Location", location)));
        let error = file_error(&hub.bench());
        assert!(matches!(error, SourceError::Redirect { .. }), "{location}: {error}");
        assert!(hub.hub.requests().len() < 20);
    }
}

#[test]
fn a_store_that_trickles_counts_as_stalled() {
    let hub = store(|request, index| {
        (index < 2).then(|| Reply::correct(request, &body(), "\"v\"").cut_after(60).pace(1, Duration::from_millis(30)))
    });
    let start = Instant::now();
    let bench = assert_delivers(&hub);
    assert!(bench.notes().contains("hardly any bytes"), "{}", bench.notes());
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}

#[test]
fn a_listing_that_trickles_or_never_ends_is_given_up() {
    let trickles = hub(|asked, _, _| {
        let reply = Reply { status: 200, body: vec![b' '; 2000], ..Reply::default() };
        (asked == Asked::Listing).then(|| reply.pace(1, Duration::from_millis(20)))
    });
    let start = Instant::now();
    let error = hub_error(fetch(&trickles.bench()));
    assert!(matches!(error, HubError::Request(SourceError::Unreachable { .. })), "{error}");
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    let endless = hub(|asked, request, _| {
        let next = format!("<http://{}/api/models/o/n/tree/x?cursor=1>; rel=\"next\"", request.headers["host"]);
        (asked == Asked::Listing).then(|| json_reply(&json!([])).header("Link", next))
    });
    let error = hub_error(fetch(&endless.bench()));
    assert!(matches!(error, HubError::BadListing { .. }), "{error}");
}

#[test]
fn refusals_say_what_to_do() {
    type Is = fn(&HubError) -> bool;
    let cases: [(u16, &str, &str, Is, &str); 6] = [
        (403, "GatedRepo", "ask for access", |error| matches!(error, HubError::Gated { .. }), "accept its terms at http"),
        (401, "GatedRepo", "", |error| matches!(error, HubError::Gated { .. }), "HF_TOKEN"),
        (401, "RepoNotFound", "", |error| matches!(error, HubError::NoRepository), "check the name"),
        (401, "", "", |error| matches!(error, HubError::NoRepository), "private"),
        (401, "", "Invalid credentials in Authorization header", |error| matches!(error, HubError::Refused { .. }), "check the token"),
        (403, "", "no", |error| matches!(error, HubError::Refused { .. }), "it says: no"),
    ];
    for (status, code, message, is_right, hint) in cases {
        for asked_for in [Asked::Commit, Asked::Listing, Asked::File] {
            let hub = hub(move |asked, _, _| {
                (asked == asked_for).then(|| Reply::status(status).header("X-Error-Code", code).header("X-Error-Message", message))
            });
            let error = hub_error(fetch(&hub.bench()));
            assert!(is_right(&error) && error.to_string().contains(hint), "{asked_for:?} {status} {code}: {error}");
        }
    }
}

#[test]
fn what_is_not_there_is_told_by_its_name() {
    let hub = hub(|_, _, _| None);
    let get = |text: &str| hub_error(hub.bench().fetcher().repository(&name(text), Freshness::AsCached));
    assert!(matches!(get("o/n@v9"), HubError::NoRevision { revision } if revision == "v9"));
    assert!(matches!(get("o/other"), HubError::NoRepository));
    let gone = Hub::with_faults(&[(GGUF, body())], |asked, _, _| {
        (asked == Asked::File).then(|| Reply::status(404).header("X-Error-Code", "EntryNotFound"))
    });
    let error = file_error(&gone.bench());
    assert!(error.to_string().contains("no such file"), "{error}");
}

/// Ctrl-C in the middle of several files: all that came is kept and gone on from.
#[test]
fn an_interruption_keeps_what_came() {
    let part = |number: u32| (format!("m-{number:05}-of-00004.gguf"), weights(number, SIZE));
    let files: Vec<_> = (1..=4).map(part).collect();
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    let hub = Hub::with_faults(&files, |asked, request, _| {
        let file = (1..=4).map(|number| weights(number, SIZE)).find(|bytes| request.path.ends_with(&sha256(bytes)))?;
        (asked == Asked::Store).then(|| Reply::correct(request, &file, "\"v\"").pace(100_000, Duration::from_millis(5)))
    });
    let mut bench = hub.bench();
    bench.recorder.stop_at = Some((SIZE as u64 * 2, bench.interrupt.clone()));
    let kept = match fetch(&bench) {
        Err(FetchError::Interrupted { bytes_kept }) => bytes_kept,
        other => panic!("expected an interruption, got {other:?}"),
    };
    assert!(kept >= SIZE as u64 * 2 && kept < SIZE as u64 * 4, "{kept}");
    bench.recorder.stop_at = None;
    bench.interrupt.clear();
    let path = fetch(&bench).unwrap();
    for (file, bytes) in &files {
        assert_eq!(std::fs::read(path.with_file_name(file)).unwrap(), *bytes, "{file}");
    }
    let fetched_again: usize = hub.store.requests()[4..].iter().map(|request| SIZE - request.range_start().unwrap_or(0)).sum();
    assert!(fetched_again as u64 <= SIZE as u64 * 4 - kept, "{fetched_again} of {kept} kept");
}

/// One file that cannot be had ends the others, which keep what they have.
#[test]
fn one_failure_stops_the_set() {
    let hub = Hub::with_faults(
        &[("a-00001-of-00002.gguf", weights(1, SIZE)), ("a-00002-of-00002.gguf", weights(2, SIZE))],
        |asked, request, _| {
            let second = request.path.ends_with(&sha256(&weights(2, SIZE)));
            match asked {
                Asked::Store if second => Some(Reply::status(403)),
                Asked::Store => Some(Reply::correct(request, &weights(1, SIZE), "\"v\"").pace(20_000, Duration::from_millis(100))),
                _ => None,
            }
        },
    );
    let bench = hub.bench();
    let start = Instant::now();
    let error = hub_error(fetch(&bench));
    assert!(matches!(error, HubError::Refused { status: 403, .. }), "{error}");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_nothing_usable(&bench.root.path().join("hub"));
}
