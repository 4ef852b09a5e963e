//! What the sentence-transformers library adds to a repository whose model makes vectors of texts: the steps after the model
//! (`modules.json` and a folder for each), its longest text and its prompts. Settings become metadata under `modules.N`,
//! `modules.N.config`, `sentence_bert` and `sentence_transformers`; tensors are known as `modules.N.linear.weight`.

use std::sync::Arc;

use super::{WEIGHTS, config::Entries, safetensors};
use crate::metadata::Value;
use crate::{LoadError, Repository, Source, TensorInfo};

/// The steps that make a vector of a text.
const MODULES: &str = "modules.json";
/// Beside it, each with what its entries stand under.
const SETTINGS: [(&str, &str); 2] =
    [("sentence_bert_config.json", "sentence_bert"), ("config_sentence_transformers.json", "sentence_transformers")];
/// Modules whose folders are looked into; no repository has so many.
const MOST: usize = 8;

/// A module's weights.
pub(super) struct Weights {
    pub(super) file: Arc<dyn Source>,
    pub(super) tensors: Vec<TensorInfo>,
}

/// Adds the settings to `entries`, and returns the weights of modules that have some.
pub(super) async fn add(repository: &dyn Repository, entries: &mut Entries) -> Result<Vec<Weights>, LoadError> {
    let Some(modules) = repository.open(MODULES).await? else { return Ok(Vec::new()) };
    entries.add(modules.as_ref(), "modules").await?;
    for (path, prefix) in SETTINGS {
        if let Some(file) = repository.open(path).await? {
            entries.add(file.as_ref(), prefix).await?;
        }
    }
    let mut weights = Vec::new();
    for number in 0..MOST {
        let folder = match entries.get(&format!("modules.{number}.path")) {
            Some(Value::String(folder)) if !folder.is_empty() => folder.clone(),
            Some(_) => continue,
            None => break,
        };
        if let Some(file) = repository.open(&format!("{folder}/config.json")).await? {
            entries.add(file.as_ref(), &format!("modules.{number}.config")).await?;
        }
        if let Some(file) = repository.open(&format!("{folder}/{WEIGHTS}")).await? {
            let mut tensors = safetensors::read_header(file.as_ref()).await?;
            tensors.iter_mut().for_each(|tensor| tensor.name.insert_str(0, &format!("modules.{number}.")));
            weights.push(Weights { file, tensors });
        }
    }
    Ok(weights)
}
