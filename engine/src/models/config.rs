//! A model's sizes, read from metadata and checked before anything is computed from them.

use parhelion_loader::{Array, Dialect, LoadError, Metadata, Value};

use super::decoder::{Block, Layer, Scales};
use crate::ops::{
    attention::MAX_HEAD_DIM,
    rope_table::{MAX_POSITIONS, RopeConfig},
};

mod block;
mod keys;
mod rope;

pub(super) use keys::Key;
pub use keys::Keys;

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

impl Keys<'_> {
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
        let says = self.get(VOCAB, Metadata::u32)?.is_some();
        if self.dialect == Dialect::HuggingFace || (says && !self.metadata.contains(TOKENS)) {
            return self.size(VOCAB, RANGE, None);
        }
        let tokens = self.metadata.array(TOKENS).map(Array::len)?;
        let size = u32::try_from(tokens).ok().filter(|size| RANGE.contains(size));
        size.ok_or_else(|| self.metadata.bad_value(TOKENS, format!("1 to {} tokens", RANGE.end()), tokens.to_string()))
    }
}
