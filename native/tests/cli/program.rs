//! Runs the program in a cache of its own, with no way to the network.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// What a run of the program came to.
pub(crate) struct Run {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Run {
    /// The one JSON object on standard output.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}\n{}", self.stdout, self.stderr))
    }

    /// The `error:` line, which must be the only one and no debugging output.
    pub(crate) fn error(&self) -> &str {
        let mut lines = self.stderr.lines().filter_map(|line| line.strip_prefix("error: "));
        let (Some(line), None) = (lines.next(), lines.next()) else { panic!("not one error:\n{}", self.stderr) };
        assert!(!self.stderr.contains("panicked") && !line.contains(" { "), "{}", self.stderr);
        line
    }
}

/// The program, with `cache` for its models. No hub and no `pip` can be reached from it.
pub(crate) fn program(cache: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_parhelion"));
    command.args(arguments).env("PARHELION_CACHE", cache).env("HF_ENDPOINT", "http://127.0.0.1:9").env("PATH", cache);
    for variable in ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        command.env_remove(variable);
    }
    command.env("HF_HOME", cache.join("huggingface"));
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs the program without input.
pub(crate) fn run(cache: &Path, arguments: &[&str]) -> Run {
    finish(program(cache, arguments).output().unwrap())
}

/// Runs the program with `input` on standard input.
pub(crate) fn run_with_input(cache: &Path, arguments: &[&str], input: &[u8]) -> Run {
    let mut child = program(cache, arguments).stdin(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that ends before it has read everything is no failure of the test.
    let _ = stdin.write_all(input);
    drop(stdin);
    finish(child.wait_with_output().unwrap())
}

fn finish(output: Output) -> Run {
    Run {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
