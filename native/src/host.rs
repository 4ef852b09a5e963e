//! What the engine leaves to a native program: the device, the threads, the clock, and waiting.

use std::time::{Duration, Instant};

use clap::ValueEnum;
use parhelion::cpu::CpuExecutor;
use parhelion::exec::{DeviceInfo, ExecError, Executor, Parallel, SharedClock, SharedParallel, Switches};
use parhelion::gpu::{AdapterKind, AdapterSummary, Adapters, GpuExecutor, GpuOptions, Waiter};
use parhelion::session::Clock;
use rayon::prelude::*;

/// Where to run a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum DeviceChoice {
    /// The best GPU; the CPU where there is none
    #[default]
    Auto,
    /// A GPU, even one that the CPU plays
    Gpu,
    /// The CPU
    Cpu,
}

/// Which abilities of a GPU to use: all of them unless told otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum SwitchChoice {
    /// Neither subgroups nor 16-bit floats, at WebGPU's floor limits
    Floor,
    /// Neither subgroups nor 16-bit floats
    None,
    /// Subgroups alone
    Subgroups,
    /// Subgroups and 16-bit floats
    F16,
}

/// Which device to open.
#[derive(Debug, Clone, Default)]
pub struct DeviceRequest {
    /// GPU or CPU.
    pub choice: DeviceChoice,
    /// Part of the GPU's name, letter case ignored.
    pub adapter: Option<String>,
    /// Which of its abilities to use; none for all.
    pub switches: Option<SwitchChoice>,
}

/// An open device and how its futures are waited for.
pub struct Device {
    /// Runs recordings.
    pub executor: Box<dyn Executor>,
    /// Runs futures.
    pub driver: Driver,
    /// Why the CPU was taken although nobody asked for it.
    pub fallback: Option<String>,
}

/// Runs futures to their end. The engine itself never waits.
#[derive(Clone)]
pub enum Driver {
    /// Waits for the GPU where a future cannot go on.
    Gpu(Waiter),
    /// Futures of the CPU executor are always ready.
    Cpu,
}

impl Driver {
    /// Runs a future to its end on this thread.
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        match self {
            Self::Gpu(waiter) => waiter.block_on(future),
            Self::Cpu => pollster::block_on(future),
        }
    }
}

impl Device {
    /// Opens the device that `request` asks for.
    ///
    /// # Errors
    /// Where a GPU was asked for and there is none such, or it lacks a switch that was asked for.
    pub fn open(request: &DeviceRequest) -> Result<Self, ExecError> {
        if request.choice == DeviceChoice::Cpu {
            return Ok(Self::cpu(None));
        }
        let adapters = pollster::block_on(Adapters::find());
        if request.choice == DeviceChoice::Auto && request.adapter.is_none() {
            return match preferred(adapters.summaries()) {
                Some(index) => Self::gpu(&adapters, index, request.switches),
                None => Ok(Self::cpu(Some("no GPU was found".to_owned()))),
            };
        }
        let index = adapters.choose(request.adapter.as_deref())?;
        Self::gpu(&adapters, index, request.switches)
    }

    /// Opens adapter number `index` of `adapters`.
    ///
    /// # Errors
    /// Where it cannot be opened or lacks a switch.
    pub fn gpu(adapters: &Adapters, index: usize, switches: Option<SwitchChoice>) -> Result<Self, ExecError> {
        let options = GpuOptions {
            switches: switches.map(SwitchChoice::switches),
            floor: switches == Some(SwitchChoice::Floor),
            clock: Some(SharedClock::new(Stopwatch::start())),
            parallel: SharedParallel::new(Threads),
            ..GpuOptions::default()
        };
        let gpu = pollster::block_on(GpuExecutor::open(adapters, index, &options))?;
        let driver = Driver::Gpu(gpu.waiter());
        Ok(Self { executor: Box::new(gpu), driver, fallback: None })
    }

    /// The CPU, with all its threads.
    pub fn cpu(fallback: Option<String>) -> Self {
        Self { executor: Box::new(CpuExecutor::new(Box::new(Threads))), driver: Driver::Cpu, fallback }
    }
}

/// The adapter that models run on unless told otherwise: the best that is a GPU. One that the CPU plays is slower than
/// the CPU itself.
pub fn preferred<'a>(mut adapters: impl Iterator<Item = &'a AdapterSummary>) -> Option<usize> {
    adapters.position(|adapter| adapter.kind != AdapterKind::Software)
}

impl SwitchChoice {
    fn switches(self) -> Switches {
        Switches { subgroups: matches!(self, Self::Subgroups | Self::F16), f16: self == Self::F16 }
    }
}

/// The name of a device in one line.
pub fn describe(device: &DeviceInfo) -> String {
    match device.backend.as_str() {
        "scalar" => device.name.clone(),
        backend => format!("{} ({backend})", device.name),
    }
}

/// The switches that are on, in words.
pub fn describe_switches(switches: Switches) -> &'static str {
    match (switches.subgroups, switches.f16) {
        (false, false) => "none",
        (true, false) => "subgroups",
        (false, true) => "f16",
        (true, true) => "subgroups, f16",
    }
}

/// Loops on the threads of a pool that lives as long as the program.
#[derive(Debug, Clone, Copy)]
pub struct Threads;

impl Parallel for Threads {
    fn threads(&self) -> usize {
        rayon::current_num_threads()
    }

    fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..count).into_par_iter().for_each(body);
    }
}

/// Time since it was made.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Self {
        Self(Instant::now())
    }
}

impl Clock for Stopwatch {
    fn now(&self) -> Duration {
        self.0.elapsed()
    }
}
