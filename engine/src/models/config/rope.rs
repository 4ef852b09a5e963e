//! Rotary positions, as both dialects describe them.

use parhelion_loader::{Dialect, LoadError, Metadata, Value};

use super::{Config, Key, Keys};
use crate::ops::rope_table::{self, Pairing, RopeConfig, RopeScaling};

const DIMS: Key = Key::gguf("rope.dimension_count");
const BASE: Key = Key::gguf("rope.freq_base");
/// The base of layers with a window that have their own.
const LOCAL_BASE: Key = Key::new("rope.freq_base_swa", "rope_local_base_freq");
const KIND: Key = Key::gguf("rope.scaling.type");
const FACTOR: Key = Key::gguf("rope.scaling.factor");
const ORIGINAL: Key = Key::gguf("rope.scaling.original_context_length");
/// Tokens of a first training where nothing says how many.
const ORIGINAL_CONTEXT: u32 = 4096;
/// Base of the frequencies where nothing says another.
const THETA: f32 = 10_000.0;

impl Keys<'_> {
    /// The rotary embedding of heads of `head_dim` elements in a model made for `context` tokens.
    pub(super) fn rope(&self, head_dim: u32, context: u32) -> Result<RopeConfig, LoadError> {
        match self.dialect {
            Dialect::Gguf => self.gguf_rope(head_dim),
            Dialect::HuggingFace => HfRope { metadata: self.metadata, object: hf_object(self.metadata) }.read(head_dim, context),
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

    fn gguf_rope(&self, head_dim: u32) -> Result<RopeConfig, LoadError> {
        let dims = self.even(DIMS, 2..=head_dim, head_dim)?;
        let factor = f64::from(self.positive(FACTOR, 1.0)?);
        let original = self.size(ORIGINAL, 1..=1 << 24, Some(ORIGINAL_CONTEXT))?;
        let scaling = match self.get(KIND, Metadata::str)? {
            None | Some("none" | "") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear { factor },
            Some("yarn") => RopeScaling::Yarn {
                factor,
                original_context: f64::from(original),
                beta_fast: 32.0,
                beta_slow: 1.0,
                truncate: true,
                attention_factor: None,
            },
            Some(other) => return Err(self.bad(KIND, "none, linear or yarn", other)),
        };
        let theta = f64::from(self.positive(BASE, THETA)?);
        Ok(RopeConfig { scaling, ..RopeConfig::new(theta, dims, Pairing::Half) })
    }
}

/// Entries of a GGUF file, and the factors that it keeps as a tensor.
type GgufRope = (Vec<(String, Value)>, Option<Vec<f32>>);

impl Config {
    /// The rotary embedding as a GGUF file of `architecture` describes it: settings, and for scalings that GGUF has no settings for,
    /// the factor by which each frequency is divided.
    pub(in super::super) fn gguf_rope(&self, architecture: &str) -> Result<GgufRope, String> {
        let rope = &self.rope;
        let (mut entries, mut factors) = (vec![(DIMS, Value::U32(rope.dims)), (BASE, Value::F32(rope.theta as f32))], None);
        let text = |kind: &str| (KIND, Value::String(kind.to_owned()));
        match &rope.scaling {
            RopeScaling::None => {}
            RopeScaling::Linear { factor } => entries.extend([text("linear"), (FACTOR, Value::F32(*factor as f32))]),
            RopeScaling::Yarn { factor, original_context, beta_fast: 32.0, beta_slow: 1.0, truncate: true, attention_factor: None } => {
                entries.extend([text("yarn"), (FACTOR, Value::F32(*factor as f32)), (ORIGINAL, Value::U32(*original_context as u32))]);
            }
            scaling if rope_table::attention_factor(scaling) == 1.0 && !matches!(scaling, RopeScaling::Yarn { .. }) => {
                factors = Some(rope_factors(rope).map_err(|error| error.to_string())?);
            }
            scaling => return Err(format!("positions stretched by {scaling:?}")),
        }
        let entries = entries.into_iter().filter_map(|(key, value)| Some((key.in_gguf(architecture)?, value)));
        Ok((entries.collect(), factors))
    }
}

/// How many times slower each pair turns than it would without scaling.
fn rope_factors(rope: &RopeConfig) -> Result<Vec<f32>, rope_table::RopeError> {
    let plain = rope_table::inverse_frequencies(&RopeConfig { scaling: RopeScaling::None, ..rope.clone() })?;
    let scaled = rope_table::inverse_frequencies(rope)?;
    Ok(plain.iter().zip(scaled).map(|(plain, scaled)| (plain / scaled) as f32).collect())
}

/// The object that describes scaling; from version 5 of `transformers` it holds the base of the frequencies too, and there is one a
/// kind of layer where those differ.
fn hf_object(metadata: &Metadata) -> &'static str {
    let objects = ["rope_parameters.full_attention", "rope_parameters"];
    let has = |object: &&str| ["rope_type", "rope_theta"].iter().any(|key| metadata.contains(&format!("{object}.{key}")));
    objects.into_iter().find(has).unwrap_or("rope_scaling")
}

/// config.json's account of rotary positions. Names and defaults: `transformers`, `modeling_rope_utils.py`.
struct HfRope<'a> {
    metadata: &'a Metadata,
    object: &'static str,
}

impl HfRope<'_> {
    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.object)
    }

    /// A finite number, none where the object does not say.
    fn number(&self, name: &str) -> Result<Option<f64>, LoadError> {
        Ok(self.metadata.optional(&self.key(name), Metadata::f32)?.map(f64::from))
    }

    fn required(&self, name: &str) -> Result<f64, LoadError> {
        self.metadata.f32(&self.key(name)).map(f64::from)
    }

    fn read(&self, head_dim: u32, context: u32) -> Result<RopeConfig, LoadError> {
        let metadata = self.metadata;
        let theta = match self.number("rope_theta")? {
            Some(theta) => theta,
            None => f64::from(metadata.optional("rope_theta", Metadata::f32)?.unwrap_or(THETA)),
        };
        let part = "partial_rotary_factor";
        let key = if metadata.contains(part) { part.to_owned() } else { self.key(part) };
        let factor = metadata.optional(&key, Metadata::f32)?.unwrap_or(1.0);
        let dims = (f64::from(head_dim) * f64::from(factor)) as u32;
        if dims < 2 || dims > head_dim || !dims.is_multiple_of(2) {
            return Err(metadata.bad_value(&key, format!("a part of the {head_dim} elements of a head that is even"), factor.to_string()));
        }
        Ok(RopeConfig { scaling: self.scaling(context)?, ..RopeConfig::new(theta, dims, Pairing::Half) })
    }

    fn scaling(&self, context: u32) -> Result<RopeScaling, LoadError> {
        let key = if self.metadata.contains(&self.key("rope_type")) { self.key("rope_type") } else { self.key("type") };
        let original = || Ok::<_, LoadError>(self.number("original_max_position_embeddings")?.unwrap_or(f64::from(context)));
        Ok(match self.metadata.optional(&key, Metadata::str)? {
            None | Some("default") => RopeScaling::None,
            Some("linear") => RopeScaling::Linear { factor: self.required("factor")? },
            Some("llama3") => RopeScaling::Llama3 {
                factor: self.required("factor")?,
                low_freq_factor: self.required("low_freq_factor")?,
                high_freq_factor: self.required("high_freq_factor")?,
                original_context: self.required("original_max_position_embeddings")?,
            },
            Some("yarn") => RopeScaling::Yarn {
                factor: self.required("factor")?,
                original_context: original()?,
                beta_fast: self.number("beta_fast")?.unwrap_or(32.0),
                beta_slow: self.number("beta_slow")?.unwrap_or(1.0),
                truncate: self.metadata.optional(&self.key("truncate"), Metadata::bool)?.unwrap_or(true),
                attention_factor: self.attention_factor()?,
            },
            Some(other) => return Err(self.metadata.bad_value(&key, "default, linear, llama3 or yarn", other)),
        })
    }

    /// YaRN's factor on cos and sin, where the model has its own.
    fn attention_factor(&self) -> Result<Option<f64>, LoadError> {
        if let Some(factor) = self.number("attention_factor")? {
            return Ok(Some(factor));
        }
        let (Some(scale), Some(all)) = (self.number("mscale")?, self.number("mscale_all_dim")?) else { return Ok(None) };
        let factor = self.required("factor")?;
        let amplitude = |scale: f64| if factor > 1.0 { 0.1 * scale * factor.ln() + 1.0 } else { 1.0 };
        Ok((scale != 0.0 && all != 0.0).then(|| amplitude(scale) / amplitude(all)))
    }
}
