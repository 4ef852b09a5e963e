//! The command itself.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use crate::client::Client;

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parhelion"));
    command.arg("serve-web").args(arguments).arg("--dir").arg(folder).env("PARHELION_CACHE", folder.join("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// A running server, which does not outlive a test that fails.
struct Serving(Child);

impl Serving {
    fn start(folder: &Path, arguments: &[&str]) -> Self {
        Self(program(folder, arguments).spawn().unwrap())
    }

    fn wait(mut self) -> ExitStatus {
        self.0.wait().unwrap()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn first_line(output: impl Read) -> String {
    let mut line = String::new();
    BufReader::new(output).read_line(&mut line).unwrap();
    line
}

fn error(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn a_folder_without_a_page_is_refused_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    for folder in [folder.path().to_path_buf(), folder.path().join("none")] {
        let output = program(&folder, &["--port", "0"]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(error(&output).contains("no index.html") && error(&output).contains("cargo xtask web"), "{}", error(&output));
    }
}

#[test]
fn a_taken_port_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "page").unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = program(folder.path(), &["--port", &port]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(error(&output).contains(&format!("127.0.0.1:{port}")) && error(&output).contains("--port"), "{}", error(&output));
}

#[cfg(unix)]
#[test]
fn it_says_where_it_is_and_stops_at_ctrl_c() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "page").unwrap();
    let mut serving = Serving::start(folder.path(), &["--port", "0"]);
    let line = first_line(serving.0.stdout.take().unwrap());
    let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
    let reply = Client::new(address.parse().unwrap()).send("GET", "/", &[]);
    assert_eq!((reply.status, reply.text().as_str()), (200, "page"));
    let list = Client::new(address.parse().unwrap()).send("GET", "/models/index.json", &[]);
    assert_eq!((list.status, list.text().as_str()), (200, "[]"), "an empty cache has no models");
    let killed = Command::new("kill").args(["-INT", &serving.0.id().to_string()]).status().unwrap();
    assert!(killed.success());
    assert_eq!(serving.wait().code(), Some(0));
}

#[test]
fn other_machines_get_a_word_about_https() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "page").unwrap();
    let mut serving = Serving::start(folder.path(), &["--port", "0", "--host", "0.0.0.0"]);
    let line = first_line(serving.0.stderr.take().unwrap());
    assert!(line.contains("https"), "{line}");
}
