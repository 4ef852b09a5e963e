//! `quantize` on files made by hand.

use std::path::Path;

use serde_json::json;

use crate::{
    gguf::{tiny_gguf, write},
    program::{program, run},
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

    let predicted = run(directory.path(), &["inspect", source, "--quant", "q8_0", "--json"]).json()["quantised"].clone();
    let told = run(directory.path(), &["inspect", source, "--quant", "q8_0"]).stdout;
    assert!(told.contains("Quantised, as a GGUF file") && told.contains("F32 -> Q8_0"), "{told}");
    let made = quantize(&["--type", "q8_0", "--json"]).json();
    assert_eq!((&predicted["bytes"], &predicted["tensors"]), (&made["bytes"], &made["tensors"]));
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

/// A file of `count` matrices of 4 MiB.
#[cfg(unix)]
fn large(directory: &Path, count: usize) -> String {
    use parhelion::loader::{DType, GgufLayout, GgufWriter, NewTensor, Value};
    let architecture = Value::String("llama".into());
    let tensor = |number| NewTensor { name: format!("blk.{number}.ffn_up.weight"), dtype: DType::F32, shape: vec![1024, 1024] };
    let tensors: Vec<_> = (0..count).map(tensor).collect();
    let layout = GgufLayout::new([("general.architecture", &architecture)].into_iter(), tensors.iter().cloned()).unwrap();
    let mut writer = GgufWriter::new(Vec::new(), layout).unwrap();
    let row: Vec<u8> = (0..1024_u16).flat_map(|col| (f32::from(col) / 512.0 - 1.0).to_le_bytes()).collect();
    for tensor in &tensors {
        (0..1024).for_each(|_| writer.write(&tensor.name, &row).unwrap());
    }
    write(directory, "large.gguf", &writer.finish().unwrap()).to_str().unwrap().to_owned()
}

#[cfg(unix)]
#[test]
fn an_interrupted_quantize_leaves_nothing() {
    use std::{process::Command, thread::sleep, time::Duration};
    let directory = tempfile::tempdir().unwrap();
    let source = large(directory.path(), 24);
    let output = directory.path().join("small.gguf");
    let arguments = ["quantize", &source, "--type", "q4_k", "--device", "cpu", "-o", output.to_str().unwrap()];
    let child = program(directory.path(), &arguments).spawn().unwrap();
    while files(directory.path()).len() < 2 {
        sleep(Duration::from_millis(2));
    }
    assert!(files(directory.path())[0].ends_with(".part"), "the file has another name until it is whole");
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let ended = child.wait_with_output().unwrap();
    assert_eq!(ended.status.code(), Some(130), "{}", String::from_utf8_lossy(&ended.stderr));
    assert_eq!(files(directory.path()), ["large.gguf"]);
}

#[cfg(unix)]
#[test]
fn a_disk_that_fills_up_is_told_and_nothing_left() {
    use std::process::Command;
    let directory = tempfile::tempdir().unwrap();
    let source = large(directory.path(), 2);
    let output = directory.path().join("small.gguf");
    let mut limited = Command::new("sh");
    // With the signal ignored, a file beyond the limit fails to grow as on a full disk.
    let script = "trap '' XFSZ; ulimit -f 1000; exec \"$@\"";
    limited.args(["-c", script, "sh", env!("CARGO_BIN_EXE_parhelion"), "quantize", &source, "--type", "q8_0", "--device", "cpu", "-o"]);
    let ended = limited.arg(&output).env("PARHELION_CACHE", directory.path()).output().unwrap();
    let error = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert_eq!(ended.status.code(), Some(1), "{error}");
    assert!(error.contains("cannot write") && error.contains("small.gguf") && error.contains("make room"), "{error}");
    assert_eq!(files(directory.path()), ["large.gguf"]);
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
