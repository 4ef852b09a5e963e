//! `parhelion serve-web` as browsers and others see it: what it sends, what it refuses, how it stops.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod client;
mod program;

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::thread::JoinHandle;

use parhelion_cli::cache::Cache;
use parhelion_cli::catalogue::MODELS;
use parhelion_cli::interrupt::Interrupt;
use parhelion_cli::serve::{CONTENT_POLICY, Files, Server, Site};
use tempfile::TempDir;

use self::client::{Client, Reply};

const PAGE: &str = "<!doctype html><title>page</title>";
const WASM: &[u8] = b"\0asm\x01\0\0\0";

/// A server of a folder with a page, and of a cache with the first model of the catalogue.
struct Running {
    client: Client,
    interrupt: Interrupt,
    thread: Option<JoinHandle<std::io::Result<()>>>,
    folder: TempDir,
}

impl Running {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let dist = folder.path().join("dist");
        fs::create_dir_all(dist.join("wasm")).unwrap();
        fs::write(dist.join("index.html"), PAGE).unwrap();
        fs::write(dist.join("wasm/a.wasm"), WASM).unwrap();
        fs::write(dist.join(".hidden"), "hidden").unwrap();
        fs::write(folder.path().join("secret.txt"), "secret").unwrap();
        let cache = Cache::at(folder.path().join("cache"));
        fs::create_dir_all(cache.models_dir()).unwrap();
        let mut model = File::create(cache.path_of(&MODELS[0]).unwrap()).unwrap();
        // Only its size is looked at: nothing but holes and a few bytes are needed.
        model.set_len(MODELS[0].bytes.unwrap()).unwrap();
        model.write_all(b"GGUF").unwrap();
        model.seek(SeekFrom::End(-3)).unwrap();
        model.write_all(b"end").unwrap();
        let site = Site { files: Files::open(Some(&dist)).unwrap(), cache: Some(cache) };
        let server = Server::bind("127.0.0.1", 0, site).unwrap();
        let client = Client::new(server.address().unwrap());
        let interrupt = Interrupt::default();
        let stop = interrupt.clone();
        let thread = Some(std::thread::spawn(move || server.run(&stop)));
        Self { client, interrupt, thread, folder }
    }

    fn get(&self, path: &str) -> Reply {
        self.client.send("GET", path, &[])
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.interrupt.raise();
        self.thread.take().unwrap().join().unwrap().unwrap();
    }
}

fn model_path() -> String {
    format!("/models/{}", MODELS[0].file_name)
}

#[test]
fn the_page_comes_with_types_tags_and_the_policy() {
    let server = Running::start();
    for (path, media_type, body) in [
        ("/", "text/html; charset=utf-8", PAGE.as_bytes()),
        ("/index.html", "text/html; charset=utf-8", PAGE.as_bytes()),
        ("/index.html?source=pwa", "text/html; charset=utf-8", PAGE.as_bytes()),
        ("/wasm/a.wasm", "application/wasm", WASM),
    ] {
        let reply = server.get(path);
        assert_eq!((reply.status, reply.body.as_slice()), (200, body), "{path}");
        assert_eq!(reply.header("content-type"), media_type);
        assert_eq!(reply.header("content-security-policy"), CONTENT_POLICY);
        assert_eq!(reply.header("x-content-type-options"), "nosniff");
        assert_eq!(reply.header("cache-control"), "no-cache");
        let again = server.client.send("GET", path, &[("if-none-match", reply.header("etag"))]);
        assert_eq!((again.status, again.body.len()), (304, 0), "{path}");
    }
    let before = server.get("/").header("etag").to_owned();
    fs::write(server.folder.path().join("dist/index.html"), "changed").unwrap();
    let after = server.client.send("GET", "/", &[("if-none-match", &before)]);
    assert_eq!((after.status, after.body.as_slice()), (200, b"changed".as_slice()), "a changed page is sent anew");
}

#[test]
fn only_what_is_served_is_found() {
    let server = Running::start();
    #[cfg(unix)]
    std::os::unix::fs::symlink(server.folder.path().join("secret.txt"), server.folder.path().join("dist/link.txt")).unwrap();
    for path in [
        "/../secret.txt",
        "/wasm/../../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/..\\secret.txt",
        "//etc/passwd",
        "/./index.html",
        "/wasm",
        "/wasm/",
        "/.hidden",
        "/link.txt",
        "/index.html/",
        "/index.html%00",
        "/nothing",
        "/C:/a",
        "/models/",
        "/models/nothing.gguf",
        "/models/../secret.txt",
        "/models/%2e%2e/x",
        "/models/SMOLLM2-135M-INSTRUCT.q4_1.GGUF",
        &format!("/{}", "a/".repeat(2000)),
        &format!("/{}", "a".repeat(8000)),
    ] {
        let reply = server.get(path);
        assert_eq!(reply.status, 404, "{path}");
        assert!(!reply.text().contains("secret"), "{path}");
        assert_eq!(reply.header("x-content-type-options"), "nosniff", "{path}");
    }
}

#[test]
fn nothing_but_reading_is_allowed() {
    let server = Running::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"] {
        let reply = server.client.send(method, "/", &[]);
        assert_eq!((reply.status, reply.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    let head = server.client.send("HEAD", "/", &[]);
    assert_eq!((head.status, head.body.len(), head.header("content-length")), (200, 0, "34"));
}

#[test]
fn models_of_this_machine_are_listed_and_served_in_ranges() {
    let server = Running::start();
    let list: serde_json::Value = serde_json::from_slice(&server.get("/models/index.json").body).unwrap();
    let model = &MODELS[0];
    assert_eq!(list.as_array().unwrap().len(), 1);
    assert_eq!(list[0]["id"], model.id);
    assert_eq!(list[0]["sha256"].as_str(), model.sha256);
    assert_eq!(list[0]["bytes"].as_u64(), model.bytes);
    assert_eq!(list[0]["url"], model.file_name);

    let size = model.bytes.unwrap();
    let tag = format!("\"{}\"", model.sha256.unwrap());
    let head = server.client.send("HEAD", &model_path(), &[]);
    assert_eq!((head.header("etag"), head.header("accept-ranges")), (tag.as_str(), "bytes"));
    assert_eq!(head.header("content-length"), size.to_string());

    let start = server.client.send("GET", &model_path(), &[("range", "bytes=0-3"), ("if-range", &tag)]);
    assert_eq!((start.status, start.text()), (206, "GGUF".into()));
    assert_eq!(start.header("content-range"), format!("bytes 0-3/{size}"));
    let end = server.client.send("GET", &model_path(), &[("range", "bytes=-3")]);
    assert_eq!((end.status, end.text()), (206, "end".into()));
    let past = server.client.send("GET", &model_path(), &[("range", &format!("bytes={size}-"))]);
    assert_eq!((past.status, past.header("content-range")), (416, format!("bytes */{size}").as_str()));
}

#[test]
fn absurd_ranges_give_the_whole_or_nothing() {
    let server = Running::start();
    for (range, status) in [
        ("bytes=5-1", 200),
        ("bytes=0-0,2-2", 200),
        ("bytes=--1", 200),
        ("items=0-1", 200),
        ("bytes=\u{e9}", 200),
        ("bytes=99999999999999999999999999-", 416),
        ("bytes=0-99999999999999999999999999", 206),
        ("bytes=-0", 416),
        ("bytes=-99999999999999999999999999", 206),
    ] {
        let reply = server.client.send("GET", "/", &[("range", range)]);
        assert_eq!(reply.status, status, "{range}");
        assert_eq!(reply.text(), if status == 416 { "" } else { PAGE }, "{range}");
    }
    let other = server.client.send("GET", "/", &[("range", "bytes=0-3"), ("if-range", "\"other\"")]);
    assert_eq!((other.status, other.text().as_str()), (200, PAGE), "a range of another file is not sent");
}

#[test]
fn requests_that_are_none_do_not_stop_the_server() {
    let server = Running::start();
    for garbage in ["\0\0\0\0", "GET\r\n\r\n", "GET / HTTP/9.9\r\n\r\n", "GET nothing HTTP/1.1\r\nhost: a\r\n\r\n", "\u{16}\u{3}\u{1}"] {
        server.client.send_garbage(garbage.as_bytes());
    }
    let many: String = (0..500).map(|number| format!("x-{number}: y\r\n")).collect();
    server.client.send_garbage(format!("GET / HTTP/1.1\r\n{many}\r\n").as_bytes());
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn a_reader_who_stays_does_not_keep_the_server() {
    let server = Running::start();
    // Asks for the model and never reads it.
    let reader = server.client.begin("GET", &model_path());
    let stopped = std::time::Instant::now();
    drop(server);
    assert!(stopped.elapsed() < std::time::Duration::from_secs(10), "{:?}", stopped.elapsed());
    drop(reader);
}
