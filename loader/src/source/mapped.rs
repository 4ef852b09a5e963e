//! A file on disk, mapped into memory.

use std::borrow::Cow;
use std::fs::File;
use std::io::ErrorKind;
use std::path::Path;

use futures_core::future::LocalBoxFuture;
use memmap2::Mmap;

use super::{Source, slice};
use crate::LoadError;

/// A file mapped into memory: nothing is read until its pages are touched, and pages are shared with every other
/// process that maps the same file.
pub struct MappedFile {
    name: String,
    map: Mmap,
}

impl MappedFile {
    /// Maps the file at `path`.
    ///
    /// # Errors
    /// [`LoadError::NotFound`], [`LoadError::NotAFile`] (a directory, a pipe), [`LoadError::Empty`], or
    /// [`LoadError::Read`] with what the operating system said.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        let name = path.display().to_string();
        let failed = |error: std::io::Error| match error.kind() {
            ErrorKind::NotFound => LoadError::NotFound { file: name.clone() },
            _ => LoadError::Read { file: name.clone(), offset: 0, len: 0, reason: error.to_string() },
        };
        // Asked of the path before opening: opening a pipe would wait for a writer.
        let properties = std::fs::metadata(path).map_err(failed)?;
        if !properties.is_file() {
            return Err(LoadError::NotAFile { file: name });
        }
        if properties.len() == 0 {
            return Err(LoadError::Empty { file: name });
        }
        let file = File::open(path).map_err(failed)?;
        // SAFETY: the map is read-only and private to this process's view. Another process that truncates the file
        // while it is mapped could fault a later read; model files are written once, under a temporary name, and
        // renamed into place, and every engine that maps weights accepts the same condition.
        #[allow(unsafe_code, reason = "mapping a file is unsafe by nature: see the SAFETY line")]
        let map = unsafe { Mmap::map(&file) }.map_err(failed)?;
        Ok(Self { name, map })
    }
}

impl Source for MappedFile {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.map.len() as u64
    }

    fn read<'a>(&'a self, offset: u64, len: usize) -> LocalBoxFuture<'a, Result<Cow<'a, [u8]>, LoadError>> {
        let read = slice(&self.name, &self.map, offset, len).map(Cow::Borrowed);
        Box::pin(std::future::ready(read))
    }

    #[cfg(unix)]
    fn will_read(&self, offset: u64, len: u64) {
        let end = offset.saturating_add(len).min(self.len());
        if let (Ok(first), Ok(len)) = (usize::try_from(offset), usize::try_from(end.saturating_sub(offset))) {
            // What the system makes of it changes no byte that is read.
            let _ = self.map.advise_range(memmap2::Advice::WillNeed, first, len);
        }
    }
}
