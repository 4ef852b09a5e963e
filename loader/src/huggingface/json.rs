//! JSON files of a repository, read within limits.

use std::borrow::Cow;

use serde::de::DeserializeSeed;

use crate::{LoadError, Source};

/// The whole of a small file.
///
/// # Errors
/// [`LoadError::Malformed`] for one over `most` bytes, or from the source.
pub(crate) async fn read_whole(source: &dyn Source, most: u64) -> Result<Cow<'_, [u8]>, LoadError> {
    let len = source.len();
    match usize::try_from(len) {
        Ok(wanted) if len <= most => source.read(0, wanted).await,
        _ => Err(malformed(source.name(), "length", format!("at most {most} bytes"), format!("{len} bytes"))),
    }
}

/// What `seed` makes of `bytes`, which hold one JSON value and nothing else. serde_json stops at 128 levels of nesting.
pub(super) fn parse<'a, S: DeserializeSeed<'a>>(file: &str, place: &str, bytes: &'a [u8], seed: S) -> Result<S::Value, LoadError> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let parsed = seed.deserialize(&mut reader).and_then(|value| reader.end().map(|()| value));
    parsed.map_err(|error| malformed(file, place, "JSON as the format has it", error))
}

pub(super) fn malformed(file: &str, place: &str, expected: impl Into<String>, got: impl std::fmt::Display) -> LoadError {
    LoadError::Malformed { file: file.to_owned(), place: place.to_owned(), expected: expected.into(), got: got.to_string() }
}
