//! A repository's model as a GGUF file has it: the name table and the settings of its family, read from the one dialect to the other.

use parhelion_loader::{Checkpoint, Dialect, TensorInfo, Value};

use super::{ModelError, ROPE_FACTORS, Reorder, Transform, build, family_of, resolve};
use crate::exec::DeviceLimits;

/// What a GGUF file of a model holds, but for its tokenizer.
#[derive(Debug)]
pub(crate) struct GgufModel {
    /// Architecture and settings.
    pub(crate) entries: Vec<(String, Value)>,
    /// GGUF's name of each tensor, the tensor, and how its rows are reordered.
    pub(crate) tensors: Vec<(String, TensorInfo, Transform)>,
    /// A tensor that repositories give as settings: by what each frequency of RoPE is divided.
    pub(crate) rope_factors: Option<(String, Vec<f32>)>,
    /// Whether the output matrix is the embedding.
    pub(crate) tied: bool,
    /// Rows of the embedding.
    pub(crate) vocab: u32,
}

/// Converts a checkpoint of the `transformers` library's dialect.
///
/// # Errors
/// [`ModelError`]: what keeps the model from being run, or has no form in GGUF.
pub(crate) async fn in_gguf(checkpoint: &Checkpoint) -> Result<GgufModel, ModelError> {
    let unlimited = DeviceLimits { max_binding: u64::MAX, max_buffer: u64::MAX, ..DeviceLimits::FLOOR };
    let built = build(checkpoint, &unlimited).await?;
    let family = family_of(checkpoint.architecture()?, checkpoint.name())?;
    let no_form = |what: String| ModelError::NoGguf { file: checkpoint.name().to_owned(), what };
    let mut tensors = Vec::new();
    for (decl, layout) in built.model.weights.iter().zip(&built.weights) {
        for (&(engine, _), source) in decl.tensors.iter().zip(&layout.sources) {
            let (name, reorder) = resolve(family, Dialect::Gguf, engine, decl.layer);
            let transform = match (source.transform, reorder) {
                (Transform::None, Reorder::None) | (Transform::InterleavedHeads { .. }, Reorder::InterleavedHeads) => Transform::None,
                (Transform::None, Reorder::InterleavedHeads) => Transform::IntoInterleavedHeads { head_dim: built.config.head_dim },
                (transform, _) => return Err(no_form(format!("the rows of `{}` are in the order {transform:?}", source.info.name))),
            };
            tensors.push((name, source.info.clone(), transform));
        }
    }
    let architecture = family.architectures.first().copied().unwrap_or_default();
    let mut entries = vec![("general.architecture".to_owned(), Value::String(architecture.to_owned()))];
    entries.extend(built.config.gguf_entries(architecture));
    let (scaling, factors) = built.config.gguf_rope(architecture).map_err(no_form)?;
    entries.extend(scaling);
    let output = resolve(family, Dialect::Gguf, "output", None).0;
    Ok(GgufModel {
        entries,
        tied: tensors.iter().all(|(name, ..)| *name != output),
        tensors,
        rope_factors: factors.map(|factors| (ROPE_FACTORS.to_owned(), factors)),
        vocab: built.config.vocab,
    })
}
