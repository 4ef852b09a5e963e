//! A model's sizes, read from metadata and checked before anything is computed from them.

use parhelion_loader::{LoadError, Metadata};

use crate::ops::rope_table::{MAX_POSITIONS, Pairing, RopeConfig, RopeScaling};

/// The sizes that families share.
#[derive(Debug, Clone)]
pub struct Config {
    /// Blocks.
    pub layers: u32,
    /// Elements of the residual stream.
    pub hidden: u32,
    /// Query heads.
    pub heads: u32,
    /// Key and value heads; divides `heads`.
    pub kv_heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Elements inside the feed-forward block.
    pub ffn: u32,
    /// Tokens.
    pub vocab: u32,
    /// Tokens of context that the model was made for.
    pub context: u32,
    /// Added to the mean square under the root of RMSNorm.
    pub norm_eps: f32,
    /// Rotary positions.
    pub rope: RopeConfig,
}

/// GGUF metadata under an architecture's prefix.
pub(super) struct Keys<'a> {
    metadata: &'a Metadata,
    architecture: &'a str,
}

impl<'a> Keys<'a> {
    pub(super) fn new(architecture: &'a str, metadata: &'a Metadata) -> Self {
        Self { metadata, architecture }
    }

    fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A whole number within `range`; `default` where the file does not say.
    pub(super) fn size(&self, name: &str, range: std::ops::RangeInclusive<u32>, default: Option<u32>) -> Result<u32, LoadError> {
        let key = self.key(name);
        let value = match default {
            Some(default) => self.metadata.optional(&key, Metadata::u32)?.unwrap_or(default),
            None => self.metadata.u32(&key)?,
        };
        if range.contains(&value) {
            return Ok(value);
        }
        Err(self.metadata.bad_value(&key, format!("a number from {} to {}", range.start(), range.end()), value.to_string()))
    }

    /// A finite number over 0; `default` where the file does not say.
    pub(super) fn positive(&self, name: &str, default: f32) -> Result<f32, LoadError> {
        let key = self.key(name);
        let value = self.metadata.optional(&key, Metadata::f32)?.unwrap_or(default);
        if value.is_finite() && value > 0.0 {
            return Ok(value);
        }
        Err(self.metadata.bad_value(&key, "a finite number over 0", value.to_string()))
    }

    /// The sizes of a decoder as llama.cpp's converters write them.
    pub(super) fn decoder(&self) -> Result<Config, LoadError> {
        let heads = self.size("attention.head_count", 1..=1024, None)?;
        let hidden = self.size("embedding_length", 4..=1 << 16, None)?;
        let kv_heads = self.size("attention.head_count_kv", 1..=1024, Some(heads))?;
        if heads % kv_heads != 0 {
            let key = self.key("attention.head_count_kv");
            return Err(self.metadata.bad_value(&key, format!("a divisor of the {heads} heads"), kv_heads.to_string()));
        }
        let head_dim = self.size("attention.key_length", 2..=256, Some(hidden / heads))?;
        if head_dim % 2 != 0 {
            return Err(self.metadata.bad_value(&self.key("attention.key_length"), "an even number", head_dim.to_string()));
        }
        let value_dim = self.size("attention.value_length", 2..=256, Some(head_dim))?;
        if value_dim != head_dim {
            return Err(self.metadata.bad_value(
                &self.key("attention.value_length"),
                format!("{head_dim}, the length of a key"),
                value_dim.to_string(),
            ));
        }
        Ok(Config {
            layers: self.size("block_count", 1..=1024, None)?,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn: self.size("feed_forward_length", 1..=1 << 20, None)?,
            vocab: self.vocab()?,
            context: self.size("context_length", 1..=MAX_POSITIONS, None)?,
            norm_eps: self.positive("attention.layer_norm_rms_epsilon", 1e-5)?,
            rope: self.rope(head_dim)?,
        })
    }

    fn vocab(&self) -> Result<u32, LoadError> {
        let tokens = self.metadata.array("tokenizer.ggml.tokens")?.len();
        u32::try_from(tokens)
            .ok()
            .filter(|n| (1..=1 << 24).contains(n))
            .ok_or_else(|| self.metadata.bad_value("tokenizer.ggml.tokens", "1 to 16777216 tokens", tokens.to_string()))
    }

    fn rope(&self, head_dim: u32) -> Result<RopeConfig, LoadError> {
        let dims = self.size("rope.dimension_count", 2..=head_dim, Some(head_dim))?;
        if dims % 2 != 0 {
            return Err(self.metadata.bad_value(&self.key("rope.dimension_count"), "an even number", dims.to_string()));
        }
        let kind = self.metadata.optional(&self.key("rope.scaling.type"), |m, key| m.str(key).map(str::to_owned))?;
        let factor = f64::from(self.positive("rope.scaling.factor", 1.0)?);
        let original = self.size("rope.scaling.original_context_length", 1..=1 << 24, Some(4096))?;
        let scaling = match kind.as_deref() {
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
            Some(other) => {
                return Err(self.metadata.bad_value(&self.key("rope.scaling.type"), "none, linear or yarn", other));
            }
        };
        let theta = f64::from(self.positive("rope.freq_base", 10_000.0)?);
        Ok(RopeConfig { scaling, ..RopeConfig::new(theta, dims, Pairing::Half) })
    }

    /// Refuses a model whose key says that it has a part which the family does not build.
    pub(super) fn refuse(&self, name: &str, what: &str) -> Result<(), LoadError> {
        let key = self.key(name);
        match self.metadata.optional(&key, Metadata::u32)? {
            None | Some(0) => Ok(()),
            Some(n) => Err(self.metadata.bad_value(&key, format!("0: {what} are not supported"), n.to_string())),
        }
    }
}
