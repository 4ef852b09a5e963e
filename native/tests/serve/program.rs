//! The command itself.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use crate::client::Client;

fn program(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parhelion"));
    command.arg("serve-web").args(arguments).arg("--dir").arg(folder).env("PARHELION_CACHE", folder.join("cache"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
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
    let mut child = program(folder.path(), &["--port", "0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
    let address = line.trim().strip_prefix("http://").and_then(|rest| rest.strip_suffix('/')).unwrap();
    let reply = Client::new(address.parse().unwrap()).send("GET", "/", &[]);
    assert_eq!((reply.status, reply.text().as_str()), (200, "page"));
    let list = Client::new(address.parse().unwrap()).send("GET", "/models/index.json", &[]);
    assert_eq!((list.status, list.text().as_str()), (200, "[]"), "an empty cache has no models");
    let killed = Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
    assert!(killed.success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", error(&output));
}

#[test]
fn other_machines_get_a_word_about_https() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("index.html"), "page").unwrap();
    let mut child = program(folder.path(), &["--port", "0", "--host", "0.0.0.0"]).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(line.contains("https"), "{line}");
}
