//! Factors and caps that families put on values.

/// Numbers that values are multiplied by or kept under.
#[derive(Debug, Clone, PartialEq)]
pub struct Scales {
    /// Multiplies embedded tokens.
    pub embedding: f32,
    /// Multiplies what blocks add to the residual stream.
    pub residual: f32,
    /// Multiplies the scores of attention; none: 1 / sqrt(head_dim).
    pub attention: Option<f32>,
    /// What scores of attention approach.
    pub score_cap: Option<f32>,
    /// Multiplies logits.
    pub logits: f32,
    /// What logits approach.
    pub logit_cap: Option<f32>,
}

impl Scales {
    /// Those of a decoder without any.
    pub const NONE: Self = Self { embedding: 1.0, residual: 1.0, attention: None, score_cap: None, logits: 1.0, logit_cap: None };
}
