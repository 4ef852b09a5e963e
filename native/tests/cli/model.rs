//! Whole commands with the default model, on the CPU. Skipped, with a note, where the model is not on this machine.

use std::path::PathBuf;

use parhelion_tests::fixtures::smollm2;
use serde_json::{Value, json};

use crate::program::{Run, run, run_with_input};

/// The tokens of "The capital of France is".
const CAPITAL: [u32; 5] = [504, 3575, 282, 4649, 314];
/// " Paris".
const PARIS: u32 = 7042;

/// A command on the model, without whatever else it needs.
struct Model {
    path: PathBuf,
    directory: tempfile::TempDir,
}

impl Model {
    fn find() -> Option<Self> {
        Some(Self { path: smollm2()?, directory: tempfile::tempdir().unwrap() })
    }

    fn arguments<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [&arguments[..1], &["--model", self.path.to_str().unwrap(), "--device", "cpu", "--context", "256"], &arguments[1..]].concat()
    }

    fn run(&self, arguments: &[&str]) -> Run {
        let run = run(self.directory.path(), &self.arguments(arguments));
        assert_eq!(run.code, 0, "{}", run.stderr);
        run
    }
}

#[test]
fn run_prints_one_object_with_every_token() {
    let Some(model) = Model::find() else { return };
    let raw = ["run", "--raw", "--temperature", "0", "--max-tokens", "4", "--json", "The capital of France is"];
    let answer = model.run(&raw).json();
    assert_eq!(answer["prompt_tokens"], json!(CAPITAL));
    assert_eq!(answer["tokens"][0]["id"], PARIS);
    assert_eq!(answer["tokens"][0]["text"], " Paris");
    assert!(answer["tokens"][0]["logprob"].as_f64().unwrap() < 0.0);
    let texts: String = answer["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(answer["text"], texts);
    assert_eq!(answer["finish_reason"], "length");
    assert_eq!(answer["timings"]["generated_tokens"], 4);
    assert_eq!(answer["timings"]["prompt_tokens"], 5);
    assert!(answer["timings"]["peak_bytes"].as_u64().unwrap() > 90_000_000);
    let plain = model.run(&["run", "--quiet", "--raw", "--temperature", "0", "--max-tokens", "4", "The capital of France is"]);
    assert_eq!(plain.stdout.trim_end_matches('\n'), texts.trim_end_matches('\n'));
    assert_eq!(plain.stderr, "");
}

#[test]
fn answers_end_where_they_were_told_to() {
    let Some(model) = Model::find() else { return };
    let stopped = model.run(&["run", "--raw", "--temperature", "0", "--stop", "Par", "--json", "The capital of France is"]).json();
    assert_eq!((&stopped["finish_reason"], &stopped["text"]), (&json!("stop_string"), &json!(" ")));
    let full = run(
        model.directory.path(),
        &[
            "run",
            "--model",
            model.path.to_str().unwrap(),
            "--device",
            "cpu",
            "--context",
            "8",
            "--raw",
            "--json",
            "The capital of France is",
        ],
    );
    assert_eq!(full.code, 0, "{}", full.stderr);
    assert_eq!(full.json()["finish_reason"], "context");
    assert!(full.stderr.contains("--context"), "{}", full.stderr);
    let long = run(
        model.directory.path(),
        &["run", "--model", model.path.to_str().unwrap(), "--device", "cpu", "--context", "4", "--raw", "The capital of France is"],
    );
    assert_eq!(long.code, 1);
    assert!(long.error().contains("5 tokens"), "{}", long.stderr);
}

#[test]
fn the_same_seed_gives_the_same_answer() {
    let Some(model) = Model::find() else { return };
    let ask = |seed: &str| -> Value {
        model.run(&["run", "--raw", "--temperature", "1.5", "--seed", seed, "--max-tokens", "12", "--json", "Once"]).json()["tokens"]
            .clone()
    };
    assert_eq!(ask("1"), ask("1"));
    assert_ne!(ask("1"), ask("2"));
}

#[test]
fn score_forces_tokens_through_the_model() {
    let Some(model) = Model::find() else { return };
    let tokens = CAPITAL.map(|token| token.to_string()).join(",");
    let by_ids = model.run(&["score", "--tokens", &tokens, "--top", "10", "--json"]).json();
    let by_text = model.run(&["score", "The capital of France is", "--top", "10", "--json"]).json();
    assert_eq!(by_ids, by_text);
    let positions = by_ids["positions"].as_array().unwrap();
    assert_eq!(positions.len(), 5);
    let logprobs: Vec<f64> = positions[..4].iter().map(|position| position["logprob"].as_f64().unwrap()).collect();
    let mean = logprobs.iter().sum::<f64>() / 4.0;
    assert!((by_ids["perplexity"].as_f64().unwrap() - (-mean).exp()).abs() < 1e-6);
    for (position, token) in positions.iter().zip(&CAPITAL[1..]) {
        assert_eq!(position["token"], *token);
        let rank = position["rank"].as_u64().unwrap() as usize;
        assert_eq!(rank < 10, position["top"].as_array().unwrap().iter().any(|top| top["id"] == *token));
        if rank < 10 {
            assert_eq!(position["top"][rank]["logprob"], position["logprob"]);
        }
    }
    assert_eq!(positions[4]["top"][0]["id"], PARIS);
    assert_eq!(positions[4]["token"], Value::Null);
}

#[test]
fn a_conversation_goes_through_a_pipe() {
    let Some(model) = Model::find() else { return };
    let saved = model.directory.path().join("talk.json");
    let lines = format!("Say hello.\n\n/nonsense\nAgain, please.\n/save {}\n/reset\n", saved.display());
    let chat = model.arguments(&["chat", "--system", "Be brief.", "--temperature", "0", "--max-tokens", "8"]);
    let talked = run_with_input(model.directory.path(), &chat, lines.as_bytes());
    assert_eq!(talked.code, 0, "{}", talked.stderr);
    assert!(talked.stderr.contains("there is no /nonsense"), "{}", talked.stderr);
    let messages: Vec<Value> = serde_json::from_str(&std::fs::read_to_string(saved).unwrap()).unwrap();
    let roles: Vec<_> = messages.iter().map(|message| message["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "user", "assistant"]);
    assert_eq!(messages[3]["content"], "Again, please.");
    for answer in [&messages[2], &messages[4]] {
        assert!(talked.stdout.contains(answer["content"].as_str().unwrap().trim_end()), "{}", talked.stdout);
    }
    assert!(!talked.stdout.contains("> "), "no prompt is shown to a pipe");
}
