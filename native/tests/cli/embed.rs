//! `embed` with all-MiniLM-L6-v2, on the CPU. Skipped, with a note, where the model is not on this machine.

use std::fs;

use parhelion_tests::fixtures::minilm;
use serde_json::Value;

use crate::program::{run, run_with_input};

fn vector(line: &Value) -> Vec<f64> {
    line["vector"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[test]
fn lines_become_vectors_that_tell_how_alike_they_are() {
    let Some(model) = minilm() else { return };
    let directory = tempfile::tempdir().unwrap();
    let model = model.to_str().unwrap();
    let arguments = ["embed", "--model", model, "--device", "cpu", "--json"];
    let input = format!("A cat sits on the mat.\n\nA feline rests on a rug.\nQuarterly revenue grew.\n{}\n", "word ".repeat(300));
    let told = run_with_input(directory.path(), &arguments, input.as_bytes());
    assert_eq!(told.code, 0, "{}", told.stderr);
    let lines: Vec<Value> = told.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 4, "a line each, but for the blank one");
    let [cat, feline, revenue, long] = [0, 1, 2, 3].map(|i| vector(&lines[i]));
    assert_eq!((cat.len(), lines[1]["index"].as_u64(), lines[1]["text"].as_str()), (384, Some(1), Some("A feline rests on a rug.")));
    assert!((dot(&long, &long) - 1.0).abs() < 1e-4);
    assert!(dot(&cat, &feline) > 0.5 && dot(&cat, &revenue) < 0.2, "{} {}", dot(&cat, &feline), dot(&cat, &revenue));
    assert_eq!((lines[3]["tokens"].as_u64(), lines[3]["cut"].as_u64()), (Some(256), Some(46)));
    assert!(told.stderr.contains("1 of 4 texts were cut off after 256 tokens"), "{}", told.stderr);

    let file = directory.path().join("texts");
    fs::write(&file, input.lines().take(1).collect::<String>()).unwrap();
    let shown = run(directory.path(), &["embed", "--model", model, "--device", "cpu", "--quiet", "--file", file.to_str().unwrap()]);
    assert_eq!((shown.code, shown.stderr.as_str()), (0, ""));
    assert!(shown.stdout.contains("0: A cat sits on the mat.") && shown.stdout.contains("384 dimensions"), "{}", shown.stdout);
    let compared = run(directory.path(), &["embed", "--model", model, "--device", "cpu", "a", "b"]);
    assert!(compared.stdout.contains("similarity"), "{}", compared.stdout);
}

#[test]
fn models_for_something_else_are_told_with_the_command_that_runs_them() {
    let Some(model) = minilm() else { return };
    let directory = tempfile::tempdir().unwrap();
    let told = run(directory.path(), &["run", "--model", model.to_str().unwrap(), "--device", "cpu", "Hello"]);
    assert_eq!(told.code, 1);
    assert!(told.error().contains("`parhelion embed`"), "{}", told.stderr);
    let unknown = run(directory.path(), &["embed", "--model", model.to_str().unwrap(), "--device", "cpu", "--prompt", "query", "x"]);
    assert!(unknown.code == 1 && unknown.error().contains("it has none"), "{}", unknown.stderr);
}
