//! Frequencies of rotary position embeddings, from a model's settings and the context that a session is planned for.

use std::f64::consts::PI;

/// Which elements of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Pairing {
    /// Element `i` with `i + dims / 2`.
    #[default]
    Half,
    /// Element `2 i` with `2 i + 1`.
    Interleaved,
}

/// How a model stretches its positions beyond those it was first trained with. Formulas: transformers,
/// `modeling_rope_utils.py`.
#[derive(Debug, Clone, PartialEq, Default)]
pub enum RopeScaling {
    /// Frequencies as they are.
    #[default]
    None,
    /// All frequencies divided by `factor`.
    Linear {
        /// How many times longer the context is.
        factor: f64,
    },
    /// Long wavelengths divided by `factor`, short ones kept, and a linear blend between.
    Llama3 {
        /// How many times longer the context is.
        factor: f64,
        /// Wavelengths over `original_context / low_freq_factor` are divided.
        low_freq_factor: f64,
        /// Wavelengths under `original_context / high_freq_factor` are kept.
        high_freq_factor: f64,
        /// Context of the first training.
        original_context: f64,
    },
    /// YaRN (Peng et al. 2023): a blend between kept and divided frequencies, and larger rotations' amplitudes.
    Yarn {
        /// How many times longer the context is.
        factor: f64,
        /// Context of the first training.
        original_context: f64,
        /// Frequencies that turn more often than this in the original context are kept; 32 as a rule.
        beta_fast: f64,
        /// Frequencies that turn less often than this are divided; 1 as a rule.
        beta_slow: f64,
        /// Whether the bounds of the blend are whole dimensions; true as a rule.
        truncate: bool,
        /// Multiplies cos and sin; none: 0.1 ln(factor) + 1.
        attention_factor: Option<f64>,
    },
    /// The base grows with the context that is planned, once that is over the one of the training: NTK-aware scaling, "dynamic".
    Dynamic {
        /// How fast the base grows.
        factor: f64,
        /// Context of the training.
        original_context: f64,
    },
    /// LongRoPE (Ding et al. 2024): each frequency divided by a factor of its own, one list for contexts up to that of the first
    /// training and one for longer ones.
    LongRope {
        /// For contexts up to `original_context`, one for each pair.
        short: Vec<f32>,
        /// For longer contexts, one for each pair.
        long: Vec<f32>,
        /// Context of the first training.
        original_context: f64,
        /// Multiplies cos and sin, whatever the context.
        attention_factor: f64,
    },
    /// Only the first pairs turn; the frequencies of those that do not are zero, and pairs are as far apart as if all did.
    Proportional {
        /// Pairs that turn.
        turning: u32,
        /// Divides all frequencies.
        factor: f64,
    },
    /// Each frequency divided by a factor of its own: GGUF's `rope_freqs`.
    Factors {
        /// One for each pair.
        factors: Vec<f32>,
        /// Multiplies cos and sin.
        attention_factor: f64,
    },
}

/// A model's rotary embedding.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeConfig {
    /// Base of the frequencies.
    pub theta: f64,
    /// Elements of a head that are rotated, even; those after them pass through.
    pub dims: u32,
    /// Which elements are rotated together.
    pub pairing: Pairing,
    /// How positions are stretched.
    pub scaling: RopeScaling,
    /// For each pair the component of the position vector that it turns by (0, 1 or 2); empty: 0 for all.
    pub axes: Vec<u8>,
    /// By what queries are multiplied, where that depends on their position.
    pub temperature: Option<Temperature>,
}

/// Queries at position `p` are multiplied by `1 + beta ln(1 + floor(p / period))`, so that attention over long contexts stays sharp
/// (Llama 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    /// How fast the factor grows.
    pub beta: f64,
    /// Positions that share a factor, at least 1.
    pub period: u32,
}

/// Settings that give no rotary embedding.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("rotary embedding: {field} is {got}, expected {expected}")]
pub struct RopeError {
    /// The setting.
    pub field: &'static str,
    /// What it is.
    pub got: String,
    /// What it must be.
    pub expected: &'static str,
}

pub(super) fn require(holds: bool, field: &'static str, got: impl ToString, expected: &'static str) -> Result<(), RopeError> {
    if holds { Ok(()) } else { Err(RopeError { field, got: got.to_string(), expected }) }
}

fn require_positive(field: &'static str, value: f64) -> Result<(), RopeError> {
    require(value.is_finite() && value > 0.0, field, value, "a positive number")
}

impl RopeConfig {
    /// A plain rotary embedding of `dims` elements.
    pub fn new(theta: f64, dims: u32, pairing: Pairing) -> Self {
        Self { theta, dims, pairing, scaling: RopeScaling::None, axes: Vec::new(), temperature: None }
    }

    fn check(&self) -> Result<(), RopeError> {
        require(self.theta.is_finite() && self.theta > 1.0, "theta", self.theta, "a number over 1")?;
        require(self.dims.is_multiple_of(2) && self.dims <= 512, "rotated elements", self.dims, "an even number up to 512")?;
        let axes_fit = self.axes.is_empty() || self.axes.len() == self.pairs();
        require(axes_fit && self.axes.iter().all(|&axis| axis < 3), "axes", format!("{:?}", self.axes), "0, 1 or 2 for each pair")?;
        if let Some(Temperature { beta, period }) = self.temperature {
            require_positive("growth of queries", beta)?;
            require(period > 0, "positions of the same queries' factor", period, "at least 1")?;
        }
        match &self.scaling {
            RopeScaling::None => Ok(()),
            RopeScaling::Linear { factor } => require_positive("factor", *factor),
            RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => {
                require_positive("factor", *factor)?;
                require_positive("low_freq_factor", *low_freq_factor)?;
                require_positive("original context", *original_context)?;
                require(
                    high_freq_factor.is_finite() && high_freq_factor > low_freq_factor,
                    "high_freq_factor",
                    high_freq_factor,
                    "over low_freq_factor",
                )
            }
            RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, attention_factor, .. } => {
                require_positive("factor", *factor)?;
                require_positive("original context", *original_context)?;
                require_positive("beta_fast", *beta_fast)?;
                require_positive("beta_slow", *beta_slow)?;
                attention_factor.map_or(Ok(()), |f| require_positive("attention factor", f))
            }
            RopeScaling::Dynamic { factor, original_context } => {
                require_positive("factor", *factor)?;
                require_positive("original context", *original_context)?;
                require(self.dims > 2, "rotated elements", self.dims, "over 2 where the base grows")
            }
            RopeScaling::LongRope { short, long, original_context, attention_factor } => {
                require_positive("original context", *original_context)?;
                require_positive("attention factor", *attention_factor)?;
                self.check_factors(short)?;
                self.check_factors(long)
            }
            RopeScaling::Proportional { turning, factor } => {
                require_positive("factor", *factor)?;
                require(*turning as usize <= self.pairs(), "turning pairs", turning, "no more than there are pairs")
            }
            RopeScaling::Factors { factors, attention_factor } => {
                require_positive("attention factor", *attention_factor)?;
                self.check_factors(factors)
            }
        }
    }

    fn check_factors(&self, factors: &[f32]) -> Result<(), RopeError> {
        require(factors.len() == self.pairs(), "number of frequency factors", factors.len(), "one for each pair")?;
        factors.iter().try_for_each(|&f| require_positive("frequency factor", f.into()))
    }

    fn pairs(&self) -> usize {
        (self.dims / 2) as usize
    }
}

/// Radians that each pair turns by a position, in a session that is planned for `context` positions.
///
/// # Errors
/// Settings outside what their formulas allow.
pub fn inverse_frequencies(config: &RopeConfig, context: u32) -> Result<Vec<f64>, RopeError> {
    config.check()?;
    let context = f64::from(context);
    let of_base = |base: f64| (0..config.pairs()).map(move |i| base.powf(-2.0 * i as f64 / f64::from(config.dims)));
    let plain = of_base(config.theta);
    let divided = |factors: &[f32]| of_base(config.theta).zip(factors).map(|(f, &factor)| f / f64::from(factor)).collect();
    Ok(match &config.scaling {
        RopeScaling::None => plain.collect(),
        RopeScaling::Linear { factor } => plain.map(|f| f / factor).collect(),
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_context } => plain
            .map(|f| {
                let turns = original_context * f / (2.0 * PI);
                let kept = ((turns - low_freq_factor) / (high_freq_factor - low_freq_factor)).clamp(0.0, 1.0);
                (1.0 - kept) * f / factor + kept * f
            })
            .collect(),
        RopeScaling::Yarn { factor, original_context, beta_fast, beta_slow, truncate, .. } => {
            let (low, high) = yarn_range(config, *original_context, [*beta_fast, *beta_slow], *truncate);
            plain
                .enumerate()
                .map(|(i, f)| {
                    let divided = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    divided * f / factor + (1.0 - divided) * f
                })
                .collect()
        }
        RopeScaling::Dynamic { factor, original_context } => {
            let times = (context / original_context).max(1.0);
            let dims = f64::from(config.dims);
            of_base(config.theta * (1.0 + factor * (times - 1.0)).powf(dims / (dims - 2.0))).collect()
        }
        RopeScaling::LongRope { short, long, original_context, .. } => divided(if context > *original_context { long } else { short }),
        RopeScaling::Proportional { turning, factor } => {
            plain.enumerate().map(|(i, f)| if i < *turning as usize { f / factor } else { 0.0 }).collect()
        }
        RopeScaling::Factors { factors, .. } => divided(factors),
    })
}

/// The dimensions between which YaRN blends: those whose pair turns `betas` times in the original context.
fn yarn_range(config: &RopeConfig, original_context: f64, betas: [f64; 2], truncate: bool) -> (f64, f64) {
    let dims = f64::from(config.dims);
    let [low, high] = betas.map(|turns| dims * (original_context / (turns * 2.0 * PI)).ln() / (2.0 * config.theta.ln()));
    let (low, high) = if truncate { (low.floor(), high.ceil()) } else { (low, high) };
    let (low, high) = (low.max(0.0), high.min(dims - 1.0));
    // The same small step as the formula's origin, against a division by zero.
    (low, if low == high { high + 0.001 } else { high })
}

/// What YaRN multiplies cos and sin by, where a model does not say.
pub fn yarn_attention_factor(factor: f64) -> f64 {
    if factor <= 1.0 { 1.0 } else { 0.1 * factor.ln() + 1.0 }
}

/// What cos and sin are multiplied by.
pub fn attention_factor(scaling: &RopeScaling) -> f64 {
    match scaling {
        RopeScaling::None
        | RopeScaling::Linear { .. }
        | RopeScaling::Llama3 { .. }
        | RopeScaling::Dynamic { .. }
        | RopeScaling::Proportional { .. } => 1.0,
        RopeScaling::Yarn { factor, attention_factor, .. } => attention_factor.unwrap_or_else(|| yarn_attention_factor(*factor)),
        RopeScaling::Factors { attention_factor, .. } | RopeScaling::LongRope { attention_factor, .. } => *attention_factor,
    }
}

#[cfg(test)]
#[path = "frequencies_tests.rs"]
mod tests;
