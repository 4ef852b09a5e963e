//! Repositories as the `transformers` library publishes models: config.json, safetensors in one file or in shards with an
//! index, and beside them what describes tokens and conversations.

use std::borrow::Cow;
use std::sync::Arc;

use crate::metadata::Metadata;
use crate::names::NameIndex;
use crate::{LoadError, Repository, Source, TensorInfo};

mod config;
mod json;
mod modules;
mod nested;
mod packed;
mod safetensors;
mod weight_map;

pub use packed::NF4_VALUES;
pub(crate) use packed::{Packed, Refusal};
pub(crate) use safetensors::is_safetensors;

use json::malformed;
use weight_map::WeightMap;

pub(crate) const CONFIG: &str = "config.json";
pub(crate) const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const GENERATION: &str = "generation_config.json";

/// What a repository says before its tensors' data.
pub(crate) struct Opened {
    pub(crate) metadata: Metadata,
    pub(crate) files: Vec<Arc<dyn Source>>,
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) index: NameIndex,
    pub(crate) packed: Vec<Packed>,
    pub(crate) refusal: Option<Refusal>,
    pub(crate) quantisation: Option<String>,
    pub(crate) sidecars: Sidecars,
}

/// A file that describes tokens or conversations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sidecar {
    /// `tokenizer.json`.
    Tokenizer,
    /// `tokenizer_config.json`.
    TokenizerConfig,
    /// `special_tokens_map.json`.
    SpecialTokensMap,
    /// `generation_config.json`, whose entries are in the metadata too.
    GenerationConfig,
    /// `chat_template.jinja`.
    ChatTemplate,
}

impl Sidecar {
    const ALL: [Self; 5] = [Self::Tokenizer, Self::TokenizerConfig, Self::SpecialTokensMap, Self::GenerationConfig, Self::ChatTemplate];

    /// The file's path in a repository.
    pub fn path(self) -> &'static str {
        match self {
            Self::Tokenizer => "tokenizer.json",
            Self::TokenizerConfig => "tokenizer_config.json",
            Self::SpecialTokensMap => "special_tokens_map.json",
            Self::GenerationConfig => GENERATION,
            Self::ChatTemplate => "chat_template.jinja",
        }
    }

    /// The most bytes that are read; the largest published tokenizers have 35 MB, templates 30 KB.
    fn most(self) -> u64 {
        match self {
            Self::Tokenizer => 128 << 20,
            Self::TokenizerConfig | Self::SpecialTokensMap | Self::GenerationConfig => 16 << 20,
            Self::ChatTemplate => 1 << 20,
        }
    }
}

/// The sidecars that a repository has; none is read before it is asked for.
#[derive(Clone, Default)]
pub(crate) struct Sidecars([Option<Arc<dyn Source>>; 5]);

impl Sidecars {
    async fn find(repository: &dyn Repository) -> Result<Self, LoadError> {
        let mut found = Self::default();
        for (slot, sidecar) in found.0.iter_mut().zip(Sidecar::ALL) {
            *slot = repository.open(sidecar.path()).await?;
        }
        Ok(found)
    }

    pub(crate) async fn read(&self, sidecar: Sidecar) -> Result<Option<Cow<'_, [u8]>>, LoadError> {
        let [tokenizer, tokenizer_config, special_tokens_map, generation_config, chat_template] = &self.0;
        let source = match sidecar {
            Sidecar::Tokenizer => tokenizer,
            Sidecar::TokenizerConfig => tokenizer_config,
            Sidecar::SpecialTokensMap => special_tokens_map,
            Sidecar::GenerationConfig => generation_config,
            Sidecar::ChatTemplate => chat_template,
        };
        match source {
            Some(source) => json::read_whole(source.as_ref(), sidecar.most()).await.map(Some),
            None => Ok(None),
        }
    }
}

/// Reads the configuration and every file's header.
pub(crate) async fn open(repository: &dyn Repository) -> Result<Opened, LoadError> {
    let Some(config) = repository.open(CONFIG).await? else { return Err(no_model(repository).await?) };
    let mut entries = config::Entries::new();
    entries.add(config.as_ref(), "").await?;
    if let Some(generation) = repository.open(GENERATION).await? {
        entries.add(generation.as_ref(), "generation_config").await?;
    }
    let is_nested = entries.promote_language_model();
    let modules = modules::add(repository, &mut entries).await?;
    let metadata = entries.finish(config.name())?;
    let (mut files, mut lists) = match repository.open(WEIGHTS).await? {
        Some(file) => {
            let tensors = safetensors::read_header(file.as_ref()).await?;
            (vec![file], vec![tensors])
        }
        None => match repository.open(INDEX).await? {
            Some(index) => open_shards(repository, index.as_ref()).await?,
            None => return Err(no_weights(repository).await?),
        },
    };
    for modules::Weights { file, tensors } in modules {
        files.push(file);
        lists.push(tensors);
    }
    let (tensors, index) = join(&files, lists)?;
    let packed::Assembled { tensors, index, packed, refusal, quantisation } = packed::assemble(&metadata, &files, tensors, index).await?;
    let (tensors, index) = if is_nested { language_model(&files, tensors)? } else { (tensors, index) };
    let sidecars = Sidecars::find(repository).await?;
    Ok(Opened { metadata, files, tensors, index, packed, refusal, quantisation, sidecars })
}

type Shards = (Vec<Arc<dyn Source>>, Vec<Vec<TensorInfo>>);

/// Opens each shard that the index names, and checks that both name the same tensors.
async fn open_shards(repository: &dyn Repository, index: &dyn Source) -> Result<Shards, LoadError> {
    let map = weight_map::read(index).await?;
    let names = NameIndex::build(map.names.len(), |i| map.names.get(i).unwrap_or_default()).map_err(|duplicate| {
        let name = map.names.get(duplicate).unwrap_or_default();
        malformed(index.name(), "index of shards", "each tensor once", format!("`{}` a second time", name.escape_debug()))
    })?;
    let (mut files, mut lists) = (Vec::new(), Vec::new());
    let mut found = 0;
    for (number, path) in map.paths.iter().enumerate() {
        let missing = || LoadError::MissingFile {
            file: repository.name().to_owned(),
            path: path.clone(),
            why: format!("{INDEX} names it among {} files", map.paths.len()),
        };
        let file = repository.open(path).await?.ok_or_else(missing)?;
        let tensors = safetensors::read_header(file.as_ref()).await?;
        check_shard(file.name(), number, &tensors, &map, &names)?;
        found += tensors.len();
        files.push(file);
        lists.push(tensors);
    }
    // Each tensor found is one of the index, in the shard that the index says, so counts that differ tell of one not found.
    if found < map.names.len() {
        return Err(absent(index.name(), &lists, &map));
    }
    Ok((files, lists))
}

fn check_shard(file: &str, number: usize, tensors: &[TensorInfo], map: &WeightMap, names: &NameIndex) -> Result<(), LoadError> {
    for tensor in tensors {
        let listed = names.find(&tensor.name, |i| map.names.get(i).unwrap_or_default());
        let shard = listed.and_then(|at| map.shards.get(at)).map(|&shard| shard as usize);
        if shard != Some(number) {
            let place = format!("tensor `{}`", tensor.name.escape_debug());
            let elsewhere = shard.and_then(|shard| map.paths.get(shard));
            let got = elsewhere.map_or_else(|| "no entry there".to_owned(), |path| format!("{} there", path.escape_debug()));
            return Err(malformed(file, &place, format!("this file as its place in {INDEX}"), got));
        }
    }
    Ok(())
}

/// The error for the first tensor of the index that no shard has.
fn absent(index: &str, lists: &[Vec<TensorInfo>], map: &WeightMap) -> LoadError {
    // Each that was found is one of the index, in the shard that it says: only the names are left to compare.
    let mut found: Vec<&str> = lists.iter().flatten().map(|tensor| tensor.name.as_str()).collect();
    found.sort_unstable();
    let (at, name) = map.names.iter().enumerate().find(|(_, name)| found.binary_search(name).is_err()).unwrap_or_default();
    let path = map.shards.get(at).and_then(|&shard| map.paths.get(shard as usize)).map_or("", String::as_str);
    let place = format!("tensor `{}`", name.escape_debug());
    malformed(index, &place, format!("the tensor in {}", path.escape_debug()), "a file without it")
}

/// One list over all files' tensors.
fn join(files: &[Arc<dyn Source>], lists: Vec<Vec<TensorInfo>>) -> Result<(Vec<TensorInfo>, NameIndex), LoadError> {
    let mut tensors = Vec::with_capacity(lists.iter().map(Vec::len).sum());
    for (file, list) in lists.into_iter().enumerate() {
        tensors.extend(list.into_iter().map(|tensor| TensorInfo { file, ..tensor }));
    }
    let index = index_of(files, &tensors)?;
    Ok((tensors, index))
}

/// The tensors of the language model in a repository whose model has other parts too.
fn language_model(files: &[Arc<dyn Source>], mut tensors: Vec<TensorInfo>) -> Result<(Vec<TensorInfo>, NameIndex), LoadError> {
    nested::keep_language_model(&mut tensors);
    let index = index_of(files, &tensors)?;
    Ok((tensors, index))
}

fn index_of(files: &[Arc<dyn Source>], tensors: &[TensorInfo]) -> Result<NameIndex, LoadError> {
    NameIndex::build(tensors.len(), |i| tensors[i].name.as_str()).map_err(|duplicate| {
        let tensor = &tensors[duplicate];
        let place = format!("tensor `{}`", tensor.name.escape_debug());
        let file = files.get(tensor.file).map_or("", |file| file.name());
        malformed(file, &place, "each tensor in one file", "a second one of the name")
    })
}

/// Weights of other formats, by the files that they are known by.
const OTHER_FORMATS: [(&str, &str); 8] = [
    ("pytorch_model.bin", "PyTorch's pickle"),
    ("pytorch_model.bin.index.json", "PyTorch's pickle"),
    ("consolidated.00.pth", "PyTorch's pickle"),
    ("model.onnx", "ONNX"),
    ("onnx/model.onnx", "ONNX"),
    ("tf_model.h5", "TensorFlow's"),
    ("flax_model.msgpack", "Flax's"),
    ("adapter_model.safetensors", "an adapter's (LoRA)"),
];

/// The error for a repository that has a configuration and no safetensors.
async fn no_weights(repository: &dyn Repository) -> Result<LoadError, LoadError> {
    for (path, format) in OTHER_FORMATS {
        if repository.open(path).await?.is_some() {
            let advice = match format {
                "an adapter's (LoRA)" => "use the model that it was merged into",
                _ => "use the model's safetensors revision or a GGUF conversion",
            };
            let found = format!("{path}: weights in {format} format, without {WEIGHTS},");
            return Ok(LoadError::Unsupported { file: repository.name().to_owned(), found, advice: advice.to_owned() });
        }
    }
    let (file, path) = (repository.name().to_owned(), WEIGHTS.to_owned());
    Ok(LoadError::MissingFile { file, path, why: format!("there is neither it nor {INDEX}") })
}

/// The error for a repository without a configuration.
async fn no_model(repository: &dyn Repository) -> Result<LoadError, LoadError> {
    let file = repository.name().to_owned();
    for path in [WEIGHTS, INDEX] {
        if repository.open(path).await?.is_some() {
            return Ok(LoadError::MissingFile { file, path: CONFIG.to_owned(), why: "it says what model the weights are of".to_owned() });
        }
    }
    let found = format!("a directory without {CONFIG}");
    let advice = "name the .gguf file in it, or a directory that holds config.json and model.safetensors";
    Ok(LoadError::Unsupported { file, found, advice: advice.to_owned() })
}
