//! What JavaScript asks for and is told, field by field.

use std::time::Duration;

use parhelion::session::{GenerateOptions, KvFormat, Sampling, SessionOptions, Timings};
use serde::{Deserialize, Serialize};
use wasm_bindgen::JsValue;

use crate::error;

/// Which executor runs the model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum DeviceKind {
    /// The browser's WebGPU.
    WebGpu,
    /// The scalar twins.
    Cpu,
}

/// How to open a device.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeviceRequest {
    pub(crate) device: DeviceKind,
    /// Off or on whatever the device offers; none for what it offers.
    pub(crate) subgroups: Option<bool>,
    pub(crate) f16: Option<bool>,
    /// Whether pipelines are compiled side by side.
    pub(crate) precompile: Option<bool>,
    pub(crate) memory_limit: Option<f64>,
}

/// How to load a model.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct LoadRequest {
    #[serde(flatten)]
    pub(crate) device: DeviceRequest,
    #[serde(default)]
    pub(crate) reproducible: bool,
    pub(crate) context: Option<u32>,
    pub(crate) kv_cache: Option<KvCache>,
    /// Whether kernels are compared with known answers first.
    #[serde(default)]
    pub(crate) check: bool,
}

/// How the KV cache is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum KvCache {
    F32,
    F16,
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl KvCache {
    fn format(self) -> KvFormat {
        match self {
            Self::F32 => KvFormat::F32,
            Self::F16 => KvFormat::F16,
            Self::Q8_0 => KvFormat::Q8_0,
        }
    }
}

impl LoadRequest {
    /// `software`: the CPU computes, so that a step of many rows would keep everything else waiting.
    pub(crate) fn session(&self, software: bool) -> SessionOptions {
        const SOFTWARE_CHUNK: u32 = 16;
        let defaults = SessionOptions::default();
        SessionOptions {
            context: self.context,
            reproducible: self.reproducible,
            kv: self.kv_cache.map(KvCache::format),
            chunk: if software { SOFTWARE_CHUNK } else { defaults.chunk },
            ..defaults
        }
    }
}

/// How to generate.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GenerateRequest {
    max_tokens: Option<u32>,
    temperature: Option<f32>,
    top_k: Option<u32>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    seed: Option<f64>,
    #[serde(default)]
    stop: Vec<String>,
    #[serde(default)]
    ignore_end: bool,
    /// Whether the prompt is text that the answer goes on with.
    #[serde(default)]
    continues_text: bool,
}

impl GenerateRequest {
    pub(crate) fn options(self) -> Result<GenerateOptions, JsValue> {
        let defaults = Sampling::default();
        let seed = match self.seed {
            None => defaults.seed,
            Some(seed) if seed.fract() == 0.0 && (0.0..18_446_744_073_709_551_616.0).contains(&seed) => seed as u64,
            Some(seed) => return Err(error::option(format!("seed must be a whole number from 0 to 2^64 - 1, got {seed}"))),
        };
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(defaults.temperature),
            top_k: self.top_k.unwrap_or(defaults.top_k),
            top_p: self.top_p.unwrap_or(defaults.top_p),
            min_p: self.min_p.unwrap_or(defaults.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(defaults.repetition_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(defaults.frequency_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(defaults.presence_penalty),
            seed,
        };
        Ok(GenerateOptions {
            sampling,
            max_tokens: self.max_tokens,
            stop: self.stop,
            ignore_end: self.ignore_end,
            continues_text: self.continues_text,
            ..GenerateOptions::default()
        })
    }
}

/// How an answer ended.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Finished {
    pub(crate) reason: &'static str,
    /// Text that was held back until the end.
    pub(crate) rest: String,
    pub(crate) timings: TimingReport,
}

/// What an answer took.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TimingReport {
    prompt_tokens: usize,
    cached_tokens: usize,
    prefill_ms: f64,
    generated_tokens: usize,
    decode_ms: f64,
    prefill_rate: f64,
    decode_rate: f64,
    dispatches_per_token: usize,
    peak_bytes: u64,
}

impl From<Timings> for TimingReport {
    fn from(timings: Timings) -> Self {
        Self {
            prompt_tokens: timings.prompt_tokens,
            cached_tokens: timings.cached_tokens,
            prefill_ms: milliseconds(timings.prefill),
            generated_tokens: timings.generated_tokens,
            decode_ms: milliseconds(timings.decode),
            prefill_rate: timings.prefill_rate(),
            decode_rate: timings.decode_rate(),
            dispatches_per_token: timings.dispatches_per_token,
            peak_bytes: timings.peak_bytes,
        }
    }
}

pub(crate) fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Reads what JavaScript passed.
pub(crate) fn from_js<T: serde::de::DeserializeOwned>(value: JsValue) -> Result<T, JsValue> {
    serde_wasm_bindgen::from_value(value).map_err(error::option)
}

/// Makes a plain object.
pub(crate) fn to_js<T: Serialize>(value: &T) -> Result<JsValue, JsValue> {
    let plain = serde_wasm_bindgen::Serializer::json_compatible();
    value.serialize(&plain).map_err(|failure| error::error("internal", &failure.to_string()))
}
