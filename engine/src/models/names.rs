//! Which tensors a family's weights are, in both dialects, and how their rows lie there.

use parhelion_loader::{DType, Dialect};

use crate::formats;

/// One row of a family's name table.
#[derive(Debug, Clone, Copy)]
pub struct Name {
    /// The engine's name, as `build` uses it.
    pub engine: &'static str,
    /// The tensor in GGUF files.
    pub gguf: Published,
    /// The tensor in the `transformers` library's repositories.
    pub hf: Published,
    /// The weight to use instead when the model has no such tensor: a tied output head.
    pub or: Option<&'static str>,
}

/// A tensor as one dialect publishes it.
#[derive(Debug, Clone, Copy)]
pub struct Published {
    /// Its name; `{i}` stands for the layer.
    pub name: &'static str,
    /// How its rows, or the elements of a vector, are reordered.
    pub reorder: Reorder,
    /// What is to be added to each element of a vector: 1 where a norm's weight is published less 1.
    pub shift: f32,
}

impl Name {
    /// A tensor whose rows are published in the engine's order.
    pub const fn plain(engine: &'static str, gguf: &'static str, hf: &'static str) -> Self {
        Self { engine, gguf: Published::plain(gguf), hf: Published::plain(hf), or: None }
    }

    /// The same with the rows of GGUF files reordered.
    pub const fn gguf_rows(self, reorder: Reorder) -> Self {
        Self { gguf: Published { reorder, ..self.gguf }, ..self }
    }

    /// The same vector, to each element of which `shift` is to be added where repositories publish it.
    pub const fn hf_shift(self, shift: f32) -> Self {
        Self { hf: Published { shift, ..self.hf }, ..self }
    }

    pub(super) fn published(&self, dialect: Dialect) -> &Published {
        match dialect {
            Dialect::Gguf => &self.gguf,
            Dialect::HuggingFace => &self.hf,
        }
    }

    /// The same, tied to another weight where the model lacks the tensor or its configuration says so.
    pub const fn or(self, engine: &'static str) -> Self {
        Self { or: Some(engine), ..self }
    }
}

impl Published {
    pub(super) const fn plain(name: &'static str) -> Self {
        Self { name, reorder: Reorder::None, shift: 0.0 }
    }

    pub(super) fn tensor(&self, layer: Option<u32>) -> String {
        self.name.replace("{i}", &layer.unwrap_or_default().to_string())
    }
}

/// How a file orders the rows of a matrix or the elements of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reorder {
    /// As the engine does.
    None,
    /// Rows of each head alternate between its two halves, so that RoPE pairs are neighbours; the engine pairs row `i` with
    /// row `i + head_dim / 2`. GGUF files of architecture `llama` do this to Q and K.
    InterleavedHeads,
}

/// [`Reorder`] with the model's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// Rows stay where they are.
    None,
    /// See [`Reorder::InterleavedHeads`].
    InterleavedHeads {
        /// Rows of a head, even.
        head_dim: u32,
    },
    /// From the engine's order to that of [`Reorder::InterleavedHeads`]: for files that are written.
    IntoInterleavedHeads {
        /// Rows of a head, even.
        head_dim: u32,
    },
}

impl Transform {
    /// The elements of a published vector of plain numbers in their new order, with `shift` added.
    pub(crate) fn vector(self, dtype: DType, bytes: &[u8], shift: f32) -> Vec<f32> {
        let published: Vec<f32> = formats::to_f32(dtype, bytes).collect();
        let order = (0..published.len()).map(|i| self.source_row(i as u32) as usize);
        order.filter_map(|i| Some(published.get(i)? + shift)).collect()
    }

    /// Rows are reordered within groups of this many.
    pub fn granule(self) -> u32 {
        match self {
            Self::None => 1,
            Self::InterleavedHeads { head_dim } | Self::IntoInterleavedHeads { head_dim } => head_dim,
        }
    }

    /// The published row that becomes row `row`, both counted from the start of a granule.
    pub fn source_row(self, row: u32) -> u32 {
        match self {
            Self::None => row,
            Self::InterleavedHeads { head_dim } => {
                let (head, within) = (row / head_dim * head_dim, row % head_dim);
                let half = head_dim / 2;
                head + (within % half) * 2 + within / half
            }
            Self::IntoInterleavedHeads { head_dim } => {
                let (head, within) = (row / head_dim * head_dim, row % head_dim);
                head + within % 2 * (head_dim / 2) + within / 2
            }
        }
    }
}
