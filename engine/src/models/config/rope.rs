//! Rotary positions, as both dialects describe them.

use parhelion_loader::{Dialect, LoadError, Metadata, Value};

use super::{Config, Key, Keys};
use crate::models::rope_tensors::{ROPE_FACTORS, ROPE_FACTORS_LONG, ROPE_FACTORS_SHORT};
use crate::ops::rope_table::{self, MAX_POSITIONS, Pairing, RopeConfig, RopeScaling, Temperature};

mod published;

use published::{HfRope, hf_object};

const DIMS: Key = Key::gguf("rope.dimension_count");
const BASE: Key = Key::gguf("rope.freq_base");
/// The base of layers with a window that have their own.
const LOCAL_BASE: Key = Key::new("rope.freq_base_swa", "rope_local_base_freq");
const KIND: Key = Key::gguf("rope.scaling.type");
const TEMPERATURE: Key = Key::new("attention.temperature_scale", "rope_parameters.llama_4_scaling_beta");
/// Positions whose queries have the same factor: as many as the first training had.
const PERIOD: Key = Key::new("rope.scaling.original_context_length", "rope_parameters.original_max_position_embeddings");
const FACTOR: Key = Key::gguf("rope.scaling.factor");
const ORIGINAL: Key = Key::gguf("rope.scaling.original_context_length");
const ATTENTION_FACTOR: Key = Key::gguf("rope.scaling.attn_factor");
const BETA_FAST: Key = Key::gguf("rope.scaling.yarn_beta_fast");
const BETA_SLOW: Key = Key::gguf("rope.scaling.yarn_beta_slow");
/// The part of each head that is rotated, in config.json.
const PART: &str = "partial_rotary_factor";
/// What YaRN's factor on cos and sin is divided by has instead of 1; 0 where it is not divided.
const LOG_MULTIPLIER: Key = Key::gguf("rope.scaling.yarn_log_multiplier");
/// Base of the frequencies where nothing says another.
const THETA: f32 = 10_000.0;

impl Keys<'_> {
    /// The rotary embedding of heads of `head_dim` elements in a model made for `context` tokens.
    pub(super) fn rope(&self, head_dim: u32, context: u32) -> Result<RopeConfig, LoadError> {
        match self.dialect {
            Dialect::Gguf => self.gguf_rope(head_dim, context),
            Dialect::HuggingFace => HfRope { metadata: self.metadata, object: hf_object(self.metadata) }.read(head_dim, context),
        }
    }

    /// Whether the model says which part of its heads is rotated.
    pub(in super::super) fn says_rotated_part(&self) -> bool {
        match self.dialect {
            Dialect::Gguf => self.name(DIMS).is_some_and(|name| self.metadata.contains(&name)),
            Dialect::HuggingFace => {
                [PART.to_owned(), format!("{}.{PART}", hf_object(self.metadata))].iter().any(|key| self.metadata.contains(key))
            }
        }
    }

    /// The rotary embedding of layers with a window, where those have their own: never stretched.
    pub(in super::super) fn local_rope(&self, head_dim: u32) -> Result<RopeConfig, LoadError> {
        let current = Key::hf("rope_parameters.sliding_attention.rope_theta");
        let theta = match self.optional_positive(current)? {
            Some(theta) => theta,
            None => self.positive(LOCAL_BASE, THETA)?,
        };
        Ok(RopeConfig::new(f64::from(theta), head_dim, Pairing::Half))
    }

    /// A GGUF file's settings. LongRoPE has its factors in tensors, and [`Keys::longrope`] is what they make.
    fn gguf_rope(&self, head_dim: u32, context: u32) -> Result<RopeConfig, LoadError> {
        let dims = self.even(DIMS, 2..=head_dim, head_dim)?;
        let factor = f64::from(self.positive(FACTOR, 1.0)?);
        let scaling = match self.get(KIND, Metadata::str)? {
            Some("none" | "longrope") => RopeScaling::None,
            // llama.cpp's rule: a factor without a kind is linear
            None | Some("" | "linear") if factor == 1.0 => RopeScaling::None,
            None | Some("" | "linear") => RopeScaling::Linear { factor },
            Some("yarn") => RopeScaling::Yarn {
                factor,
                original_context: self.original_context(context)?,
                beta_fast: f64::from(self.positive(BETA_FAST, 32.0)?),
                beta_slow: f64::from(self.positive(BETA_SLOW, 1.0)?),
                truncate: true,
                attention_factor: self.gguf_attention_factor(factor)?,
            },
            Some(other) => return Err(self.bad(KIND, "none, linear, yarn or longrope", other)),
        };
        let theta = f64::from(self.positive(BASE, THETA)?);
        Ok(RopeConfig { scaling, ..RopeConfig::new(theta, dims, Pairing::Half) })
    }

    /// YaRN's factor on cos and sin as llama.cpp takes it, where a file has settings for it.
    fn gguf_attention_factor(&self, factor: f64) -> Result<Option<f64>, LoadError> {
        let own = self.get(ATTENTION_FACTOR, Metadata::f32)?.map(f64::from).filter(|own| *own != 1.0);
        let multiplier = self.get(LOG_MULTIPLIER, Metadata::f32)?.map(f64::from).filter(|multiplier| *multiplier != 0.0);
        let divisor = multiplier.map(|multiplier| if factor > 1.0 { 0.1 * multiplier * factor.ln() + 1.0 } else { 1.0 });
        let says = own.is_some() || divisor.is_some();
        Ok(says.then(|| own.unwrap_or(1.0) * rope_table::yarn_attention_factor(factor) / divisor.unwrap_or(1.0)))
    }

    /// By what queries are multiplied that depends on their position, where the model says.
    pub(in super::super) fn temperature(&self, context: u32) -> Result<Option<Temperature>, LoadError> {
        let Some(beta) = self.get(TEMPERATURE, Metadata::f32)?.filter(|beta| *beta != 0.0) else { return Ok(None) };
        Ok(Some(Temperature { beta: f64::from(beta), period: self.size(PERIOD, 1..=1 << 24, Some(context))? }))
    }

    /// Tokens of a GGUF file's first training.
    fn original_context(&self, context: u32) -> Result<f64, LoadError> {
        self.size(ORIGINAL, 1..=1 << 24, Some(context)).map(f64::from)
    }

    /// LongRoPE with the factors that a GGUF file made for `context` tokens keeps as tensors.
    pub(in super::super) fn longrope(&self, context: u32, short: Vec<f32>, long: Vec<f32>) -> Result<RopeScaling, LoadError> {
        let attention_factor = f64::from(self.positive(ATTENTION_FACTOR, 1.0)?);
        Ok(RopeScaling::LongRope { short, long, original_context: self.original_context(context)?, attention_factor })
    }
}

/// Entries of a GGUF file, and the tensors in which it keeps factors.
type GgufRope = (Vec<(String, Value)>, Vec<(&'static str, Vec<f32>)>);

impl Config {
    /// Tokens of context that the model can be run with: where the base of its frequencies grows with the context, more than it was
    /// made for.
    pub(in super::super) fn stretched_context(&self) -> u32 {
        match self.rope.scaling {
            // an f64 in between, and what is over the bound becomes it
            RopeScaling::Dynamic { factor, .. } => (f64::from(self.context) * factor.max(1.0)).min(f64::from(MAX_POSITIONS)) as u32,
            _ => self.context,
        }
    }

    /// The rotary embedding as a GGUF file of `architecture` describes it: settings, and for scalings that GGUF has no settings for,
    /// tensors of the factors by which frequencies are divided.
    pub(in super::super) fn gguf_rope(&self, architecture: &str) -> Result<GgufRope, String> {
        let rope = &self.rope;
        let (mut entries, mut tensors) = (vec![(DIMS, Value::U32(rope.dims)), (BASE, Value::F32(rope.theta as f32))], Vec::new());
        let text = |kind: &str| (KIND, Value::String(kind.to_owned()));
        match &rope.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => entries.extend([text("linear"), (FACTOR, Value::F32(*factor as f32))]),
            RopeScaling::Yarn { factor, original_context, beta_fast: 32.0, beta_slow: 1.0, truncate: true, attention_factor: None } => {
                entries.extend([text("yarn"), (FACTOR, Value::F32(*factor as f32)), (ORIGINAL, Value::U32(*original_context as u32))]);
            }
            RopeScaling::LongRope { short, long, original_context, attention_factor } => {
                entries
                    .extend([(ORIGINAL, Value::U32(*original_context as u32)), (ATTENTION_FACTOR, Value::F32(*attention_factor as f32))]);
                tensors.extend([(ROPE_FACTORS_SHORT, short.clone()), (ROPE_FACTORS_LONG, long.clone())]);
            }
            RopeScaling::Dynamic { .. } => return Err("positions stretched by the length of the text".into()),
            scaling if rope_table::attention_factor(scaling) == 1.0 && !matches!(scaling, RopeScaling::Yarn { .. }) => {
                tensors.push((ROPE_FACTORS, rope_factors(rope).map_err(|error| error.to_string())?));
            }
            scaling => return Err(format!("positions stretched by {scaling:?}")),
        }
        let entries = entries.into_iter().filter_map(|(key, value)| Some((key.in_gguf(architecture)?, value)));
        Ok((entries.collect(), tensors))
    }
}

/// How many times slower each pair turns than it would without scaling, in a scaling that no context changes.
fn rope_factors(rope: &RopeConfig) -> Result<Vec<f32>, rope_table::RopeError> {
    let plain = rope_table::inverse_frequencies(&RopeConfig { scaling: RopeScaling::None, ..rope.clone() }, 1)?;
    let scaled = rope_table::inverse_frequencies(rope, 1)?;
    // GGUF's number for a pair that stands still
    const STILL: f64 = 1e30;
    Ok(plain.iter().zip(scaled).map(|(plain, scaled)| (plain / scaled).min(STILL) as f32).collect())
}
