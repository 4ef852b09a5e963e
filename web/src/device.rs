//! Opening what models run on, and what a browser's host lends the engine: a clock and turns of its event loop.

use std::{rc::Rc, time::Duration};

use js_sys::{Function, Promise};
use parhelion::{
    cpu::CpuExecutor,
    exec::{DeviceInfo, ExecError, Executor, LocalFuture, MemoryReport, PreparedId, Serial, SharedClock, Switches},
    gpu::{AdapterKind, AdapterSummary, Adapters, DeviceHandle, GpuExecutor, GpuOptions},
    recording::{BufferDesc, BufferId, BufferSlice, Recording},
    session::Clock,
};
use serde::Serialize;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use wasm_bindgen_futures::JsFuture;

use crate::{
    error,
    request::{DeviceKind, DeviceRequest, to_js},
};

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;

    #[wasm_bindgen(js_name = setTimeout)]
    fn set_timeout(then: &Function, milliseconds: f64) -> JsValue;
}

/// The worker's clock.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BrowserClock;

impl Clock for BrowserClock {
    fn now(&self) -> Duration {
        Duration::from_secs_f64(performance_now().max(0.0) / 1e3)
    }
}

/// A device that is open.
pub(crate) struct Opened {
    pub(crate) executor: Box<dyn Executor>,
    /// What destroys it; none for the CPU.
    pub(crate) handle: Option<DeviceHandle>,
    /// Whether the CPU computes.
    pub(crate) software: bool,
}

impl Opened {
    /// Opens what was asked for.
    pub(crate) async fn open(request: &DeviceRequest) -> Result<Self, ExecError> {
        if request.device == DeviceKind::Cpu {
            let executor = Box::new(Yielding(CpuExecutor::new(Box::new(Serial))));
            return Ok(Self { executor, handle: None, software: true });
        }
        let adapters = Adapters::find().await;
        let index = adapters.choose(None)?;
        let summary = adapters.summaries().nth(index);
        let offered = summary.map_or(Switches::default(), |summary| summary.switches);
        let software = summary.is_some_and(|summary| summary.kind == AdapterKind::Software);
        let switches = Switches { subgroups: request.subgroups.unwrap_or(offered.subgroups), f16: request.f16.unwrap_or(offered.f16) };
        let options = GpuOptions {
            switches: Some(switches),
            clock: Some(SharedClock::new(BrowserClock)),
            compile_in_turn: request.precompile == Some(false),
            memory_limit: request.memory_limit.map(|bytes| bytes as u64),
            ..GpuOptions::default()
        };
        let gpu = GpuExecutor::open(&adapters, index, &options).await?;
        let handle = gpu.handle();
        Ok(Self { executor: Box::new(gpu), handle: Some(handle), software })
    }

    /// Frees the device and all that is on it.
    pub(crate) fn destroy(&self) {
        if let Some(handle) = &self.handle {
            handle.destroy();
        }
    }

    /// What it is.
    pub(crate) fn report(&self) -> DeviceReport {
        DeviceReport::new(self.executor.device(), self.software)
    }
}

/// A device in JavaScript's words.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceReport {
    name: String,
    backend: String,
    driver: String,
    subgroups: bool,
    f16: bool,
    max_buffer: u64,
    max_binding: u64,
    subgroup_min: u32,
    subgroup_max: u32,
    fallback: bool,
}

impl DeviceReport {
    fn new(device: &DeviceInfo, software: bool) -> Self {
        Self {
            name: device.name.clone(),
            backend: device.backend.clone(),
            driver: device.driver.clone(),
            subgroups: device.switches.subgroups,
            f16: device.switches.f16,
            max_buffer: device.limits.max_buffer,
            max_binding: device.limits.max_binding,
            subgroup_min: device.limits.subgroup_min,
            subgroup_max: device.limits.subgroup_max,
            fallback: software,
        }
    }

    fn offered(adapter: &AdapterSummary) -> Self {
        let device = DeviceInfo {
            name: adapter.name.clone(),
            backend: adapter.backend.clone(),
            driver: adapter.driver.clone(),
            software: adapter.kind == AdapterKind::Software,
            switches: adapter.switches,
            limits: adapter.limits,
            steps_in_flight: 1,
        };
        Self::new(&device, adapter.kind == AdapterKind::Software)
    }
}

/// What WebGPU offers here, without opening it: a device, or null.
#[wasm_bindgen]
pub async fn adapters() -> Result<JsValue, JsValue> {
    let found = Adapters::find().await;
    let best = found.summaries().next().map(DeviceReport::offered);
    best.map_or(Ok(JsValue::NULL), |best| to_js(&best))
}

/// The clock as the engine takes it.
pub(crate) fn clock() -> Rc<dyn Clock> {
    Rc::new(BrowserClock)
}

/// Gives the event loop a turn: messages that came in the meantime are handled.
pub(crate) async fn turn() {
    let promise = Promise::new(&mut |resolve, _| {
        set_timeout(&resolve, 0.0);
    });
    // A promise that only ever resolves.
    let _ = JsFuture::from(promise).await;
}

/// The CPU's executor, which computes before `submit` returns: each read gives the event loop a turn first, so that the worker
/// hears that it is to stop.
struct Yielding(CpuExecutor);

impl Executor for Yielding {
    fn device(&self) -> &DeviceInfo {
        self.0.device()
    }

    fn allocate<'a>(&'a mut self, buffers: &'a [BufferDesc]) -> LocalFuture<'a, Result<Vec<BufferId>, ExecError>> {
        self.0.allocate(buffers)
    }

    fn release(&mut self, buffers: &[BufferId]) {
        self.0.release(buffers);
    }

    fn write(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<(), ExecError> {
        self.0.write(buffer, offset, bytes)
    }

    fn prepare<'a>(&'a mut self, recording: &'a Recording) -> LocalFuture<'a, Result<PreparedId, ExecError>> {
        self.0.prepare(recording)
    }

    fn forget(&mut self, prepared: PreparedId) {
        self.0.forget(prepared);
    }

    fn submit(&mut self, prepared: PreparedId) -> Result<(), ExecError> {
        self.0.submit(prepared)
    }

    fn read(&mut self, slice: BufferSlice) -> LocalFuture<'static, Result<Vec<u8>, ExecError>> {
        let read = self.0.read(slice);
        Box::pin(async move {
            turn().await;
            read.await
        })
    }

    fn memory(&self) -> MemoryReport {
        self.0.memory()
    }
}

/// A device's error for JavaScript.
pub(crate) fn device_error(failure: ExecError) -> JsValue {
    error::engine(&failure.into())
}
