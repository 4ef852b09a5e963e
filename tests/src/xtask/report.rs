//! Runs named steps one after the other, times them, and ends with a table.

use std::process::ExitCode;
use std::time::{Duration, Instant};

/// How a step ended. The texts are one line for the final table; details are printed by the step itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// All is well; the text, if any, says what was seen.
    Passed(String),
    /// Could not be done here, and nothing is wrong with the project for it.
    Skipped(String),
    /// Something is wrong; the text says what to do.
    Failed(String),
}

impl Outcome {
    fn word_and_note(&self) -> (&'static str, &str) {
        match self {
            Self::Passed(note) => ("ok", note),
            Self::Skipped(note) => ("skipped", note),
            Self::Failed(note) => ("FAILED", note),
        }
    }
}

impl From<Result<(), String>> for Outcome {
    fn from(result: Result<(), String>) -> Self {
        match result {
            Ok(()) => Self::Passed(String::new()),
            Err(why) => Self::Failed(why),
        }
    }
}

/// The steps run so far. A failed step does not stop the next, so that one run shows everything there is to repair.
#[derive(Debug)]
pub(crate) struct Report {
    title: &'static str,
    rows: Vec<(&'static str, Outcome, Duration)>,
}

impl Report {
    pub(crate) fn new(title: &'static str) -> Self {
        Self { title, rows: Vec::new() }
    }

    /// Runs one step and remembers how it ended; true unless it failed.
    pub(crate) fn step(&mut self, name: &'static str, run: impl FnOnce() -> Outcome) -> bool {
        println!("\n==> {name}");
        let start = Instant::now();
        let outcome = run();
        let (word, note) = outcome.word_and_note();
        println!("<== {name}: {word}{}{note}", if note.is_empty() { "" } else { ": " });
        let good = !matches!(outcome, Outcome::Failed(_));
        self.rows.push((name, outcome, start.elapsed()));
        good
    }

    /// The final table, a line a step.
    fn table(&self) -> String {
        let width = self.rows.iter().map(|(name, ..)| name.len()).max().unwrap_or(0);
        let mut out = format!("{}\n", self.title);
        for (name, outcome, time) in &self.rows {
            let (word, note) = outcome.word_and_note();
            let line = format!("  {name:width$}  {word:7}  {:7.1} s  {note}", time.as_secs_f64());
            out.push_str(line.trim_end());
            out.push('\n');
        }
        out
    }

    /// Prints the table; the exit code says whether any step failed.
    pub(crate) fn finish(self) -> ExitCode {
        println!("\n{}", self.table());
        let failed = self.rows.iter().any(|(_, outcome, _)| matches!(outcome, Outcome::Failed(_)));
        if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
    }
}

#[cfg(test)]
mod tests {
    use super::{Outcome, Report};
    use std::process::ExitCode;

    #[test]
    fn a_failed_step_fails_the_run_and_shows_in_the_table() {
        let mut report = Report::new("check");
        assert!(report.step("first", || Outcome::Passed(String::new())));
        assert!(!report.step("second", || Outcome::Failed("run this".into())));
        assert!(report.step("third", || Outcome::Skipped("no network".into())));
        let table = report.table();
        assert!(table.contains("second  FAILED"), "{table}");
        assert!(table.contains("run this") && table.contains("no network"), "{table}");
        assert_eq!(report.finish(), ExitCode::FAILURE);
    }

    #[test]
    fn skipped_steps_do_not_fail_the_run() {
        let mut report = Report::new("check");
        report.step("first", || Outcome::Skipped("no network".into()));
        assert_eq!(report.finish(), ExitCode::SUCCESS);
    }
}
