//! The tests in a real browser: gets Chromium and what drives it, runs the suites of `tests/browser`, counts.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use parhelion_tests::fixtures;

use crate::command::{output_of, root, run, target_dir};
use crate::node::Node;
use crate::report::Outcome;
use crate::system::{Installer, install};

const FOLDER: &str = "tests/browser";
const ENDING: &str = ".test.mjs";
/// Suites that hold an answer to a rate: each runs with nothing beside it.
const TIMED: [&str; 1] = ["reference_cpu"];
/// Suites that take longest: they start first, so that none of them is left over for one core.
const LONG: [&str; 3] = ["reference", "kernels", "page-engine"];
/// Suites that run side by side: compiling pipelines, which takes most of their time, keeps one core busy, and the software GPU is done
/// with its steps in between.
const SIDE_BY_SIDE: usize = 2;
/// When the harness closes its browser and fails, because something hangs. All suites together should take under ten minutes on two
/// cores that do nothing else; each test has a limit of its own.
const BUDGET: Duration = Duration::from_secs(25 * 60);
/// The environment variable that tells the harness when that is, in milliseconds since 1970.
const DEADLINE: &str = "PARHELION_BROWSER_DEADLINE";
/// The environment variable that tells tests where our program is.
const PROGRAM: &str = "PARHELION_PROGRAM";
/// The environment variable that tells tests where the program is that makes models.
const BENCH: &str = "PARHELION_BENCH";
/// The environment variable that tells tests where the model lies.
const MODEL: &str = "PARHELION_TEST_MODEL";

/// The environment variable that tells tests where further models lie.
const MODELS: &str = fixtures::TEST_MODELS;

/// How package managers install a Chromium.
const INSTALLERS: [Installer; 5] = [
    ("apt-get", "apt-get install -y --no-install-recommends chromium", true),
    ("dnf", "dnf install -y chromium", false),
    ("pacman", "pacman -S --needed chromium", false),
    ("zypper", "zypper install -y chromium", false),
    ("apk", "apk add chromium", false),
];

/// Makes sure that there is a browser, installing one where there is none and we may.
pub(crate) fn need_browser() -> Outcome {
    let node = match Node::find_or_install() {
        Ok(node) => node,
        Err(why) => return Outcome::Failed(why),
    };
    let find = || output_of(&mut node.node(&["tests/browser/chromium.mjs"])).map(Outcome::Passed);
    find().unwrap_or_else(|| {
        let what = "Chromium or Chrome, or set CHROME to its program";
        match install(what, &INSTALLERS) {
            Ok(()) => find().unwrap_or_else(|| Outcome::Failed(format!("install {what}"))),
            Err(by_hand) => Outcome::Failed(by_hand),
        }
    })
}

/// What the suites run.
pub(crate) struct Programs {
    /// Our program.
    pub(crate) parhelion: PathBuf,
    /// The one that makes models, if it was built with the rest.
    pub(crate) bench: Option<PathBuf>,
    /// The published model, if it could be had: tests that need it skip themselves otherwise.
    pub(crate) model: Option<PathBuf>,
}

/// Runs the suites whose file names contain one of `names`; all of them where no name is given.
pub(crate) fn run_suites(names: &[&str], programs: &Programs) -> Outcome {
    match run_and_read(names, programs) {
        Ok((counts, success)) => counts.outcome(success),
        Err(why) => Outcome::Failed(why),
    }
}

fn run_and_read(names: &[&str], programs: &Programs) -> Result<(Counts, bool), String> {
    let files = suites(names)?;
    let node = Node::find_or_install()?;
    node.install(FOLDER)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_err(|error| format!("the clock is wrong: {error}"))?;
    let deadline = (now + BUDGET).as_millis().to_string();
    let (timed, others): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| TIMED.contains(&stem(file)));
    let (mut counts, mut success) = (Counts::default(), true);
    for (name, side_by_side, files) in [("others", SIDE_BY_SIDE, others), ("timed", 1, timed)] {
        if files.is_empty() {
            continue;
        }
        let log = target_dir().join(format!("browser-tests-{name}.tap"));
        let mut command = node.node(&["--test", &format!("--test-concurrency={side_by_side}")]);
        command.args(["--test-reporter=spec", "--test-reporter-destination=stdout", "--test-reporter=tap"]);
        command.arg(format!("--test-reporter-destination={}", log.display())).args(&files);
        command.env(DEADLINE, &deadline).env(PROGRAM, &programs.parhelion);
        for (name, path) in [(BENCH, &programs.bench), (MODEL, &programs.model), (MODELS, &fixtures::directory())] {
            if let Some(path) = path {
                command.env(name, path);
            }
        }
        success &= run(&mut command).is_ok();
        let text = fs::read_to_string(&log).map_err(|error| format!("cannot read {}: {error}", log.display()))?;
        counts.add(Counts::read(&text));
    }
    Ok((counts, success))
}

/// The name of a suite's file without its endings.
fn stem(file: &str) -> &str {
    let name = file.rsplit('/').next().unwrap_or(file);
    name.strip_suffix(ENDING).unwrap_or(name)
}

/// Paths of the suites from the workspace's root: the long ones, then the others by name.
fn suites(names: &[&str]) -> Result<Vec<String>, String> {
    let folder = root().join(FOLDER);
    let entries = fs::read_dir(&folder).map_err(|error| format!("cannot read {}: {error}", folder.display()))?;
    let mut files: Vec<String> = entries
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|file| file.ends_with(ENDING) && (names.is_empty() || names.iter().any(|name| file.contains(name))))
        .map(|file| format!("{FOLDER}/{file}"))
        .collect();
    files.sort_by_key(|file| (LONG.iter().position(|long| *long == stem(file)).unwrap_or(LONG.len()), file.clone()));
    if files.is_empty() { Err(format!("no suite of {FOLDER} is called {}", names.join(" or "))) } else { Ok(files) }
}

/// What Node.js' test runner reported, in the Test Anything Protocol.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: usize,
    skipped: usize,
    failures: Vec<String>,
}

impl Counts {
    fn read(text: &str) -> Self {
        let mut counts = Self::default();
        for line in text.lines() {
            if let Some((_, name)) = line.trim_start().strip_prefix("not ok ").and_then(|rest| rest.split_once(" - ")) {
                counts.failures.push(name.to_owned());
            }
            // The totals stand at the end, without indentation.
            let Some((what, number)) = line.strip_prefix("# ").and_then(|rest| rest.split_once(' ')) else { continue };
            let Ok(number) = number.parse::<usize>() else { continue };
            match what {
                "pass" => counts.passed = number,
                "fail" | "cancelled" => counts.failed += number,
                "skipped" | "todo" => counts.skipped += number,
                _ => {}
            }
        }
        counts
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        self.failures.extend(other.failures);
    }

    fn outcome(&self, success: bool) -> Outcome {
        let Self { passed, failed, skipped, failures } = self;
        let note = format!("{passed} passed, {failed} failed, {skipped} skipped");
        match (success, failures.as_slice()) {
            (true, _) if passed + skipped == 0 => Outcome::Failed("no test ran".into()),
            (true, _) => Outcome::Passed(note),
            (false, []) => Outcome::Failed(format!("{note}; the test runner did not end well")),
            (false, names) => Outcome::Failed(format!("{note}: {}", names.join(", "))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Counts, Outcome};

    const TAP: &str = "\
TAP version 13
# Subtest: loads
ok 1 - loads
# Subtest: chats
ok 2 - chats # SKIP no model
# Subtest: aborts
    # Subtest: within 5 steps
    not ok 1 - within 5 steps
    1..1
not ok 3 - aborts
1..3
# tests 4
# pass 1
# fail 2
# cancelled 0
# skipped 1
# todo 0
";

    #[test]
    fn results_and_failures_are_read() {
        let counts = Counts::read(TAP);
        assert_eq!((counts.passed, counts.failed, counts.skipped), (1, 2, 1));
        let expected = "1 passed, 2 failed, 1 skipped: within 5 steps, aborts";
        assert_eq!(counts.outcome(false), Outcome::Failed(expected.into()));
    }

    #[test]
    fn counts_of_several_runs_are_summed() {
        let mut counts = Counts::read(TAP);
        counts.add(Counts::read("not ok 1 - chats\n# pass 3\n# fail 1\n"));
        assert_eq!((counts.passed, counts.failed, counts.skipped), (4, 3, 1));
        assert_eq!(counts.failures, ["within 5 steps", "aborts", "chats"]);
    }

    #[test]
    fn a_run_without_results_is_a_failure() {
        for (text, success) in [("", true), ("", false), ("# pass 3\n", false)] {
            assert!(matches!(Counts::read(text).outcome(success), Outcome::Failed(_)), "{text:?} {success}");
        }
        assert_eq!(Counts::read("# pass 3\n").outcome(true), Outcome::Passed("3 passed, 0 failed, 0 skipped".into()));
    }
}
