//! Which tensors a family's weights are, in both dialects, and how their rows lie there.

use parhelion_loader::Dialect;

use super::Transform;

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
    /// Its name; `{i}` stands for the layer. `{e}` stands for the expert, where each has a tensor of its own; without it one tensor has
    /// those of all, `[experts, rows, cols]`.
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

    /// The same with the rows of repositories in another order.
    pub const fn hf_rows(self, reorder: Reorder) -> Self {
        Self { hf: Published { reorder, ..self.hf }, ..self }
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

    /// Whether each expert has a tensor of its own.
    pub(super) fn one_an_expert(&self) -> bool {
        self.name.contains(EXPERT)
    }

    /// The tensors that make it: one, or one for each expert.
    pub(super) fn tensors(&self, layer: Option<u32>, experts: Option<u32>) -> Vec<String> {
        match experts.filter(|_| self.one_an_expert()) {
            Some(experts) => (0..experts).map(|expert| self.tensor_of(layer, expert)).collect(),
            None => vec![self.tensor(layer)],
        }
    }

    /// The tensor of one expert.
    pub(super) fn tensor_of(&self, layer: Option<u32>, expert: u32) -> String {
        self.tensor(layer).replace(EXPERT, &expert.to_string())
    }
}

const EXPERT: &str = "{e}";

/// How a file orders the rows of a matrix or the elements of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reorder {
    /// As the engine does.
    None,
    /// Rows of each head alternate between its two halves, so that RoPE pairs are neighbours; the engine pairs row `i` with
    /// row `i + head_dim / 2`. GGUF files of architecture `llama` do this to Q and K.
    InterleavedHeads,
    /// Every other row of a tensor that has those of two, from row 0 or 1 on.
    Alternate(u32),
    /// Columns are the rows.
    Transposed,
    /// Both.
    TransposedAlternate(u32),
}

impl Reorder {
    /// The reordering of heads of `head_dim` rows, or of a weight with `rows` rows of an expert.
    pub(super) fn transform(self, head_dim: u32, rows: u32) -> Transform {
        match self {
            Self::None => Transform::None,
            Self::InterleavedHeads => Transform::InterleavedHeads { head_dim },
            Self::Alternate(first) => Transform::Alternate { first },
            Self::Transposed => Transform::Transposed { rows, step: 1, first: 0 },
            Self::TransposedAlternate(first) => Transform::Transposed { rows, step: 2, first },
        }
    }
}
