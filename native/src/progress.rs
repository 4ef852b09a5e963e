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
    Lines(Lines),
}

/// A step told in plain lines.
#[derive(Debug)]
struct Lines {
    label: String,
    unit: Unit,
    total: Option<u64>,
    /// The count at the start, and when that was.
    start: (u64, Instant),
    said_at: Instant,
}

impl Lines {
    /// How far the step is, how fast it goes, and how long it will take.
    fn line(&self, now: u64, elapsed: Duration) -> String {
        let reached = match self.total {
            Some(total) => format!("{}: {} of {}", self.label, self.unit.show(now), self.unit.show(total)),
            None => format!("{}: {}", self.label, self.unit.show(now)),
        };
        let rate = now.saturating_sub(self.start.0) as f64 / elapsed.as_secs_f64().max(0.001);
        if self.unit != Unit::Bytes || rate < 1.0 {
            return reached;
        }
        let left = self.total.map(|total| (total.saturating_sub(now) as f64 / rate).round() as u64);
        let left = left.map_or(String::new(), |seconds| format!(", {} left", duration(seconds)));
        format!("{reached}, {}/s{left}", bytes(rate as u64))
    }
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
            let now = Instant::now();
            Step::Lines(Lines { label: label.to_owned(), unit, total, start: (already, now), said_at: now })
        };
        if let Some(Step::Bar(old)) = self.step().replace(step) {
            old.finish_and_clear();
        }
    }

    fn reached(&self, now: u64) {
        match &mut *self.step() {
            Some(Step::Bar(bar)) => bar.set_position(now),
            Some(Step::Lines(lines)) if lines.said_at.elapsed() >= LINE_EVERY => {
                lines.said_at = Instant::now();
                say(&lines.line(now, lines.start.1.elapsed()));
            }
            _ => {}
        }
    }

    fn relabel(&self, new: &str) {
        match &mut *self.step() {
            Some(Step::Bar(bar)) => bar.set_message(new.to_owned()),
            Some(Step::Lines(lines)) => new.clone_into(&mut lines.label),
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
        // The label gives way where the terminal is narrow: a line that wraps cannot be taken back.
        (Unit::Bytes, Some(_)) => "{wide_msg} {bar:12} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}",
        (Unit::Bytes, None) => "{spinner} {wide_msg} {decimal_bytes} {decimal_bytes_per_sec}",
        (Unit::Items, Some(_)) => "{wide_msg} {bar:12} {pos}/{len}",
        (Unit::Items, None) => "{spinner} {wide_msg} {pos}",
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

/// `seconds` for people, to two units: `1 h 20 min`.
fn duration(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
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
    use super::*;

    #[test]
    fn plain_lines_tell_speed_and_time_left() {
        let line = |total, now, seconds| {
            let started = Instant::now();
            let lines = Lines { label: "x".to_owned(), unit: Unit::Bytes, total, start: (1_000_000, started), said_at: started };
            lines.line(now, Duration::from_secs(seconds))
        };
        assert_eq!(line(Some(101_000_000), 51_000_000, 10), "x: 51.0 MB of 101.0 MB, 5.0 MB/s, 10 s left");
        assert_eq!(line(Some(50_001_000_000), 2_000_000, 1), "x: 2.0 MB of 50.0 GB, 1.0 MB/s, 13 h 53 min left");
        assert_eq!(line(None, 3_000_000, 2), "x: 3.0 MB, 1.0 MB/s");
        assert_eq!(line(Some(2_000_000), 1_000_000, 5), "x: 1.0 MB of 2.0 MB", "nothing came yet");
        assert_eq!(duration(119), "1 min 59 s");
    }

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
