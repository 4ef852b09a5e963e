//! Repositories of the hub: what is fetched, how it lies in the shared cache, and when nothing is asked.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parhelion_cli::catalogue::Source;
use parhelion_cli::fetch::{Cached, FetchError, Freshness, Removed};
use parhelion_cli::hub::{ChoiceError, HubCache, HubError, HubName};
use serde_json::json;

use super::hub_server::{Asked, COMMIT, Hub, hub_error, json_reply, name, tree};
use super::server::{Reply, Server};
use super::{Bench, model, sha256, weights};

/// A sharded model in safetensors with what usually lies beside it.
fn sharded() -> Vec<(&'static str, Vec<u8>)> {
    let index = json!({"metadata": {}, "weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}});
    vec![
        ("config.json", b"{}".to_vec()),
        ("tokenizer.json", weights(1, 50_000)),
        ("README.md", b"read me".to_vec()),
        ("pytorch_model.bin", weights(2, 20_000)),
        ("model.safetensors.index.json", index.to_string().into_bytes()),
        ("model-00001-of-00002.safetensors", weights(3, 700_000)),
        ("model-00002-of-00002.safetensors", weights(4, 600_000)),
        ("1_Pooling/config.json", b"{\"pooling\": 1}".to_vec()),
    ]
}

fn assert_same(hub: &Hub, directory: &Path, files: &[&str]) {
    for file in files {
        assert_eq!(std::fs::read(directory.join(file)).unwrap(), hub.files[*file], "{file}");
    }
}

#[test]
fn a_sharded_model_is_fetched_once_and_whole() {
    let hub = Hub::start(&sharded());
    let bench = hub.bench();
    let path = bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap();
    assert_eq!(path, bench.root.path().join("hub/models--o--n/snapshots").join(COMMIT));
    let needed = [
        "config.json",
        "tokenizer.json",
        "model.safetensors.index.json",
        "model-00001-of-00002.safetensors",
        "model-00002-of-00002.safetensors",
        "1_Pooling/config.json",
    ];
    assert_same(&hub, &path, &needed);
    assert!(!path.join("pytorch_model.bin").exists() && !path.join("README.md").exists(), "what is not needed is not fetched");
    assert_eq!(hub.file_requests(), needed.len(), "each file once");
    let asked = hub.hub.requests().len();
    assert_eq!(bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap(), path);
    assert_eq!(hub.hub.requests().len(), asked, "what is here needs no request");
    bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap();
    assert_eq!(hub.hub.requests().len(), asked + 1, "the commit was asked for, and nothing else");
    let labels = bench.recorder.labels.lock().unwrap().join("\n");
    assert!(labels.contains("fetching o/n (5 of 5 files)"), "{labels}");
}

/// What Python's tools read: blobs named by hash, relative links, a ref without a line end, the list of files.
#[test]
#[cfg(unix)]
fn the_cache_is_laid_out_as_the_hubs_tools_lay_it_out() {
    let hub = Hub::start(&sharded());
    let bench = hub.bench();
    let path = bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap();
    let repository = bench.root.path().join("hub/models--o--n");
    assert_eq!(std::fs::read_to_string(repository.join("refs/main")).unwrap(), COMMIT);
    let shard = sha256(&hub.files["model-00001-of-00002.safetensors"]);
    let link = |file: &str| std::fs::read_link(path.join(file)).unwrap().to_str().unwrap().to_owned();
    assert_eq!(link("model-00001-of-00002.safetensors"), format!("../../blobs/{shard}"));
    assert_eq!(link("config.json"), "../../blobs/9e26dfeeb6e641a33dae4961196235bdb965b21b", "git's own hash of {{}}");
    assert!(link("1_Pooling/config.json").starts_with("../../../blobs/"));
    let trees = std::fs::read(repository.join(format!("trees/{COMMIT}.json"))).unwrap();
    let trees: serde_json::Value = serde_json::from_slice(&trees).unwrap();
    assert_eq!(trees["files"]["model-00001-of-00002.safetensors"]["lfs_sha256"], shard);
    assert!(bench.root.path().join(format!("hub/.locks/models--o--n/{shard}.lock")).exists());
    let left: Vec<_> = std::fs::read_dir(repository.join("blobs")).unwrap().flatten().map(|entry| entry.file_name()).collect();
    assert!(left.iter().all(|name| !name.to_string_lossy().contains('.')), "nothing unfinished is left: {left:?}");
}

/// A cache as huggingface_hub leaves it, with and without the list of files.
#[test]
#[cfg(unix)]
fn what_other_tools_fetched_is_used_without_a_request() {
    let files = [("config.json", b"{}".to_vec()), ("tokenizer.json", b"{}".to_vec()), ("model.safetensors", weights(5, 1000))];
    for listed in [false, true] {
        let bench = Bench::new();
        let repository = bench.root.path().join("hub/models--o--n");
        let snapshot = repository.join("snapshots").join(COMMIT);
        for directory in [&snapshot, &repository.join("blobs"), &repository.join("refs"), &repository.join("trees")] {
            std::fs::create_dir_all(directory).unwrap();
        }
        for (index, (file, bytes)) in files.iter().enumerate() {
            let blob = sha256(&[index as u8]);
            std::fs::write(repository.join("blobs").join(&blob), bytes).unwrap();
            std::os::unix::fs::symlink(format!("../../blobs/{blob}"), snapshot.join(file)).unwrap();
        }
        std::fs::write(repository.join("refs/main"), COMMIT).unwrap();
        if listed {
            let entry = |bytes: &Vec<u8>| json!({"size": bytes.len(), "blob_id": "0".repeat(40)});
            let entries: serde_json::Map<_, _> = files.iter().map(|(file, bytes)| ((*file).to_owned(), entry(bytes))).collect();
            let trees = json!({"format_version": 1, "files": entries}).to_string();
            std::fs::write(repository.join(format!("trees/{COMMIT}.json")), trees).unwrap();
        }
        for text in ["o/n".to_owned(), format!("o/n@{COMMIT}")] {
            assert_eq!(bench.fetcher().repository(&name(&text), Freshness::AsCached).unwrap(), snapshot, "{text}");
        }
        // Half a file is none, where the sizes are known.
        std::fs::write(snapshot.join("model.safetensors"), b"half").unwrap();
        assert_eq!(matches!(bench.fetcher().cached(&name("o/n")).unwrap(), Cached::Missing(_)), listed);
        std::fs::remove_file(snapshot.join("tokenizer.json")).unwrap();
        assert!(matches!(bench.fetcher().cached(&name("o/n")).unwrap(), Cached::Missing(_)));
    }
}

#[test]
fn one_gguf_model_of_several_is_fetched_with_all_its_parts() {
    let part = |number: u32| weights(number, 200_000 + number as usize);
    let hub = Hub::start(&[
        ("m-Q4_K_M.gguf", part(1)),
        ("m-Q8_0.gguf", part(2)),
        ("BF16/m-BF16-00001-of-00003.gguf", part(3)),
        ("BF16/m-BF16-00002-of-00003.gguf", part(4)),
        ("BF16/m-BF16-00003-of-00003.gguf", part(5)),
    ]);
    let bench = hub.bench();
    let get = |text: &str| bench.fetcher().repository(&name(text), Freshness::AsCached);
    let path = get("o/n").unwrap();
    assert_eq!((path.file_name().unwrap(), hub.file_requests()), ("m-Q4_K_M.gguf".as_ref(), 1));
    let path = get("o/n:bf16").unwrap();
    assert!(path.ends_with("BF16/m-BF16-00001-of-00003.gguf"), "{path:?}");
    assert_same(&hub, path.parent().unwrap().parent().unwrap(), &["BF16/m-BF16-00002-of-00003.gguf", "BF16/m-BF16-00003-of-00003.gguf"]);
    assert_eq!(hub.file_requests(), 4);
    let error = hub_error(get("o/n:Q2_K"));
    assert!(matches!(&error, HubError::Choice(ChoiceError::NoSuchChoice { .. })));
    assert!(error.to_string().contains(":Q8_0  (200.0 kB)"), "{error}");
    let url = format!("{}/o/n/blob/main/m-Q8_0.gguf", hub.hub.address());
    let on_hub = HubName::of_url(&url, &hub.hub.address()).unwrap().unwrap();
    assert!(bench.fetcher().repository(&on_hub, Freshness::AsCached).unwrap().ends_with("m-Q8_0.gguf"));
}

#[test]
fn split_files_at_plain_addresses_come_with_all_parts() {
    let server = Server::start(|request, _| Reply::correct(request, &weights(request.path.len() as u32, 50_000), "\"v1\""));
    let bench = Bench::new();
    let url = server.url("m-00002-of-00003.gguf");
    let path = bench.fetcher().url(&url).unwrap();
    assert!(path.ends_with("m-00001-of-00003.gguf"), "{path:?}");
    for part in 1..=3 {
        assert_eq!(std::fs::metadata(path.with_file_name(format!("m-{part:05}-of-00003.gguf"))).unwrap().len(), 50_000);
    }
    assert_eq!(bench.fetcher().url(&url).unwrap(), path);
    assert_eq!(server.requests().len(), 3);
}

#[test]
fn long_listings_come_in_pages() {
    let files: Vec<_> = sharded();
    let all = tree(&files.iter().map(|(path, bytes)| ((*path).to_owned(), bytes.clone())).collect());
    let hub = Hub::with_faults(&files, move |asked, request, _| {
        let (page, next) = match (asked, request.path.contains("cursor=2")) {
            (Asked::Listing, false) => {
                (&all[..3], Some(format!("<https://elsewhere.example/api/models/o/n/tree/{COMMIT}?cursor=2>; rel=\"next\"")))
            }
            (Asked::Listing, true) => (&all[3..], None),
            _ => return None,
        };
        let reply = json_reply(&page.to_vec().into());
        Some(match next {
            Some(next) => reply.header("Link", next),
            None => reply,
        })
    });
    let bench = hub.bench();
    let path = bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap();
    assert_same(&hub, &path, &["config.json", "model-00002-of-00002.safetensors"]);
}

/// The newest commit is fetched when asked for; files that did not change are not fetched again.
#[test]
fn an_update_fetches_what_changed() {
    const NEWER: &str = "fedcba9876543210fedcba9876543210fedcba98";
    let files = [("config.json", b"{}".to_vec()), ("model.safetensors", weights(6, 300_000))];
    let pulls = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&pulls);
    let hub = Hub::with_faults(&files, move |asked, request, _| match asked {
        Asked::Commit if count.fetch_add(1, Ordering::Relaxed) > 0 => Some(json_reply(&json!({"sha": NEWER}))),
        Asked::Listing if request.path.contains(NEWER) => {
            let files = [("config.json".to_owned(), b"{\"new\": 1}".to_vec()), ("model.safetensors".to_owned(), weights(6, 300_000))];
            Some(json_reply(&tree(&files.into()).into()))
        }
        Asked::File if request.path.contains(NEWER) => Some(Reply::whole(b"{\"new\": 1}", "\"x\"")),
        _ => None,
    });
    let bench = hub.bench();
    bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap();
    let path = bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap();
    assert!(path.ends_with(NEWER));
    assert_eq!(std::fs::read(path.join("config.json")).unwrap(), b"{\"new\": 1}");
    assert_eq!(hub.store.requests().len(), 1, "the weights did not change");
    assert_eq!(bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap(), path);
    let old = bench.fetcher().repository(&name(&format!("o/n@{COMMIT}")), Freshness::AsCached).unwrap();
    assert_eq!(std::fs::read(old.join("config.json")).unwrap(), b"{}", "the commit that was there is still there");
}

#[test]
fn offline_uses_what_is_here_and_says_what_is_not() {
    let hub = Hub::start(&sharded());
    let mut bench = hub.bench();
    bench.settings.hub.offline = true;
    let error = hub_error(bench.fetcher().repository(&name("o/n"), Freshness::Newest));
    assert!(matches!(error, HubError::Offline { .. }) && error.to_string().contains("models pull"), "{error}");
    assert!(error.to_string().starts_with("it is not on this machine, and --offline"), "{error}");
    assert!(matches!(bench.fetcher().url("http://127.0.0.1:9/m.gguf"), Err(FetchError::Offline { .. })));
    assert!(hub.hub.requests().is_empty());
    bench.settings.hub.offline = false;
    let path = bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap();
    bench.settings.hub.offline = true;
    assert_eq!(bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap(), path);
    // A hub out of reach is no reason to do without what is here.
    bench.settings.hub.offline = false;
    bench.settings.hub.endpoint = "http://127.0.0.1:9".to_owned();
    assert_eq!(bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap(), path);
    assert!(bench.notes().contains("using what is on this machine"), "{}", bench.notes());
    let error = hub_error(bench.fetcher().repository(&name("o/other"), Freshness::AsCached));
    assert!(matches!(error, HubError::Request(_)), "{error}");
}

#[test]
fn two_at_once_fetch_each_file_once() {
    let hub = Hub::with_faults(&sharded(), |asked, _, _| {
        if asked == Asked::Store {
            std::thread::sleep(Duration::from_millis(100));
        }
        None
    });
    let bench = hub.bench();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap());
        }
    });
    assert_eq!(hub.store.requests().len(), 3, "two shards and the tokenizer");
}

#[test]
fn four_files_come_at_a_time() {
    let part = |number: u32| (format!("m-{number:05}-of-00006.gguf"), weights(number, 20_000));
    let files: Vec<_> = (1..=6).map(part).collect();
    let files: Vec<_> = files.iter().map(|(path, bytes)| (path.as_str(), bytes.clone())).collect();
    let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let seen = Arc::clone(&most);
    let hub = Hub::with_faults(&files, move |asked, _, _| {
        if asked == Asked::Store {
            seen.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::thread::sleep(Duration::from_millis(200));
            now.fetch_sub(1, Ordering::SeqCst);
        }
        None
    });
    hub.bench().fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap();
    assert_eq!(most.load(Ordering::SeqCst), 4);
}

#[test]
fn damaged_files_are_found_removed_and_fetched_again() {
    let hub = Hub::start(&sharded());
    let bench = hub.bench();
    let get = || bench.fetcher().repository(&name("o/n"), Freshness::Newest).unwrap();
    let shard = get().join("model-00002-of-00002.safetensors");
    let verify = || {
        let repository = bench.fetcher().hub_cache().unwrap().repository(&name("o/n").repository);
        let Cached::Complete { snapshot, files, .. } = bench.fetcher().cached(&name("o/n")).unwrap() else { panic!("not complete") };
        bench.fetcher().verify_repository(&repository, &snapshot, &files).unwrap()
    };
    assert!(verify().is_empty());
    let mut bytes = std::fs::read(&shard).unwrap();
    bytes[1000] ^= 1;
    std::fs::write(&shard, bytes).unwrap();
    assert_eq!(verify(), ["model-00002-of-00002.safetensors"]);
    assert!(!shard.exists());
    get();
    assert_same(&hub, shard.parent().unwrap(), &["model-00002-of-00002.safetensors"]);
    assert_eq!(hub.store.requests().len(), 4);
}

/// Where the system gives no links, files have two names or are copies.
#[test]
fn files_without_links_are_removed_with_their_blobs() {
    let hub = Hub::start(&[("m-Q4_0.gguf", weights(1, 100_000)), ("m-Q8_0.gguf", weights(2, 150_000))]);
    let bench = hub.bench();
    let get = |text: &str| bench.fetcher().repository(&name(text), Freshness::AsCached).unwrap();
    for text in ["o/n:Q4_0", "o/n:Q8_0"] {
        let path = get(text);
        let bytes = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, bytes).unwrap();
        assert_eq!(get(text), path, "a copy will do");
    }
    assert_eq!(hub.store.requests().len(), 2);
    assert_eq!(bench.fetcher().remove_repository(&name("o/n:Q4_0")).unwrap(), Removed::File(100_000));
    assert!(get("o/n:Q8_0").exists());
    assert_eq!(hub.store.requests().len(), 2, "the other is still there");
}

#[test]
#[cfg(unix)]
fn a_catalogue_model_in_the_hubs_cache_is_used() {
    let body = weights(3, 100_000);
    let hub = Hub::start(&[("m-Q4_0.gguf", body.clone())]);
    let bench = hub.bench();
    let path = bench.fetcher().repository(&name("o/n"), Freshness::AsCached).unwrap();
    let sources = [Source::Hub { repository: "o/n", revision: COMMIT, file: "m-Q4_0.gguf" }];
    let asked = hub.hub.requests().len();
    assert_eq!(bench.fetch(&body, &sources).unwrap(), path);
    let hash = sha256(&body);
    let entry = model(Some(100_000), Some(&hash), &sources);
    assert!(bench.fetcher().verify(&entry).unwrap());
    assert_eq!(hub.hub.requests().len(), asked);
    // Other bytes under the same name are not what the catalogue means.
    let other = weights(4, 100_000);
    assert_ne!(bench.fetch(&other, &sources).ok(), Some(path.clone()));
    std::fs::write(&path, weights(5, 100_000)).unwrap();
    assert!(!bench.fetcher().verify(&entry).unwrap());
    assert!(bench.fetcher().finished(&entry).is_none());
    assert_eq!(std::fs::read(bench.fetch(&body, &sources).unwrap()).unwrap(), body);
}

#[test]
fn removing_a_choice_leaves_what_others_use() {
    let (a, b) = (weights(1, 100_000), weights(2, 150_000));
    let hub = Hub::start(&[("m-Q4_0.gguf", a.clone()), ("m-Q8_0.gguf", b), ("same-F16.gguf", a)]);
    let bench = hub.bench();
    let get = |text: &str| bench.fetcher().repository(&name(text), Freshness::AsCached).unwrap();
    let paths = [get("o/n:Q4_0"), get("o/n:Q8_0"), get("o/n:F16")];
    assert_eq!(hub.store.requests().len(), 2, "the same bytes are fetched once");
    let remove = |text: &str| bench.fetcher().remove_repository(&name(text)).unwrap();
    assert_eq!(remove("o/n:Q4_0"), Removed::File(0), "its bytes are still used");
    assert_eq!(remove("o/n:Q8_0"), Removed::File(150_000));
    assert!(!paths[0].exists() && !paths[1].exists() && paths[2].exists());
    assert_eq!(remove("o/n:Q8_0"), Removed::Nothing);
    assert_eq!(HubCache::at(bench.root.path().join("hub")).repositories().len(), 1);
    assert_eq!(remove("o/n"), Removed::File(100_000));
    assert_eq!(remove("o/n"), Removed::Nothing);
    assert!(HubCache::at(bench.root.path().join("hub")).repositories().is_empty());
}
