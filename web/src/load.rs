//! From open files to a model on a device that computes rightly.

use js_sys::Function;
use parhelion::{
    doctor::quick_check,
    exec::{DeviceInfo, ExecError},
    gpu::DeviceHandle,
    session::{EngineError, Prepared, SequenceId, Session},
    weights::LoadProgress,
};
use parhelion_loader::Checkpoint;
use serde::Serialize;
use wasm_bindgen::JsValue;

use crate::{
    device::{DeviceReport, Opened, clock},
    request::{DeviceRequest, LoadRequest, milliseconds, to_js},
};

/// A model and what it runs on.
pub(crate) struct Loaded {
    pub(crate) session: Session,
    pub(crate) sequence: SequenceId,
    pub(crate) device: DeviceReport,
    pub(crate) handle: Option<DeviceHandle>,
}

/// What loading reports as it goes on.
#[derive(Serialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
enum Event<'a> {
    Device { device: &'a DeviceReport },
    Plan { bytes: u64, weights: u64, kv: u64, scratch: u64 },
    Check { kernels: usize, milliseconds: f64, dropped: &'a [&'static str] },
    Compile { done: usize, total: usize },
    Upload { done: u64, total: u64 },
}

/// Opens a device, fits the model to it, compares its kernels with known answers if asked to, and streams the weights there. A
/// switch whose kernels compute wrongly is left off.
pub(crate) async fn load(checkpoint: Checkpoint, mut request: LoadRequest, events: &Function) -> Result<Loaded, EngineError> {
    let mut dropped = Vec::new();
    loop {
        let mut opened = Opened::open(&request.device).await?;
        let failure = match fit(&checkpoint, &mut opened, &request, &dropped, events).await {
            Ok(prepared) => return fill(checkpoint, prepared, opened, events).await,
            Err(failure) => failure,
        };
        opened.destroy();
        match wrong_switch(&failure) {
            Some(switch) => dropped.push(switch.turn_off(&mut request.device)),
            None => return Err(failure),
        }
    }
}

/// Plans the model for the device and checks the kernels that the plan uses.
async fn fit(
    checkpoint: &Checkpoint,
    opened: &mut Opened,
    request: &LoadRequest,
    dropped: &[&'static str],
    events: &Function,
) -> Result<Prepared, EngineError> {
    tell(events, &Event::Device { device: &opened.report() });
    let prepared = Prepared::new(checkpoint, opened.executor.device(), request.session(opened.software)).await?;
    let memory = prepared.memory();
    tell(events, &Event::Plan { bytes: memory.total(), weights: memory.weights, kv: memory.kv, scratch: memory.scratch });
    if request.check && opened.handle.is_some() {
        let clock = clock();
        let started = clock.now();
        let checks = quick_check(opened.executor.as_mut(), &prepared.recordings()?).await?;
        let device: &DeviceInfo = opened.executor.device();
        if let Some(wrong) = checks.iter().find_map(|check| check.error(device)) {
            return Err(wrong.into());
        }
        let milliseconds = milliseconds(clock.now().saturating_sub(started));
        tell(events, &Event::Check { kernels: checks.len(), milliseconds, dropped });
    }
    Ok(prepared)
}

/// Brings the weights to the device.
async fn fill(checkpoint: Checkpoint, prepared: Prepared, opened: Opened, events: &Function) -> Result<Loaded, EngineError> {
    let device = opened.report();
    let Opened { executor, handle, .. } = opened;
    let mut upload = |LoadProgress { done, total }| tell(events, &Event::Upload { done, total });
    let filled = async {
        let mut session = Session::load(checkpoint, prepared, executor, clock(), &mut upload).await?;
        if handle.is_some() {
            session.prepare_ahead(&mut |done, total| tell(events, &Event::Compile { done, total })).await?;
        }
        let sequence = session.open_sequence()?;
        Ok((session, sequence))
    };
    match (filled.await, handle) {
        (Ok((session, sequence)), handle) => Ok(Loaded { session, sequence, device, handle }),
        (Err(failure), Some(handle)) => {
            handle.destroy();
            Err(failure)
        }
        (Err(failure), None) => Err(failure),
    }
}

/// A switch of a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Switch {
    Subgroups,
    F16,
}

impl Switch {
    /// Gives the name that JavaScript knows it by.
    fn turn_off(self, request: &mut DeviceRequest) -> &'static str {
        match self {
            Self::Subgroups => {
                request.subgroups = Some(false);
                "subgroups"
            }
            Self::F16 => {
                request.f16 = Some(false);
                "f16"
            }
        }
    }
}

/// The switch to do without after a kernel that needs it computed wrongly.
fn wrong_switch(failure: &EngineError) -> Option<Switch> {
    match failure {
        EngineError::Exec(ExecError::WrongResults { needs, .. }) if needs.f16 => Some(Switch::F16),
        EngineError::Exec(ExecError::WrongResults { needs, .. }) if needs.subgroups => Some(Switch::Subgroups),
        _ => None,
    }
}

fn tell(events: &Function, event: &Event<'_>) {
    // What the page's function throws is the page's affair.
    let _ = to_js(event).and_then(|event| events.call1(&JsValue::NULL, &event));
}
