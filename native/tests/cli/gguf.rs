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

/// A safetensors file of tensors of zeros: name, type, shape, bytes.
fn safetensors(tensors: &[(&str, &str, &[u64], usize)]) -> Vec<u8> {
    let mut end = 0;
    let entry = |&(name, dtype, shape, bytes): &(&str, &str, &[u64], usize)| {
        let start = end;
        end += bytes;
        format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{end}]}}"#)
    };
    let header = format!("{{{}}}", tensors.iter().map(entry).collect::<Vec<_>>().join(","));
    [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &vec![0; end]].concat()
}

#[test]
fn inspect_shows_a_repository_and_how_it_is_quantised() {
    let directory = tempfile::tempdir().unwrap();
    let model = directory.path().join("model");
    std::fs::create_dir(&model).unwrap();
    let quantisation = r#"{"quant_method":"gptq","bits":4,"group_size":64,"desc_act":false}"#;
    write(&model, "config.json", format!(r#"{{"model_type":"llama","quantization_config":{quantisation}}}"#).as_bytes());
    write(
        &model,
        "model.safetensors.index.json",
        br#"{"weight_map":{"n.weight":"a.safetensors","m.qweight":"b.safetensors",
        "m.qzeros":"b.safetensors","m.scales":"b.safetensors","m.g_idx":"b.safetensors"}}"#,
    );
    write(&model, "a.safetensors", &safetensors(&[("n.weight", "BF16", &[32], 64)]));
    let parts: [(&str, &str, &[u64], usize); 4] = [
        ("m.qweight", "I32", &[8, 16], 512),
        ("m.qzeros", "I32", &[1, 2], 8),
        ("m.scales", "F16", &[1, 16], 32),
        ("m.g_idx", "I32", &[64], 256),
    ];
    write(&model, "b.safetensors", &safetensors(&parts));
    let shown = run(directory.path(), &["inspect", model.to_str().unwrap()]);
    assert_eq!(shown.code, 0, "{}", shown.stderr);
    for part in [
        "safetensors, ",
        "architecture llama",
        "quantised: GPTQ, 4 bits",
        "Files (2)",
        "b.safetensors",
        "m.weight",
        "AFFINE4_64",
        "16 x 64",
    ] {
        assert!(shown.stdout.contains(part), "{part} is not in\n{}", shown.stdout);
    }
    let json = run(directory.path(), &["inspect", "--json", model.to_str().unwrap()]).json();
    assert_eq!((&json["format"], &json["quantisation"]), (&"safetensors".into(), &"GPTQ, 4 bits".into()));
    assert_eq!(json["files"].as_array().unwrap().len(), 2);
    assert_eq!(json["by_dtype"]["AFFINE4_64"]["elements"], 1024);
    assert_eq!(json["metadata"]["quantization_config.bits"], 4);

    // The files alone are named in what is told.
    let told = run(directory.path(), &["inspect", model.join("a.safetensors").to_str().unwrap()]);
    assert_eq!(told.code, 0, "a shard opens its model: {}", told.stderr);
    std::fs::remove_file(model.join("b.safetensors")).unwrap();
    let told = run(directory.path(), &["inspect", model.to_str().unwrap()]);
    assert!(told.error().contains("b.safetensors is missing"), "{}", told.stderr);
}

/// A model most of whose layers see 12 tokens keeps all of a long conversation in the other one alone.
#[test]
fn inspect_shows_what_the_cache_takes_by_groups_of_layers() {
    let directory = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/families/gemma3");
    let config = std::fs::read_to_string(fixture.join("config.json")).unwrap();
    let longer = config.replace("\"max_position_embeddings\": 256", "\"max_position_embeddings\": 4096");
    write(directory.path(), "config.json", longer.as_bytes());
    std::fs::copy(fixture.join("model.safetensors"), directory.path().join("model.safetensors")).unwrap();
    let inspect = |more: &[&str]| {
        let path = directory.path().to_str().unwrap();
        run(directory.path(), &[&["inspect", path, "--context", "4096"], more].concat())
    };

    let kv = inspect(&["--json", "--kv-cache", "f32"]).json()["kv"].clone();
    assert_eq!((&kv["context"], &kv["format"], &kv["state_bytes"]), (&4096.into(), &"f32".into(), &0.into()));
    let groups: Vec<_> =
        kv["groups"].as_array().unwrap().iter().map(|group| [&group["layers"], &group["window"], &group["tokens"]]).collect();
    // a step has 512 rows
    assert_eq!(serde_json::json!(groups), serde_json::json!([[1, null, 4096], [6, 12, 640]]));
    let bytes = |group: usize| kv["groups"][group]["bytes"].as_u64().unwrap();
    assert_eq!(bytes(0) + bytes(1), kv["bytes"].as_u64().unwrap());
    assert_eq!(bytes(0) * 6 * 640, bytes(1) * 4096);

    let shown = inspect(&[]).stdout;
    for part in
        ["KV cache in f16 for 4096 tokens of context: ", "1 layer, all tokens: ", "6 layers with a window of 12, the last 640 tokens: "]
    {
        assert!(shown.contains(part), "{part} is not in\n{shown}");
    }
    let q8_0 = inspect(&["--json", "--kv-cache", "q8_0"]).json()["kv"]["bytes"].as_u64().unwrap();
    assert!(q8_0 * 2 < kv["bytes"].as_u64().unwrap(), "{q8_0}");
    assert_eq!(run(directory.path(), &["inspect", "model.gguf", "--kv-cache", "f16"]).code, 2, "there is no cache without a context");
}
