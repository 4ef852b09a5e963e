//! Options that several commands share.

use std::hash::{BuildHasher, RandomState};

use clap::{Args, ValueEnum};
use parhelion::quantise::{Quant, QuantType};
use parhelion::session::{EngineError, GenerateOptions, KvFormat, Sampling, SessionOptions};

use crate::host::{DeviceChoice, DeviceRequest, SwitchChoice};

/// Which device to run on.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Device")]
pub(super) struct DeviceOptions {
    /// Where to run
    #[arg(long, value_name = "WHERE", value_enum, default_value_t)]
    device: DeviceChoice,
    /// Use the GPU whose name contains this; `parhelion doctor` lists them
    #[arg(long, value_name = "NAME", conflicts_with = "device")]
    adapter: Option<String>,
    /// Use fewer of the GPU's abilities than it has, for tests
    #[arg(long, value_name = "WHICH", value_enum)]
    switches: Option<SwitchChoice>,
}

impl DeviceOptions {
    pub(super) fn request(&self) -> DeviceRequest {
        DeviceRequest { choice: self.device, adapter: self.adapter.clone(), switches: self.switches }
    }
}

/// Which model to run, and how.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Model")]
pub(super) struct ModelOptions {
    /// A file or directory, a name of `parhelion models`, a model of the hub (owner/name[@revision][:choice]) or an
    /// http(s) address; by default a small model that is fetched once
    #[arg(long, short, value_name = "MODEL")]
    pub(super) model: Option<String>,
    /// Tokens of context; by default the model's own, 8192 at the most
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// How the KV cache is stored; by default f16, with --reproducible f32
    #[arg(long, value_name = "TYPE", value_enum)]
    kv_cache: Option<KvChoice>,
    /// All arithmetic in f32 with pinned kernels: devices differ only in the last bits
    #[arg(long)]
    reproducible: bool,
    /// Quantise weights while they are loaded: less memory and more speed for less precise answers
    #[arg(long, value_name = "TYPE", value_enum)]
    quant: Option<QuantChoice>,
    /// With --quant: also weights that are quantised already, which loses more
    #[arg(long, requires = "quant")]
    requantize: bool,
    #[command(flatten)]
    pub(super) device: DeviceOptions,
}

impl ModelOptions {
    /// Whether a model was asked for by name.
    pub(super) fn is_named(&self) -> bool {
        self.model.is_some()
    }

    pub(super) fn session(&self) -> SessionOptions {
        let quant = self.quant.map(|choice| choice.quant(self.requantize));
        let kv = self.kv_cache.map(KvChoice::format);
        SessionOptions { context: self.context, reproducible: self.reproducible, kv, quant, ..SessionOptions::default() }
    }
}

/// How the KV cache is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum KvChoice {
    /// Nothing is rounded
    F32,
    /// Half of that; numbers of any size keep 11 bits
    F16,
    /// 9 bits a number: a quarter of f32, for long contexts
    #[value(name = "q8_0")]
    Q8_0,
}

impl KvChoice {
    pub(super) fn format(self) -> KvFormat {
        match self {
            Self::F32 => KvFormat::F32,
            Self::F16 => KvFormat::F16,
            Self::Q8_0 => KvFormat::Q8_0,
        }
    }
}

/// What weights are quantised to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum QuantChoice {
    /// 8.5 bits a weight: hardly tells from the original
    #[value(name = "q8_0")]
    Q8_0,
    /// 5.5 bits a weight
    #[value(name = "q5_0")]
    Q5_0,
    /// 4.5 bits a weight, in blocks that every program reads
    #[value(name = "q4_0")]
    Q4_0,
    /// 4.5 bits a weight, closer to the original than q4_0; rows that are no whole blocks of 256 become q5_0
    #[value(name = "q4_k")]
    Q4K,
}

impl QuantChoice {
    pub(super) fn quant(self, requantise: bool) -> Quant {
        let target = match self {
            Self::Q8_0 => QuantType::Q8_0,
            Self::Q5_0 => QuantType::Q5_0,
            Self::Q4_0 => QuantType::Q4_0,
            Self::Q4K => QuantType::Q4_K,
        };
        Quant { target, requantise }
    }
}

/// How the next token is chosen, and when to stop.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Sampling")]
pub(super) struct SamplingOptions {
    /// How much chance has a say; 0 always takes the likeliest token. By default what the model's publisher recommends (in
    /// generation_config.json or the GGUF file), else 0.7
    #[arg(long, value_name = "T")]
    temperature: Option<f32>,
    /// Choose among the K likeliest tokens; 0 for all. By default as recommended, else 40
    #[arg(long, value_name = "K")]
    top_k: Option<u32>,
    /// Choose among the likeliest tokens that together have probability P. By default as recommended, else 0.95
    #[arg(long, value_name = "P")]
    top_p: Option<f32>,
    /// Choose among tokens at least P times as likely as the likeliest. By default as recommended, else 0
    #[arg(long, value_name = "P")]
    min_p: Option<f32>,
    /// Makes tokens that occurred less likely; 1 for no effect. By default as recommended, else 1
    #[arg(long, value_name = "R")]
    repetition_penalty: Option<f32>,
    /// Subtracted from a token's logit for each time it was generated
    #[arg(long, value_name = "X", default_value_t = Sampling::default().frequency_penalty, allow_negative_numbers = true)]
    frequency_penalty: f32,
    /// Subtracted once from the logits of generated tokens
    #[arg(long, value_name = "X", default_value_t = Sampling::default().presence_penalty, allow_negative_numbers = true)]
    presence_penalty: f32,
    /// The same seed gives the same answer on the same device; chosen by chance if not given
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// End the answer before this text; may be given several times
    #[arg(long, value_name = "TEXT")]
    stop: Vec<String>,
    /// The most tokens of an answer; by default as many as the context holds
    #[arg(long, value_name = "N")]
    max_tokens: Option<u32>,
}

impl SamplingOptions {
    /// Checks what was given, before any model is loaded.
    pub(super) fn validate(&self) -> Result<(), EngineError> {
        self.generate(Sampling::default()).sampling.validate()
    }

    /// The options of the engine: what was given, else what is `recommended`; a seed chosen by chance where none was given.
    pub(super) fn generate(&self, recommended: Sampling) -> GenerateOptions {
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(recommended.temperature),
            top_k: self.top_k.unwrap_or(recommended.top_k),
            top_p: self.top_p.unwrap_or(recommended.top_p),
            min_p: self.min_p.unwrap_or(recommended.min_p),
            repetition_penalty: self.repetition_penalty.unwrap_or(recommended.repetition_penalty),
            frequency_penalty: self.frequency_penalty,
            presence_penalty: self.presence_penalty,
            // The keys of the standard library's hash maps come from the system's randomness.
            seed: self.seed.unwrap_or_else(|| RandomState::new().hash_one("seed")),
        };
        // An empty text would end every answer before it starts.
        let stop = self.stop.iter().filter(|text| !text.is_empty()).cloned().collect();
        GenerateOptions { sampling, max_tokens: self.max_tokens, stop, ..GenerateOptions::default() }
    }
}
