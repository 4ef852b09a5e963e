//! How blocks and layers differ among families, as both dialects describe it.

use parhelion_loader::{Array, Dialect, LoadError, Metadata, Value};

use super::{Key, Keys};
use crate::{
    models::decoder::{Biases, Block, Joined, Layer, Norms, Positions, QkNorm},
    ops::activate::Activation,
};

const ATTENTION_BIAS: Key = Key::hf("attention_bias");
const FFN_BIAS: Key = Key::hf("mlp_bias");
const WINDOW: Key = Key::new("attention.sliding_window", "sliding_window");
const WINDOW_PATTERN: Key = Key::gguf("attention.sliding_window_pattern");
const LAYER_TYPES: Key = Key::hf("layer_types");
/// Newer and older name of the activation.
const ACTIVATIONS: [Key; 2] = [Key::hf("hidden_activation"), Key::hf("hidden_act")];

impl Keys<'_> {
    /// Llama's block, with the activation and the biases that the model says.
    pub(super) fn block(&self) -> Result<Block, LoadError> {
        Ok(Block {
            activation: self.activation(Activation::Silu)?,
            norms: Norms { before: true, after: false },
            qk_norm: QkNorm::None,
            biases: self.biases()?,
            joined: Joined::default(),
            output_gate: false,
            experts: None,
            sinks: false,
            gated: true,
        })
    }

    /// The activation that the model names; `default` where it names none.
    pub(in super::super) fn activation(&self, default: Activation) -> Result<Activation, LoadError> {
        for key in ACTIVATIONS {
            return Ok(match self.get(key, Metadata::str)? {
                None => continue,
                Some("silu" | "swish") => Activation::Silu,
                Some("gelu_pytorch_tanh" | "gelu_new") => Activation::GeluTanh,
                Some("gelu") => Activation::GeluErf,
                Some("relu2") => Activation::ReluSquared,
                Some(other) => return Err(self.bad(key, "silu, gelu, gelu_pytorch_tanh or relu2", other)),
            });
        }
        Ok(default)
    }

    /// config.json says which products have biases; a GGUF file has the tensors or not.
    fn biases(&self) -> Result<Biases, LoadError> {
        Ok(match self.dialect {
            Dialect::Gguf => Biases {
                qkv: self.has_tensor("blk.0.attn_q.bias"),
                o: self.has_tensor("blk.0.attn_output.bias"),
                ffn: self.has_tensor("blk.0.ffn_down.bias"),
            },
            Dialect::HuggingFace => {
                let attention = self.flag(ATTENTION_BIAS, false)?;
                Biases { qkv: attention, o: attention, ffn: self.flag(FFN_BIAS, false)? }
            }
        })
    }

    /// The same for families whose attention has biases by itself where config.json does not say.
    pub(in super::super) fn biases_of_attention(&self, default: bool) -> Result<Biases, LoadError> {
        match self.dialect {
            Dialect::Gguf => self.biases(),
            Dialect::HuggingFace => {
                let attention = self.flag(ATTENTION_BIAS, default)?;
                Ok(Biases { qkv: attention, o: attention, ..Biases::default() })
            }
        }
    }

    /// The same for families whose setting is about queries, keys and values alone; `default` where config.json does not say.
    pub(in super::super) fn biases_of_inputs(&self, default: bool) -> Result<Biases, LoadError> {
        match self.dialect {
            Dialect::Gguf => self.biases(),
            Dialect::HuggingFace => Ok(Biases { qkv: self.flag(ATTENTION_BIAS, default)?, ..Biases::default() }),
        }
    }

    /// A truth value; `default` where the model does not say.
    pub(in super::super) fn flag(&self, key: Key, default: bool) -> Result<bool, LoadError> {
        Ok(self.get(key, Metadata::bool)?.unwrap_or(default))
    }

    /// The length of the window of layers that have one: entries that a row sees.
    pub(in super::super) fn window(&self) -> Result<Option<u32>, LoadError> {
        let window = self.size(WINDOW, 0..=u32::MAX, Some(0))?;
        Ok((window > 0).then_some(window))
    }

    /// Which layers have a window, as the model says; by its number where it does not.
    pub(in super::super) fn windowed_layers(&self, layers: u32, default: impl Fn(u32) -> bool) -> Result<Vec<bool>, LoadError> {
        if let Some(kinds) = self.kinds_of_layers(layers, &["full_attention", "sliding_attention"])? {
            return Ok(kinds.into_iter().map(|kind| kind == 1).collect());
        }
        match self.name(WINDOW_PATTERN).and_then(|name| self.metadata.get(&name)) {
            None => Ok((0..layers).map(default).collect()),
            Some(Value::Array(Array::Bool(windowed))) => self.one_a_layer(WINDOW_PATTERN, windowed.clone(), layers),
            // Every so manieth layer sees everything.
            Some(_) => {
                let period = self.size(WINDOW_PATTERN, 1..=u32::MAX, None)?;
                Ok((1..=layers).map(|i| !i.is_multiple_of(period)).collect())
            }
        }
    }

    /// Which of `known` each layer is; none where the model does not say.
    pub(in super::super) fn kinds_of_layers(&self, layers: u32, known: &[&str]) -> Result<Option<Vec<usize>>, LoadError> {
        let Some(kinds) = self.get(LAYER_TYPES, Metadata::strings)? else { return Ok(None) };
        let place = |kind| {
            let place = known.iter().position(|known| *known == kind);
            place.ok_or_else(|| self.bad(LAYER_TYPES, known.join(" or "), kind))
        };
        self.one_a_layer(LAYER_TYPES, kinds.iter().map(place).collect::<Result<_, _>>()?, layers).map(Some)
    }

    /// Layers of which those that `windowed` names see `window` entries.
    pub(in super::super) fn layers(&self, windowed: &[bool], window: Option<u32>) -> Vec<Layer> {
        windowed.iter().map(|&windowed| Layer { window: window.filter(|_| windowed), ..Layer::FULL }).collect()
    }

    /// A list of whole numbers; none where the model has no such list.
    pub(in super::super) fn numbers(&self, key: Key) -> Result<Option<Vec<u32>>, LoadError> {
        self.get(key, Metadata::u32s)
    }

    /// Whether a setting is a list.
    pub(in super::super) fn is_list(&self, key: Key) -> bool {
        matches!(self.name(key).and_then(|name| self.metadata.get(&name)), Some(Value::Array(_)))
    }

    /// A list of whole numbers, one a layer; none where the model has no such list.
    pub(in super::super) fn numbers_of_layers(&self, key: Key, layers: u32) -> Result<Option<Vec<u32>>, LoadError> {
        let numbers = self.get(key, Metadata::u32s)?;
        numbers.map(|numbers| self.one_a_layer(key, numbers, layers)).transpose()
    }

    /// A list that may be longer than there are layers.
    fn one_a_layer<T>(&self, key: Key, mut list: Vec<T>, layers: u32) -> Result<Vec<T>, LoadError> {
        let len = list.len();
        if len < layers as usize {
            return Err(self.bad(key, format!("an entry for each of {layers} layers"), format!("{len} entries")));
        }
        list.truncate(layers as usize);
        Ok(list)
    }
}

impl Layer {
    /// The layer with the rotary embedding of layers with a window, where it has one.
    pub(in super::super) fn rotated_locally(self) -> Self {
        let positions = if self.window.is_some() { Positions::LocalRotary } else { self.positions };
        Self { positions, ..self }
    }
}
