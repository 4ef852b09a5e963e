//! What a model's publisher recommends for choosing its tokens.

use parhelion_loader::{Checkpoint, Dialect, Metadata, Value};

use super::Sampling;

/// A recommendation: its name in GGUF, that in `generation_config.json`, and what it sets.
type Recommendation = (&'static str, &'static str, fn(&mut Sampling, f32));

const RECOMMENDATIONS: [Recommendation; 5] = [
    ("general.sampling.temp", "generation_config.temperature", |sampling, value| sampling.temperature = value),
    // Numbers under 0 stand for all tokens, as 0 does.
    (TOP_K, "generation_config.top_k", |sampling, value| sampling.top_k = value as u32),
    ("general.sampling.top_p", "generation_config.top_p", |sampling, value| sampling.top_p = value),
    ("general.sampling.min_p", "generation_config.min_p", |sampling, value| sampling.min_p = value),
    ("general.sampling.penalty_repeat", "generation_config.repetition_penalty", |sampling, value| sampling.repetition_penalty = value),
];
const TOP_K: &str = "general.sampling.top_k";

impl Sampling {
    /// The defaults, and in their place what the model's publisher recommends: `generation_config.json` of a repository,
    /// `general.sampling.*` of a GGUF file. What [`Sampling::validate`] would refuse is no recommendation.
    pub fn published(checkpoint: &Checkpoint) -> Self {
        let mut sampling = Self::default();
        for (gguf, hub, set) in RECOMMENDATIONS {
            let key = if checkpoint.dialect() == Dialect::Gguf { gguf } else { hub };
            let mut changed = sampling;
            if let Some(value) = number(checkpoint.metadata(), key) {
                set(&mut changed, value);
            }
            if changed.validate().is_ok() {
                sampling = changed;
            }
        }
        sampling
    }
}

/// A repository's recommendations as entries of a GGUF file.
pub(crate) fn gguf_entries(metadata: &Metadata) -> impl Iterator<Item = (String, Value)> {
    RECOMMENDATIONS.into_iter().filter_map(|(gguf, hub, _)| {
        let value = number(metadata, hub)?;
        Some((gguf.to_owned(), if gguf == TOP_K { Value::I32(value as i32) } else { Value::F32(value) }))
    })
}

fn number(metadata: &Metadata, key: &str) -> Option<f32> {
    metadata.f32(key).or_else(|_| metadata.i64(key).map(|value| value as f32)).ok()
}
