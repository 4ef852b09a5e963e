//! Repositories whose files are called so as to leave the cache.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use parhelion_cli::fetch::Freshness;
use parhelion_cli::hub::{ChoiceError, HubError, check_path};
use serde_json::json;

use super::hub_server::{Asked, Hub, hub_error, json_reply, name};
use super::server::Reply;
use super::{sha256, weights};

/// Directories and names that no file system should be given.
const HOSTILE: [&str; 41] = [
    "..",
    ".",
    "../..",
    "../../../../tmp",
    "/",
    "/etc",
    "//host/share",
    "\\",
    "\\\\host\\share",
    "..\\..",
    "a\\..\\..",
    "C:",
    "c:\\windows",
    "C:/windows",
    "a/../..",
    "a/./b/../../..",
    "./",
    "a//b",
    "~/../..",
    "con",
    "CON",
    "nul",
    "aux.txt",
    "COM1",
    "lpt9.x",
    "prn ",
    "conin$",
    "x:stream",
    "x ",
    "x.",
    " x",
    "x\0",
    "x\n",
    "x\u{1b}[2J",
    "x\u{202e}",
    "ｘ",
    "e\u{301}",
    "x?",
    "x*",
    "x|y",
    "<x>",
];

/// At least two hundred names: each of the above as a directory, as a part of one, and as the start of a file's name.
fn hostile_names() -> Vec<String> {
    let mut names: Vec<String> = HOSTILE
        .iter()
        .flat_map(|bad| {
            [
                format!("{bad}/m-Q4_0.gguf"),
                format!("sub/{bad}/m-Q4_0.gguf"),
                format!("{bad}/../m-Q4_0.gguf"),
                format!("./{bad}/m.gguf"),
                format!("sub/../{bad}/m-Q4_0.gguf"),
            ]
        })
        .collect();
    names.extend([format!("{}.gguf", "a".repeat(256)), format!("{}m.gguf", "a/".repeat(300)), "nul.gguf".to_owned(), "m.gguf ".to_owned()]);
    names
}

/// Every file below `directory`, without following links.
fn files_below(directory: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for entry in std::fs::read_dir(directory).unwrap().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files_below(&entry.path())),
            false => drop(found.insert(entry.path())),
        }
    }
    found
}

#[test]
fn hostile_names_are_refused_by_themselves() {
    let names = hostile_names();
    assert!(names.len() >= 200, "{}", names.len());
    for name in names {
        assert!(check_path(&name).is_err(), "{name:?}");
    }
}

/// Each name is listed at a commit of its own, with good bytes behind it, and asked for in every way.
#[test]
fn hostile_names_write_nothing_outside_the_cache() {
    let names = hostile_names();
    let body = weights(1, 20_000);
    let (listed, served) = (names.clone(), body.clone());
    let hub = Hub::with_faults(&[], move |asked, request, _| {
        let last = |text: &str| text.rsplit('/').next().unwrap_or_default().split('?').next().unwrap_or_default().to_owned();
        match asked {
            Asked::Commit => Some(json_reply(&json!({"sha": format!("{:0>40}", last(&request.path))}))),
            Asked::Listing => {
                let bad: usize = last(&request.path).trim_start_matches('0').parse().unwrap_or(0);
                let file = |path: &str| {
                    json!({"type": "file", "path": path, "size": served.len(), "oid": "0".repeat(40),
                    "lfs": {"oid": sha256(&served), "size": served.len(), "pointerSize": 1}})
                };
                Some(json_reply(&json!([file(&listed[bad]), file("good-Q8_0.gguf")])))
            }
            _ => Some(Reply::correct(request, &served, "\"v\"")),
        }
    });
    let bench = hub.bench();
    let sentinel = bench.root.path().join("sentinel");
    std::fs::write(&sentinel, "untouched").unwrap();
    for (index, bad) in names.iter().enumerate() {
        let mut asked = name(&format!("o/n@{index}"));
        asked.choice = Some(bad.clone());
        match bench.fetcher().repository(&asked, Freshness::AsCached) {
            // Without what is hostile in it, the name may mean nothing, or the good file.
            Ok(path) => assert!(path.ends_with("good-Q8_0.gguf"), "{bad:?}: {path:?}"),
            result => {
                let error = hub_error(result);
                assert!(matches!(error, HubError::Choice(_)), "{bad:?}: {error}");
                assert!(error.to_string().bytes().all(|byte| byte == b'\n' || !byte.is_ascii_control()), "{bad:?}: {error}");
            }
        }
        let good = bench.fetcher().repository(&name(&format!("o/n@{index}")), Freshness::AsCached).unwrap();
        assert!(good.ends_with("good-Q8_0.gguf"), "{bad:?}: {good:?}");
    }
    let allowed = bench.root.path().join("hub");
    for file in files_below(bench.root.path()) {
        assert!(file == sentinel || file.starts_with(&allowed), "{file:?}");
        let is_link = file.symlink_metadata().unwrap().is_symlink();
        assert!(!is_link || file.canonicalize().unwrap().starts_with(allowed.canonicalize().unwrap()), "{file:?}");
    }
    assert_eq!(std::fs::read_to_string(sentinel).unwrap(), "untouched");
    let snapshots = files_below(&allowed.join("models--o--n/snapshots"));
    assert!(snapshots.iter().all(|file| file.ends_with("good-Q8_0.gguf")), "{snapshots:?}");
}

#[test]
fn an_index_cannot_name_shards_elsewhere() {
    for shard in ["../../../../evil.safetensors", "/tmp/evil.safetensors", "nul.safetensors", "a\\b.safetensors"] {
        let index = json!({"weight_map": {"a": shard}}).to_string().into_bytes();
        let hub = Hub::start(&[("config.json", b"{}".to_vec()), ("model.safetensors.index.json", index), (shard, weights(1, 20_000))]);
        let bench = hub.bench();
        let error = hub_error(bench.fetcher().repository(&name("o/n"), Freshness::AsCached));
        assert!(matches!(error, HubError::BadIndex { .. }), "{shard}: {error}");
        assert!(hub.store.requests().is_empty(), "{shard}");
    }
}

/// On Windows and macOS both would be one file.
#[test]
fn names_that_differ_in_case_alone_are_refused() {
    let index = json!({"weight_map": {"a": "a.safetensors", "b": "A.safetensors"}}).to_string().into_bytes();
    let hub = Hub::start(&[
        ("config.json", b"{}".to_vec()),
        ("model.safetensors.index.json", index),
        ("a.safetensors", weights(1, 20_000)),
        ("A.safetensors", weights(2, 20_000)),
    ]);
    let error = hub_error(hub.bench().fetcher().repository(&name("o/n"), Freshness::AsCached));
    assert!(matches!(&error, HubError::Choice(ChoiceError::Unsafe(_))) && error.to_string().contains("letter case"), "{error}");
    assert!(hub.store.requests().is_empty());
}
