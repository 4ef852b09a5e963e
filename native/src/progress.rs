//! Progress of a long step: a bar on a terminal, plain lines elsewhere, nothing when asked to be quiet.

use std::io::{IsTerminal, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// Told how a step goes. Calls come from one thread at a time.
pub trait Progress: Send + Sync {
    /// Something worth one line, without a line end.
    fn note(&self, line: &str);
    /// A counted step starts: what it does, what it counts, the count it will reach if known, and the count at its start.
    fn begin(&self, label: &str, unit: Unit, total: Option<u64>, already: u64);
    /// The step has reached a count of `now` in all.
    fn reached(&self, now: u64);
    /// The step does something else now, or says better how far it is.
    fn relabel(&self, label: &str);
    /// The step is over, well or not.
    fn end(&self);
}

/// What a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Things of any kind.
    Items,
}

impl Unit {
    fn show(self, count: u64) -> String {
        match self {
            Self::Bytes => bytes(count),
            Self::Items => count.to_string(),
        }
    }
}

/// Says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn note(&self, _line: &str) {}
    fn begin(&self, _label: &str, _unit: Unit, _total: Option<u64>, _already: u64) {}
    fn reached(&self, _now: u64) {}
    fn relabel(&self, _label: &str) {}
    fn end(&self) {}
}

/// Progress on standard error: a bar with speed and time left on a terminal, a line every few seconds elsewhere.
#[derive(Debug)]
pub struct Stderr {
    terminal: bool,
    step: Mutex<Option<Step>>,
}

#[derive(Debug)]
enum Step {
    Bar(ProgressBar),
    Lines { label: String, unit: Unit, total: Option<u64>, said_at: Instant },
}

/// Plain lines come this far apart: a log wants signs of life, not a film.
const LINE_EVERY: Duration = Duration::from_secs(5);

impl Stderr {
    /// Progress fit for what standard error is now.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), step: Mutex::new(None) }
    }

    fn step(&self) -> MutexGuard<'_, Option<Step>> {
        self.step.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Stderr {
    fn default() -> Self {
        Self::new()
    }
}

impl Progress for Stderr {
    fn note(&self, line: &str) {
        match &*self.step() {
            Some(Step::Bar(bar)) => bar.suspend(|| say(line)),
            _ => say(line),
        }
    }

    fn begin(&self, label: &str, unit: Unit, total: Option<u64>, already: u64) {
        let step = if self.terminal {
            Step::Bar(bar(label, unit, total, already))
        } else {
            say(label);
            Step::Lines { label: label.to_owned(), unit, total, said_at: Instant::now() }
        };
        if let Some(Step::Bar(old)) = self.step().replace(step) {
            old.finish_and_clear();
        }
    }

    fn reached(&self, now: u64) {
        match &mut *self.step() {
            Some(Step::Bar(bar)) => bar.set_position(now),
            Some(Step::Lines { label, unit, total, said_at }) if said_at.elapsed() >= LINE_EVERY => {
                *said_at = Instant::now();
                match total {
                    Some(total) => say(&format!("{label}: {} of {}", unit.show(now), unit.show(*total))),
                    None => say(&format!("{label}: {}", unit.show(now))),
                }
            }
            _ => {}
        }
    }

    fn relabel(&self, new: &str) {
        match &mut *self.step() {
            Some(Step::Bar(bar)) => bar.set_message(new.to_owned()),
            Some(Step::Lines { label, .. }) => new.clone_into(label),
            None => {}
        }
    }

    fn end(&self) {
        if let Some(Step::Bar(bar)) = self.step().take() {
            bar.finish_and_clear();
        }
    }
}

/// A line on standard error; one that nobody can read is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr(), "{line}");
}

fn bar(label: &str, unit: Unit, total: Option<u64>, already: u64) -> ProgressBar {
    let template = match (unit, total) {
        (Unit::Bytes, Some(_)) => "{msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        (Unit::Bytes, None) => "{spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec}",
        (Unit::Items, Some(_)) => "{msg} {wide_bar} {pos}/{len}",
        (Unit::Items, None) => "{spinner} {msg} {pos}",
    };
    let bar = match total {
        Some(total) => ProgressBar::new(total),
        None => ProgressBar::no_length(),
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(label.to_owned());
    bar.set_position(already);
    bar.reset_eta();
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}

/// `count` bytes for people: powers of ten, as file sizes are usually given (`98.4 MB`).
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if count < 1000 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1000.0;
    let mut unit = 0;
    while value >= 999.95 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_read_as_people_write_them() {
        assert_eq!(bytes(0), "0 B");
        assert_eq!(bytes(999), "999 B");
        assert_eq!(bytes(1000), "1.0 kB");
        assert_eq!(bytes(98_362_432), "98.4 MB");
        assert_eq!(bytes(999_960_000), "1.0 GB");
        assert_eq!(bytes(u64::MAX), "18446.7 PB");
    }
}
