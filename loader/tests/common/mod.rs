//! Writes GGUF files, good ones and bad, byte by byte.

#![allow(dead_code, reason = "each test program uses a part")]

use std::sync::Arc;

use parhelion_loader::{Checkpoint, LoadError, MemorySource};

/// The bytes of a GGUF file in the making. Counts are written as given, so that files can lie.
#[derive(Clone)]
pub(crate) struct Gguf {
    pub(crate) magic: [u8; 4],
    pub(crate) version: u32,
    pub(crate) tensor_count: Option<u64>,
    pub(crate) entry_count: Option<u64>,
    pub(crate) entries: Vec<Vec<u8>>,
    pub(crate) tensors: Vec<Vec<u8>>,
    pub(crate) alignment: usize,
    pub(crate) data: Vec<u8>,
}

impl Default for Gguf {
    fn default() -> Self {
        Self {
            magic: *b"GGUF",
            version: 3,
            tensor_count: None,
            entry_count: None,
            entries: Vec::new(),
            tensors: Vec::new(),
            alignment: 32,
            data: Vec::new(),
        }
    }
}

impl Gguf {
    pub(crate) fn entry(mut self, key: &str, kind: u32, value: &[u8]) -> Self {
        self.entries.push([string(key), kind.to_le_bytes().to_vec(), value.to_vec()].concat());
        self
    }

    pub(crate) fn raw_entry(mut self, bytes: Vec<u8>) -> Self {
        self.entries.push(bytes);
        self
    }

    pub(crate) fn u32(self, key: &str, value: u32) -> Self {
        self.entry(key, 4, &value.to_le_bytes())
    }

    pub(crate) fn bool(self, key: &str, value: bool) -> Self {
        self.entry(key, 7, &[u8::from(value)])
    }

    pub(crate) fn str(self, key: &str, value: &str) -> Self {
        self.entry(key, 8, &string(value))
    }

    pub(crate) fn strs<'a>(self, key: &str, values: impl IntoIterator<Item = &'a str>) -> Self {
        let strings: Vec<Vec<u8>> = values.into_iter().map(string).collect();
        self.entry(key, 9, &array(8, strings.len() as u64, &strings.concat()))
    }

    pub(crate) fn i32s(self, key: &str, values: &[i32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.entry(key, 9, &array(5, values.len() as u64, &bytes))
    }

    pub(crate) fn f32s(self, key: &str, values: &[f32]) -> Self {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.entry(key, 9, &array(6, values.len() as u64, &bytes))
    }

    pub(crate) fn u8s(self, key: &str, values: &[u8]) -> Self {
        self.entry(key, 9, &array(0, values.len() as u64, values))
    }

    /// A tensor record; dimensions as the format stores them, the contiguous one first.
    pub(crate) fn tensor(mut self, name: &str, dims: &[u64], kind: u32, offset: u64) -> Self {
        let dims_bytes: Vec<u8> = dims.iter().flat_map(|dim| dim.to_le_bytes()).collect();
        let rank = (dims.len() as u32).to_le_bytes().to_vec();
        self.tensors.push([string(name), rank, dims_bytes, kind.to_le_bytes().to_vec(), offset.to_le_bytes().to_vec()].concat());
        self
    }

    pub(crate) fn data(mut self, len: usize) -> Self {
        self.data = vec![0; len];
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut bytes = [self.magic.to_vec(), self.version.to_le_bytes().to_vec()].concat();
        bytes.extend(self.tensor_count.unwrap_or(self.tensors.len() as u64).to_le_bytes());
        bytes.extend(self.entry_count.unwrap_or(self.entries.len() as u64).to_le_bytes());
        bytes.extend(self.entries.concat());
        bytes.extend(self.tensors.concat());
        if !self.data.is_empty() {
            bytes.resize(bytes.len().next_multiple_of(self.alignment), 0);
            bytes.extend(&self.data);
        }
        bytes
    }

    pub(crate) fn open(&self) -> Result<Checkpoint, LoadError> {
        open(self.bytes())
    }
}

pub(crate) fn string(text: &str) -> Vec<u8> {
    [(text.len() as u64).to_le_bytes().to_vec(), text.as_bytes().to_vec()].concat()
}

pub(crate) fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [kind.to_le_bytes().to_vec(), count.to_le_bytes().to_vec(), elements.to_vec()].concat()
}

pub(crate) fn open(bytes: Vec<u8>) -> Result<Checkpoint, LoadError> {
    pollster::block_on(Checkpoint::open(Arc::new(MemorySource::new("model.gguf", bytes))))
}
