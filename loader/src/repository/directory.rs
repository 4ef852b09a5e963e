//! A directory on disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures_core::future::LocalBoxFuture;

use super::{Repository, check_inside};
use crate::{LoadError, MappedFile, Source};

/// A directory whose files are mapped into memory. Links in it are followed: caches of hubs keep their files elsewhere.
pub struct Directory {
    name: String,
    path: PathBuf,
}

impl Directory {
    /// The directory at `path`; nothing is read.
    pub fn new(path: &Path) -> Self {
        Self { name: path.display().to_string(), path: path.to_path_buf() }
    }

    fn map(&self, path: &str) -> Result<Option<Arc<dyn Source>>, LoadError> {
        check_inside(&self.name, path)?;
        match MappedFile::open(&self.path.join(path)) {
            Ok(file) => Ok(Some(Arc::new(file))),
            Err(LoadError::NotFound { .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

impl Repository for Directory {
    fn name(&self) -> &str {
        &self.name
    }

    fn open<'a>(&'a self, path: &'a str) -> LocalBoxFuture<'a, Result<Option<Arc<dyn Source>>, LoadError>> {
        Box::pin(std::future::ready(self.map(path)))
    }
}
