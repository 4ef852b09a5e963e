//! `inspect` on files made by hand.

use std::path::{Path, PathBuf};

use crate::program::{program, run};

/// A GGUF file of version 3 with a few entries and two tensors, one of them named to upset a terminal.
pub(crate) fn tiny_gguf() -> Vec<u8> {
    let text = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let entry = |key: &str, kind: u32, value: Vec<u8>| [text(key), kind.to_le_bytes().to_vec(), value].concat();
    let strings: Vec<u8> = ["a", "b", "c", "d", "e", "f"].iter().flat_map(|s| text(s)).collect();
    let array = [&8_u32.to_le_bytes()[..], &6_u64.to_le_bytes(), &strings].concat();
    let tensor = |name: &str, dims: &[u64], kind: u32, offset: u64| {
        let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        [text(name), (dims.len() as u32).to_le_bytes().to_vec(), dims_bytes, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()]
            .concat()
    };
    let mut file = [&b"GGUF"[..], &3_u32.to_le_bytes(), &2_u64.to_le_bytes(), &4_u64.to_le_bytes()].concat();
    file.extend(entry("general.architecture", 8, text("llama")));
    file.extend(entry("tiny.eps", 6, 0.1_f32.to_le_bytes().to_vec()));
    file.extend(entry("tiny.words", 9, array));
    file.extend(entry("tiny.note", 8, text(&"long ".repeat(100))));
    file.extend(tensor("plain.weight", &[32, 2], 0, 0));
    file.extend(tensor("\u{1b}[31mred", &[32], 8, 256));
    file.resize(file.len().next_multiple_of(32), 0);
    file.extend([0; 256 + 34]);
    file
}

pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> PathBuf {
    let path = directory.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn inspect_shows_what_a_file_holds() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "tiny.gguf", &tiny_gguf());
    let shown = run(directory.path(), &["inspect", path.to_str().unwrap()]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for part in
        ["architecture llama", "[\"a\", \"b\", \"c\", \"d\", ...] (6 of string)", "2 x 32", "\\u{1b}[31mred", "(500 characters)", "0.1\n"]
    {
        assert!(shown.stdout.contains(part), "{part} is not in\n{}", shown.stdout);
    }
    assert!(!shown.stdout.contains('\u{1b}'), "a file's text commands the terminal");
    let wide = shown.stdout.lines().skip(1).find(|line| line.chars().count() > 80);
    assert_eq!(wide, None, "lines fit a terminal");

    let json = run(directory.path(), &["inspect", "--json", path.to_str().unwrap()]).json();
    assert_eq!(json["architecture"], "llama");
    assert_eq!(json["parameters"], 96);
    assert_eq!(json["metadata"]["tiny.eps"], 0.1);
    assert_eq!(json["metadata"]["tiny.words"]["length"], 6);
    assert_eq!(json["metadata"]["tiny.words"]["first"], serde_json::json!(["a", "b", "c", "d"]));
    assert_eq!(json["tensors"][0]["shape"], serde_json::json!([2, 32]));
    assert_eq!(json["tensors"][1]["bytes"], 34);
    assert_eq!(json["by_dtype"]["Q8_0"]["elements"], 32);
    assert_eq!(json["total"]["bytes"], 256 + 34);
}

#[test]
fn bad_files_are_told_in_one_line() {
    let directory = tempfile::tempdir().unwrap();
    let whole = tiny_gguf();
    let missing = directory.path().join("missing.gguf");
    let bad = [
        (missing, "no such file"),
        (directory.path().to_path_buf(), "without config.json"),
        (write(directory.path(), "empty.gguf", b""), "empty"),
        (write(directory.path(), "page.gguf", b"<!doctype html>"), "not a model file"),
        (write(directory.path(), "cut.gguf", &whole[..whole.len() / 2]), "damaged or incomplete"),
    ];
    for (path, words) in bad {
        let told = run(directory.path(), &["inspect", path.to_str().unwrap()]);
        assert_eq!(told.code, 1);
        assert!(told.error().contains(words), "{}", told.stderr);
        assert_eq!(told.stdout, "");
    }
}

/// `parhelion inspect ... | head`: whoever reads has seen enough.
#[test]
fn a_closed_pipe_is_no_error() {
    let directory = tempfile::tempdir().unwrap();
    let path = write(directory.path(), "tiny.gguf", &tiny_gguf());
    let mut child = program(directory.path(), &["inspect", path.to_str().unwrap()]).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}
