//! Repositories of every family as GGUF files: what is written computes what the repository does, or the error says what GGUF
//! has no form for.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{fs, path::PathBuf, sync::Arc};

use parhelion::{
    loader::{Checkpoint, MemoryRepository, MemorySource},
    models,
    quantise::{FilePlan, Quant, QuantType},
    session::SessionOptions,
};
use parhelion_cli::host::Device;
use parhelion_tests::models::{gguf_of, load, rows, scalar, tokenizer_json};
use pollster::block_on;

/// Checkpoints that GGUF has no form for, and what the error names.
const NO_FORM: &[(&str, &str)] = &[
    // GGUF files of Mistral are Llama's, which have no windows
    ("mistral", "its layers are not those of other `llama` models"),
    // which layers rotate is not what it is in other models
    ("smollm3", "its layers are not those of other `smollm3` models"),
    // value heads are in another order there
    ("qwen3_5", "its layers are not those of other `qwen35` models"),
    // scores are scaled otherwise than by the width of heads
    ("gemma2", "its factors are not those of other `gemma2` models"),
    // its factor on cos and sin is 1 in spite of YaRN
    ("ministral3", "positions stretched by"),
    // tensors of single experts would have to be joined
    ("gpt_oss", "the weights of experts"),
    ("lfm2_moe", "the weights of experts"),
    ("qwen3_moe", "the weights of experts"),
    ("bert", "how a text becomes a vector"),
    ("nomic_bert", "how a text becomes a vector"),
    ("gemma3_embedding", "how a text becomes a vector"),
];
const QUANT: Quant = Quant { target: QuantType::Q8_0, requantise: false };
const VOCABULARY: usize = 64;

fn repositories() -> impl Iterator<Item = (String, Checkpoint)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families");
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).filter(|path| path.join("config.json").is_file());
    folders.map(|folder| {
        let name = folder.file_name().unwrap().to_str().unwrap().to_owned();
        let repository = MemoryRepository::new(&name)
            .with("config.json", fs::read(folder.join("config.json")).unwrap())
            .with("model.safetensors", fs::read(folder.join("model.safetensors")).unwrap())
            .with("tokenizer.json", tokenizer_json(VOCABULARY));
        (name, block_on(Checkpoint::open_repository(&repository)).unwrap())
    })
}

fn logits(checkpoint: Checkpoint, quant: Option<Quant>) -> Vec<Vec<f32>> {
    let Device { executor, driver, .. } = Device::open(&scalar().request).unwrap();
    let options = SessionOptions { context: Some(64), reproducible: true, quant, ..SessionOptions::default() };
    let mut session = load(checkpoint, executor, &driver, options);
    let sequence = session.open_sequence().unwrap();
    let tokens: Vec<u32> = (0..20).map(|i| (7 * i + 3) % VOCABULARY as u32).collect();
    driver.block_on(session.forward(&rows(sequence, &tokens), &[0, 13, 19])).unwrap()
}

#[test]
fn repositories_become_files_that_compute_the_same() {
    let mut written = 0;
    for (name, repository) in repositories() {
        let refusal = NO_FORM.iter().find(|(known, _)| *known == name).map(|(_, says)| *says);
        let limits = Device::open(&scalar().request).unwrap().executor.device().limits;
        if block_on(models::build(&repository, &limits)).is_err() {
            continue; // what is not supported yet is tested with the families
        }
        if let Some(says) = refusal {
            let error = block_on(FilePlan::new(&repository, QUANT)).unwrap_err().to_string();
            assert!(error.contains(&name) && error.contains(says), "{error}");
            continue;
        }
        let file = MemorySource::new("written.gguf", gguf_of(&repository, QUANT));
        let file = block_on(Checkpoint::open(Arc::new(file))).unwrap();
        let (expected, got) = (logits(repository, Some(QUANT)), logits(file, None));
        let worst = expected.iter().flatten().zip(got.iter().flatten()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        // Factors of frequencies and scales are f32 in a file; all else is the same.
        assert!(worst <= 1e-4, "{name}: {worst}");
        written += 1;
    }
    assert!(written >= 8, "{written} families");
}
