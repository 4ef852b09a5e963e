//! What opening a repository may cost, for files made to cost the most.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

#[path = "common/safetensors.rs"]
mod common;
mod counting;

use std::borrow::Cow;
use std::sync::Arc;

use common::file;
use futures_core::future::LocalBoxFuture;
use parhelion_loader::{Checkpoint, LoadError, MemoryRepository, Repository, Source};

/// Gives every read as bytes of its own, as a browser's ranges come.
struct Fetched<T>(T);

impl Source for Fetched<Arc<dyn Source>> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read<'a>(&'a self, offset: u64, len: usize) -> LocalBoxFuture<'a, Result<Cow<'a, [u8]>, LoadError>> {
        let read = pollster::block_on(self.0.read(offset, len)).map(|bytes| Cow::Owned(bytes.into_owned()));
        Box::pin(std::future::ready(read))
    }
}

impl Repository for Fetched<MemoryRepository> {
    fn name(&self) -> &str {
        self.0.name()
    }

    fn open<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<Arc<dyn Source>>, LoadError>> {
        let opened = pollster::block_on(self.0.open(path));
        let fetched = opened.map(|file| file.map(|file| Arc::new(Fetched(file)) as Arc<dyn Source>));
        Box::pin(std::future::ready(fetched))
    }
}

/// Opens a repository whose files are all `headers` bytes of headers, but for `data` bytes.
fn check(name: &str, files: &[(&str, Vec<u8>)], data: usize, opens: bool) {
    let headers: usize = files.iter().map(|(_, bytes)| bytes.len()).sum::<usize>() - data;
    let memory = || files.iter().fold(MemoryRepository::new("repo"), |all, (path, bytes)| all.with(path, bytes.clone()));
    let repositories: [Box<dyn Repository>; 2] = [Box::new(memory()), Box::new(Fetched(memory()))];
    for repository in repositories {
        let (result, peak) = counting::peak_of(|| pollster::block_on(Checkpoint::open_repository(repository.as_ref())));
        assert_eq!(result.is_ok(), opens, "{name}: {:?}", result.err());
        assert!(peak <= 8 * headers + (1 << 20), "{name}: {peak} bytes for headers of {headers}");
    }
}

fn object(count: usize, entry: impl Fn(usize) -> String) -> String {
    format!("{{{}}}", (0..count).map(entry).collect::<Vec<_>>().join(","))
}

const EMPTY: &str = "{}";

fn weights(header: &str, data: usize) -> [(&'static str, Vec<u8>); 2] {
    [("config.json", EMPTY.into()), ("model.safetensors", file(header, data))]
}

fn config(text: String) -> [(&'static str, Vec<u8>); 2] {
    [("config.json", text.into()), ("model.safetensors", file(EMPTY, 0))]
}

#[test]
fn the_densest_headers_stay_within_eight_times_their_bytes() {
    let scalars = object(200_000, |i| format!(r#""{i:x}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#, i + 1));
    check("scalars", &weights(&scalars, 200_000), 200_000, true);
    let ranks = object(50_000, |i| format!(r#""{i:x}":{{"dtype":"U8","shape":[{}0],"data_offsets":[0,0]}}"#, "1,".repeat(15)));
    check("tensors of 16 dimensions", &weights(&ranks, 0), 0, true);
    let deep = object(50_000, |i| format!(r#""{i:x}":{{"dtype":"U8","shape":[{}0],"data_offsets":[0,0]}}"#, "1,".repeat(16)));
    check("tensors of 17 dimensions", &weights(&deep, 0), 0, false);
    let nested = format!("{{\"a\":{}", "[".repeat(4 << 20));
    check("lists in a header", &weights(&nested, 0), 0, false);
    let field = format!(r#"{{"a":{{"x":{}"#, "[".repeat(4 << 20));
    check("lists in a field that is not known", &weights(&field, 0), 0, false);
}

#[test]
fn dense_indices_stay_within_eight_times_their_bytes() {
    let index = |map: String| {
        let shard = object(60_000, |i| format!(r#""{i:x}":{{"dtype":"U8","shape":[],"data_offsets":[{i},{}]}}"#, i + 1));
        let index = format!(r#"{{"weight_map":{map}}}"#);
        [("config.json", EMPTY.into()), ("model.safetensors.index.json", index.into_bytes()), ("s", file(&shard, 60_000))]
    };
    check("an index", &index(object(60_000, |i| format!(r#""{i:x}":"s""#))), 60_000, true);
    check("an index of one name", &index(object(60_000, |_| r#""a":"s""#.into())), 60_000, false);
    check("an index of many files", &index(object(60_000, |i| format!(r#""{i:x}":"{i:x}""#))), 60_000, false);
    check("an index of long names", &index(object(100, |i| format!(r#""{}":"s""#, "x".repeat(100 * i)))), 60_000, false);
}

#[test]
fn dense_configurations_stay_within_eight_times_their_bytes() {
    check("entries", &config(object(8192, |i| format!(r#""{i:x}":1"#))), 0, true);
    check("too many entries", &config(object(200_000, |i| format!(r#""{i:x}":1"#))), 0, false);
    check("entries in an object", &config(format!(r#"{{"{}":{}}}"#, "k".repeat(30), object(8000, |i| format!(r#""{i:x}":1"#)))), 0, true);
    let text = object(4000, |i| if i == 0 { r#""model_type":"x""#.to_owned() } else { format!(r#""{i:x}":1"#) });
    let around = object(4000, |i| format!(r#""{i:x}":1"#));
    check("settings of a language model", &config(format!(r#"{{"text_config":{text},{}"#, &around[1..])), 0, true);
    check("long paths", &config(format!(r#"{{"{}":{}}}"#, "k".repeat(4000), object(16_000, |i| format!(r#""{i:x}":1"#)))), 0, false);
    check("numbers", &config(format!("{{\"a\":[{}1]}}", "1,".repeat(65_535))), 0, true);
    let lists = object(20, |i| format!("\"{i:x}\":[{}1]", "1,".repeat(65_000)));
    check("lists of numbers", &config(lists), 0, true);
    check("mixed", &config(format!("{{\"a\":[{}null]}}", "1,".repeat(8_000))), 0, true);
    check("mixed from the start", &config(format!("{{\"a\":[{}null]}}", "1,null,".repeat(8_000))), 0, true);
    check("lists of lists", &config(format!("{{\"a\":[{}[]]}}", "[],".repeat(65_000))), 0, false);
    check("texts", &config(format!("{{\"a\":[{}\"\"]}}", "\"\",".repeat(65_000))), 0, true);
    check("one long text", &config(format!("{{\"a\":\"{}\"}}", "x".repeat(8 << 20))), 0, true);
    check("a text of escapes", &config(format!("{{\"a\":\"{}\"}}", "\\n".repeat(4 << 20))), 0, true);
}
