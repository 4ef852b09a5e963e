//! Tests that cannot run here say so, and `cargo xtask test` counts them apart from those that passed.

use std::fmt::Display;
use std::fs::OpenOptions;
use std::io::Write as _;

/// The environment variable that names the file in which skipped tests are listed; `cargo xtask test` sets it.
pub const SKIP_LOG: &str = "PARHELION_SKIP_LOG";

/// Notes that the calling test is skipped and why (a model that cannot be fetched, an adapter that is not there).
/// To be called on the test's own thread, which bears the test's name; the test then returns.
pub fn skip(reason: impl Display) {
    let thread = std::thread::current();
    let line = format!("{}: {reason}\n", thread.name().unwrap_or("a test"));
    eprint!("skipped: {line}");
    let Some(log) = std::env::var_os(SKIP_LOG) else { return };
    // One write a line, so that lines of tests that run at the same time do not mix.
    let written = OpenOptions::new().append(true).create(true).open(&log);
    if let Err(error) = written.and_then(|mut file| file.write_all(line.as_bytes())) {
        eprintln!("cannot note the skipped test in {}: {error}", log.display());
    }
}
