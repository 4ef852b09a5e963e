//! A place with several files that belong together: a directory, a snapshot of a hub, files in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_core::future::LocalBoxFuture;

use crate::source::MaybeSendSync;
use crate::{LoadError, MemorySource, Source};

#[cfg(not(target_arch = "wasm32"))]
mod directory;

#[cfg(not(target_arch = "wasm32"))]
pub use directory::Directory;

/// The files of one published model, by their paths. Paths are relative, their parts separated by `/`, and never leave the
/// repository: [`is_inside`] says which do not, and implementations refuse the others.
pub trait Repository: MaybeSendSync {
    /// What error messages call the place.
    fn name(&self) -> &str;

    /// The file at `path`; `None` where the repository has no such file.
    ///
    /// # Errors
    /// [`LoadError::BadPath`] for a path that leaves the repository, or what opening the file reports.
    fn open<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<Arc<dyn Source>>, LoadError>>;
}

/// The longest path within a repository, in bytes.
const MAX_PATH: usize = 1024;

/// Whether `path` names a file inside a repository on every platform: relative, of plain parts between single slashes, without
/// what some system gives a meaning (`..`, `\`, drive letters and streams with `:`, control characters).
pub fn is_inside(path: &str) -> bool {
    let plain = |part: &str| !matches!(part, "" | "." | "..");
    let odd = |c: char| c.is_control() || matches!(c, '\\' | ':');
    path.len() <= MAX_PATH && path.split('/').all(plain) && !path.contains(odd)
}

/// The error for a `path` that [`is_inside`] refuses.
pub(crate) fn check_inside(repository: &str, path: &str) -> Result<(), LoadError> {
    if is_inside(path) { Ok(()) } else { Err(LoadError::BadPath { file: repository.to_owned(), path: path.chars().take(100).collect() }) }
}

/// A repository whose files are in memory: tests, and pages that were given files.
#[derive(Default)]
pub struct MemoryRepository {
    name: String,
    files: BTreeMap<String, Arc<MemorySource>>,
}

impl MemoryRepository {
    /// An empty repository that error messages call `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), files: BTreeMap::new() }
    }

    /// The same with one more file.
    #[must_use]
    pub fn with(mut self, path: &str, bytes: impl Into<Vec<u8>>) -> Self {
        let name = format!("{}/{path}", self.name);
        self.files.insert(path.to_owned(), Arc::new(MemorySource::new(name, bytes)));
        self
    }
}

impl Repository for MemoryRepository {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<Arc<dyn Source>>, LoadError>> {
        let found = check_inside(&self.name, path).map(|()| self.files.get(path).cloned().map(|file| file as Arc<dyn Source>));
        Box::pin(std::future::ready(found))
    }
}

#[cfg(test)]
mod tests {
    use super::is_inside;

    #[test]
    fn only_paths_within_are_inside() {
        for path in ["model.safetensors", "onnx/model.onnx", "a..b", ".hidden", "x y", "模型.gguf"] {
            assert!(is_inside(path), "{path}");
        }
        let long = "x".repeat(2000);
        for path in ["", "/etc/passwd", "..", "../x", "a/../x", "a//b", "a/", "./a", "C:\\x", "C:x", "a\\..\\b", "a\0b", "a\nb", &long] {
            assert!(!is_inside(path), "{path}");
        }
    }
}
