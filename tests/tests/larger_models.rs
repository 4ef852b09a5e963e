//! Language models that are published as parts of larger ones: inside models that see, and with layers that predict tokens further on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{fs, path::PathBuf, sync::Arc};

use parhelion::loader::{Checkpoint, GgufLayout, GgufWriter, MemoryRepository, MemorySource, NewTensor, Value};
use parhelion::session::SessionOptions;
use parhelion_cli::host::Device;
use parhelion_tests::models::{family, load, rows, scalar, tokenizer_json};
use pollster::block_on;
use safetensors::{SafeTensors, tensor::TensorView};

fn file(family: &str, name: &str) -> Vec<u8> {
    fs::read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families").join(family).join(name)).unwrap()
}

fn logits(checkpoint: Checkpoint) -> Vec<Vec<f32>> {
    let Device { executor, driver, .. } = Device::open(&scalar().request).unwrap();
    let options = SessionOptions { context: Some(64), reproducible: true, ..SessionOptions::default() };
    let mut session = load(checkpoint, executor, &driver, options);
    let sequence = session.open_sequence().unwrap();
    let tokens: Vec<u32> = (0..20).map(|i| (7 * i + 3) % 64).collect();
    driver.block_on(session.forward(&rows(sequence, &tokens), &[0, 13, 19])).unwrap()
}

/// The family's repository as a part of one whose model sees: its tensors begin with `prefix` where they began with `model.`.
fn seeing(family: &str, prefix: &str, head: &str) -> Checkpoint {
    let text: serde_json::Value = serde_json::from_slice(&file(family, "config.json")).unwrap();
    let config = serde_json::json!({
        "model_type": "seeing", "image_token_id": 7, "hidden_size": 9, "text_config": text, "vision_config": { "hidden_size": 8, "model_type": "eye" },
    });
    let weights = file(family, "model.safetensors");
    let weights = SafeTensors::deserialize(&weights).unwrap();
    let renamed = |name: String| match name.strip_prefix("model.") {
        Some(rest) => format!("{prefix}{rest}"),
        None => format!("{head}{name}"),
    };
    let mut tensors: Vec<_> = weights.tensors().into_iter().map(|(name, view)| (renamed(name), view)).collect();
    let others = [0; 32];
    for other in ["model.visual.blocks.0.norm.weight", "vision_tower.embeddings.weight", "mtp.fc.weight"] {
        tensors.push((other.to_owned(), TensorView::new(safetensors::Dtype::BF16, vec![4, 4], &others).unwrap()));
    }
    let repository = MemoryRepository::new(family)
        .with("config.json", config.to_string())
        .with("model.safetensors", safetensors::serialize(tensors, None).unwrap())
        .with("tokenizer.json", tokenizer_json(64));
    block_on(Checkpoint::open_repository(&repository)).unwrap()
}

#[test]
fn the_language_model_of_one_that_sees_is_the_one_published_alone() {
    for (name, prefix, head) in [
        ("qwen3_5", "model.language_model.", ""),
        ("gemma3", "language_model.model.", "language_model."),
        ("lfm2", "model.language_model.", ""),
    ] {
        let part = seeing(name, prefix, head);
        assert_eq!(part.tensors().count(), family(name).tensors().count(), "{name}");
        assert_eq!(logits(part), logits(family(name)), "{name}");
    }
}

#[test]
fn layers_that_predict_further_tokens_are_left_out() {
    let open = |bytes| block_on(Checkpoint::open(Arc::new(MemorySource::new("model.gguf", bytes)))).unwrap();
    let plain = open(file("qwen3_5", "qwen3_5.gguf"));
    let changed = |key: &str, value: &Value| match key {
        "qwen35.block_count" => Value::U32(5),
        _ => value.clone(),
    };
    let mut entries: Vec<(String, Value)> = plain.metadata().iter().map(|(key, value)| (key.to_owned(), changed(key, value))).collect();
    entries.push(("qwen35.nextn_predict_layers".to_owned(), Value::U32(1)));
    let tensor = |name: &str, info: &parhelion::loader::TensorInfo| NewTensor {
        name: name.to_owned(),
        dtype: info.dtype,
        shape: info.shape.clone(),
    };
    let further = ["blk.4.nextn.eh_proj.weight", "blk.4.attn_norm.weight"];
    let norm = plain.tensor("blk.0.attn_norm.weight").unwrap();
    let all = plain.tensors().map(|info| (info.name.as_str(), info)).chain(further.map(|name| (name, norm)));
    let all: Vec<_> = all.collect();
    let layout =
        GgufLayout::new(entries.iter().map(|(key, value)| (key.as_str(), value)), all.iter().map(|(name, info)| tensor(name, info)));
    let mut writer = GgufWriter::new(Vec::new(), layout.unwrap()).unwrap();
    for (name, info) in all {
        writer.write(name, &block_on(plain.read(info, 0, info.len)).unwrap()).unwrap();
    }
    assert_eq!(logits(open(writer.finish().unwrap())), logits(plain));
}
