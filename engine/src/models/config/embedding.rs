//! Encoders, and how texts become vectors, as both dialects describe it: GGUF by settings, repositories by the files of the
//! sentence-transformers library, which the loader puts under `modules.N`, `sentence_bert` and `sentence_transformers`.

use parhelion_loader::{Dialect, LoadError, Metadata, Value};

use super::{Config, Key, Keys, Tables};
use crate::models::embedding::{DENSE_NUMBERS, DenseLayer, Embedding, Pooling};

const LAYER_NORM_EPS: Key = Key::new("attention.layer_norm_epsilon", "layer_norm_eps").or_hf("layer_norm_epsilon");
const KINDS: Key = Key::hf("type_vocab_size");
const KINDS_IN_GGUF: &str = "tokenizer.ggml.token_type_count";
const POSITIONS: Key = Key::hf("position_embedding_type");
const POOLING: Key = Key::gguf("pooling_type");
/// Rows of the dense layers, in the order of [`DENSE_NUMBERS`].
const DENSE_ROWS: [Key; 2] = [Key::gguf("dense_2_feat_out"), Key::gguf("dense_3_feat_out")];
/// More modules than any repository has.
const MODULES: u32 = 8;

impl Keys<'_> {
    /// The sizes of an encoder with LayerNorm whose rows see all of their text.
    pub(in super::super) fn encoder(&self) -> Result<Config, LoadError> {
        let c = self.decoder()?;
        let kinds = match self.dialect {
            Dialect::HuggingFace => self.size(KINDS, 0..=1 << 16, Some(0))?,
            Dialect::Gguf => self.metadata.optional(KINDS_IN_GGUF, Metadata::u32)?.unwrap_or(0),
        };
        let tables = Tables { positions: None, kinds: (kinds > 0).then_some(kinds) };
        Ok(Config { norm_eps: self.positive(LAYER_NORM_EPS, 1e-12)?, both_sides: true, tables, ..c })
    }

    /// Refuses positions that are no table.
    pub(in super::super) fn learned_positions(&self) -> Result<(), LoadError> {
        match self.get(POSITIONS, Metadata::str)? {
            None | Some("absolute") => Ok(()),
            Some(other) => Err(self.bad(POSITIONS, "absolute", other)),
        }
    }

    /// How the model makes vectors of texts; none of one that writes text.
    pub(in super::super) fn embedding(&self, config: &Config) -> Result<Option<Embedding>, LoadError> {
        let says = match self.dialect {
            Dialect::Gguf => self.gguf_embedding()?,
            Dialect::HuggingFace => self.modules(config)?,
        };
        Ok(says.or_else(|| config.both_sides.then(Embedding::mean)))
    }

    fn gguf_embedding(&self) -> Result<Option<Embedding>, LoadError> {
        let pooling = match self.get(POOLING, Metadata::u32)? {
            None | Some(0) => return Ok(None),
            Some(1) => Pooling::Mean,
            Some(2) => Pooling::First,
            Some(3) => Pooling::Last,
            Some(other) => {
                return Err(self.bad(
                    POOLING,
                    "1 (mean), 2 (first token) or 3 (last token): others, as of rerankers, are not supported",
                    other,
                ));
            }
        };
        let mut dense = Vec::new();
        for (number, key) in DENSE_NUMBERS.into_iter().zip(DENSE_ROWS) {
            let tensor = |end| format!("dense_{number}.{end}");
            if self.has_tensor(&tensor("weight")) {
                let rows = self.size(key, 1..=1 << 16, None)?;
                dense.push(DenseLayer { number, rows, bias: self.has_tensor(&tensor("bias")) });
            }
        }
        // what programs that run such files do
        Ok(Some(Embedding { pooling, dense, normalise: true, ..Embedding::mean() }))
    }

    fn modules(&self, config: &Config) -> Result<Option<Embedding>, LoadError> {
        let metadata = self.metadata;
        let mut embedding = Embedding::mean();
        for number in 0..MODULES {
            let key = format!("modules.{number}.type");
            let Some(kind) = metadata.optional(&key, Metadata::str)? else {
                if number == 0 {
                    return Ok(None);
                }
                break;
            };
            match kind.rsplit('.').next().unwrap_or(kind) {
                "Transformer" if number == 0 => {}
                "Pooling" => embedding.pooling = self.pooling_module(number)?,
                "Dense" => embedding.dense.push(self.dense_module(number)?),
                "Normalize" => embedding.normalise = true,
                other => return Err(metadata.bad_value(&key, "Transformer, Pooling, Dense or Normalize", other)),
            }
        }
        let longest = metadata.optional("sentence_bert.max_seq_length", Metadata::u32)?;
        embedding.cut_after = Some(longest.unwrap_or(config.context).clamp(1, config.context.max(1)));
        embedding.prompts = self.prompts();
        embedding.default_prompt = metadata.optional("sentence_transformers.default_prompt_name", Metadata::str)?.map(str::to_owned);
        Ok(Some(embedding))
    }

    fn pooling_module(&self, number: u32) -> Result<Pooling, LoadError> {
        const MODES: [(&str, &str, Pooling); 3] = [
            ("pooling_mode_cls_token", "cls", Pooling::First),
            ("pooling_mode_mean_tokens", "mean", Pooling::Mean),
            ("pooling_mode_lasttoken", "lasttoken", Pooling::Last),
        ];
        const OTHERS: [&str; 3] = ["pooling_mode_max_tokens", "pooling_mode_mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens"];
        const KNOWN: &str = "the mean, the first token or the last token";
        let key = |name: &str| format!("modules.{number}.config.{name}");
        let is = |name: &str| Ok::<_, LoadError>(self.metadata.optional(&key(name), Metadata::bool)?.unwrap_or(false));
        if let Some(name) = OTHERS.into_iter().find(|name| is(name).unwrap_or(false)) {
            return Err(self.metadata.bad_value(&key(name), format!("false: pooling is supported by {KNOWN}"), "true"));
        }
        if self.metadata.optional(&key("include_prompt"), Metadata::bool)? == Some(false) {
            return Err(self.metadata.bad_value(&key("include_prompt"), "true: pooling without the prompt is not supported", "false"));
        }
        if let Some(name) = self.metadata.optional(&key("pooling_mode"), Metadata::str)? {
            let mode = MODES.iter().find(|(_, short, _)| *short == name);
            return mode.map(|mode| mode.2).ok_or_else(|| self.metadata.bad_value(&key("pooling_mode"), KNOWN, name));
        }
        let mut found = Vec::new();
        for (name, _, pooling) in MODES {
            if is(name)? {
                found.push(pooling);
            }
        }
        match found.as_slice() {
            [one] => Ok(*one),
            all => Err(self.metadata.bad_value(&key("pooling_mode_*"), format!("one of {KNOWN}"), format!("{} of them", all.len()))),
        }
    }

    fn dense_module(&self, number: u32) -> Result<DenseLayer, LoadError> {
        let key = |name: &str| format!("modules.{number}.config.{name}");
        if !DENSE_NUMBERS.contains(&number) {
            let wanted = format!("dense layers as modules {DENSE_NUMBERS:?} alone");
            return Err(self.metadata.bad_value(&format!("modules.{number}.type"), wanted, "Dense"));
        }
        let activation = self.metadata.optional(&key("activation_function"), Metadata::str)?.unwrap_or("Identity");
        if !activation.ends_with("Identity") {
            return Err(self.metadata.bad_value(&key("activation_function"), "Identity", activation));
        }
        let rows = self.metadata.u32(&key("out_features"))?;
        let bias = self.metadata.optional(&key("bias"), Metadata::bool)?.unwrap_or(true);
        Ok(DenseLayer { number, rows, bias })
    }

    fn prompts(&self) -> Vec<(String, String)> {
        let entries = self.metadata.iter().filter_map(|(key, value)| match value {
            Value::String(text) => Some((key.strip_prefix("sentence_transformers.prompts.")?.to_owned(), text.clone())),
            _ => None,
        });
        entries.collect()
    }
}
