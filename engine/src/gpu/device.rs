//! An open device: what was asked of it, what went wrong with it, and error scopes around what may fail.

use std::sync::{Arc, Mutex, PoisonError};

use super::adapter::{AdapterKind, Adapters, Found, device_limits};
use crate::exec::{DeviceInfo, ExecError, LocalFuture, SharedClock, SharedParallel, Switches};

/// How to open a device.
#[derive(Debug, Clone, Default)]
pub struct GpuOptions {
    /// Switches to turn on; none turns on all that the adapter has.
    pub switches: Option<Switches>,
    /// WebGPU's floor: default limits and no features, so that what runs here runs on every device.
    pub floor: bool,
    /// Leaves every runtime check of the shaders on, and zeroes workgroup memory.
    pub checked: bool,
    /// Times dispatches on the device ([`super::GpuExecutor::profile`]), where the adapter can.
    pub timestamps: bool,
    /// In browsers: makes pipelines one after another, as everywhere else, instead of side by side. For comparison.
    pub compile_in_turn: bool,
    /// Most bytes to allocate: past it, allocation fails as it does on a device with no memory left.
    pub memory_limit: Option<u64>,
    /// Measures submissions and cuts recordings by it, so that none takes long; without one they are submitted whole.
    pub clock: Option<SharedClock>,
    /// Threads that compute what is written to the device.
    pub parallel: SharedParallel,
}

/// A device, its queue, and the first thing that went wrong with it.
#[derive(Debug)]
pub(super) struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    pub(super) health: Arc<Health>,
    pub(super) info: DeviceInfo,
    pub(super) limits: wgpu::Limits,
    /// Whether passes can be timed.
    pub(super) timestamps: bool,
    /// Whether every runtime check of the shaders stays on.
    pub(super) checked: bool,
    /// Whether pipelines are compiled side by side before wgpu makes them.
    #[cfg(target_arch = "wasm32")]
    pub(super) compile_ahead: bool,
}

/// Destroys or watches a device whatever its executor does meanwhile.
#[derive(Debug, Clone)]
pub struct DeviceHandle {
    device: wgpu::Device,
    health: Arc<Health>,
}

impl DeviceHandle {
    /// Destroys the device and frees its memory, as losing it does: every later call of its executor gives
    /// [`ExecError::DeviceLost`].
    pub fn destroy(&self) {
        self.device.destroy();
        self.health.set(ExecError::DeviceLost { reason: "it was destroyed".into() });
    }

    /// Bytes that the device's allocator has given out, whatever for; none where it does not tell, as in browsers.
    pub fn allocator_bytes(&self) -> Option<u64> {
        self.device.generate_allocator_report().map(|report| report.total_allocated_bytes)
    }
}

/// What an error scope caught.
pub(super) type Failure = LocalFuture<'static, Option<wgpu::Error>>;

/// How many steps keep a GPU busy while the host reads the results of the first.
const STEPS_IN_FLIGHT: usize = 4;

impl Gpu {
    /// Opens the adapter number `index`.
    pub(super) async fn open(adapters: &Adapters, index: usize, options: &GpuOptions) -> Result<Self, ExecError> {
        let found = adapters.get(index)?;
        let switches = choose_switches(found, options)?;
        let timestamps = options.timestamps && found.summary.timestamps && !options.floor;
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("parhelion"),
            required_features: features(switches, timestamps),
            required_limits: if options.floor { wgpu::Limits::default() } else { raised_limits(&found.adapter.limits()) },
            // Buffers are made once at load time, so that nothing is gained by larger pools.
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            ..Default::default()
        };
        let opened = request_device(found, &descriptor, switches).await;
        let (device, queue) =
            opened.map_err(|error| ExecError::NoDevice { reason: format!("`{}` cannot be opened: {error}", found.summary.name) })?;
        let health = Arc::new(Health::default());
        health.watch(&device);
        let limits = device.limits();
        let info = DeviceInfo {
            name: found.summary.name.clone(),
            backend: found.summary.backend.clone(),
            driver: found.summary.driver.clone(),
            software: found.summary.kind == AdapterKind::Software,
            switches,
            limits: device_limits(&limits, &found.adapter.get_info(), switches),
            steps_in_flight: STEPS_IN_FLIGHT,
        };
        Ok(Self {
            device,
            queue,
            health,
            info,
            limits,
            timestamps,
            checked: options.checked,
            #[cfg(target_arch = "wasm32")]
            compile_ahead: !options.compile_in_turn,
        })
    }

    /// What destroys the device.
    pub(super) fn handle(&self) -> DeviceHandle {
        DeviceHandle { device: self.device.clone(), health: Arc::clone(&self.health) }
    }

    /// Runs `make` and gives what it made with a future of the first error it caused. The scopes are closed when this
    /// returns: they belong to a thread and must not be open across an `await`.
    pub(super) fn scoped<T>(&self, make: impl FnOnce(&wgpu::Device) -> T) -> (T, Failure) {
        let scopes = [wgpu::ErrorFilter::Internal, wgpu::ErrorFilter::Validation, wgpu::ErrorFilter::OutOfMemory]
            .map(|filter| self.device.push_error_scope(filter));
        let made = make(&self.device);
        let [internal, validation, memory] = scopes;
        let (memory, validation, internal) = (memory.pop(), validation.pop(), internal.pop());
        let first: Failure = Box::pin(async move {
            let (memory, validation, internal) = (memory.await, validation.await, internal.await);
            memory.or(validation).or(internal)
        });
        (made, first)
    }
}

/// Asks for the device. In browsers the descriptor cannot name subgroups.
#[cfg(target_arch = "wasm32")]
fn request_device<'a>(
    found: &'a Found,
    descriptor: &wgpu::DeviceDescriptor<'_>,
    switches: Switches,
) -> impl Future<Output = Opened> + use<'a> {
    let request = || found.adapter.request_device(descriptor);
    match &found.web {
        Some(web) if switches.subgroups => web.with_subgroups(request),
        _ => request(),
    }
}

/// Asks for the device.
#[cfg(not(target_arch = "wasm32"))]
fn request_device(found: &Found, descriptor: &wgpu::DeviceDescriptor<'_>, _: Switches) -> impl Future<Output = Opened> {
    found.adapter.request_device(descriptor)
}

type Opened = Result<(wgpu::Device, wgpu::Queue), wgpu::RequestDeviceError>;

fn choose_switches(found: &Found, options: &GpuOptions) -> Result<Switches, ExecError> {
    let has = if options.floor { Switches::default() } else { found.summary.switches };
    let wanted = options.switches.unwrap_or(has);
    let missing = match () {
        () if wanted.subgroups && !has.subgroups => "subgroup operations",
        () if wanted.f16 && !has.f16 => "16-bit floats in shaders",
        () => return Ok(wanted),
    };
    let device = found.summary.name.clone();
    Err(ExecError::MissingFeature { device: if options.floor { format!("{device} at floor limits") } else { device }, feature: missing })
}

fn features(switches: Switches, timestamps: bool) -> wgpu::Features {
    let mut features = wgpu::Features::empty();
    features.set(wgpu::Features::SUBGROUP, switches.subgroups);
    features.set(wgpu::Features::SHADER_F16, switches.f16);
    features.set(wgpu::Features::TIMESTAMP_QUERY, timestamps);
    features
}

/// The default limits with those raised to the adapter's that kernels and weights make use of: asking for more than is
/// used makes some drivers slower.
fn raised_limits(adapter: &wgpu::Limits) -> wgpu::Limits {
    wgpu::Limits {
        max_buffer_size: adapter.max_buffer_size,
        max_storage_buffer_binding_size: adapter.max_storage_buffer_binding_size,
        max_compute_invocations_per_workgroup: adapter.max_compute_invocations_per_workgroup,
        max_compute_workgroup_size_x: adapter.max_compute_workgroup_size_x,
        max_compute_workgroup_storage_size: adapter.max_compute_workgroup_storage_size,
        ..wgpu::Limits::default()
    }
}

/// The first thing that went wrong with a device outside an error scope. It stays: after a failed command the contents
/// of buffers are not to be trusted, so that every later call reports it too.
#[derive(Debug, Default)]
pub(super) struct Health {
    fault: Mutex<Option<ExecError>>,
}

impl Health {
    /// Records loss of `device` and its uncaptured errors here; wgpu's own handler would panic.
    fn watch(self: &Arc<Self>, device: &wgpu::Device) {
        let health = Arc::clone(self);
        device.set_device_lost_callback(move |reason, message| {
            health.set(ExecError::DeviceLost { reason: format!("{reason:?} {message}").trim().to_owned() });
        });
        let health = Arc::clone(self);
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            // What is written or encoded needs memory too, which nobody waits to hear about.
            health.set(reported(&error, "what is sent to the device", 0, 0));
        }));
    }

    /// Records a fault, unless there is one; loss of the device outweighs the rest.
    pub(super) fn set(&self, fault: ExecError) {
        let mut held = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        let outweighed = |held: &ExecError| matches!(fault, ExecError::DeviceLost { .. }) && !matches!(held, ExecError::DeviceLost { .. });
        if held.as_ref().is_none_or(outweighed) {
            *held = Some(fault);
        }
    }

    /// # Errors
    /// What went wrong with the device, if anything did.
    pub(super) fn check(&self) -> Result<(), ExecError> {
        let held = self.fault.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().map_or(Ok(()), Err)
    }
}

/// A device error in words, with its causes.
pub(super) fn explain(error: &wgpu::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(next) = cause {
        let words = next.to_string();
        if !text.contains(&words) {
            text = format!("{text}: {words}");
        }
        cause = next.source();
    }
    text
}

/// An error that a scope caught around the making of `size` bytes for `label`, with `allocated` bytes there already.
pub(super) fn reported(error: &wgpu::Error, label: &str, size: u64, allocated: u64) -> ExecError {
    match error {
        wgpu::Error::OutOfMemory { .. } => ExecError::OutOfMemory { label: label.to_owned(), size, allocated },
        error => ExecError::Device { reason: explain(error) },
    }
}
