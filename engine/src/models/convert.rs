//! A repository's model as a GGUF file has it: the name table and the settings of its family, read from the one dialect to the other.

use parhelion_loader::{Checkpoint, Dialect, TensorInfo, Value};

use super::{ModelError, Reorder, Transform, build, family_of, resolve};
use crate::exec::DeviceLimits;

/// What a GGUF file of a model holds, but for its tokenizer.
#[derive(Debug)]
pub(crate) struct GgufModel {
    /// Architecture and settings.
    pub(crate) entries: Vec<(String, Value)>,
    /// Tensors.
    pub(crate) tensors: Vec<GgufTensor>,
    /// Tensors that repositories give as settings: by what each frequency of RoPE is divided.
    pub(crate) rope_factors: Vec<(&'static str, Vec<f32>)>,
    /// Whether the output matrix is the embedding.
    pub(crate) tied: bool,
    /// Rows of the embedding.
    pub(crate) vocab: u32,
}

/// A tensor of a GGUF file and what it is made of.
#[derive(Debug)]
pub(crate) struct GgufTensor {
    /// Its name.
    pub(crate) name: String,
    /// The published tensor.
    pub(crate) info: TensorInfo,
    /// How rows, or elements of a vector, are reordered.
    pub(crate) transform: Transform,
    /// What is added to each element of a vector.
    pub(crate) shift: f32,
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
            let published = resolve(family, Dialect::Gguf, engine);
            let transform = match (source.transform, published.reorder) {
                (Transform::None, Reorder::None) | (Transform::InterleavedHeads { .. }, Reorder::InterleavedHeads) => Transform::None,
                (Transform::None, Reorder::InterleavedHeads) => Transform::IntoInterleavedHeads { head_dim: built.config.head_dim },
                (transform, _) => return Err(no_form(format!("the rows of `{}` are in the order {transform:?}", source.info.name))),
            };
            let (name, shift) = (published.tensor(decl.layer), source.shift - published.shift);
            tensors.push(GgufTensor { name, info: source.info.clone(), transform, shift });
        }
    }
    let architecture = family.gguf;
    let mut entries = vec![("general.architecture".to_owned(), Value::String(architecture.to_owned()))];
    entries.extend(built.config.gguf_entries(architecture));
    let (scaling, factors) = built.config.gguf_rope(architecture).map_err(no_form)?;
    entries.extend(scaling);
    let output = resolve(family, Dialect::Gguf, "output").tensor(None);
    Ok(GgufModel {
        entries,
        tied: tensors.iter().all(|tensor| tensor.name != output),
        tensors,
        rope_factors: factors,
        vocab: built.config.vocab,
    })
}
