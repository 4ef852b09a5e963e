//! Runs kernel cases on every adapter of this machine, with every set of switches it has, against the scalar twins.

#![allow(clippy::expect_used, clippy::panic, reason = "a harness reports failures by panicking")]

use std::{
    fmt::Write as _,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    thread,
};

use parhelion::{
    cpu::CpuExecutor,
    doctor::{Case, Outcome, conformance::Listed},
    exec::{DeviceInfo, ExecError, Executor, Parallel, Switches},
    gpu::{Adapters, GpuExecutor, GpuOptions, Waiter},
};

use pollster::block_on;

use crate::skip;

/// The environment variable that names the adapters to test: those whose names contain it, whatever the case.
pub const ADAPTER: &str = "PARHELION_ADAPTER";

/// A device opened with one set of switches. There is one for each set and adapter in a test program.
pub struct Configuration {
    /// `llvmpipe: subgroups + f16`.
    pub name: String,
    /// What the device is and can do.
    pub device: DeviceInfo,
    /// Waits for the device.
    pub waiter: Waiter,
    gpu: Mutex<GpuExecutor>,
}

impl Configuration {
    /// The executor, for as long as nobody else uses it.
    pub fn gpu(&self) -> MutexGuard<'_, GpuExecutor> {
        self.gpu.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Every adapter with every set of switches: WebGPU's floor, subgroups, subgroups and f16. What an adapter cannot do is left
/// out with a notice.
pub fn configurations() -> &'static [Configuration] {
    static OPEN: OnceLock<Vec<Configuration>> = OnceLock::new();
    OPEN.get_or_init(|| {
        let adapters = block_on(Adapters::find());
        let wanted = std::env::var(ADAPTER).unwrap_or_default().to_lowercase();
        let names: Vec<_> = adapters.summaries().map(|summary| summary.name.clone()).collect();
        let chosen: Vec<_> = (0..names.len()).filter(|&index| names[index].to_lowercase().contains(&wanted)).collect();
        assert!(!chosen.is_empty(), "no adapter to test on: found {names:?}, {ADAPTER} is `{wanted}`; `cargo xtask test` installs one");
        chosen.into_iter().flat_map(|index| open_all(&adapters, index, &names[index])).collect()
    })
}

fn open_all(adapters: &Adapters, index: usize, name: &str) -> Vec<Configuration> {
    let with = |subgroups, f16| GpuOptions { switches: Some(Switches { subgroups, f16 }), ..GpuOptions::default() };
    // with every runtime check of the shaders, so that all kernels run both checked and as programs run them
    let floor = GpuOptions { floor: true, checked: true, ..GpuOptions::default() };
    let sets = [("floor limits", floor), ("subgroups", with(true, false)), ("subgroups + f16", with(true, true))];
    let mut open = Vec::new();
    for (set, options) in sets {
        match block_on(GpuExecutor::open(adapters, index, &options)) {
            Ok(gpu) => open.push(Configuration {
                name: format!("{name}: {set}"),
                device: gpu.device().clone(),
                waiter: gpu.waiter(),
                gpu: Mutex::new(gpu),
            }),
            Err(error @ ExecError::MissingFeature { .. }) => skip(format!("{set}: {error}")),
            Err(error) => panic!("{name}: {set}: {error}"),
        }
    }
    open
}

/// Runs the cases that `cases` gives for each device on that device and on the twins, and compares.
///
/// # Panics
/// If an element is past its bound or an executor reports an error, with the worst of each failing case; or if a
/// configuration has no case.
pub fn check<C: IntoIterator<Item = Case>>(cases: impl Fn(&DeviceInfo) -> C) {
    let mut twins = CpuExecutor::new(Box::new(Threads));
    let twin_device = twins.device().clone();
    let mut failures = Vec::new();
    for configuration in configurations() {
        let mut ran = 0;
        for case in cases(&configuration.device).into_iter().filter(|case| case.runs_on(&configuration.device)) {
            ran += 1;
            let expected = block_on(case.run(&mut twins, &twin_device));
            let got = expected.and_then(|expected| Ok((run_on(configuration, &case)?, expected)));
            if let Err(failure) = judge(&case, got) {
                failures.push(format!("{}: {failure}", configuration.name));
            }
        }
        assert!(ran > 0, "{}: none of the cases runs here", configuration.name);
    }
    assert!(failures.is_empty(), "{}", summary(&failures));
}

/// [`check`] for conformance cases, each of which is made when its turn comes.
///
/// # Panics
/// As [`check`].
pub fn check_listed(cases: impl Fn(&DeviceInfo) -> Vec<Listed>) {
    check(|device| {
        let switches = device.switches;
        let listed = cases(device).into_iter().filter(move |listed| switches.allow(listed.kernel.needs));
        listed.map(|listed| listed.case())
    });
}

fn run_on(configuration: &Configuration, case: &Case) -> Result<Outcome, ExecError> {
    let mut gpu = configuration.gpu();
    configuration.waiter.block_on(case.run(&mut *gpu, &configuration.device))
}

fn judge(case: &Case, outcomes: Result<(Outcome, Outcome), ExecError>) -> Result<(), String> {
    let what = format!("{}, {}", case.call.kernel.variant, case.label);
    let (got, expected) = outcomes.map_err(|error| format!("{what}: {error}"))?;
    let worst = case.compare(&expected, &got);
    if worst.ok() { Ok(()) } else { Err(format!("{what}: {worst} ({})", case.reason)) }
}

fn summary(failures: &[String]) -> String {
    const SHOWN: usize = 20;
    let mut text = format!("{} cases failed", failures.len());
    for failure in failures.iter().take(SHOWN) {
        let _ = write!(text, "\n  {failure}");
    }
    text
}

/// Every thread of the machine, for the twins of large cases.
#[derive(Debug, Clone, Copy)]
pub struct Threads;

impl Parallel for Threads {
    fn threads(&self) -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        let threads = self.threads().min(count).max(1);
        if threads == 1 {
            return (0..count).for_each(body);
        }
        thread::scope(|scope| {
            for first in 0..threads {
                scope.spawn(move || (first..count).step_by(threads).for_each(body));
            }
        });
    }
}
