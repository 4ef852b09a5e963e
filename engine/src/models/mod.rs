//! Model families: each is one file that says how it differs, declaratively.
//!
//! To add one: a file with a [`Family`] (configuration from metadata, names, `build`), its line in [`FAMILIES`], and a test.

use std::collections::HashSet;

use parhelion_loader::{Checkpoint, Dialect, LoadError, Value, closest};

use crate::{
    exec::DeviceLimits,
    graph::{Graph, Model, WeightKind},
    quantise::Quant,
    weights::{SourceTensor, WeightLayout},
};

mod bert;
mod config;
mod convert;
mod decoder;
mod decoder_names;
mod embedding;
mod encoder;
mod error;
mod experts;
mod gemma;
mod gemma2;
mod gemma3;
mod glm4;
mod gpt_oss;
mod granite;
mod lfm2;
mod lfm2_moe;
mod llama;
mod ministral3;
mod mistral;
mod mixers;
mod names;
mod nomic_bert;
mod olmo2;
mod phi3;
mod qwen2;
mod qwen3;
mod qwen3_5;
mod qwen3_moe;
mod rope_tensors;
mod scales;
mod smollm3;
mod transform;

pub use config::{Config, Keys, Tables};
pub(crate) use convert::{GgufTensor, in_gguf};
pub use decoder::{Biases, Block, Joined, Layer, Mixer, Norms, Positions, QkNorm};
pub use embedding::{DenseLayer, Embedding, Pooling};
pub use mixers::Delta;
use rope_tensors::{is_rope_tensor, scaling_of_tensors};
pub use scales::Scales;

pub use error::ModelError;
pub use experts::Experts;
pub use names::{Name, Published, Reorder};
pub use transform::Transform;

/// Every family, in the order in which `parhelion` lists them.
pub static FAMILIES: &[&Family] = &[
    &llama::FAMILY,
    &mistral::FAMILY,
    &qwen2::FAMILY,
    &qwen3::FAMILY,
    &qwen3_moe::FAMILY,
    &smollm3::FAMILY,
    &gemma::FAMILY,
    &gemma2::FAMILY,
    &gemma3::FAMILY,
    &phi3::FAMILY,
    &granite::FAMILY,
    &olmo2::FAMILY,
    &glm4::FAMILY,
    &lfm2::FAMILY,
    &qwen3_5::FAMILY,
    &lfm2_moe::FAMILY,
    &gpt_oss::FAMILY,
    &ministral3::FAMILY,
    &bert::FAMILY,
    &nomic_bert::FAMILY,
];

/// A model family.
#[derive(Debug)]
pub struct Family {
    /// The architectures it covers: GGUF's `general.architecture`, config.json's `model_type`.
    pub architectures: &'static [&'static str],
    /// The architecture that GGUF files of it name.
    pub gguf: &'static str,
    /// Reads the model's sizes.
    pub config: fn(&Keys<'_>) -> Result<Config, LoadError>,
    /// Which tensor each weight is: tables, in the first of which that has a weight its name is found.
    pub names: &'static [&'static [Name]],
    /// Lists the operators.
    pub build: fn(&Graph, &Config),
}

/// A model ready to be planned: graph, configuration, and where each weight comes from.
#[derive(Debug)]
pub struct Built {
    /// The graph.
    pub model: Model,
    /// Sizes.
    pub config: Config,
    /// The layout of each weight, in the graph's order.
    pub weights: Vec<WeightLayout>,
    /// Settings that the model gives and both dialects have, as GGUF files have them.
    pub(crate) settings: Vec<(String, Value)>,
}

/// What a model is built for.
#[derive(Debug, Clone, Copy, Default)]
pub struct BuildOptions {
    /// What weights are quantised to when they are loaded; none to keep them as they are published.
    pub quant: Option<Quant>,
    /// Tokens of context that are planned, at most the model's own: some models stretch their positions by them. None for the
    /// model's own.
    pub context: Option<u32>,
}

/// Builds the graph of a checkpoint and finds its weights.
///
/// # Errors
/// [`ModelError`]: an unknown architecture, a missing or unused tensor, a wrong shape or format.
pub async fn build(checkpoint: &Checkpoint, limits: &DeviceLimits) -> Result<Built, ModelError> {
    build_with(checkpoint, limits, BuildOptions::default()).await
}

/// The same for a session that is known.
///
/// # Errors
/// As [`build`].
pub async fn build_with(checkpoint: &Checkpoint, limits: &DeviceLimits, options: BuildOptions) -> Result<Built, ModelError> {
    let quant = options.quant;
    let architecture = checkpoint.architecture()?;
    let file = checkpoint.name().to_owned();
    let family = family_of(architecture, &file)?;
    let dialect = checkpoint.dialect();
    let has_tensor = |name: &str| checkpoint.find_tensor(name).is_some();
    let keys = Keys::new(checkpoint.metadata(), dialect, architecture, &has_tensor);
    let mut config = (family.config)(&keys)?;
    if let Some(scaling) = scaling_of_tensors(checkpoint, &keys, &config).await? {
        config.rope.scaling = scaling;
    }
    config.embedding = keys.embedding(&config)?;
    let settings = keys.in_gguf(family.gguf);
    config.context = config.stretched_context();
    let graph = Graph::new();
    let mut used: HashSet<String> = HashSet::new();
    let mut tied = false;
    for name in family.names.iter().copied().flatten() {
        let tensor = name.published(dialect).tensor(None);
        let absent = checkpoint.find_tensor(&tensor).is_none();
        if let Some(other) = name.or.filter(|_| config.tied.unwrap_or(absent)) {
            graph.tie(name.engine, other);
            tied = true;
            used.insert(tensor); // some repositories store the tied copy too
        }
    }
    let planned = options.context.map_or(config.context, |context| context.clamp(1, config.context.max(1)));
    (family.build)(&graph, &Config { context: planned, ..config.clone() });
    let model = graph.finish()?;
    let mut weights = Vec::with_capacity(model.weights.len());
    for decl in &model.weights {
        let mut sources = Vec::with_capacity(decl.tensors.len());
        for &(engine, rows) in &decl.tensors {
            let published = resolve(family, dialect, engine, decl.layer, &has_tensor);
            let transform = published.reorder.transform(config.head_dim, rows);
            let in_gguf = resolve(family, Dialect::Gguf, engine, decl.layer, &|_| false).tensor(decl.layer);
            let quant = quant.filter(|_| decl.kind == WeightKind::Matrix);
            for tensor in published.tensors(decl.layer, decl.experts) {
                let tensor = stored_name(checkpoint, tensor);
                let info = checkpoint.tensor(&tensor)?.clone();
                used.insert(tensor);
                let shape = [u64::from(rows), u64::from(decl.cols)];
                let quantise = quant.and_then(|quant| quant.type_of(&in_gguf, info.dtype, &shape, tied));
                let of_one = decl.experts.is_some() && published.one_an_expert();
                sources.push(SourceTensor { quantise, of_one, shift: published.shift, ..SourceTensor::new(info, transform) });
            }
        }
        weights.push(WeightLayout::new(&file, decl, sources, limits)?);
    }
    used.extend(checkpoint.tensors().map(|info| &info.name).filter(|name| config.leaves_out(name)).cloned());
    if config.embedding.is_some() {
        used.insert(resolve(family, dialect, "output", None, &has_tensor).tensor(None)); // what would write text
    }
    used.extend(config.unused.iter().map(|name| stored_name(checkpoint, (*name).to_owned())));
    refuse_unused(checkpoint, architecture, &used)?;
    Ok(Built { model, config, weights, settings })
}

fn family_of(architecture: &str, file: &str) -> Result<&'static Family, ModelError> {
    if let Some(family) = FAMILIES.iter().find(|family| family.architectures.contains(&architecture)) {
        return Ok(family);
    }
    let known: Vec<&str> = FAMILIES.iter().flat_map(|family| family.architectures).copied().collect();
    let closest = closest(architecture, known.iter().copied(), 1).concat();
    Err(ModelError::Architecture { file: file.into(), architecture: architecture.into(), closest, known: known.join(", ") })
}

/// The tensor of an engine name: of those that the tables have for it, the first that is there, or else the first; one of that name
/// where no table has it, which the lookup that follows then names as missing.
fn resolve(family: &Family, dialect: Dialect, engine: &'static str, layer: Option<u32>, is_there: &dyn Fn(&str) -> bool) -> Published {
    let names = || {
        let names = family.names.iter().copied().flatten().chain(embedding::NAMES);
        names.filter(|name| name.engine == engine).map(|name| *name.published(dialect))
    };
    let there = names().find(|published| is_there(&published.tensor_of(layer, 0)));
    there.or_else(|| names().next()).unwrap_or(Published::plain(engine))
}

/// The name under which a repository has the tensor `name`. The part that all names of a model share is one thing in the
/// repository of a whole model and another in that of its layers alone: `model.norm.weight`, `norm.weight`; `bert.encoder`, `encoder`.
fn stored_name(checkpoint: &Checkpoint, name: String) -> String {
    if checkpoint.dialect() == Dialect::Gguf || checkpoint.find_tensor(&name).is_some() {
        return name;
    }
    let without = name.strip_prefix("model.").map(str::to_owned);
    let with = checkpoint.architecture().ok().map(|architecture| format!("{architecture}.{name}"));
    let others = [without, with].into_iter().flatten();
    others.into_iter().find(|other| checkpoint.find_tensor(other).is_some()).unwrap_or(name)
}

/// The end of names of tensors that older versions of `transformers` stored, and that follow from the configuration.
const COMPUTED: &str = ".rotary_emb.inv_freq";

fn refuse_unused(checkpoint: &Checkpoint, architecture: &str, used: &HashSet<String>) -> Result<(), ModelError> {
    let known = |name: &str| used.contains(name) || is_rope_tensor(name) || name.ends_with(COMPUTED);
    let unused: Vec<&str> = checkpoint.tensors().map(|info| info.name.as_str()).filter(|name| !known(name)).collect();
    if unused.is_empty() {
        return Ok(());
    }
    let names = unused.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    let names = if unused.len() > 5 { format!("{names}, ...") } else { names };
    let file = checkpoint.name().to_owned();
    Err(ModelError::UnusedTensors { file, architecture: architecture.into(), count: unused.len(), names })
}
