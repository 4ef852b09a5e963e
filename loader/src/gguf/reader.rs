//! Reads a header front to back through a window that grows with what is asked of it.

use std::borrow::Cow;
use std::fmt;

use crate::{LoadError, Source};

/// The first window, in bytes; each later one is twice as long, up to [`LAST_WINDOW`].
const FIRST_WINDOW: u64 = 64 << 10;
const LAST_WINDOW: u64 = 4 << 20;

/// What is being read, for error messages.
pub(super) enum Place {
    /// A field of the header's start.
    Field(&'static str),
    /// The key of a metadata entry.
    Entry(u64),
    /// The value of the entry with this key.
    Key(String),
    /// The name of a tensor.
    Tensor(u64),
    /// Some field of the tensor with this name.
    TensorField(String, &'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(what) => f.write_str(what),
            Self::Entry(number) => write!(f, "key of metadata entry {number}"),
            Self::Key(key) => write!(f, "metadata `{}`", key.escape_debug()),
            Self::Tensor(number) => write!(f, "name of tensor {number}"),
            Self::TensorField(name, what) => {
                write!(f, "{what} of tensor `{}`", name.escape_debug())
            }
        }
    }
}

/// A cursor over a source. At most one window of the file is held; `place` is what errors name.
pub(super) struct Reader<'s> {
    source: &'s dyn Source,
    window: Cow<'s, [u8]>,
    /// Offset of the window's first byte in the file.
    window_start: u64,
    /// Position within the window.
    position: usize,
    next_window: u64,
    pub(super) place: Place,
}

impl<'s> Reader<'s> {
    pub(super) fn new(source: &'s dyn Source) -> Self {
        Self { source, window: Cow::Borrowed(&[]), window_start: 0, position: 0, next_window: FIRST_WINDOW, place: Place::Field("magic") }
    }

    /// The file's name.
    pub(super) fn file(&self) -> &'s str {
        self.source.name()
    }

    /// Offset in the file of the next byte.
    pub(super) fn offset(&self) -> u64 {
        self.window_start + self.position as u64
    }

    /// Bytes from the next one to the file's end.
    pub(super) fn remaining(&self) -> u64 {
        self.source.len().saturating_sub(self.offset())
    }

    /// The error for the current place.
    pub(super) fn malformed(&self, expected: impl fmt::Display, got: impl fmt::Display) -> LoadError {
        LoadError::Malformed {
            file: self.file().to_owned(),
            place: format!("{}, before byte {}", self.place, self.offset()),
            expected: expected.to_string(),
            got: got.to_string(),
        }
    }

    /// The next `len` bytes.
    pub(super) async fn take(&mut self, len: u64) -> Result<&[u8], LoadError> {
        let remaining = self.remaining();
        let wanted = match usize::try_from(len) {
            Ok(wanted) if len <= remaining => wanted,
            _ => {
                return Err(self.malformed(format!("{len} more bytes"), format!("the end of the file after {remaining}")));
            }
        };
        if self.window.len() - self.position < wanted {
            self.refill(len).await?;
        }
        let bytes = &self.window[self.position..self.position + wanted];
        self.position += wanted;
        Ok(bytes)
    }

    /// Moves the window to the current offset and makes it hold at least `least` bytes, which the file has.
    async fn refill(&mut self, least: u64) -> Result<(), LoadError> {
        let start = self.offset();
        let len = self.next_window.max(least).min(self.source.len() - start);
        // The old window goes before the new one comes: only one is ever held.
        self.window = Cow::Borrowed(&[]);
        (self.window_start, self.position) = (start, 0);
        let failed = |reason: String| LoadError::Read { file: self.source.name().to_owned(), offset: start, len, reason };
        let wanted = usize::try_from(len).map_err(|_| failed("more than this machine can address".to_owned()))?;
        let window = self.source.read(start, wanted).await?;
        if window.len() != wanted {
            return Err(failed(format!("the source gave {} bytes", window.len())));
        }
        self.window = window;
        self.next_window = (self.next_window * 2).min(LAST_WINDOW);
        Ok(())
    }

    pub(super) async fn skip(&mut self, len: u64) -> Result<(), LoadError> {
        self.take(len).await.map(|_| ())
    }

    pub(super) async fn array<const N: usize>(&mut self) -> Result<[u8; N], LoadError> {
        let mut bytes = [0; N];
        bytes.copy_from_slice(self.take(N as u64).await?);
        Ok(bytes)
    }

    pub(super) async fn u32(&mut self) -> Result<u32, LoadError> {
        self.array().await.map(u32::from_le_bytes)
    }

    pub(super) async fn u64(&mut self) -> Result<u64, LoadError> {
        self.array().await.map(u64::from_le_bytes)
    }

    /// The bytes of a string: its length, at most `longest`, then UTF-8, handed to `use_text`.
    pub(super) async fn with_str<T>(&mut self, longest: u64, use_text: impl FnOnce(&str) -> T) -> Result<T, LoadError> {
        let len = self.u64().await?;
        if len > longest {
            return Err(self.malformed(format!("a string of at most {longest} bytes"), format!("a length of {len}")));
        }
        let bytes = self.take(len).await?;
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(use_text(text)),
            Err(error) => {
                let got = format!("an invalid byte at {} of {len}", error.valid_up_to());
                Err(self.malformed("UTF-8 text", got))
            }
        }
    }

    pub(super) async fn string(&mut self, longest: u64) -> Result<String, LoadError> {
        self.with_str(longest, str::to_owned).await
    }
}
