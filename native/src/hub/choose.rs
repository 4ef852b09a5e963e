//! Which files of a repository a model needs.
//!
//! A repository holds either one model in safetensors, with its config and tokenizer beside it, or any number of GGUF
//! files, each (or each set of parts) a model of its own in another quantisation.

use std::collections::{BTreeMap, BTreeSet};

use super::error::ChoiceError;
use super::gguf::{Unit, gguf_units, strip_extension};
use super::path::check_path;

/// What the loader is given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A directory of the repository; empty for its root.
    Directory(String),
    /// One file, or the first of several parts.
    File(String),
}

/// The files of one model in a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// What the loader is given.
    pub target: Target,
    /// All files known to be needed, the weights last.
    pub files: Vec<String>,
    /// The index whose shards are needed too; see [`shards_of_index`].
    pub index: Option<String>,
}

/// Files beside the weights that a loader may want, wherever a repository has them.
const SUPPORT: [&str; 18] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
    "tokenizer.model",
    "vocab.json",
    "merges.txt",
    "vocab.txt",
    "quantize_config.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "config_sentence_transformers.json",
];

/// What is taken where nothing is chosen, the first that there is: the usual balance of size and quality, then what
/// everything runs, then the best.
const DEFAULTS: [&str; 4] = ["Q4_K_M", "Q4_0", "Q4_1", "Q8_0"];

/// Chooses among `files` (paths and sizes) what `choice` means; without one, the model in safetensors if there is one,
/// else the only GGUF model or a usual quantisation of it.
///
/// # Errors
/// Where nothing or more than one model could be meant; the error lists what there is.
pub fn choose(files: &[(&str, u64)], choice: Option<&str>) -> Result<Choice, ChoiceError> {
    let safe: Vec<(&str, u64)> = files.iter().copied().filter(|(path, _)| check_path(path).is_ok()).collect();
    let units = gguf_units(&safe);
    match choice {
        Some(choice) => chosen(files, &safe, &units, choice.trim_matches('/')),
        None => match safetensors_in(&safe, "") {
            Some(found) => Ok(found),
            None => default_unit(&units),
        },
    }
}

/// The shards that the text of an index (`model.safetensors.index.json`) names, relative to the index.
///
/// # Errors
/// What is wrong with the index, in words.
pub fn shards_of_index(json: &[u8]) -> Result<BTreeSet<String>, String> {
    #[derive(serde::Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let index: Index = serde_json::from_slice(json).map_err(|error| error.to_string())?;
    let shards: BTreeSet<String> = index.weight_map.into_values().collect();
    match shards.iter().find(|shard| check_path(shard).is_err() || !shard.ends_with(".safetensors")) {
        Some(shard) => Err(format!("it names {shard:?} as a shard")),
        None if shards.is_empty() => Err("it names no shard".to_owned()),
        None => Ok(shards),
    }
}

fn default_unit(units: &[Unit<'_>]) -> Result<Choice, ChoiceError> {
    let models: Vec<&Unit<'_>> = units.iter().filter(|unit| !unit.auxiliary).collect();
    match models.as_slice() {
        [] => Err(ChoiceError::NoModel),
        [only] => only.to_choice(),
        several => {
            for label in DEFAULTS {
                let mut of_label = several.iter().filter(|unit| unit.complete && unit.label.as_deref() == Some(label));
                match (of_label.next(), of_label.next()) {
                    (Some(unit), None) => return unit.to_choice(),
                    (Some(_), Some(_)) => break,
                    (None, _) => {}
                }
            }
            Err(ChoiceError::Ambiguous { choices: choices(several) })
        }
    }
}

/// How each unit can be asked for, and its size.
fn choices(units: &[&Unit<'_>]) -> Vec<(String, u64)> {
    let text = |unit: &Unit<'_>| match &unit.label {
        Some(label) if units.iter().filter(|other| other.label.as_ref() == Some(label)).count() == 1 => label.clone(),
        _ => unit.path().to_owned(),
    };
    units.iter().map(|unit| (text(unit), unit.parts.iter().fold(0, |sum: u64, (_, size)| sum.saturating_add(*size)))).collect()
}

fn chosen(files: &[(&str, u64)], safe: &[(&str, u64)], units: &[Unit<'_>], choice: &str) -> Result<Choice, ChoiceError> {
    let is_named = |path: &str| path == choice || path.rsplit('/').next() == Some(choice);
    // A file by its path, before one by its name alone.
    let by_name = |path: &str| units.iter().find(|unit| unit.parts.iter().any(|(part, _)| *part == path));
    if let Some(unit) = by_name(choice) {
        return unit.to_choice();
    }
    let matching: Vec<&Unit<'_>> = units
        .iter()
        .filter(|unit| {
            let label = unit.label.as_deref().unwrap_or_default();
            unit.parts.iter().any(|(part, _)| is_named(part)) || (!unit.auxiliary && label.eq_ignore_ascii_case(choice))
        })
        .collect();
    match matching.as_slice() {
        [unit] => return unit.to_choice(),
        [] => {}
        several => return Err(ChoiceError::Ambiguous { choices: choices(several) }),
    }
    if let Some(found) = safetensors_file(safe, choice).or_else(|| safetensors_in(safe, choice)) {
        return Ok(found);
    }
    let inside: Vec<(&str, u64)> = safe.iter().copied().filter(|(path, _)| is_inside(path, choice)).collect();
    if !inside.is_empty() {
        return default_unit(&gguf_units(&inside));
    }
    if let Some((path, _)) = files.iter().find(|(path, _)| is_named(path))
        && let Err(unsafe_path) = check_path(path)
    {
        return Err(unsafe_path.into());
    }
    let all: Vec<&Unit<'_>> = units.iter().collect();
    Err(ChoiceError::NoSuchChoice { choice: choice.to_owned(), choices: choices(&all) })
}

/// Whether `path` lies in `directory` or below; everything lies in the root, which has no name.
fn is_inside(path: &str, directory: &str) -> bool {
    directory.is_empty() || path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// `name` in `directory`.
fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// The model in safetensors whose config lies in `directory`.
fn safetensors_in(files: &[(&str, u64)], directory: &str) -> Option<Choice> {
    let has = |name: &str| files.iter().any(|(path, _)| *path == join(directory, name)).then(|| join(directory, name));
    has("config.json")?;
    let (weights, index) = match (has("model.safetensors"), has("model.safetensors.index.json")) {
        (Some(single), _) => (single, None),
        (None, Some(index)) => (index.clone(), Some(index)),
        (None, None) => (lone_safetensors(files, directory)?, None),
    };
    let mut needed = support(files, directory);
    needed.push(weights);
    Some(Choice { target: Target::Directory(directory.to_owned()), files: needed, index })
}

/// The only safetensors file that lies in `directory` itself.
fn lone_safetensors(files: &[(&str, u64)], directory: &str) -> Option<String> {
    let mut found = files.iter().map(|(path, _)| *path).filter(|path| {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        parent == directory && strip_extension(name, ".safetensors").is_some()
    });
    found.next().filter(|_| found.next().is_none()).map(str::to_owned)
}

/// A safetensors file that was chosen by its path or name, and what lies beside it.
fn safetensors_file(files: &[(&str, u64)], choice: &str) -> Option<Choice> {
    strip_extension(choice, ".safetensors")?;
    let by_name = |path: &&str| path.rsplit('/').next() == Some(choice);
    let paths = || files.iter().map(|(path, _)| *path);
    let path = paths().find(|path| *path == choice).or_else(|| paths().find(by_name))?;
    let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
    let mut needed = support(files, directory);
    needed.push(path.to_owned());
    Some(Choice { target: Target::File(path.to_owned()), files: needed, index: None })
}

/// The files beside the weights, and those of a sentence encoder's further modules: `1_Pooling/config.json`.
fn support(files: &[(&str, u64)], directory: &str) -> Vec<String> {
    let wanted = |path: &str| {
        let relative = if directory.is_empty() { Some(path) } else { path.strip_prefix(directory).and_then(|rest| rest.strip_prefix('/')) };
        let Some(relative) = relative else { return false };
        let module = |folder: &str| folder.split_once('_').is_some_and(|(number, _)| number.parse::<u8>().is_ok());
        SUPPORT.contains(&relative)
            || relative.split_once('/').is_some_and(|(folder, name)| module(folder) && matches!(name, "config.json" | "model.safetensors"))
    };
    files.iter().map(|(path, _)| *path).filter(|path| wanted(path)).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pick(paths: &[&str], choice: Option<&str>) -> Result<Choice, ChoiceError> {
        let files: Vec<_> = paths.iter().map(|path| (*path, 10)).collect();
        choose(&files, choice)
    }

    fn file(paths: &[&str], choice: Option<&str>) -> String {
        match pick(paths, choice).unwrap().target {
            Target::File(path) => path,
            Target::Directory(path) => format!("{path}/"),
        }
    }

    const GGUFS: [&str; 7] = [
        "README.md",
        "m-Q8_0.gguf",
        "m-Q4_K_M.gguf",
        "mmproj-F16.gguf",
        "m-UD-Q4_K_XL.gguf",
        "BF16/m-BF16-00001-of-00002.gguf",
        "BF16/m-BF16-00002-of-00002.gguf",
    ];

    #[test]
    fn one_gguf_model_is_taken() {
        assert_eq!(file(&GGUFS, None), "m-Q4_K_M.gguf");
        assert_eq!(file(&GGUFS, Some("q8_0")), "m-Q8_0.gguf");
        assert_eq!(file(&GGUFS, Some("UD-Q4_K_XL")), "m-UD-Q4_K_XL.gguf");
        assert_eq!(file(&GGUFS, Some("mmproj-F16.gguf")), "mmproj-F16.gguf");
        for choice in ["BF16", "BF16/", "m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf"] {
            let split = pick(&GGUFS, Some(choice)).unwrap();
            assert_eq!(split.target, Target::File(GGUFS[5].to_owned()), "{choice}");
            assert_eq!(split.files, GGUFS[5..], "{choice}");
        }
        assert_eq!(file(&["only.gguf", "mmproj.gguf"], None), "only.gguf");
        assert_eq!(file(&["Q4_0/m-00001-of-00001.gguf", "Q2_K/m-00001-of-00001.gguf"], None), "Q4_0/m-00001-of-00001.gguf");
    }

    #[test]
    fn what_could_mean_several_is_an_error_with_the_choices() {
        let Err(ChoiceError::Ambiguous { choices }) = pick(&["a-Q5_K_M.gguf", "a-Q6_K.gguf"], None) else { panic!() };
        assert_eq!(choices, [("Q5_K_M".to_owned(), 10), ("Q6_K".to_owned(), 10)]);
        let Err(ChoiceError::Ambiguous { choices }) = pick(&["a-Q4_K_M.gguf", "b-Q4_K_M.gguf"], None) else { panic!() };
        assert_eq!(choices[1].0, "b-Q4_K_M.gguf");
        assert!(matches!(pick(&["a-Q4_0.gguf", "b-Q4_0.gguf"], Some("Q4_0")), Err(ChoiceError::Ambiguous { .. })));
        assert!(matches!(pick(&GGUFS, Some("Q2_K")), Err(ChoiceError::NoSuchChoice { choices, .. }) if choices.len() == 5));
        assert!(matches!(pick(&["README.md", "model.bin"], None), Err(ChoiceError::NoModel)));
        let missing = ["m-00001-of-00003.gguf", "m-00003-of-00003.gguf"];
        assert!(matches!(pick(&missing, None), Err(ChoiceError::MissingParts { .. })));
    }

    #[test]
    fn a_safetensors_repository_is_a_directory() {
        let files = [
            "config.json",
            "tokenizer.json",
            "README.md",
            "model.safetensors",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "1_Pooling/config.json",
            "modules.json",
            "2_Dense/model.safetensors",
            "x/config.json",
            "m-Q4_0.gguf",
        ];
        let model = pick(&files, None).unwrap();
        assert_eq!(model.target, Target::Directory(String::new()));
        assert_eq!(
            model.files,
            ["config.json", "tokenizer.json", "1_Pooling/config.json", "modules.json", "2_Dense/model.safetensors", "model.safetensors"]
        );
        assert_eq!(file(&files, Some("Q4_0")), "m-Q4_0.gguf");
        let sharded = pick(&["config.json", "model.safetensors.index.json", "model-00001-of-00002.safetensors"], None).unwrap();
        assert_eq!(sharded.index.as_deref(), Some("model.safetensors.index.json"));
        let below = pick(&["a/config.json", "a/model.safetensors", "a/tokenizer.json"], Some("a")).unwrap();
        assert_eq!((below.target, below.files.len()), (Target::Directory("a".to_owned()), 3));
        assert_eq!(file(&["config.json", "vad.safetensors"], None), "/");
        assert_eq!(file(&["config.json", "a.safetensors", "b.safetensors"], Some("a.safetensors")), "a.safetensors");
    }

    #[test]
    fn an_index_names_its_shards() {
        let read = |map: &str| shards_of_index(format!("{{\"weight_map\": {map}}}").as_bytes());
        assert_eq!(read(r#"{"a": "2.safetensors", "b": "1.safetensors", "c": "1.safetensors"}"#).unwrap().len(), 2);
        for bad in ["{}", "[]", r#"{"a": "../x.safetensors"}"#, r#"{"a": "/x.safetensors"}"#, r#"{"a": "x.bin"}"#] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn hostile_names_are_never_chosen() {
        assert!(matches!(pick(&["../m-Q4_0.gguf"], None), Err(ChoiceError::NoModel)));
        assert!(matches!(pick(&["../m-Q4_0.gguf"], Some("../m-Q4_0.gguf")), Err(ChoiceError::Unsafe(_))));
    }
}
