//! One server, and everything that can happen to a transfer from it.

use std::time::{Duration, Instant};

use parhelion_cli::catalogue::Source;
use parhelion_cli::fetch::{FetchError, SourceError};

use super::server::{Reply, Server};
use super::{Bench, FILE, attempts, sha256, weights};

#[test]
fn a_whole_file_is_checked_and_named() {
    let body = weights(1, 300_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let bench = Bench::new();
    let url = server.url(FILE);
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), body);
    bench.assert_no_leftovers();
    bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(server.requests().len(), 1, "a cached file needs no request");
    assert!(bench.notes().contains(&url), "the source is named");
}

#[test]
fn cuts_are_gone_on_from_within_a_run() {
    let body = weights(2, 900_000);
    let served = body.clone();
    let server = Server::start(move |request, index| {
        let reply = Reply::correct(request, &served, "\"v1\"");
        if index < 4 { reply.cut_after(200_000) } else { reply }
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    let starts: Vec<_> = server.requests().iter().map(|request| request.range_start()).collect();
    assert_eq!(starts, [None, Some(200_000), Some(400_000), Some(600_000), Some(800_000)]);
    assert_eq!(server.requests()[1].headers["if-range"], "\"v1\"");
}

#[test]
fn a_stalled_transfer_is_gone_on_from() {
    let body = weights(3, 500_000);
    let served = body.clone();
    let server = Server::start(move |request, index| {
        let mut reply = Reply::correct(request, &served, "\"v1\"");
        if index == 0 {
            reply = reply.cut_after(100_000);
            reply.silence = Some(Duration::from_secs(20));
        }
        reply
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    let start = Instant::now();
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert_eq!(server.requests()[1].range_start(), Some(100_000));
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_later_run_goes_on_from_the_part() {
    let body = weights(4, 900_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let url = server.url(FILE);
    let mut bench = Bench::new();
    bench.recorder.stop_at = Some((1, bench.interrupt.clone()));
    let kept = match bench.fetch(&body, &[Source::Url(&url)]) {
        Err(FetchError::Interrupted { bytes_kept }) => bytes_kept,
        other => panic!("expected an interruption, got {other:?}"),
    };
    assert!(kept > 0 && kept < 900_000, "{kept}");
    bench.recorder.stop_at = None;
    bench.interrupt.clear();
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert_eq!(server.requests()[1].range_start(), Some(kept as usize));
    bench.assert_no_leftovers();
}

#[test]
fn a_server_that_ignores_ranges_is_read_from_the_start() {
    let body = weights(5, 600_000);
    let served = body.clone();
    let server = Server::start(move |_, index| {
        let reply = Reply::whole(&served, "\"v1\"");
        if index == 0 { reply.cut_after(250_000) } else { reply }
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert!(bench.notes().contains("cannot go on in mid-file"), "{}", bench.notes());
}

/// The server replaces its file in mid-transfer. Nothing but the tag tells the two apart: no size, no hash is known.
#[test]
fn a_changed_tag_starts_over() {
    let (old, new) = (weights(6, 600_000), weights(7, 600_000));
    let (first, then) = (old, new.clone());
    let server = Server::start(move |request, index| match index {
        0 => Reply::correct(request, &first, "\"old\"").cut_after(250_000),
        _ => Reply::correct(request, &then, "\"new\""),
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    let path = bench.fetcher().url(&url).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), new);
    assert!(bench.notes().contains("has changed"), "{}", bench.notes());
}

/// Without tag, date or hash, two versions could be mixed unseen, so a later run starts over.
#[test]
fn without_a_validator_or_a_hash_nothing_is_gone_on_from() {
    let body = weights(8, 600_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, ""));
    let url = server.url(FILE);
    let mut bench = Bench::new();
    bench.recorder.stop_at = Some((1, bench.interrupt.clone()));
    assert!(matches!(bench.fetcher().url(&url), Err(FetchError::Interrupted { .. })));
    bench.recorder.stop_at = None;
    bench.interrupt.clear();
    let path = bench.fetcher().url(&url).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert_eq!(server.requests()[1].range_start(), None);
}

#[test]
fn a_corrupted_part_is_fetched_anew() {
    let body = weights(9, 600_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let url = server.url(FILE);
    let mut bench = Bench::new();
    bench.recorder.stop_at = Some((1, bench.interrupt.clone()));
    bench.fetch(&body, &[Source::Url(&url)]).unwrap_err();
    let part = bench.models_dir().join("model.gguf.part");
    let mut bytes = std::fs::read(&part).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&part, bytes).unwrap();
    bench.recorder.stop_at = None;
    bench.interrupt.clear();
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert!(bench.notes().contains("wrong hash"), "{}", bench.notes());
}

#[test]
fn a_part_longer_than_the_file_is_dropped() {
    let body = weights(10, 100_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let url = server.url(FILE);
    let bench = Bench::new();
    std::fs::create_dir_all(bench.models_dir()).unwrap();
    std::fs::write(bench.models_dir().join("model.gguf.part"), vec![7; 200_000]).unwrap();
    for record in ["", "{}", "[1,2", "{\"address\":1}"] {
        std::fs::write(bench.models_dir().join("model.gguf.part.json"), record).unwrap();
        let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), body);
        std::fs::remove_file(path).unwrap();
    }
}

#[test]
fn wrong_bytes_are_thrown_away_and_named() {
    let (wanted, served) = (weights(11, 100_000), weights(12, 100_000));
    let got_hash = sha256(&served);
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let url = server.url(FILE);
    let bench = Bench::new();
    let errors = attempts(bench.fetch(&wanted, &[Source::Url(&url)]));
    match &errors[..] {
        [SourceError::Hash { expected, got, .. }] => {
            assert_eq!(*expected, sha256(&wanted));
            assert_eq!(*got, got_hash);
        }
        other => panic!("{other:?}"),
    }
    assert!(!bench.models_dir().join(FILE).exists());
    bench.assert_no_leftovers();
}

#[test]
fn another_size_is_refused_before_the_transfer() {
    let (wanted, served) = (weights(13, 100_000), weights(13, 100_001));
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let url = server.url(FILE);
    let errors = attempts(Bench::new().fetch(&wanted, &[Source::Url(&url)]));
    assert!(matches!(errors[..], [SourceError::Size { expected: 100_000, got: 100_001, .. }]), "{errors:?}");
}

#[test]
fn web_pages_and_other_content_are_refused() {
    let page = b"<!doctype html><p>Please log in.".to_vec();
    let kinds = [("text/html; charset=utf-8", page.clone()), ("application/octet-stream", page), ("", b"PK\x03\x04 a zip".to_vec())];
    for (kind, body) in kinds {
        let server = Server::start(move |_, _| {
            let mut reply = Reply::whole(&body, "\"v1\"");
            reply.headers.push(("Content-Type", kind.to_owned()));
            reply
        });
        let bench = Bench::new();
        let errors = attempts(bench.fetcher().url(&server.url(FILE)));
        assert!(matches!(errors[..], [SourceError::NotAModel { .. }]), "{kind}: {errors:?}");
    }
}

#[test]
fn encoded_bodies_and_unknown_lengths_are_refused() {
    let encoded = Server::start(|_, _| {
        let mut reply = Reply::whole(&weights(1, 100), "\"v1\"");
        reply.headers.push(("Content-Encoding", "gzip".to_owned()));
        reply
    });
    let errors = attempts(Bench::new().fetcher().url(&encoded.url(FILE)));
    assert!(matches!(errors[..], [SourceError::NotAModel { .. }]), "{errors:?}");
    let endless = Server::start(|_, _| {
        let mut reply = Reply::whole(b"4\r\nGGUF\r\n0\r\n\r\n", "\"v1\"");
        reply.headers.push(("Transfer-Encoding", "chunked".to_owned()));
        reply
    });
    let errors = attempts(Bench::new().fetcher().url(&endless.url(FILE)));
    assert!(matches!(errors[..], [SourceError::UnknownSize { .. }]), "{errors:?}");
}

#[test]
fn error_statuses_say_what_to_do() {
    for (status, hint) in [(404, "no such file"), (401, "HF_TOKEN"), (429, "try again later"), (503, "try again later")] {
        let server = Server::start(move |_, _| Reply::status(status));
        let errors = attempts(Bench::new().fetcher().url(&server.url("m.gguf?sig=secret")));
        assert!(matches!(errors[..], [SourceError::Status { status: got, .. }] if got == status), "{errors:?}");
        let text = errors[0].to_string();
        assert!(text.contains(hint), "{text}");
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_refused_range_starts_over() {
    let body = weights(14, 300_000);
    let served = body.clone();
    let server = Server::start(move |request, index| match index {
        0 => Reply::correct(request, &served, "\"v1\"").cut_after(100_000),
        1 => Reply::status(416),
        _ => Reply::correct(request, &served, "\"v1\""),
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    assert_eq!(std::fs::read(bench.fetch(&body, &[Source::Url(&url)]).unwrap()).unwrap(), body);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn a_lying_content_range_never_mixes_bytes() {
    let body = weights(15, 300_000);
    let served = body.clone();
    let server = Server::start(move |request, index| {
        let mut reply = Reply::correct(request, &served, "\"v1\"");
        match index {
            0 => reply = reply.cut_after(100_000),
            1 => reply.headers[1].1 = "bytes 5-299999/300000".to_owned(),
            _ => {}
        }
        reply
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    assert_eq!(std::fs::read(bench.fetch(&body, &[Source::Url(&url)]).unwrap()).unwrap(), body);
}

#[test]
fn a_server_that_never_gets_on_is_given_up() {
    let body = weights(16, 300_000);
    let served = body.clone();
    let server = Server::start(move |request, index| {
        let reply = Reply::correct(request, &served, "\"v1\"");
        reply.cut_after(if index == 0 { 100_000 } else { 0 })
    });
    let url = server.url(FILE);
    let bench = Bench::new();
    let errors = attempts(bench.fetch(&body, &[Source::Url(&url)]));
    assert!(matches!(errors[..], [SourceError::Broken { at: 100_000, .. }]), "{errors:?}");
    assert_eq!(server.requests().len(), 1 + 3, "the first, then one after each wait");
}
