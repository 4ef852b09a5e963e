//! What is done to a text before it is split.

use std::borrow::Cow;
use std::ops::Range;

use tokenizers::{NormalizedString, Normalizer as _, NormalizerWrapper};

use super::charsmap::Charsmap;
use super::split::Pattern;

/// One change to a text.
pub(super) enum Normalizer {
    /// Unicode's forms, letter case, accents and the like, as the `tokenizers` library does it.
    Library(NormalizerWrapper),
    /// As [`Normalizer::Library`], for what leaves ASCII as it is.
    LibraryBeyondAscii(NormalizerWrapper),
    /// Puts something in front.
    Prepend(String),
    /// Replaces one string by another.
    Replace {
        /// What is replaced.
        from: String,
        /// What comes in its place.
        to: String,
    },
    /// Replaces each match.
    ReplacePattern {
        /// What is replaced.
        from: Box<Pattern>,
        /// What comes in its place.
        to: String,
    },
    /// Takes white space from the ends.
    Strip {
        /// From the beginning.
        left: bool,
        /// From the end.
        right: bool,
    },
    /// SentencePiece's table.
    Charsmap(Charsmap),
}

impl Normalizer {
    /// `text` changed.
    ///
    /// # Errors
    /// Says that a pattern takes too long, or that the text becomes longer than `most` bytes.
    pub(super) fn apply<'t>(&self, text: Cow<'t, str>, most: usize) -> Result<Cow<'t, str>, String> {
        Ok(match self {
            Self::LibraryBeyondAscii(_) if text.is_ascii() => text,
            Self::Library(library) | Self::LibraryBeyondAscii(library) => {
                let mut normalized = NormalizedString::from(text.as_ref());
                library.normalize(&mut normalized).map_err(|error| error.to_string())?;
                Cow::Owned(normalized.get().to_owned())
            }
            Self::Prepend(_) if text.is_empty() => text,
            Self::Prepend(front) => Cow::Owned(format!("{front}{text}")),
            Self::Replace { from, .. } if !text.contains(from.as_str()) => text,
            Self::Replace { from, to } => {
                let matches = text.match_indices(from.as_str()).map(|(at, found)| at..at + found.len());
                Cow::Owned(replaced(&text, matches, to, most)?)
            }
            Self::ReplacePattern { from, to } => Cow::Owned(replaced(&text, from.find_all(&text)?.into_iter(), to, most)?),
            Self::Strip { left, right } => {
                let mut kept = text.as_ref();
                kept = if *left { kept.trim_start() } else { kept };
                kept = if *right { kept.trim_end() } else { kept };
                Cow::Owned(kept.to_owned())
            }
            Self::Charsmap(table) => Cow::Owned(table.normalize(&text, most)?),
        })
    }
}

/// `text` with `to` in place of each of `matches`.
fn replaced(text: &str, matches: impl Iterator<Item = Range<usize>>, to: &str, most: usize) -> Result<String, String> {
    let mut replaced = String::with_capacity(text.len());
    let mut done = 0;
    for found in matches {
        replaced.extend([&text[done..found.start], to]);
        done = found.end;
        check_length(text, replaced.len(), most)?;
    }
    replaced.push_str(&text[done..]);
    Ok(replaced)
}

/// Whether what becomes of `text` is at most `most` bytes.
pub(super) fn check_length(text: &str, bytes: usize, most: usize) -> Result<(), String> {
    match bytes <= most {
        true => Ok(()),
        false => Err(format!("a text of {} bytes becomes one of over {most} before it is encoded", text.len())),
    }
}
