//! The GPU executor itself: order, errors, accounts. Kernels have tests of their own.

#![allow(clippy::expect_used, clippy::panic, reason = "tests report failures by panicking")]

use parhelion::{
    exec::{ExecError, Executor, PreparedId, Switches},
    gpu::{AdapterKind, Adapters, GpuExecutor, GpuOptions, Waiter},
    recording::{BufferDesc, BufferId, BufferSlice, BufferUse, Recording, Step},
};
use parhelion_shaders::{Access, BindingInfo, Call, ConstantInfo, Kernel, Needs};
use pollster::block_on;

const WGSL: &str = "
struct Params { count: u32, factor: f32 }
@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<f32>;
@group(0) @binding(2) var<storage, read_write> y: array<f32>;
override WG: u32 = 64;
@compute @workgroup_size(WG) fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if id.x < params.count { y[id.x] += params.factor * x[id.x]; }
}";

/// `y += factor * x`.
static AXPY: Kernel = Kernel {
    name: "axpy",
    variant: "axpy",
    axes: &[],
    wgsl_native: WGSL,
    wgsl_web: WGSL,
    bindings: &[
        BindingInfo { name: "params", slot: 0, access: Access::Uniform, element: "Params" },
        BindingInfo { name: "x", slot: 1, access: Access::Read, element: "f32" },
        BindingInfo { name: "y", slot: 2, access: Access::ReadWrite, element: "f32" },
    ],
    constants: &[ConstantInfo { name: "WG", default: 64.0 }],
    needs: Needs { subgroups: false, f16: false },
    params_size: 8,
};

/// A kernel that only devices with 16-bit floats run.
static NEEDS_F16: Kernel = Kernel { variant: "axpy_f16", needs: Needs { subgroups: false, f16: true }, ..AXPY };

/// A kernel that no device takes.
static BROKEN: Kernel = Kernel { variant: "broken", wgsl_native: "fn main(", wgsl_web: "fn main(", ..AXPY };

const COUNT: usize = 1000;
const SIZE: u64 = 4 * COUNT as u64;

struct Device {
    gpu: GpuExecutor,
    waiter: Waiter,
}

fn open(options: &GpuOptions) -> Device {
    let adapters = block_on(Adapters::find());
    let name = std::env::var(parhelion_tests::harness::ADAPTER).ok();
    let index = adapters.choose(name.as_deref()).expect("an adapter");
    let gpu = block_on(GpuExecutor::open(&adapters, index, options)).expect("a device");
    Device { waiter: gpu.waiter(), gpu }
}

fn floor() -> Device {
    open(&GpuOptions { floor: true, ..GpuOptions::default() })
}

impl Device {
    fn allocate(&mut self, sizes: &[u64]) -> Result<Vec<BufferId>, ExecError> {
        let descs: Vec<_> = sizes.iter().map(|&size| desc(size)).collect();
        self.waiter.block_on(self.gpu.allocate(&descs))
    }

    /// `x` of ones and `y` of zeros.
    fn vectors(&mut self) -> (BufferId, BufferId) {
        let ids = self.allocate(&[SIZE, SIZE]).expect("two small buffers");
        self.gpu.write(ids[0], 0, bytemuck::cast_slice(&[1f32; COUNT])).expect("a write");
        (ids[0], ids[1])
    }

    fn prepare(&mut self, calls: Vec<Call<BufferSlice>>) -> Result<PreparedId, ExecError> {
        let steps = calls.into_iter().map(|call| Step { label: "layer 3: add".into(), call, work: 0 }).collect();
        self.waiter.block_on(self.gpu.prepare(&Recording { steps }))
    }

    fn read(&mut self, buffer: BufferId) -> Result<Vec<f32>, ExecError> {
        let read = self.gpu.read(BufferSlice::whole(buffer, SIZE));
        self.waiter.block_on(read).map(|bytes| bytemuck::pod_collect_to_vec(&bytes))
    }
}

fn desc(size: u64) -> BufferDesc {
    BufferDesc { label: "blk.0.attn_q.weight".into(), size, usage: BufferUse::Weights }
}

fn axpy(x: BufferId, y: BufferId, factor: f32) -> Call<BufferSlice> {
    Call {
        kernel: &AXPY,
        constants: vec![],
        params: [(COUNT as u32).to_le_bytes(), factor.to_le_bytes()].concat(),
        bindings: vec![(1, BufferSlice::whole(x, SIZE)), (2, BufferSlice::whole(y, SIZE))],
        grid: [16, 1, 1],
    }
}

#[test]
fn dispatches_see_what_those_before_them_wrote() {
    let mut device = floor();
    let (x, y) = device.vectors();
    let third = device.allocate(&[SIZE]).expect("a buffer")[0];
    // y = 2, third = 3 * 2, y = 2 + 10 * 6
    let prepared = device.prepare(vec![axpy(x, y, 2.0), axpy(y, third, 3.0), axpy(third, y, 10.0)]).expect("a valid recording");
    device.gpu.submit(prepared).expect("a submission");
    assert_eq!(device.read(y).expect("a read"), vec![62.0; COUNT]);
    assert_eq!(device.read(third).expect("a read"), vec![6.0; COUNT]);
}

#[test]
fn several_submissions_are_in_flight_and_each_read_sees_its_own() {
    let mut device = open(&GpuOptions::default());
    let (x, y) = device.vectors();
    let prepared = device.prepare(vec![axpy(x, y, 1.0)]).expect("a valid recording");
    let mut reads = Vec::new();
    for _ in 0..8 {
        device.gpu.submit(prepared).expect("a submission");
        reads.push(device.gpu.read(BufferSlice { buffer: y, offset: SIZE - 8, size: 8 }));
    }
    for (step, read) in reads.into_iter().enumerate() {
        let bytes = device.waiter.block_on(read).expect("a read");
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes), [step as f32 + 1.0; 2]);
    }
    assert!(!device.waiter.wait().expect("a healthy device"), "a read is still under way");
}

#[test]
fn writes_and_reads_keep_their_order() {
    let mut device = floor();
    let (x, y) = device.vectors();
    let prepared = device.prepare(vec![axpy(x, y, 1.0)]).expect("a valid recording");
    let mut reads = Vec::new();
    for value in 0..5u8 {
        device.gpu.write(y, 0, bytemuck::cast_slice(&[f32::from(value) * 100.0; COUNT])).expect("a write");
        device.gpu.submit(prepared).expect("a submission");
        reads.push((value, device.gpu.read(BufferSlice::whole(y, SIZE))));
    }
    // The last answer first: the order of waiting is not that of reading.
    for (value, read) in reads.into_iter().rev() {
        let bytes = device.waiter.block_on(read).expect("a read");
        assert_eq!(bytemuck::pod_collect_to_vec::<u8, f32>(&bytes), vec![f32::from(value) * 100.0 + 1.0; COUNT]);
    }
}

#[test]
fn a_read_that_nobody_waits_for_does_no_harm() {
    let mut device = floor();
    let (x, y) = device.vectors();
    drop(device.gpu.read(BufferSlice::whole(x, SIZE)));
    drop(device.gpu.read(BufferSlice::whole(y, SIZE)));
    assert_eq!(device.read(x).expect("a read"), vec![1.0; COUNT]);
    assert!(!device.waiter.wait().expect("a healthy device"), "a read is still under way");
}

#[test]
fn writes_of_many_pieces_arrive_whole() {
    let mut device = floor();
    let words: Vec<u32> = (0..(40 << 20) / 4).collect();
    let buffer = device.allocate(&[4 * words.len() as u64]).expect("40 MiB")[0];
    for _ in 0..2 {
        device.gpu.write(buffer, 0, bytemuck::cast_slice(&words)).expect("a write");
    }
    for at in [0, 16 << 20, (32 << 20) - 8, (40 << 20) - 16] {
        let read = device.gpu.read(BufferSlice { buffer, offset: at, size: 16 });
        let got: Vec<u32> = bytemuck::pod_collect_to_vec(&device.waiter.block_on(read).expect("a read"));
        let first = (at / 4) as u32;
        assert_eq!(got, [first, first + 1, first + 2, first + 3]);
    }
}

#[test]
fn ranges_outside_a_buffer_are_refused() {
    let mut device = floor();
    let (x, _) = device.vectors();
    for (offset, len) in [(0, 3), (2, 4), (SIZE, 4), (u64::MAX - 3, 4)] {
        let write = device.gpu.write(x, offset, &vec![0; len as usize]);
        assert!(matches!(write, Err(ExecError::OutOfRange { .. })), "{offset}+{len}: {write:?}");
        let read = device.gpu.read(BufferSlice { buffer: x, offset, size: len });
        let read = device.waiter.block_on(read);
        assert!(matches!(read, Err(ExecError::OutOfRange { .. })), "{offset}+{len}: {read:?}");
    }
    let unknown = device.gpu.write(BufferId(77), 0, &[0; 4]);
    assert!(matches!(unknown, Err(ExecError::Unknown { what: "buffer", id: 77 })), "{unknown:?}");
}

#[test]
fn calls_that_do_not_fit_are_refused_with_the_reason() {
    let mut device = floor();
    let (x, y) = device.vectors();
    let mut refused = |change: &dyn Fn(&mut Call<BufferSlice>), reason: &str| {
        let mut call = axpy(x, y, 1.0);
        change(&mut call);
        let error = device.prepare(vec![call]).expect_err(reason);
        assert!(matches!(error, ExecError::InvalidCall { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains("layer 3: add: axpy: ") && text.contains(reason), "{text}");
    };
    refused(&|call| call.params.truncate(4), "4 bytes of parameters");
    refused(&|call| call.grid[1] = 0, "grid");
    refused(&|call| call.grid[0] = 65_536, "grid");
    refused(&|call| call.constants.push(("LANES", 4.0)), "no override `LANES`");
    refused(&|call| call.bindings.truncate(1), "1 bindings");
    refused(&|call| call.bindings[1].0 = 1, "nothing bound to `y`");
    refused(&|call| call.bindings[1].1.buffer = x, "shares its buffer");
    refused(&|call| call.bindings[1].1.buffer = BufferId(99), "does not exist");
    refused(&|call| call.bindings[0].1.offset = 128, "bytes 128+4000");
    refused(&|call| call.bindings[0].1.size = SIZE + 4, "bytes 0+4004");
    refused(&|call| call.bindings[0].1.size = 0, "bytes 0+0");
}

#[test]
fn what_is_over_the_limits_is_refused_before_the_driver_sees_it() {
    let mut device = floor();
    let limits = device.gpu.device().limits;
    assert_eq!(limits, parhelion::exec::DeviceLimits::FLOOR);
    let error = device.allocate(&[64, limits.max_buffer + 4]).expect_err("over the limit");
    assert!(matches!(error, ExecError::OverLimit { size, limit, .. } if size == limit + 4), "{error:?}");
    assert!(error.to_string().contains("blk.0.attn_q.weight"), "{error}");
    assert_eq!(device.gpu.memory().total(), 0, "the small buffer was not given back");

    let (x, _) = device.vectors();
    let large = device.allocate(&[limits.max_binding + 256]).expect("a buffer larger than a binding")[0];
    let mut call = axpy(large, x, 1.0);
    call.bindings[0].1.size = limits.max_binding + 256;
    let error = device.prepare(vec![call]).expect_err("a binding over the limit");
    assert!(matches!(&error, ExecError::InvalidCall { reason, .. } if reason.contains("split the tensor")), "{error:?}");

    let mut call = axpy(large, x, 1.0);
    call.constants.push(("WG", f64::from(limits.max_invocations) + 1.0));
    let error = device.prepare(vec![call]).expect_err("a workgroup over the limit");
    assert!(matches!(&error, ExecError::InvalidCall { reason, .. } if reason.contains("257 invocations")), "{error:?}");
}

#[test]
fn a_kernel_that_the_device_refuses_is_named() {
    let mut device = floor();
    let (x, y) = device.vectors();
    let call = Call { kernel: &BROKEN, ..axpy(x, y, 1.0) };
    let error = device.prepare(vec![call]).expect_err("a kernel that does not compile");
    assert!(matches!(error, ExecError::Pipeline { kernel: "broken", .. }), "{error:?}");
    let call = Call { kernel: &NEEDS_F16, ..axpy(x, y, 1.0) };
    let error = device.prepare(vec![call]).expect_err("a feature that is switched off");
    assert!(matches!(error, ExecError::MissingFeature { .. }), "{error:?}");
    // The device goes on.
    let prepared = device.prepare(vec![axpy(x, y, 4.0)]).expect("a valid recording");
    device.gpu.submit(prepared).expect("a submission");
    assert_eq!(device.read(y).expect("a read"), vec![4.0; COUNT]);
}

#[test]
fn the_floor_has_no_switches() {
    let adapters = block_on(Adapters::find());
    let options = GpuOptions { floor: true, switches: Some(Switches { subgroups: true, f16: false }), ..GpuOptions::default() };
    let error = block_on(GpuExecutor::open(&adapters, 0, &options)).expect_err("subgroups at the floor");
    assert!(matches!(error, ExecError::MissingFeature { feature: "subgroup operations", .. }), "{error:?}");
    assert_eq!(floor().gpu.device().switches, Switches::default());
    let error = adapters.choose(Some("no such card")).expect_err("no such adapter");
    assert!(error.to_string().contains("no such card"), "{error}");
}

#[test]
fn memory_is_accounted_for_and_its_limit_kept() {
    let mut device = open(&GpuOptions { memory_limit: Some(1 << 20), ..GpuOptions::default() });
    let first = device.allocate(&[600 << 10]).expect("600 KiB of 1 MiB");
    let error = device.allocate(&[300 << 10, 300 << 10]).expect_err("1.2 MiB of 1 MiB");
    assert!(matches!(error, ExecError::OutOfMemory { allocated, .. } if allocated == 600 << 10), "{error:?}");
    assert_eq!(device.gpu.memory().now, [(BufferUse::Weights, 600 << 10)]);
    device.gpu.release(&first);
    device.allocate(&[300 << 10, 300 << 10]).expect("memory that was given back");
    let memory = device.gpu.memory();
    assert_eq!((memory.total(), memory.peak), (600 << 10, 600 << 10));
}

#[test]
fn recordings_go_with_their_buffers() {
    let mut device = floor();
    let (x, y) = device.vectors();
    let prepared = device.prepare(vec![axpy(x, y, 1.0)]).expect("a valid recording");
    device.gpu.submit(prepared).expect("a submission");
    device.gpu.release(&[x]);
    let error = device.gpu.submit(prepared).expect_err("a recording whose buffer is gone");
    assert!(matches!(error, ExecError::Unknown { what: "recording", .. }), "{error:?}");
    assert_eq!(device.read(y).expect("a read"), vec![1.0; COUNT]);
    assert!(matches!(device.read(x), Err(ExecError::Unknown { what: "buffer", .. })));
}

#[test]
fn a_lost_device_is_an_error_everywhere() {
    let mut device = floor();
    let (x, y) = device.vectors();
    let prepared = device.prepare(vec![axpy(x, y, 1.0)]).expect("a valid recording");
    device.gpu.submit(prepared).expect("a submission");
    let under_way = device.gpu.read(BufferSlice::whole(y, SIZE));
    device.gpu.handle().destroy();
    let lost = |what: &str, error: Option<ExecError>| {
        assert!(matches!(error, Some(ExecError::DeviceLost { .. })), "{what}: {error:?}");
    };
    lost("read under way", device.waiter.block_on(under_way).err());
    lost("read", device.read(y).err());
    lost("write", device.gpu.write(x, 0, &[0; 4]).err());
    lost("submit", device.gpu.submit(prepared).err());
    lost("allocate", device.allocate(&[64]).err());
    lost("prepare", device.prepare(vec![axpy(x, y, 1.0)]).err());
    let again = floor().vectors();
    assert_ne!(again.0, again.1, "a new device works");
}

#[test]
fn dispatches_are_timed() {
    let mut device = open(&GpuOptions { timestamps: true, ..GpuOptions::default() });
    let (x, y) = device.vectors();
    let prepared = device.prepare(vec![axpy(x, y, 1.0), axpy(x, y, 2.0)]).expect("a valid recording");
    let timed = device.gpu.profile(prepared);
    match device.waiter.block_on(timed) {
        Ok(times) => {
            assert_eq!(times.len(), 2);
            assert!(times.iter().all(|(label, nanoseconds)| label == "layer 3: add" && (0.0..1e9).contains(nanoseconds)), "{times:?}");
            assert!(times.iter().any(|(_, nanoseconds)| *nanoseconds > 0.0), "{times:?}");
            assert_eq!(device.read(y).expect("a read"), vec![3.0; COUNT]);
        }
        Err(error @ ExecError::MissingFeature { .. }) => parhelion_tests::skip(error),
        Err(error) => panic!("{error}"),
    }
    let mut untimed = floor();
    let (x, y) = untimed.vectors();
    let prepared = untimed.prepare(vec![axpy(x, y, 1.0)]).expect("a valid recording");
    let timed = untimed.gpu.profile(prepared);
    assert!(matches!(untimed.waiter.block_on(timed), Err(ExecError::MissingFeature { .. })));
}

/// Set in the process that runs out of memory.
const STARVED: &str = "PARHELION_TEST_STARVED";

/// A GPU runs out of its own memory; a software device out of its process's, which a process of its own makes small.
#[test]
#[cfg(unix)]
fn a_driver_without_memory_is_a_typed_error() {
    let mut device = open(&GpuOptions::default());
    let adapters = block_on(Adapters::find());
    let name = device.gpu.device().name.clone();
    let software = adapters.summaries().any(|summary| summary.name == name && summary.kind == AdapterKind::Software);
    if !software || std::env::var_os(STARVED).is_some() {
        let size = device.gpu.device().limits.max_buffer.min(1 << 30);
        let mut held = Vec::new();
        let error = (0..4096).find_map(|_| device.allocate(&[size]).map(|ids| held.extend(ids)).err()).expect("memory to end");
        assert!(matches!(error, ExecError::OutOfMemory { size: asked, .. } if asked == size), "{error:?}");
        assert_eq!(device.gpu.memory().total(), size * held.len() as u64);
        device.gpu.release(&held);
        device.vectors();
        return;
    }
    let test = std::env::current_exe().expect("this program");
    let script = "ulimit -v 6000000 && exec \"$0\" --exact a_driver_without_memory_is_a_typed_error --nocapture";
    let run = std::process::Command::new("sh").args(["-c", script]).arg(test).env(STARVED, "1").output().expect("a shell");
    assert!(run.status.success(), "{}{}", String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
}
