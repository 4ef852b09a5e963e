//! `quantize` on files made by hand.

use std::path::Path;

use serde_json::json;

use crate::{
    gguf::{tiny_gguf, write},
    program::run,
};

fn files(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    let mut files: Vec<_> = entries.filter(|name| name.contains(".gguf") || name.contains("part")).collect();
    files.sort();
    files
}

#[test]
fn quantize_writes_a_file_that_inspect_reads() {
    let directory = tempfile::tempdir().unwrap();
    let source = write(directory.path(), "tiny.gguf", &tiny_gguf());
    let output = directory.path().join("small.gguf");
    let (source, output) = (source.to_str().unwrap(), output.to_str().unwrap());
    let quantize = |more: &[&str]| run(directory.path(), &[&["quantize", source, "--device", "cpu", "-o", output], more].concat());

    let made = quantize(&["--type", "q8_0", "--json"]).json();
    let before = json!([
        { "from": "F32", "to": "Q8_0", "tensors": 1, "bytes": 2 * 34 }, { "from": "Q8_0", "to": "Q8_0", "tensors": 1, "bytes": 34 },
    ]);
    assert_eq!(made["tensors"], before);
    assert_eq!(made["bytes"], std::fs::metadata(output).unwrap().len());
    let shown = run(directory.path(), &["inspect", "--json", output]).json();
    assert_eq!(shown["metadata"]["general.file_type"], 7);
    assert_eq!(shown["metadata"]["general.quantization_version"], 2);
    assert_eq!(shown["metadata"]["tiny.words"]["length"], 6, "other entries stay");
    assert_eq!(shown["tensors"][0]["dtype"], "Q8_0");
    assert_eq!(files(directory.path()), ["small.gguf", "tiny.gguf"], "nothing else is left");

    let refused = quantize(&["--type", "q4_0"]);
    assert_eq!(refused.code, 1);
    assert!(refused.error().contains("exists already; --force"), "{}", refused.stderr);
    assert_eq!(quantize(&["--type", "q4_0", "--force"]).code, 0);
    let shown = run(directory.path(), &["inspect", "--json", output]).json();
    assert_eq!(shown["tensors"][0]["dtype"], "Q4_0");
}

#[test]
fn quantize_says_why_it_does_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let source = write(directory.path(), "tiny.gguf", &tiny_gguf());
    let source = source.to_str().unwrap();
    let once = directory.path().join("once.gguf");
    let once = once.to_str().unwrap();
    assert_eq!(run(directory.path(), &["quantize", source, "--type", "q8_0", "--device", "cpu", "-o", once]).code, 0);
    let twice = directory.path().join("twice.gguf");
    let twice = twice.to_str().unwrap();
    let refused = run(directory.path(), &["quantize", once, "--type", "q4_0", "--device", "cpu", "-o", twice]);
    assert_eq!(refused.code, 1);
    assert!(refused.error().contains("--requantize"), "{}", refused.stderr);
    assert_eq!(run(directory.path(), &["quantize", once, "--type", "q4_0", "--requantize", "--device", "cpu", "-o", twice]).code, 0);

    let nowhere = directory.path().join("missing").join("x.gguf");
    let refused = run(directory.path(), &["quantize", source, "--type", "q8_0", "--device", "cpu", "-o", nowhere.to_str().unwrap()]);
    assert!(refused.error().contains("cannot write") && refused.error().contains("x.gguf"), "{}", refused.stderr);
    assert_eq!(files(directory.path()), ["once.gguf", "tiny.gguf", "twice.gguf"]);
}
