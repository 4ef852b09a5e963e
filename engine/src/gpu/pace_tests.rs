//! Cutting against devices that are made up: each takes a time of its own for a unit of each kernel's work.

use super::*;

/// A device and its clock. Submissions run one after another.
struct Machine {
    pace: Pace,
    /// Nanoseconds a unit of work, by kernel.
    speeds: Vec<(&'static str, f64)>,
    /// Nanoseconds that a submission takes by itself.
    overhead: f64,
    now: Duration,
}

impl Machine {
    fn new(speeds: &[(&'static str, f64)], overhead: f64) -> Self {
        Self { pace: Pace::default(), speeds: speeds.to_vec(), overhead, now: Duration::from_secs(5) }
    }

    /// Submits a recording as it is cut and gives how long each piece took.
    fn run(&mut self, recording: &[(&'static str, u64)]) -> Vec<Duration> {
        let dispatches: Vec<_> = recording.iter().map(|&(name, work)| (self.pace.slot(name), work)).collect();
        let mut total = Load::new();
        add(&mut total, &dispatches);
        let ends = self.pace.cut(&dispatches, &total);
        assert_eq!(ends.last(), Some(&recording.len()), "nothing is left out");
        let (submitted, mut first, mut took, mut done) = (self.now, 0, Vec::new(), Vec::new());
        for end in ends {
            assert!(end > first, "no piece is empty");
            let speed = |name: &str| self.speeds.iter().find(|(known, _)| *known == name).map_or(0.0, |(_, speed)| *speed);
            let sum: f64 = recording[first..end].iter().map(|(name, work)| speed(name) * *work as f64).sum();
            let time = Duration::from_nanos((sum + self.overhead) as u64);
            self.now += time;
            took.push(time);
            let mut load = Load::new();
            add(&mut load, &dispatches[first..end]);
            done.push(Done { load, submitted, done: self.now, late: false });
            first = end;
        }
        self.pace.learn(done);
        took
    }
}

/// A model's step: norms, products and attention, layer after layer, then the head.
fn step(rows: u64, layers: usize) -> Vec<(&'static str, u64)> {
    let layer = [("norm", rows), ("product", rows * 4_000_000), ("attention", rows * 300), ("product", rows * 8_000_000)];
    let mut step: Vec<_> = vec![("embed", rows)];
    (0..layers).for_each(|_| step.extend(layer));
    step.extend([("product", 28_000_000), ("sample", 1)]);
    step
}

const SLOW: [(&str, f64); 5] = [("norm", 9e3), ("product", 0.4), ("attention", 2e3), ("embed", 1e4), ("sample", 3e6)];

#[test]
fn a_slow_device_never_gets_long_pieces() {
    let mut machine = Machine::new(&SLOW, 3e5);
    for rows in [4, 16, 16, 9, 16, 1, 1] {
        let took = machine.run(&step(rows, 30));
        let longest = took.iter().max().copied().unwrap_or_default();
        assert!(longest < Duration::from_millis(100), "{rows} rows: {longest:?}");
        assert_eq!(machine.pace.longest().max(longest), machine.pace.longest());
    }
    let pieces = machine.run(&step(16, 30)).len();
    let sum = 16.0 * 30.0 * (9e3 + 12e6 * 0.4 + 300.0 * 2e3) / 64e6;
    assert!(pieces as f64 <= 2.0 * sum + 2.0, "{pieces} pieces where {sum:.0} full ones would do");
}

#[test]
fn a_fast_device_gets_one_piece_after_its_first_run() {
    let fast = SLOW.map(|(name, speed)| (name, speed / 20_000.0));
    let mut machine = Machine::new(&fast, 4e4);
    assert_eq!(machine.run(&step(1, 30)).len(), step(1, 30).len(), "kernels that were never measured stand alone");
    assert_eq!(machine.run(&step(1, 30)).len(), 1);
    assert_eq!(machine.run(&step(512, 30)).len(), 1, "another shape of the same kernels");
    assert!((0..100).all(|_| machine.run(&step(1, 30)).len() == 1));
}

#[test]
fn a_device_that_becomes_slower_is_followed() {
    let mut machine = Machine::new(&SLOW.map(|(name, speed)| (name, speed / 20.0)), 1e5);
    machine.run(&step(16, 30));
    let before = machine.run(&step(16, 30)).len();
    machine.speeds = SLOW.map(|(name, speed)| (name, speed / 2.0)).to_vec();
    machine.run(&step(16, 30));
    let took = machine.run(&step(16, 30));
    assert!(took.len() > before);
    assert!(took.iter().all(|took| *took < Duration::from_millis(100)), "{took:?}");
}

#[test]
fn times_that_are_seen_late_never_raise_the_rates_nor_count_as_the_longest() {
    let mut machine = Machine::new(&SLOW, 0.0);
    machine.run(&[("product", 10_000_000)]);
    machine.run(&[("product", 10_000_000)]);
    let slot = machine.pace.slot("product");
    let (expected, longest) = (machine.pace.expect((slot, 1_000_000)), machine.pace.longest());
    let begin = machine.now;
    let late = Done { load: vec![(slot, 10_000_000)], submitted: begin, done: begin + Duration::from_secs(60), late: true };
    machine.pace.learn([late]);
    assert_eq!((machine.pace.expect((slot, 1_000_000)), machine.pace.longest()), (expected, longest));
}

#[test]
fn clocks_that_stand_still_in_between_give_what_was_done_together() {
    let mut pace = Pace::default();
    let slot = pace.slot("product");
    let ms = Duration::from_millis;
    let at = |done| Done { load: vec![(slot, 1000)], submitted: ms(0), done, late: false };
    pace.learn([at(ms(40)), at(ms(40)), at(ms(40)), at(ms(40))]);
    let expected = pace.expect((slot, 1000)).map(|expected| expected.as_millis());
    assert!(matches!(expected, Some(8..=10)), "{expected:?}");
    assert_eq!(pace.longest(), ms(40));
}
