//! A repository's model as a GGUF file has it: the name table and the settings of its family, read from the one dialect to the other.

use parhelion_loader::{Checkpoint, Dialect, LoadError, Metadata, TensorInfo, Value};

use super::{Config, FAMILIES, Family, Keys, ModelError, Reorder, Transform, build, family_of, resolve};
use crate::{exec::DeviceLimits, graph::WeightKind};

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
    /// What the model uses it as.
    pub(crate) kind: WeightKind,
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
    if built.config.embedding.is_some() {
        return Err(no_form("how a text becomes a vector is not written yet: it is run from the repository".into()));
    }
    let mut tensors = Vec::new();
    for (decl, layout) in built.model.weights.iter().zip(&built.weights) {
        if decl.experts.is_some() {
            return Err(no_form(format!("`{}`: the weights of experts; run the model with --quant", layout.label)));
        }
        for (&(engine, _), source) in decl.tensors.iter().zip(&layout.sources) {
            let published = resolve(family, Dialect::Gguf, engine, decl.layer, &|_| false);
            let transform = match (source.transform, published.reorder) {
                (Transform::None, Reorder::None) | (Transform::InterleavedHeads { .. }, Reorder::InterleavedHeads) => Transform::None,
                (Transform::None, Reorder::InterleavedHeads) => Transform::IntoInterleavedHeads { head_dim: built.config.head_dim },
                (transform, _) => return Err(no_form(format!("the rows of `{}` are in the order {transform:?}", source.info.name))),
            };
            let (name, shift) = (published.tensor(decl.layer), source.shift - published.shift);
            let mut info = source.info.clone();
            if decl.kind == WeightKind::Filters {
                info.shape.retain(|&len| len != 1); // filters that see one channel have no dimension for it there
            }
            tensors.push(GgufTensor { name, info, transform, shift, kind: decl.kind });
        }
    }
    let architecture = family.gguf;
    let mut entries = vec![("general.architecture".to_owned(), Value::String(architecture.to_owned()))];
    entries.extend(built.config.gguf_entries(architecture));
    let (scaling, factors) = built.config.gguf_rope(architecture).map_err(no_form)?;
    entries.extend(scaling);
    for setting in &built.settings {
        if entries.iter().all(|(known, _)| *known != setting.0) {
            entries.push(setting.clone());
        }
    }
    if let Some(what) = difference(family, &built.config, &entries, &tensors)? {
        return Err(no_form(format!("its {what} are not those of other `{architecture}` models, and GGUF has no settings for them")));
    }
    let output = resolve(family, Dialect::Gguf, "output", None, &|_| false).tensor(None);
    Ok(GgufModel {
        entries,
        tied: tensors.iter().all(|tensor| tensor.name != output),
        tensors,
        rope_factors: factors,
        vocab: built.config.vocab,
    })
}

/// What a GGUF file of these entries and tensors would be read to have otherwise than the model, in words.
fn difference(
    family: &Family,
    config: &Config,
    entries: &[(String, Value)],
    tensors: &[GgufTensor],
) -> Result<Option<&'static str>, LoadError> {
    let vocab = (format!("{}.vocab_size", family.gguf), Value::U32(config.vocab));
    let others = entries.iter().filter(|(key, _)| *key != vocab.0).cloned();
    let metadata = Metadata::of_entries("the GGUF file", others.chain([vocab.clone()]).collect())?;
    let has_tensor = |name: &str| tensors.iter().any(|tensor| tensor.name == name);
    let read = FAMILIES.iter().find(|known| known.architectures.contains(&family.gguf)).unwrap_or(&family);
    let read = (read.config)(&Keys::new(&metadata, Dialect::Gguf, family.gguf, &has_tensor))?;
    Ok(match () {
        () if read.per_layer != config.per_layer => Some("layers"),
        () if read.block != config.block => Some("blocks"),
        () if read.scales != config.scales => Some("factors"),
        () if read.local_rope != config.local_rope
            || read.rope.pairing != config.rope.pairing
            || read.rope.temperature != config.rope.temperature =>
        {
            Some("rotary positions")
        }
        () => None,
    })
}
