//! Writes safetensors files and repositories of them, good ones and bad.

#![allow(dead_code, reason = "each test program uses a part")]

use parhelion_loader::{Checkpoint, LoadError, MemoryRepository};

/// A file with `header` as its text and `data` zero bytes.
pub(crate) fn file(header: &str, data: usize) -> Vec<u8> {
    [(header.len() as u64).to_le_bytes().as_slice(), header.as_bytes(), &vec![0; data]].concat()
}

/// A file of tensors: name, type, shape, bytes.
pub(crate) fn of(tensors: &[(&str, &str, &[u64], Vec<u8>)]) -> Vec<u8> {
    let (mut entries, mut data) = (Vec::new(), Vec::<u8>::new());
    for (name, dtype, shape, bytes) in tensors {
        let start = data.len();
        data.extend(bytes);
        entries.push(format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape:?},"data_offsets":[{start},{}]}}"#, data.len()));
    }
    let mut bytes = file(&format!("{{{}}}", entries.join(",")), 0);
    bytes.extend(data);
    bytes
}

/// A repository of one file and a configuration.
pub(crate) fn repository(config: &str, weights: Vec<u8>) -> MemoryRepository {
    MemoryRepository::new("repo").with("config.json", config).with("model.safetensors", weights)
}

pub(crate) fn open(repository: &MemoryRepository) -> Result<Checkpoint, LoadError> {
    pollster::block_on(Checkpoint::open_repository(repository))
}
