//! config.json's account of rotary positions.

use parhelion_loader::{LoadError, Metadata};

use super::{PART, THETA};
use crate::ops::rope_table::{Pairing, RopeConfig, RopeScaling};

/// The object that describes scaling; from version 5 of `transformers` it holds the base of the frequencies too, and there is one a
/// kind of layer where those differ.
pub(super) fn hf_object(metadata: &Metadata) -> &'static str {
    let objects = ["rope_parameters.full_attention", "rope_parameters"];
    let has = |object: &&str| ["rope_type", "rope_theta"].iter().any(|key| metadata.contains(&format!("{object}.{key}")));
    objects.into_iter().find(has).unwrap_or("rope_scaling")
}

/// config.json's account of rotary positions. Names and defaults: `transformers`, `modeling_rope_utils.py`.
pub(super) struct HfRope<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) object: &'static str,
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

    /// The rotary embedding of heads of `head_dim` elements in a model made for `context` tokens.
    pub(super) fn read(&self, head_dim: u32, context: u32) -> Result<RopeConfig, LoadError> {
        let metadata = self.metadata;
        let theta = match self.number("rope_theta")? {
            Some(theta) => theta,
            None => f64::from(metadata.optional("rope_theta", Metadata::f32)?.unwrap_or(THETA)),
        };
        let key = if metadata.contains(PART) { PART.to_owned() } else { self.key(PART) };
        let factor = f64::from(metadata.optional(&key, Metadata::f32)?.unwrap_or(1.0));
        if self.kind()?.1 == Some("proportional") {
            let turning = (factor * f64::from(head_dim / 2)) as u32;
            let scaling = RopeScaling::Proportional { turning, factor: self.number("factor")?.unwrap_or(1.0) };
            return Ok(RopeConfig { scaling, ..RopeConfig::new(theta, head_dim, Pairing::Half) });
        }
        let dims = (f64::from(head_dim) * factor) as u32;
        if dims < 2 || dims > head_dim || !dims.is_multiple_of(2) {
            return Err(metadata.bad_value(&key, format!("a part of the {head_dim} elements of a head that is even"), factor.to_string()));
        }
        Ok(RopeConfig { scaling: self.scaling(context)?, ..RopeConfig::new(theta, dims, Pairing::Half) })
    }

    /// The name of the scaling, and the setting that has it.
    fn kind(&self) -> Result<(String, Option<&str>), LoadError> {
        let key = if self.metadata.contains(&self.key("rope_type")) { self.key("rope_type") } else { self.key("type") };
        let kind = self.metadata.optional(&key, Metadata::str)?;
        Ok((key, kind))
    }

    /// Tokens of the first training of a model made for `context`. Phi 3 has them beside the object.
    fn original_context(&self, context: u32) -> Result<f64, LoadError> {
        const NAME: &str = "original_max_position_embeddings";
        let beside = self.metadata.optional(NAME, Metadata::f32)?.map(f64::from);
        Ok(beside.or(self.number(NAME)?).unwrap_or(f64::from(context)))
    }

    fn longrope(&self, context: u32) -> Result<RopeScaling, LoadError> {
        let original_context = self.original_context(context)?;
        let factor = self.number("factor")?.unwrap_or(f64::from(context) / original_context);
        let usual = if factor > 1.0 { (1.0 + factor.ln() / original_context.ln()).sqrt() } else { 1.0 };
        Ok(RopeScaling::LongRope {
            short: self.metadata.numbers(&self.key("short_factor"))?,
            long: self.metadata.numbers(&self.key("long_factor"))?,
            original_context,
            attention_factor: self.number("attention_factor")?.unwrap_or(usual),
        })
    }

    fn scaling(&self, context: u32) -> Result<RopeScaling, LoadError> {
        let (key, kind) = self.kind()?;
        Ok(match kind {
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
                original_context: self.original_context(context)?,
                beta_fast: self.number("beta_fast")?.unwrap_or(32.0),
                beta_slow: self.number("beta_slow")?.unwrap_or(1.0),
                truncate: self.metadata.optional(&self.key("truncate"), Metadata::bool)?.unwrap_or(true),
                attention_factor: self.attention_factor()?,
            },
            Some("dynamic") => RopeScaling::Dynamic { factor: self.required("factor")?, original_context: f64::from(context) },
            Some("longrope" | "su") => self.longrope(context)?,
            Some(other) => {
                let known = "default, linear, llama3, yarn, dynamic, longrope or proportional";
                return Err(self.metadata.bad_value(&key, known, other));
            }
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
