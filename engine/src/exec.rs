//! What runs recordings: the one interface that `gpu` and `cpu` both offer.

use std::{fmt, future::Future, pin::Pin, sync::Arc, time::Duration};

use parhelion_shaders::Needs;

use crate::{
    pieces::{self, Fill, Pieces},
    recording::{BufferDesc, BufferId, BufferSlice, BufferUse, Recording},
};

/// A future that need not be `Send`: WebGPU objects live on one thread.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Names a recording that an executor has made ready to run again and again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PreparedId(pub u32);

/// Runs recordings over buffers it owns. Nothing here waits: what takes time is a future.
pub trait Executor {
    /// What the device is and can do.
    fn device(&self) -> &DeviceInfo;

    /// Allocates zeroed buffers, all of them or none.
    ///
    /// # Errors
    /// [`ExecError::OverLimit`] before anything is allocated, [`ExecError::OutOfMemory`].
    fn allocate<'a>(&'a mut self, buffers: &'a [BufferDesc]) -> LocalFuture<'a, Result<Vec<BufferId>, ExecError>>;

    /// Gives buffers back. Recordings that name them must not be submitted any more.
    fn release(&mut self, buffers: &[BufferId]);

    /// Writes `bytes` (a multiple of 4) at `offset` (a multiple of 4) of a buffer, after all that was submitted so far and before what
    /// comes next.
    ///
    /// # Errors
    /// [`ExecError::OutOfRange`], [`ExecError::DeviceLost`].
    fn write(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<(), ExecError>;

    /// Writes ranges of buffers, all of as many pieces, from what `fill` computes for each piece: on several threads where the
    /// executor has them. In order with everything else as [`Executor::write`] is.
    ///
    /// # Errors
    /// As [`Executor::write`]; [`ExecError::Device`] where a piece got another number of bytes than it has.
    fn write_pieces(&mut self, targets: &[Pieces], fill: &Fill<'_>) -> Result<(), ExecError> {
        pieces::write_in_turn(self, targets, fill)
    }

    /// Checks a recording and makes it ready: pipelines, bind groups, parameters.
    ///
    /// # Errors
    /// [`ExecError::InvalidCall`], [`ExecError::Pipeline`], [`ExecError::OutOfMemory`].
    fn prepare<'a>(&'a mut self, recording: &'a Recording) -> LocalFuture<'a, Result<PreparedId, ExecError>>;

    /// Forgets a prepared recording.
    fn forget(&mut self, prepared: PreparedId);

    /// Starts a prepared recording after all that was submitted before it.
    ///
    /// # Errors
    /// [`ExecError::DeviceLost`], [`ExecError::Unknown`].
    fn submit(&mut self, prepared: PreparedId) -> Result<(), ExecError>;

    /// Reads a range as it stands after all that was submitted before this call. The future does not borrow the executor:
    /// several reads may be under way while more work is submitted.
    fn read(&mut self, slice: BufferSlice) -> LocalFuture<'static, Result<Vec<u8>, ExecError>>;

    /// Bytes allocated now and at the most, by use.
    fn memory(&self) -> MemoryReport;

    /// The longest that the device was busy with one submission, as far as its end was seen; none where that is not measured.
    fn longest_submit(&mut self) -> Option<Duration> {
        None
    }

    /// What the slowest dispatch of a recording is expected to take, from those measured so far.
    fn dispatch_time(&mut self, recording: &Recording) -> DispatchTime {
        let _ = recording;
        DispatchTime::Unlimited
    }
}

/// How long a dispatch may keep a device busy. Recordings are cut between dispatches, dispatches only by making them smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DispatchTime {
    /// It may take as long as it likes.
    Unlimited,
    /// It should not take long, and nothing is known of its kernel's speed on this device: small ones come first.
    Unknown,
    /// Known from others.
    Slowest {
        /// What it is expected to take.
        expected: Duration,
        /// What it should take at the most.
        wanted: Duration,
    },
}

/// Tells the time since some fixed moment. The host gives it: a browser and a native program have different ones.
pub trait Clock {
    /// Time since that moment.
    fn now(&self) -> Duration;
}

/// A clock that the device's callbacks read, on whatever thread they run.
#[derive(Clone)]
pub struct SharedClock(Arc<dyn Clock + Send + Sync>);

impl SharedClock {
    /// Shares a clock.
    pub fn new(clock: impl Clock + Send + Sync + 'static) -> Self {
        Self(Arc::new(clock))
    }

    /// Time since the clock's fixed moment.
    pub fn now(&self) -> Duration {
        self.0.now()
    }
}

impl fmt::Debug for SharedClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedClock").field(&self.now()).finish()
    }
}

/// What a device is, and which of its abilities are switched on.
#[derive(Debug, Clone)]
pub struct DeviceInfo {
    /// The adapter's name, or `CPU` with the number of threads.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12`, `WebGPU` or `scalar`.
    pub backend: String,
    /// Driver and version, as far as it is told.
    pub driver: String,
    /// Whether it is a CPU behind a GPU's interface: lavapipe, SwiftShader, WARP.
    pub software: bool,
    /// Which kernels may be chosen.
    pub switches: Switches,
    /// What buffers and dispatches may measure.
    pub limits: DeviceLimits,
    /// How many steps are worth having in flight: 1 where `submit` computes at once.
    pub steps_in_flight: usize,
}

/// Abilities of a device that kernels are chosen by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Switches {
    /// Subgroup operations.
    pub subgroups: bool,
    /// 16-bit floats in shaders.
    pub f16: bool,
}

impl Switches {
    /// Whether a kernel with these needs may be chosen.
    pub fn allow(self, needs: Needs) -> bool {
        (self.subgroups || !needs.subgroups) && (self.f16 || !needs.f16)
    }
}

/// Limits that the plan keeps to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceLimits {
    /// Bytes of the largest storage binding.
    pub max_binding: u64,
    /// Bytes of the largest buffer.
    pub max_buffer: u64,
    /// Invocations a workgroup.
    pub max_invocations: u32,
    /// Bytes of workgroup memory.
    pub max_workgroup_memory: u32,
    /// Smallest subgroup the device may run, 1 without subgroups.
    pub subgroup_min: u32,
    /// Largest subgroup the device may run, 1 without subgroups.
    pub subgroup_max: u32,
}

impl DeviceLimits {
    /// WebGPU's floor: what every device has.
    pub const FLOOR: Self = Self {
        max_binding: 128 << 20,
        max_buffer: 256 << 20,
        max_invocations: 256,
        max_workgroup_memory: 16 << 10,
        subgroup_min: 1,
        subgroup_max: 1,
    };
}

/// Bytes allocated, now and at the most, by use.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryReport {
    /// Bytes allocated now, by use.
    pub now: Vec<(BufferUse, u64)>,
    /// The most bytes that were ever allocated together.
    pub peak: u64,
}

impl MemoryReport {
    /// Bytes allocated now, of all uses.
    pub fn total(&self) -> u64 {
        self.now.iter().map(|(_, bytes)| bytes).sum()
    }
}

/// Threads that a host lends for a loop. The engine spawns none itself.
pub trait Parallel {
    /// How many loop bodies can run at once.
    fn threads(&self) -> usize;

    /// Runs `body(i)` for each `i` in `0..count`, in any order, perhaps at once, and returns when all are done.
    fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync));
}

/// Threads for an executor that may be moved between threads itself.
#[derive(Clone)]
pub struct SharedParallel(Arc<dyn Parallel + Send + Sync>);

impl SharedParallel {
    /// Shares threads.
    pub fn new(parallel: impl Parallel + Send + Sync + 'static) -> Self {
        Self(Arc::new(parallel))
    }
}

impl Default for SharedParallel {
    fn default() -> Self {
        Self::new(Serial)
    }
}

impl Parallel for SharedParallel {
    fn threads(&self) -> usize {
        self.0.threads()
    }

    fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        self.0.for_each(count, body);
    }
}

impl fmt::Debug for SharedParallel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SharedParallel").field(&self.threads()).finish()
    }
}

/// Runs loops on the calling thread: what a host without threads gives.
#[derive(Debug, Clone, Copy, Default)]
pub struct Serial;

impl Parallel for Serial {
    fn threads(&self) -> usize {
        1
    }

    fn for_each(&self, count: usize, body: &(dyn Fn(usize) + Sync)) {
        (0..count).for_each(body);
    }
}

/// What can go wrong on a device.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ExecError {
    /// There is no device to run on.
    #[error("no usable GPU: {reason}. Install a Vulkan, Metal or DirectX 12 driver, or run on the CPU")]
    NoDevice {
        /// What was looked for and found.
        reason: String,
    },
    /// A switch was asked for that the device lacks.
    #[error("{device} has no {feature}: choose lower switches")]
    MissingFeature {
        /// The device's name.
        device: String,
        /// The feature's name.
        feature: &'static str,
    },
    /// A buffer over the device's limit.
    #[error("`{label}` needs {size} bytes in one buffer and the device allows {limit}")]
    OverLimit {
        /// The buffer's label.
        label: String,
        /// Bytes asked for.
        size: u64,
        /// Bytes allowed.
        limit: u64,
    },
    /// The device has no memory left.
    #[error("out of device memory allocating {size} bytes for `{label}` with {allocated} allocated: use a smaller model or context")]
    OutOfMemory {
        /// What was being allocated.
        label: String,
        /// Bytes asked for.
        size: u64,
        /// Bytes that were allocated by then.
        allocated: u64,
    },
    /// The device went away.
    #[error("the GPU was lost: {reason}. Load the model again to go on")]
    DeviceLost {
        /// What the driver said.
        reason: String,
    },
    /// A recording that does not fit its kernels or buffers.
    #[error("{step}: {kernel}: {reason}")]
    InvalidCall {
        /// The step's label.
        step: String,
        /// The kernel's variant.
        kernel: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// The device refused a kernel.
    #[error("{kernel} was refused by the device: {reason}")]
    Pipeline {
        /// The kernel's variant.
        kernel: &'static str,
        /// What the device said.
        reason: String,
    },
    /// A read or write past a buffer's end, or not aligned to 4 bytes.
    #[error("bytes {offset}+{len} are not a 4-byte aligned range of `{label}` of {size} bytes")]
    OutOfRange {
        /// The buffer's label.
        label: String,
        /// First byte.
        offset: u64,
        /// Bytes.
        len: u64,
        /// The buffer's size.
        size: u64,
    },
    /// The device computes something else than it should.
    #[error(
        "{device} computes wrongly ({kernel}: {detail}): update its driver or the browser, {}",
        if needs.subgroups || needs.f16 { "switch off what the kernel needs of it, or run on the CPU" } else { "or run on the CPU" }
    )]
    WrongResults {
        /// The device's name.
        device: String,
        /// The kernel's variant.
        kernel: &'static str,
        /// Switches that the kernel needs: without them it is not used.
        needs: Needs,
        /// What came out, and what should have.
        detail: String,
    },
    /// A buffer or prepared recording that does not exist.
    #[error("{what} {id} does not exist")]
    Unknown {
        /// `buffer` or `recording`.
        what: &'static str,
        /// Its number.
        id: u32,
    },
    /// Anything else that the device reported.
    #[error("the device reported: {reason}")]
    Device {
        /// What it said.
        reason: String,
    },
}
