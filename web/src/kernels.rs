//! Every kernel against its scalar twin, in this browser.

use js_sys::Function;
use parhelion::{
    doctor::{self, KernelCheck},
    shaders::Kernel,
};
use serde::{Deserialize, Serialize};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

use crate::{
    device::{DeviceReport, Opened, clock, device_error},
    request::{DeviceRequest, from_js, milliseconds, to_js},
};

/// What to check.
#[derive(Debug, Deserialize)]
struct CheckRequest {
    #[serde(flatten)]
    device: DeviceRequest,
    #[serde(default)]
    set: CaseSet,
    /// Which of `parts` shares of the conformance cases.
    #[serde(default)]
    part: usize,
    parts: Option<usize>,
    /// Variants to leave out of them: those that have all words of one of these in their names.
    #[serde(default)]
    skip: Vec<String>,
}

impl CheckRequest {
    fn skips(&self, variant: &str) -> bool {
        self.skip.iter().any(|words| words.split(' ').all(|word| variant.split('_').any(|part| part == word)))
    }
}

/// Which cases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum CaseSet {
    /// Each variant on a small shape or two.
    #[default]
    Small,
    /// Those of the engine's own tests.
    Conformance,
}

/// One check.
#[derive(Debug, Serialize)]
struct CheckReport<'a> {
    variant: &'static str,
    label: &'a str,
    ok: bool,
    error: Option<f32>,
    bound: Option<f32>,
    /// The element that is worst, or what kept the case from running.
    message: String,
}

/// All of them.
#[derive(Debug, Serialize)]
struct Summary {
    total: usize,
    failed: usize,
    device: DeviceReport,
    milliseconds: f64,
}

/// Runs the cases that the device can run and calls `on_check` with each as it is done.
#[wasm_bindgen(js_name = checkKernels)]
pub async fn check_kernels(options: JsValue, on_check: Function) -> Result<JsValue, JsValue> {
    let request: CheckRequest = from_js(options)?;
    let mut opened = Opened::open(&request.device).await.map_err(device_error)?;
    let clock = clock();
    let started = clock.now();
    let tell = |check: &KernelCheck| {
        // What the page's function throws is the page's affair.
        let _ = report(check).and_then(|report| on_check.call1(&JsValue::NULL, &report));
    };
    let executor = opened.executor.as_mut();
    let checks = match request.set {
        CaseSet::Small => doctor::check_kernels(executor, tell).await,
        CaseSet::Conformance => {
            let wanted = |kernel: &Kernel| !request.skips(kernel.variant);
            doctor::check_conformance(executor, request.part, request.parts.unwrap_or(1), wanted, tell).await
        }
    };
    let summary = Summary {
        total: checks.len(),
        failed: checks.iter().filter(|check| !check.ok()).count(),
        device: opened.report(),
        milliseconds: milliseconds(clock.now().saturating_sub(started)),
    };
    opened.destroy();
    to_js(&summary)
}

fn report(check: &KernelCheck) -> Result<JsValue, JsValue> {
    let (error, bound, message) = match &check.outcome {
        Ok(worst) => (Some(worst.error), Some(worst.bound), worst.to_string()),
        Err(failure) => (None, None, failure.to_string()),
    };
    to_js(&CheckReport { variant: check.variant, label: &check.label, ok: check.ok(), error, bound, message })
}
