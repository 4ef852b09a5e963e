//! Real models that tests use where they can be had.

use std::path::PathBuf;

/// The environment variable that names the directory in which tests look for models.
pub const TEST_MODELS: &str = "PARHELION_TEST_MODELS";

/// SmolLM2-135M-Instruct, Q4_1, as GGUF: the default model.
///
/// Looked for in the directory that [`TEST_MODELS`] names, else among the models that `parhelion` has fetched. `None`
/// where it is in neither, and then the calling test is noted as skipped.
pub fn smollm2() -> Option<PathBuf> {
    model("SmolLM2-135M-Instruct.Q4_1.gguf")
}

fn model(file: &str) -> Option<PathBuf> {
    let directory = std::env::var_os(TEST_MODELS).map(PathBuf::from).or_else(fetched_models);
    let path = directory.map(|directory| directory.join(file));
    if path.as_ref().is_some_and(|path| path.is_file()) {
        return path;
    }
    let looked = path.map_or_else(|| "no cache directory".to_owned(), |path| format!("no {}", path.display()));
    crate::skip(format!(
        "{looked}; `cargo run --release -- models pull smollm2-135m-instruct` fetches it, or set {TEST_MODELS} to the \
         directory that holds {file}"
    ));
    None
}

/// Where the program keeps models: `PARHELION_CACHE`, else the platform's cache directory. Spelled out here because
/// this crate, which `cargo xtask` starts from, does without dependencies.
fn fetched_models() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let platform = || {
        if cfg!(windows) {
            set("LOCALAPPDATA").map(|local| local.join("parhelion").join("cache"))
        } else if cfg!(target_os = "macos") {
            set("HOME").map(|home| home.join("Library").join("Caches").join("parhelion"))
        } else {
            let cache = set("XDG_CACHE_HOME").or_else(|| set("HOME").map(|home| home.join(".cache")));
            cache.map(|cache| cache.join("parhelion"))
        }
    };
    Some(set("PARHELION_CACHE").or_else(platform)?.join("models"))
}
