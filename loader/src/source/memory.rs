//! A file that is already in memory.

use std::borrow::Cow;

use futures_core::future::LocalBoxFuture;

use super::{Source, slice};
use crate::LoadError;

/// The bytes of a file held in memory: small checkpoints, and tests.
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    /// A source of `bytes` that error messages call `name`.
    pub fn new(name: impl Into<String>, bytes: impl Into<Vec<u8>>) -> Self {
        Self { name: name.into(), bytes: bytes.into() }
    }
}

impl Source for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read<'a>(&'a self, offset: u64, len: usize) -> LocalBoxFuture<'a, Result<Cow<'a, [u8]>, LoadError>> {
        let read = slice(&self.name, &self.bytes, offset, len).map(Cow::Borrowed);
        Box::pin(std::future::ready(read))
    }
}
