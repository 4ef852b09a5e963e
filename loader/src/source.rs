//! Where a model file's bytes come from.

use std::borrow::Cow;

use futures_core::future::LocalBoxFuture;

use crate::LoadError;

#[cfg(not(target_arch = "wasm32"))]
mod mapped;
mod memory;

#[cfg(not(target_arch = "wasm32"))]
pub use mapped::MappedFile;
pub use memory::MemorySource;

/// `Send + Sync` natively, where checkpoints move between threads; nothing on wasm32, where a source holds JavaScript
/// objects that belong to one thread.
#[cfg(not(target_arch = "wasm32"))]
pub trait MaybeSendSync: Send + Sync {}
#[cfg(not(target_arch = "wasm32"))]
impl<T: Send + Sync + ?Sized> MaybeSendSync for T {}

/// `Send + Sync` natively, where checkpoints move between threads; nothing on wasm32, where a source holds JavaScript
/// objects that belong to one thread.
#[cfg(target_arch = "wasm32")]
pub trait MaybeSendSync {}
#[cfg(target_arch = "wasm32")]
impl<T: ?Sized> MaybeSendSync for T {}

/// Random access to the bytes of one published file. Asynchronous because a browser fetches ranges; natively it is a
/// memory map and every read is ready at once.
pub trait Source: MaybeSendSync {
    /// What error messages call the file.
    fn name(&self) -> &str;

    /// The file's length in bytes.
    fn len(&self) -> u64;

    /// Whether the file has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Exactly `len` bytes from `offset`.
    ///
    /// # Errors
    /// [`LoadError::Read`] when the range lies outside the file or cannot be fetched.
    fn read<'a>(&'a self, offset: u64, len: usize) -> LocalBoxFuture<'a, Result<Cow<'a, [u8]>, LoadError>>;

    /// Says that these bytes will be read next, so that they may be brought closer meanwhile. Never waits.
    fn will_read(&self, offset: u64, len: u64) {
        let _ = (offset, len);
    }
}

/// The part of `bytes` that a read asks for, or the error that names the range.
fn slice<'a>(name: &str, bytes: &'a [u8], offset: u64, len: usize) -> Result<&'a [u8], LoadError> {
    usize::try_from(offset).ok().and_then(|start| bytes.get(start..start.checked_add(len)?)).ok_or_else(|| LoadError::Read {
        file: name.to_owned(),
        offset,
        len: len as u64,
        reason: format!("the file ends at byte {}", bytes.len()),
    })
}
