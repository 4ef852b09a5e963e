//! Time and memory.

use std::fs;
use std::time::{Duration, Instant};

use crate::counting;

/// The longest that any input may take.
const LONGEST: Duration = Duration::from_secs(1);
/// Runs of an input that took longer.
const RUNS: usize = 3;

/// What `work` returns.
///
/// # Panics
/// Where `work` has more than `memory` bytes of heap in use at once, or takes more than a second.
pub(crate) fn within<T>(memory: usize, work: impl Fn() -> T) -> T {
    let began = Instant::now();
    let (result, peak) = counting::peak_of(&work);
    assert!(peak <= memory, "{peak} bytes of heap, where {memory} are allowed");
    // A busy machine may have kept us waiting: only time on the processor counts, and where the system does not tell it,
    // the shortest of several runs.
    if began.elapsed() > LONGEST {
        let took = (0..RUNS).map(|_| time_of(&work)).min().unwrap_or_default();
        assert!(took <= LONGEST, "{took:?}, where {LONGEST:?} are allowed");
    }
    result
}

/// How long `work` takes on the processor, or by the clock where the system does not tell.
fn time_of<T>(work: impl Fn() -> T) -> Duration {
    let (before, began) = (processor_time(), Instant::now());
    work();
    match (before, processor_time()) {
        (Some(before), Some(after)) => after.saturating_sub(before),
        _ => began.elapsed(),
    }
}

/// How long this thread has run, where the system tells (Linux).
fn processor_time() -> Option<Duration> {
    let text = fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split(' ').next()?.parse().ok().map(Duration::from_nanos)
}
