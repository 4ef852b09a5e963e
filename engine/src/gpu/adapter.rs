//! Which GPUs there are, what each can do, and which one to take.

#[cfg(target_arch = "wasm32")]
use super::web::WebAdapter;
use crate::exec::{DeviceLimits, ExecError, Switches};

/// What kind of device an adapter is. Ordered by preference, best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AdapterKind {
    /// A GPU with its own memory.
    Discrete,
    /// A GPU that shares the CPU's memory.
    Integrated,
    /// A GPU lent to a virtual machine.
    Virtual,
    /// A browser or driver that does not tell.
    Other,
    /// A CPU behind a GPU interface (lavapipe, SwiftShader, WARP): right answers, slower than the CPU executor.
    Software,
}

/// What an adapter says of itself.
#[derive(Debug, Clone)]
pub struct AdapterSummary {
    /// The device's name.
    pub name: String,
    /// `Vulkan`, `Metal`, `Dx12` or `WebGPU`.
    pub backend: String,
    /// Driver and version, as far as it is told.
    pub driver: String,
    /// What kind of device it is.
    pub kind: AdapterKind,
    /// Switches it can turn on.
    pub switches: Switches,
    /// Whether dispatches can be timed on the device.
    pub timestamps: bool,
    /// Its limits, with subgroup sizes.
    pub limits: DeviceLimits,
}

/// The adapters of this machine, best first.
#[derive(Debug)]
pub struct Adapters {
    found: Vec<Found>,
}

/// An adapter with its summary.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) adapter: wgpu::Adapter,
    pub(super) summary: AdapterSummary,
    /// The browser's own adapter, with what wgpu does not tell of it.
    #[cfg(target_arch = "wasm32")]
    pub(super) web: Option<WebAdapter>,
}

impl Adapters {
    /// Looks for adapters. In a browser there is at most one, and it may be opened once.
    pub async fn find() -> Self {
        let mut found = enumerate().await;
        found.sort_by_key(|found| found.summary.kind);
        Self { found }
    }

    /// What was found, best first.
    pub fn summaries(&self) -> impl ExactSizeIterator<Item = &AdapterSummary> {
        self.found.iter().map(|found| &found.summary)
    }

    /// The best adapter; with a `name`, the best one whose name contains it, whatever the case.
    ///
    /// # Errors
    /// [`ExecError::NoDevice`] says what there was to choose from.
    pub fn choose(&self, name: Option<&str>) -> Result<usize, ExecError> {
        let wanted = name.unwrap_or_default().to_lowercase();
        let fits = |found: &Found| found.summary.name.to_lowercase().contains(&wanted);
        self.found.iter().position(fits).ok_or_else(|| {
            let names: Vec<_> = self.summaries().map(|summary| format!("`{}` ({})", summary.name, summary.backend)).collect();
            let reason = match (names.is_empty(), name) {
                (true, _) => "no adapter was found".to_owned(),
                (false, name) => format!("no adapter is called `{}`; there is {}", name.unwrap_or_default(), names.join(", ")),
            };
            ExecError::NoDevice { reason }
        })
    }

    pub(super) fn get(&self, index: usize) -> Result<&Found, ExecError> {
        self.found.get(index).ok_or_else(|| ExecError::NoDevice { reason: format!("there is no adapter number {index}") })
    }
}

/// The adapter that the browser offers, if any.
#[cfg(target_arch = "wasm32")]
async fn enumerate() -> Vec<Found> {
    let options = wgpu::RequestAdapterOptions { power_preference: wgpu::PowerPreference::HighPerformance, ..Default::default() };
    let instance = instance();
    let (adapter, web) = WebAdapter::beside(|| instance.request_adapter(&options)).await;
    let found = adapter.ok().map(|adapter| {
        let subgroups = web.as_ref().is_some_and(WebAdapter::has_subgroups);
        let name = web.as_ref().map(WebAdapter::name).unwrap_or_default();
        Found { summary: summarize(&adapter, subgroups, name), adapter, web }
    });
    found.into_iter().collect()
}

/// Every adapter that a compute backend of this build offers. A program has one instance: drivers run out of something (NVIDIA's
/// Vulkan after a few dozen) when instances come and go.
#[cfg(not(target_arch = "wasm32"))]
async fn enumerate() -> Vec<Found> {
    static INSTANCE: std::sync::OnceLock<wgpu::Instance> = std::sync::OnceLock::new();
    let adapters = INSTANCE.get_or_init(instance).enumerate_adapters(wgpu::Backends::PRIMARY).await;
    let usable = adapters.into_iter().filter(|adapter| adapter.get_downlevel_capabilities().is_webgpu_compliant());
    let found = usable.map(|adapter| {
        let subgroups = adapter.features().contains(wgpu::Features::SUBGROUP);
        Found { summary: summarize(&adapter, subgroups, adapter.get_info().name), adapter }
    });
    found.collect()
}

fn instance() -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        flags: wgpu::InstanceFlags::empty(),
        // Past the budget drivers page to system memory or lose the device: out of memory is said before.
        memory_budget_thresholds: wgpu::MemoryBudgetThresholds { for_resource_creation: Some(100), for_device_loss: None },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

fn summarize(adapter: &wgpu::Adapter, subgroups: bool, name: String) -> AdapterSummary {
    let info = adapter.get_info();
    let features = adapter.features();
    let switches = Switches { subgroups, f16: features.contains(wgpu::Features::SHADER_F16) };
    AdapterSummary {
        kind: kind(info.device_type),
        backend: backend(info.backend).to_owned(),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_owned(),
        switches,
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        limits: device_limits(&adapter.limits(), &info, switches),
        name: if name.is_empty() { "unnamed GPU".to_owned() } else { name },
    }
}

fn kind(device_type: wgpu::DeviceType) -> AdapterKind {
    match device_type {
        wgpu::DeviceType::DiscreteGpu => AdapterKind::Discrete,
        wgpu::DeviceType::IntegratedGpu => AdapterKind::Integrated,
        wgpu::DeviceType::VirtualGpu => AdapterKind::Virtual,
        wgpu::DeviceType::Cpu => AdapterKind::Software,
        wgpu::DeviceType::Other => AdapterKind::Other,
    }
}

fn backend(backend: wgpu::Backend) -> &'static str {
    match backend {
        wgpu::Backend::Vulkan => "Vulkan",
        wgpu::Backend::Metal => "Metal",
        wgpu::Backend::Dx12 => "Dx12",
        wgpu::Backend::BrowserWebGpu => "WebGPU",
        wgpu::Backend::Gl => "OpenGL",
        wgpu::Backend::Noop => "none",
    }
}

/// What the engine plans with, out of the limits a device was given.
pub(super) fn device_limits(limits: &wgpu::Limits, info: &wgpu::AdapterInfo, switches: Switches) -> DeviceLimits {
    let (subgroup_min, subgroup_max) = if switches.subgroups { (info.subgroup_min_size, info.subgroup_max_size) } else { (1, 1) };
    DeviceLimits {
        max_binding: limits.max_storage_buffer_binding_size.min(limits.max_buffer_size),
        max_buffer: limits.max_buffer_size,
        max_invocations: limits.max_compute_invocations_per_workgroup.min(limits.max_compute_workgroup_size_x),
        max_workgroup_memory: limits.max_compute_workgroup_storage_size,
        subgroup_min,
        subgroup_max,
    }
}
