//! `cargo xtask test`: gets what the tests need, runs every test, sums up.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use parhelion_tests::fixtures;

use crate::browser::Programs;
use crate::command::{cargo, executable_name, output_of, program, root, run, target_dir};
use crate::node::Node;
use crate::report::{Outcome, Report};
use crate::tool::need_target;
use crate::tool::python_with_pip;
use crate::web::WASM;
use crate::{browser, vulkan, web};

/// The model that whole-model tests run, as the program's catalogue names it.
const MODEL: &str = "smollm2-135m-instruct";
/// The published files of which all tensors are compared, as `tests/fixtures/published.py` names them.
const PUBLISHED: [&str; 3] = ["gemma-3-270m", "all-minilm-l6-v2", "silero-vad"];

/// Which tests to run. `None` leaves a kind out; words choose among its tests, no words mean all of them.
#[derive(Clone, Copy)]
pub(crate) struct Which<'a> {
    /// The tests of the workspace, doc tests included; the words go to `cargo test`.
    pub(crate) native: Option<&'a [&'a str]>,
    /// The suites in a browser; the words are parts of their names.
    pub(crate) browser: Option<&'a [&'a str]>,
}

/// Gets what the tests need and runs them.
pub(crate) fn test(which: Which<'_>) -> ExitCode {
    make_way_for_a_new_xtask();
    let mut report = Report::new("cargo xtask test");
    // First, because the program that is built next takes the page in.
    let has_page = which.browser.is_some() && web::build(&mut report);
    if which.native.is_some() {
        report.step("Vulkan driver", vulkan::need_driver);
    }
    // Built in one go: the same features, hence one compilation, for the program and for every test.
    let all = ["build", "--workspace", "--release", "--lib", "--bins", "--examples", "--tests"];
    let build = if which.native.is_some() { all.as_slice() } else { &["build", "--release"] };
    if report.step("build", || run(&mut cargo(build)).into()) {
        report.step("test model", pull_model);
        if let Some(args) = which.native {
            report.step("published weights", fetch_published);
            if args.is_empty() {
                report.step("wasm32 verdicts", wasm_verdicts);
            }
            report.step("tests", || run_tests(args));
        }
        if let Some(names) = which.browser
            && has_page
            && report.step("browser", browser::need_browser)
        {
            let bench = which.native.is_some().then(|| built("parhelion-bench"));
            let programs = Programs { parhelion: built("parhelion"), bench, model: model_file() };
            report.step("browser tests", || browser::run_suites(names, &programs));
        }
    }
    report.finish()
}

/// Windows cannot replace the file of a running program, and building the workspace may build this one anew.
fn make_way_for_a_new_xtask() {
    if let Ok(running) = std::env::current_exe().as_deref()
        && cfg!(windows)
    {
        // Should this fail, the build says so and names the file.
        let _ = fs::rename(running, running.with_extension("running.exe"));
    }
}

/// A program as built by the step before.
fn built(name: &str) -> PathBuf {
    target_dir().join("release").join(executable_name(name))
}

/// Fetches the model with our own program; without it some tests are skipped, which is no failure of the project.
fn pull_model() -> Outcome {
    match run(&mut program(built("parhelion"), &["models", "pull", MODEL])) {
        Ok(()) => Outcome::Passed(MODEL.into()),
        Err(why) => Outcome::Skipped(format!("{why}; tests that need the model are skipped")),
    }
}

/// Fetches published files whose every tensor is compared with what another implementation reads; none is for users.
fn fetch_published() -> Outcome {
    let Some(directory) = fixtures::directory() else { return Outcome::Skipped("no cache directory".into()) };
    let script = root().join("tests/fixtures/published.py");
    let fetch = |python: &str, name| run(program(python, &[]).arg(&script).args(["fetch", name]).arg(&directory));
    match python_with_pip().and_then(|python| PUBLISHED.iter().try_for_each(|&name| fetch(python, name))) {
        Ok(()) => Outcome::Passed(PUBLISHED.join(", ")),
        Err(why) => Outcome::Skipped(format!("{why}; tests of its tensors are skipped")),
    }
}

/// Where the model lies, if it could be fetched.
fn model_file() -> Option<PathBuf> {
    output_of(&mut program(built("parhelion"), &["models", "path", MODEL])).map(PathBuf::from)
}

/// Where the loader compiled to wasm32 says what it thinks of bad models, for a test to compare.
fn verdicts_file() -> PathBuf {
    target_dir().join("wasm32-verdicts.txt")
}

fn wasm_verdicts() -> Outcome {
    let judge = || {
        need_target(WASM)?;
        run(&mut cargo(&["build", "--release", "--target", WASM, "-p", "parhelion-loader", "--example", "bad_models"]))?;
        let module = target_dir().join(WASM).join("release/examples/bad_models.wasm");
        let mut node = Node::find_or_install()?.node(&["tests/browser/bad-models.mjs"]);
        let verdicts = output_of(node.arg(module)).ok_or("the loader fails on wasm32: run tests/browser/bad-models.mjs to see how")?;
        fs::write(verdicts_file(), verdicts + "\n").map_err(|error| format!("cannot write the verdicts: {error}"))
    };
    // Those of an earlier build would say nothing.
    let _ = fs::remove_file(verdicts_file());
    judge().into()
}

fn run_tests(args: &[&str]) -> Outcome {
    let skip_log = target_dir().join("skipped-tests.txt");
    match run_and_count(&skip_log, args) {
        Ok(counts) => {
            let skips = read_skips(&skip_log);
            for skip in &skips {
                println!("skipped: {skip}");
            }
            counts.outcome(skips.len())
        }
        Err(why) => Outcome::Failed(why),
    }
}

/// Runs `cargo test`, passing its output on while counting.
fn run_and_count(skip_log: &Path, args: &[&str]) -> Result<Counts, String> {
    fs::write(skip_log, "").map_err(|error| format!("cannot write {}: {error}", skip_log.display()))?;
    let mut command = cargo(&["test", "--workspace", "--release", "--no-fail-fast"]);
    command.args(args).env(parhelion_tests::SKIP_LOG, skip_log);
    if args.is_empty() && verdicts_file().is_file() {
        command.env("PARHELION_WASM32_VERDICTS", verdicts_file());
    }
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // Without it Mesa prints an error for every device that is opened.
        command.env("XDG_RUNTIME_DIR", std::env::temp_dir());
    }
    println!("$ cargo test --workspace --release --no-fail-fast {}", args.join(" "));
    let (mut counts, success) = count(&mut command).map_err(|error| format!("cannot run `cargo test`: {error}"))?;
    counts.success = success;
    Ok(counts)
}

fn count(command: &mut Command) -> std::io::Result<(Counts, bool)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut counts = Counts::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line?;
            let line = String::from_utf8_lossy(&line);
            println!("{}", line.trim_end_matches('\r'));
            counts.read(&line);
        }
    }
    Ok((counts, child.wait()?.success()))
}

/// What the test binaries reported, summed.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    success: bool,
    passed: usize,
    failed: usize,
    ignored: usize,
    failures: Vec<String>,
}

impl Counts {
    /// Takes in one line of a test binary's output.
    fn read(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.trim_end().strip_suffix(" ... FAILED")) {
            self.failures.push(name.to_owned());
        }
        let Some(result) = line.strip_prefix("test result: ") else { return };
        for part in result.split(['.', ';']) {
            let Some((number, what)) = part.trim().split_once(' ') else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                _ => {}
            }
        }
    }

    /// Tests that skip themselves count as passed in the binaries' own figures, so they are taken out here.
    fn outcome(&self, skipped: usize) -> Outcome {
        let Self { success, passed, failed, ignored, failures } = self;
        let passed = passed.saturating_sub(skipped);
        let note = format!("{passed} passed, {failed} failed, {skipped} skipped, {ignored} ignored");
        match (success, failures.as_slice()) {
            // A misspelt name must not look like a good run.
            (true, _) if self.passed + ignored == 0 => Outcome::Failed("no test ran: no name matches".into()),
            (true, _) => Outcome::Passed(note),
            (false, []) => Outcome::Failed(format!("{note}; a test binary did not build or did not end")),
            (false, names) => Outcome::Failed(format!("{note}: {}", names.join(", "))),
        }
    }
}

/// The lines that tests wrote through `parhelion_tests::skip`.
fn read_skips(log: &PathBuf) -> Vec<String> {
    let mut lines: Vec<String> = fs::read_to_string(log).unwrap_or_default().lines().map(str::to_owned).collect();
    lines.sort();
    lines.dedup();
    lines
}

#[cfg(test)]
mod tests {
    use super::{Counts, Outcome};

    fn counts(output: &str, success: bool) -> Counts {
        let mut counts = Counts { success, ..Counts::default() };
        output.lines().for_each(|line| counts.read(line));
        counts
    }

    const TWO_BINARIES: &str = "\
running 3 tests
test a::b ... ok
test a::c ... FAILED
test result: FAILED. 1 passed; 1 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.20s
";

    #[test]
    fn results_of_all_binaries_are_summed() {
        let counts = counts(TWO_BINARIES, false);
        assert_eq!((counts.passed, counts.failed, counts.ignored), (6, 1, 1));
        assert_eq!(counts.failures, ["a::c"]);
        let expected = "5 passed, 1 failed, 1 skipped, 1 ignored: a::c";
        assert_eq!(counts.outcome(1), Outcome::Failed(expected.into()));
    }

    #[test]
    fn a_crash_without_a_failed_test_is_a_failure() {
        let crashed = counts("running 3 tests\n", false).outcome(0);
        assert!(matches!(&crashed, Outcome::Failed(note) if note.contains("did not end")), "{crashed:?}");
    }

    #[test]
    fn a_run_without_tests_is_a_failure() {
        assert!(matches!(counts("running 0 tests\n", true).outcome(0), Outcome::Failed(_)));
        let one = "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 9 filtered out; finished in 0.01s\n";
        assert_eq!(counts(one, true).outcome(1), Outcome::Passed("0 passed, 0 failed, 1 skipped, 0 ignored".into()));
    }
}
