//! Published safetensors files against the format's reference crate: every tensor's type, shape and bytes.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::path::PathBuf;

use parhelion_loader::{Checkpoint, MemoryRepository};
use parhelion_tests::fixtures;
use pollster::block_on;
use safetensors::SafeTensors;

fn check(path: Option<PathBuf>, tensors: usize) {
    let Some(path) = path else { return };
    let bytes = std::fs::read(path).unwrap();
    let reference = SafeTensors::deserialize(&bytes).unwrap();
    let repository = MemoryRepository::new("published").with("config.json", "{}").with("model.safetensors", bytes.clone());
    let checkpoint = block_on(Checkpoint::open_repository(&repository)).unwrap();
    assert_eq!((checkpoint.tensors().len(), reference.len()), (tensors, tensors));
    for (name, view) in reference.tensors() {
        let tensor = checkpoint.tensor(&name).unwrap();
        let shape: Vec<u64> = view.shape().iter().map(|&dim| dim as u64).collect();
        assert_eq!((tensor.dtype.name().to_owned(), &tensor.shape), (format!("{:?}", view.dtype()), &shape), "{name}");
        assert!(*block_on(checkpoint.read(tensor, 0, tensor.len)).unwrap() == *view.data(), "{name}: other bytes");
    }
}

#[test]
fn every_tensor_of_all_minilm_is_the_reference_s() {
    check(fixtures::minilm().map(|directory| directory.join("model.safetensors")), 104);
}

#[test]
fn every_tensor_of_silero_vad_is_the_reference_s() {
    check(fixtures::silero(), 15);
}
