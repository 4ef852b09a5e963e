//! A model's sizes, read from metadata and checked before anything is computed from them.

use parhelion_loader::{Array, Dialect, LoadError, Metadata, Value};

use super::{
    decoder::{Block, Layer, Mixer},
    embedding::Embedding,
    scales::Scales,
};
use crate::ops::{
    attention::MAX_HEAD_DIM,
    rope_table::{MAX_POSITIONS, RopeConfig},
};

mod block;
mod embedding;
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
    /// Layers that a GGUF file has behind the others, which predict tokens further on and are left out.
    pub predicting: u32,
    /// Rows see all of their text, not only what comes before them.
    pub both_sides: bool,
    /// How a text becomes a vector, of models that are for that; none of those that write text.
    pub embedding: Option<Embedding>,
    /// Tables beside the tokens' that are added to what comes into the first layer.
    pub tables: Tables,
    /// Tensors that repositories of the family have and that are of no use here.
    pub unused: &'static [&'static str],
}

/// Learned tables beside the tokens'.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tables {
    /// Rows of the table of positions.
    pub positions: Option<u32>,
    /// Rows of the table of the kinds of texts, the first of which is that of a text alone.
    pub kinds: Option<u32>,
}

const HEADS: Key = Key::new("attention.head_count", "num_attention_heads").or_hf("n_head");
const KV_HEADS: Key = Key::new("attention.head_count_kv", "num_key_value_heads");
const HIDDEN: Key = Key::new("embedding_length", "hidden_size").or_hf("n_embd");
const HEAD_DIM: Key = Key::new("attention.key_length", "head_dim");
const VALUE_DIM: Key = Key::gguf("attention.value_length");
const LAYERS: Key = Key::new("block_count", "num_hidden_layers").or_hf("n_layer");
const FFN: Key = Key::new("feed_forward_length", "intermediate_size").or_hf("n_inner");
const CONTEXT: Key = Key::new("context_length", "max_position_embeddings").or_hf("n_positions");
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
            (HEAD_DIM, self.head_dim),
            (VALUE_DIM, self.head_dim),
        ];
        let sizes = sizes.into_iter().map(|(key, size)| (key, Value::U32(size)));
        let all = sizes.chain([(NORM_EPS, Value::F32(self.norm_eps)), (KV_HEADS, self.gguf_kv_heads())]);
        all.filter_map(|(key, value)| Some((key.in_gguf(architecture)?, value))).collect()
    }

    /// Whether a tensor is part of the layers that are left out.
    pub(super) fn leaves_out(&self, tensor: &str) -> bool {
        let layer = tensor.strip_prefix("blk.").and_then(|rest| rest.split_once('.')?.0.parse().ok());
        layer.is_some_and(|layer: u32| layer >= self.layers && layer - self.layers < self.predicting)
    }

    /// A number, or a list with 0 for layers without attention.
    fn gguf_kv_heads(&self) -> Value {
        let of_layer = |layer: &Layer| if layer.mixer == Mixer::Attention { self.kv_heads } else { 0 };
        let heads: Vec<u32> = self.per_layer.iter().map(of_layer).collect();
        if heads.contains(&0) { Value::Array(Array::U32(heads)) } else { Value::U32(self.kv_heads) }
    }
}

impl Keys<'_> {
    /// The sizes of a decoder, as llama.cpp's converters or the `transformers` library write them.
    pub(super) fn decoder(&self) -> Result<Config, LoadError> {
        self.decoder_with(self.feed_forward()?)
    }

    /// Elements inside feed-forward blocks.
    pub(super) fn feed_forward(&self) -> Result<u32, LoadError> {
        self.size(FFN, 1..=1 << 20, None)
    }

    /// The same with feed-forward blocks of `ffn` elements.
    pub(super) fn decoder_with(&self, ffn: u32) -> Result<Config, LoadError> {
        let heads = self.size(HEADS, 1..=1024, None)?;
        let hidden = self.size(HIDDEN, 4..=1 << 16, None)?;
        let layers = self.size(LAYERS, 1..=1024, None)?;
        let kv_heads = self.kv_heads(heads, layers)?;
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
        Ok(Config {
            layers,
            hidden,
            heads,
            kv_heads,
            head_dim,
            ffn,
            vocab: self.vocab()?,
            context,
            norm_eps: self.positive(NORM_EPS, norm_eps)?,
            rope: self.rope(head_dim, context)?,
            local_rope: None,
            tied: self.get(TIED, Metadata::bool)?,
            block: self.block()?,
            per_layer: vec![Layer::FULL; layers as usize],
            scales: Scales::NONE,
            predicting: 0,
            both_sides: false,
            embedding: None,
            tables: Tables::default(),
            unused: &[],
        })
    }

    /// Heads of keys and values. Lists have them layer by layer, 0 where there is no attention.
    fn kv_heads(&self, heads: u32, layers: u32) -> Result<u32, LoadError> {
        if !self.is_list(KV_HEADS) {
            return self.size(KV_HEADS, 1..=1024, Some(heads));
        }
        let list = self.kv_heads_of_layers(layers)?;
        let most = list.iter().copied().max().unwrap_or(0);
        match list.iter().find(|&&heads| heads != 0 && heads != most) {
            None if (1..=1024).contains(&most) => Ok(most),
            None => Err(self.bad(KV_HEADS, "1 to 1024 heads in some layer", most)),
            Some(other) => Err(self.bad(KV_HEADS, format!("{most} heads in each layer that has any"), other)),
        }
    }

    /// The same for each layer.
    pub(super) fn kv_heads_of_layers(&self, layers: u32) -> Result<Vec<u32>, LoadError> {
        if self.is_list(KV_HEADS) {
            return Ok(self.numbers_of_layers(KV_HEADS, layers)?.unwrap_or_default());
        }
        Ok(vec![self.size(KV_HEADS, 1..=1024, None)?; layers as usize])
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
