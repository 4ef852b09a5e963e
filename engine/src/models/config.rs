//! A model's sizes, read from metadata and checked before anything is computed from them.

use std::cell::RefCell;

use parhelion_loader::{Array, Dialect, LoadError, Metadata, Value};

use super::decoder::{Block, Layer, Scales};
use crate::ops::{
    attention::MAX_HEAD_DIM,
    rope_table::{MAX_POSITIONS, RopeConfig},
};

mod block;
mod rope;

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
    /// Rotary positions of layers with a window, where those have their own.
    pub local_rope: Option<RopeConfig>,
    /// Whether the output head is the embedding; none where only the presence of a tensor for it tells.
    pub tied: Option<bool>,
    /// What all layers have in common.
    pub block: Block,
    /// What each layer has of its own: as many as there are layers.
    pub per_layer: Vec<Layer>,
    /// Numbers that values are multiplied by or kept under.
    pub scales: Scales,
}

/// A setting's name in each dialect, none where a dialect has no such setting.
#[derive(Debug, Clone, Copy)]
pub(super) struct Key {
    /// GGUF's, without the architecture in front.
    gguf: Option<&'static str>,
    /// config.json's.
    hf: Option<&'static str>,
}

impl Key {
    /// A setting of both.
    pub(super) const fn new(gguf: &'static str, hf: &'static str) -> Self {
        Self { gguf: Some(gguf), hf: Some(hf) }
    }

    /// A setting of GGUF alone.
    pub(super) const fn gguf(gguf: &'static str) -> Self {
        Self { gguf: Some(gguf), hf: None }
    }

    /// The full name of the setting in a GGUF file.
    fn in_gguf(self, architecture: &str) -> Option<String> {
        self.gguf.map(|name| format!("{architecture}.{name}"))
    }

    /// A setting of config.json alone.
    pub(super) const fn hf(hf: &'static str) -> Self {
        Self { gguf: None, hf: Some(hf) }
    }
}

const HEADS: Key = Key::new("attention.head_count", "num_attention_heads");
const KV_HEADS: Key = Key::new("attention.head_count_kv", "num_key_value_heads");
const HIDDEN: Key = Key::new("embedding_length", "hidden_size");
const HEAD_DIM: Key = Key::new("attention.key_length", "head_dim");
const VALUE_DIM: Key = Key::gguf("attention.value_length");
const LAYERS: Key = Key::new("block_count", "num_hidden_layers");
const FFN: Key = Key::new("feed_forward_length", "intermediate_size");
const CONTEXT: Key = Key::new("context_length", "max_position_embeddings");
const NORM_EPS: Key = Key::new("attention.layer_norm_rms_epsilon", "rms_norm_eps");
const VOCAB: Key = Key::new("vocab_size", "vocab_size");
const TIED: Key = Key::hf("tie_word_embeddings");
/// Where GGUF files have as many entries as there are tokens.
const TOKENS: &str = "tokenizer.ggml.tokens";

impl Config {
    /// The sizes as a GGUF file of `architecture` has them, those included that repositories need not give.
    pub(super) fn gguf_entries(&self, architecture: &str) -> Vec<(String, Value)> {
        let sizes = [
            (CONTEXT, self.context),
            (HIDDEN, self.hidden),
            (LAYERS, self.layers),
            (FFN, self.ffn),
            (HEADS, self.heads),
            (KV_HEADS, self.kv_heads),
            (HEAD_DIM, self.head_dim),
            (VALUE_DIM, self.head_dim),
        ];
        let sizes = sizes.into_iter().map(|(key, size)| (key, Value::U32(size)));
        let all = sizes.chain([(NORM_EPS, Value::F32(self.norm_eps))]);
        all.filter_map(|(key, value)| Some((key.in_gguf(architecture)?, value))).collect()
    }
}

/// A model's settings by the names of its dialect, each checked as it is read.
pub struct Keys<'a> {
    metadata: &'a Metadata,
    dialect: Dialect,
    architecture: &'a str,
    has_tensor: &'a dyn Fn(&str) -> bool,
    /// What was read of the settings that both dialects have, by their names in GGUF.
    read: RefCell<Vec<(&'static str, Value)>>,
}

impl<'a> Keys<'a> {
    /// `has_tensor` says whether the model has a tensor of a name.
    pub(super) fn new(metadata: &'a Metadata, dialect: Dialect, architecture: &'a str, has_tensor: &'a dyn Fn(&str) -> bool) -> Self {
        Self { metadata, dialect, architecture, has_tensor, read: RefCell::default() }
    }

    /// Whether the model has a tensor of this name.
    fn has_tensor(&self, name: &str) -> bool {
        (self.has_tensor)(name)
    }

    /// What was read of the settings that both dialects have, as a GGUF file of `architecture` has it.
    pub(super) fn in_gguf(self, architecture: &str) -> Vec<(String, Value)> {
        self.read.into_inner().into_iter().map(|(name, value)| (format!("{architecture}.{name}"), value)).collect()
    }

    /// Books a setting as read.
    fn note(&self, key: Key, value: Value) {
        if let (Some(gguf), Some(_)) = (key.gguf, key.hf) {
            let mut read = self.read.borrow_mut();
            read.retain(|(known, _)| *known != gguf);
            read.push((gguf, value));
        }
    }

    /// Whose names and keys the model has.
    pub(super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The full name of a setting in this dialect.
    fn name(&self, key: Key) -> Option<String> {
        match self.dialect {
            Dialect::Gguf => key.in_gguf(self.architecture),
            Dialect::HuggingFace => key.hf.map(str::to_owned),
        }
    }

    /// What `getter` makes of a setting, none where the model does not say.
    fn get<T>(&self, key: Key, getter: impl FnOnce(&'a Metadata, &str) -> Result<T, LoadError>) -> Result<Option<T>, LoadError> {
        match self.name(key) {
            Some(name) => self.metadata.optional(&name, getter),
            None => Ok(None),
        }
    }

    fn bad(&self, key: Key, expected: impl Into<String>, got: impl ToString) -> LoadError {
        self.metadata.bad_value(&self.name(key).unwrap_or_default(), expected, got.to_string())
    }

    /// A whole number within `range`; `default` where the model does not say.
    pub(super) fn size(&self, key: Key, range: std::ops::RangeInclusive<u32>, default: Option<u32>) -> Result<u32, LoadError> {
        let read = self.get(key, Metadata::u32)?;
        let value = match (read, default) {
            (Some(value), _) | (None, Some(value)) => value,
            // the getter's own error: there is no such entry
            (None, None) => self.metadata.u32(&self.name(key).unwrap_or_default())?,
        };
        if range.contains(&value) {
            if read.is_some() {
                self.note(key, Value::U32(value));
            }
            return Ok(value);
        }
        Err(self.bad(key, format!("a number from {} to {}", range.start(), range.end()), value))
    }

    /// A finite number over 0; `default` where the model does not say.
    pub(super) fn positive(&self, key: Key, default: f32) -> Result<f32, LoadError> {
        Ok(self.optional_positive(key)?.unwrap_or(default))
    }

    /// A finite number over 0; none where the model does not say.
    pub(super) fn optional_positive(&self, key: Key) -> Result<Option<f32>, LoadError> {
        match self.get(key, Metadata::f32)? {
            Some(value) if !(value.is_finite() && value > 0.0) => Err(self.bad(key, "a finite number over 0", value)),
            Some(value) => {
                self.note(key, Value::F32(value));
                Ok(Some(value))
            }
            None => Ok(None),
        }
    }

    /// An even number.
    fn even(&self, key: Key, range: std::ops::RangeInclusive<u32>, default: u32) -> Result<u32, LoadError> {
        let value = self.size(key, range, Some(default))?;
        if value.is_multiple_of(2) { Ok(value) } else { Err(self.bad(key, "an even number", value)) }
    }

    /// The sizes of a decoder, as llama.cpp's converters or the `transformers` library write them.
    pub(super) fn decoder(&self) -> Result<Config, LoadError> {
        let heads = self.size(HEADS, 1..=1024, None)?;
        let hidden = self.size(HIDDEN, 4..=1 << 16, None)?;
        let kv_heads = self.size(KV_HEADS, 1..=1024, Some(heads))?;
        if heads % kv_heads != 0 {
            return Err(self.bad(KV_HEADS, format!("a divisor of the {heads} heads"), kv_heads));
        }
        let head_dim = self.even(HEAD_DIM, 2..=MAX_HEAD_DIM, hidden / heads)?;
        let value_dim = self.size(VALUE_DIM, 2..=MAX_HEAD_DIM, Some(head_dim))?;
        if value_dim != head_dim {
            return Err(self.bad(VALUE_DIM, format!("{head_dim}, the length of a key"), value_dim));
        }
        let context = self.size(CONTEXT, 1..=MAX_POSITIONS, None)?;
        let norm_eps = match self.dialect {
            Dialect::Gguf => 1e-5,
            Dialect::HuggingFace => 1e-6,
        };
        let layers = self.size(LAYERS, 1..=1024, None)?;
        Ok(Config {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn: self.size(FFN, 1..=1 << 20, None)?,
            vocab: self.vocab()?,
            context,
            norm_eps: self.positive(NORM_EPS, norm_eps)?,
            rope: self.rope(head_dim, context)?,
            local_rope: None,
            tied: self.get(TIED, Metadata::bool)?,
            block: self.block()?,
            per_layer: vec![Layer::FULL; layers as usize],
            scales: Scales::NONE,
        })
    }

    fn vocab(&self) -> Result<u32, LoadError> {
        const RANGE: std::ops::RangeInclusive<u32> = 1..=1 << 24;
        if self.dialect == Dialect::HuggingFace {
            return self.size(VOCAB, RANGE, None);
        }
        if let Some(size) = self.get(VOCAB, Metadata::u32)?.filter(|_| !self.metadata.contains(TOKENS)) {
            return Ok(size);
        }
        let tokens = self.metadata.array(TOKENS).map(Array::len)?;
        let size = u32::try_from(tokens).ok().filter(|size| RANGE.contains(size));
        size.ok_or_else(|| self.metadata.bad_value(TOKENS, format!("1 to {} tokens", RANGE.end()), tokens.to_string()))
    }

    /// Refuses a model whose setting says that it has a part which the family does not build.
    pub(super) fn refuse(&self, key: Key, what: &str) -> Result<(), LoadError> {
        let Some(name) = self.name(key) else { return Ok(()) };
        match self.metadata.get(&name) {
            None => Ok(()),
            Some(Value::Bool(false)) => Ok(()),
            Some(Value::Bool(true)) => Err(self.bad(key, format!("false: {what} are not supported"), true)),
            Some(_) => match self.metadata.u32(&name)? {
                0 => Ok(()),
                n => Err(self.bad(key, format!("0: {what} are not supported"), n)),
            },
        }
    }
}
