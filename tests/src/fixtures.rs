//! Real models that tests use where they can be had.

use std::path::PathBuf;

/// The environment variable that names the directory in which tests look for models.
pub const TEST_MODELS: &str = "PARHELION_TEST_MODELS";

/// SmolLM2-135M-Instruct, Q4_1, as GGUF: the default model.
///
/// Looked for in the directory that [`TEST_MODELS`] names, else among the models that `parhelion` has fetched. `None`
/// where it is in neither, and then the calling test is noted as skipped.
pub fn smollm2() -> Option<PathBuf> {
    model("SmolLM2-135M-Instruct.Q4_1.gguf", "cargo run --release -- models pull smollm2-135m-instruct")
}

/// Gemma 3 270M, Q4_K_M, as GGUF: Q4_K, Q5_0, Q6_K and Q8_0. Looked for as [`smollm2`] is.
pub fn gemma3() -> Option<PathBuf> {
    model("gemma-3-270m-q4_k_m.gguf", &fetch("gemma-3-270m"))
}

/// Qwen2.5-Coder 0.5B Instruct as GGUF, for those who fetch it by hand. Looked for as [`smollm2`] is.
pub fn qwen2_5_coder() -> Option<PathBuf> {
    model("qwen2.5-coder-0.5b-instruct-q4.gguf", &fetch("qwen2.5-coder-0.5b"))
}

/// The directory of all-MiniLM-L6-v2, as its repository has it. Looked for as [`smollm2`] is.
pub fn minilm() -> Option<PathBuf> {
    let weights = model("all-MiniLM-L6-v2/model.safetensors", &fetch("all-minilm-l6-v2"));
    weights.and_then(|weights| weights.parent().map(PathBuf::from))
}

/// Silero VAD for 16 kHz as safetensors. Looked for as [`smollm2`] is.
pub fn silero() -> Option<PathBuf> {
    model("silero_vad_16k.safetensors", &fetch("silero-vad"))
}

fn fetch(name: &str) -> String {
    let directory = directory().map_or_else(|| "DIRECTORY".into(), |directory| directory.display().to_string());
    format!("python3 tests/fixtures/published.py fetch {name} {directory}")
}

fn model(file: &str, command: &str) -> Option<PathBuf> {
    let path = directory().map(|directory| directory.join(file));
    if path.as_ref().is_some_and(|path| path.is_file()) {
        return path;
    }
    let looked = path.map_or_else(|| "no cache directory".to_owned(), |path| format!("no {}", path.display()));
    crate::skip(format!("{looked}; `{command}` fetches it, or set {TEST_MODELS} to the directory that holds {file}"));
    None
}

/// Where models for tests are looked for.
pub fn directory() -> Option<PathBuf> {
    std::env::var_os(TEST_MODELS).map(PathBuf::from).or_else(fetched_models)
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
