//! How long kernels take on this device, learnt from what was submitted, and where recordings are cut by it: a submission that
//! runs for long freezes the screen, and at a second or two drivers take the device away.

use std::{collections::HashMap, time::Duration};

/// A kernel variant by its place in the table of rates.
pub(super) type Slot = usize;

/// Kernels and how much each has to do: see [`crate::recording::Step::work`].
pub(super) type Load = Vec<(Slot, u64)>;

/// What a submission is expected to take at the most. The estimate may be four times off before anyone notices.
pub(super) const TARGET: Duration = Duration::from_millis(64);

/// The most that is taken for the cost of a submission by itself, whatever is in it.
const MOST_OVERHEAD: f64 = 1e6;
/// The least a kernel is said to take for a unit of work, in nanoseconds, so that corrections by a factor find a way back up.
const LEAST_RATE: f64 = 1e-6;
/// Submissions whose ends were seen within this time of each other are measured together: clocks of browsers are coarse, and
/// answers come in batches.
const TOGETHER: Duration = Duration::from_micros(250);
/// The largest factor by which one measurement corrects the rates, and the inverse of the smallest.
const LARGEST_CORRECTION: f64 = 16.0;

/// A submission that was done.
#[derive(Debug, Clone)]
pub(super) struct Done {
    pub(super) load: Load,
    pub(super) submitted: Duration,
    pub(super) done: Duration,
    /// It was done before somebody looked: `done` is when they looked.
    pub(super) late: bool,
}

/// Submissions that are measured as one.
#[derive(Debug)]
struct Group {
    load: Load,
    pieces: u32,
    begin: Duration,
    end: Duration,
    late: bool,
}

/// What is known of the device's speed.
#[derive(Debug, Default)]
pub(super) struct Pace {
    slots: HashMap<&'static str, Slot>,
    /// Nanoseconds a unit of work by slot; none until measured.
    rates: Vec<Option<f64>>,
    /// Nanoseconds of the cheapest submission.
    overhead: Option<f64>,
    /// When the last submission was done.
    previous: Duration,
    longest: Duration,
}

impl Pace {
    /// The slot of a kernel variant.
    pub(super) fn slot(&mut self, variant: &'static str) -> Slot {
        let rates = &mut self.rates;
        *self.slots.entry(variant).or_insert_with(|| {
            rates.push(None);
            rates.len() - 1
        })
    }

    /// The longest that a submission took.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// What a dispatch is expected to take; none for a kernel that was never measured.
    pub(super) fn expect(&self, (slot, work): (Slot, u64)) -> Option<Duration> {
        self.nanoseconds(slot, work).map(|ns| Duration::from_nanos(ns as u64))
    }

    fn nanoseconds(&self, slot: Slot, work: u64) -> Option<f64> {
        self.rates.get(slot).copied().flatten().map(|rate| rate * work as f64)
    }

    /// Where to cut dispatches, given one by one and in `total`: the end of each piece. A piece is expected to take
    /// [`TARGET`] at the most unless it is one dispatch; dispatches of kernels that were never measured stand alone.
    pub(super) fn cut(&self, dispatches: &[(Slot, u64)], total: &Load) -> Vec<usize> {
        let target = TARGET.as_nanos() as f64;
        let cost = |(slot, work): &(Slot, u64)| if *work == 0 { 0.0 } else { self.nanoseconds(*slot, *work).unwrap_or(target) };
        if total.iter().map(cost).sum::<f64>() <= target && total.iter().all(|(slot, work)| self.nanoseconds(*slot, *work).is_some()) {
            return vec![dispatches.len()];
        }
        let (mut ends, mut sum) = (Vec::new(), 0.0);
        for (i, dispatch) in dispatches.iter().enumerate() {
            let cost = cost(dispatch);
            if i > 0 && sum + cost > target {
                ends.push(i);
                sum = 0.0;
            }
            sum += cost;
        }
        ends.push(dispatches.len());
        ends
    }

    /// Learns from submissions that were done, in their order.
    pub(super) fn learn(&mut self, all: impl IntoIterator<Item = Done>) {
        let mut group: Option<Group> = None;
        for done in all {
            let begin = done.submitted.max(self.previous);
            self.previous = done.done.max(self.previous);
            if !done.late {
                self.longest = self.longest.max(done.done.saturating_sub(begin));
            }
            // After a late one, this one's beginning is not known, but the end of both is.
            let joins = |group: &&mut Group| done.done.saturating_sub(group.end) < TOGETHER || group.late && done.submitted < group.end;
            match group.as_mut().filter(joins) {
                Some(group) => {
                    add(&mut group.load, &done.load);
                    (group.pieces, group.end, group.late) = (group.pieces + 1, done.done, done.late);
                }
                None => {
                    let next = Group { load: done.load, pieces: 1, begin, end: done.done, late: done.late };
                    group.replace(next).iter().for_each(|group| self.observe(group));
                }
            }
        }
        group.iter().for_each(|group| self.observe(group));
    }

    fn observe(&mut self, group: &Group) {
        if group.load.is_empty() {
            return;
        }
        let took = group.end.saturating_sub(group.begin).as_nanos() as f64;
        let pieces = f64::from(group.pieces);
        let overhead = self.overhead.unwrap_or(MOST_OVERHEAD).min(took / pieces);
        self.overhead = Some(overhead);
        let took = took - overhead * pieces;
        let known = |(slot, work): &(Slot, u64)| self.nanoseconds(*slot, *work);
        let expected: f64 = group.load.iter().filter_map(known).sum();
        let unknown: Load = group.load.iter().filter(|load| known(load).is_none()).copied().collect();
        if unknown.is_empty() {
            self.correct(&group.load, expected, took, group.late);
        }
        // What kernels seen for the first time take is shared out evenly among them.
        let share = (took - expected).max(0.0) / unknown.len().max(1) as f64;
        for (slot, work) in unknown {
            self.rates[slot] = Some((share / work.max(1) as f64).max(LEAST_RATE));
        }
    }

    /// Moves the rates of the kernels in `load` so that they explain what it took, each by its part in what was expected.
    fn correct(&mut self, load: &Load, expected: f64, took: f64, late: bool) {
        let ratio = (took / expected.max(1.0)).clamp(1.0 / LARGEST_CORRECTION, LARGEST_CORRECTION);
        if late && ratio > 1.0 {
            return; // it took that long at the most
        }
        for &(slot, work) in load {
            if let Some(rate) = self.rates[slot] {
                let part = rate * work as f64 / expected.max(1.0);
                self.rates[slot] = Some((rate * (1.0 + part * (ratio - 1.0))).max(LEAST_RATE));
            }
        }
    }
}

/// Adds up work by kernel, where it is known how much it is.
pub(super) fn add(sum: &mut Load, load: &[(Slot, u64)]) {
    for &(slot, work) in load.iter().filter(|(_, work)| *work > 0) {
        match sum.iter_mut().find(|(known, _)| *known == slot) {
            Some((_, sum)) => *sum = sum.saturating_add(work),
            None => sum.push((slot, work)),
        }
    }
}

#[cfg(test)]
#[path = "pace_tests.rs"]
mod tests;
