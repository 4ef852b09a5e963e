//! Factors of rotary frequencies, which GGUF files keep as tensors: pairs rotate slower by these.

use parhelion_loader::Checkpoint;

use super::{Config, Keys, ModelError};
use crate::{formats, ops::rope_table::RopeScaling, weights::WeightError};

/// Factors for every context.
pub(super) const ROPE_FACTORS: &str = "rope_freqs.weight";
/// LongRoPE's factors for contexts up to that of the first training.
pub(super) const ROPE_FACTORS_SHORT: &str = "rope_factors_short.weight";
/// LongRoPE's factors for longer contexts.
pub(super) const ROPE_FACTORS_LONG: &str = "rope_factors_long.weight";

/// Whether a tensor holds such factors.
pub(super) fn is_rope_tensor(name: &str) -> bool {
    [ROPE_FACTORS, ROPE_FACTORS_SHORT, ROPE_FACTORS_LONG].contains(&name)
}

/// The scaling that the tensors of a checkpoint make; none where it has none.
pub(super) async fn scaling_of_tensors(
    checkpoint: &Checkpoint,
    keys: &Keys<'_>,
    config: &Config,
) -> Result<Option<RopeScaling>, ModelError> {
    if let Some(factors) = factors(checkpoint, config, ROPE_FACTORS).await? {
        return Ok(Some(RopeScaling::Factors { factors, attention_factor: 1.0 }));
    }
    let (short, long) = (factors(checkpoint, config, ROPE_FACTORS_SHORT).await?, factors(checkpoint, config, ROPE_FACTORS_LONG).await?);
    if short.is_none() && long.is_none() {
        return Ok(None);
    }
    // one without the other: the lookup's error names what is missing
    let both = [short.ok_or(ROPE_FACTORS_SHORT), long.ok_or(ROPE_FACTORS_LONG)];
    match both {
        [Ok(short), Ok(long)] => Ok(Some(keys.longrope(config.context, short, long)?)),
        [Err(missing), _] | [_, Err(missing)] => checkpoint.tensor(missing).map(|_| None).map_err(Into::into),
    }
}

/// One factor for each pair; none where the checkpoint has no such tensor.
async fn factors(checkpoint: &Checkpoint, config: &Config, name: &str) -> Result<Option<Vec<f32>>, ModelError> {
    let Some(info) = checkpoint.find_tensor(name) else { return Ok(None) };
    let file = checkpoint.name().to_owned();
    let expected = vec![u64::from(config.rope.dims / 2)];
    if info.shape != expected {
        return Err(WeightError::Shape { file, tensor: info.name.clone(), expected, got: info.shape.clone() }.into());
    }
    if !formats::is_plain(info.dtype) {
        return Err(WeightError::Format { file, tensor: info.name.clone(), dtype: info.dtype.name(), can: formats::names(true) }.into());
    }
    let bytes = checkpoint.read(info, 0, info.len).await?;
    Ok(Some(formats::to_f32(info.dtype, &bytes).collect()))
}
