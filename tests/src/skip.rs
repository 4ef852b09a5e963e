//! Tests that cannot run here say so, and `cargo xtask test` counts them apart from those that passed.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

/// The environment variable that names the file in which skipped tests are listed; `cargo xtask test` sets it.
pub const SKIP_LOG: &str = "PARHELION_SKIP_LOG";

/// Notes that the calling test is skipped and why (a model that cannot be fetched, an adapter that is not there).
/// To be called on the test's own thread, which bears the test's name; the test then returns.
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    let Some(log) = std::env::var_os(SKIP_LOG) else { return };
    if let Err(error) = append(log.as_ref(), &line) {
        eprintln!("cannot note the skipped test in {}: {error}", log.display());
    }
}

/// One write a line, so that the lines of tests that run at the same time do not mix.
fn append(log: &Path, line: &str) -> io::Result<()> {
    OpenOptions::new().append(true).create(true).open(log)?.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::append;
    use std::{env, fs, process, thread};

    #[test]
    fn lines_of_many_threads_stay_whole() {
        let log = env::temp_dir().join(format!("parhelion-skips-{}", process::id()));
        thread::scope(|scope| {
            for thread in 0..4 {
                let log = &log;
                scope.spawn(move || (0..50).for_each(|line| append(log, &format!("{thread}: {line}\n")).unwrap()));
            }
        });
        let text = fs::read_to_string(&log).unwrap();
        fs::remove_file(&log).unwrap();
        let mut found: Vec<&str> = text.lines().collect();
        let mut expected: Vec<String> = (0..4).flat_map(|t| (0..50).map(move |line| format!("{t}: {line}"))).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}
