//! Splitting a text into the words that a model works on, one at a time.

use std::borrow::Cow;
use std::ops::Range;

use super::bytes;
use super::split::Pattern;

/// What becomes of the matches of a split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Behaviour {
    /// Each is a word of its own.
    Isolated,
    /// They are left out.
    Removed,
    /// Each belongs to the word before it.
    MergedWithPrevious,
    /// Each belongs to the word after it.
    MergedWithNext,
    /// Matches in a row are one word.
    Contiguous,
}

/// Where a space is put in front of the first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Prepend {
    /// Before every piece that has none.
    Always,
    /// Before the beginning of the whole text.
    First,
    /// Nowhere.
    Never,
}

/// One step of splitting, done to each piece that the step before has left.
pub(super) enum PreTokenizer {
    /// Splits by a pattern.
    Split {
        /// What is looked for.
        pattern: Pattern,
        /// What becomes of it.
        behaviour: Behaviour,
        /// Whether what lies between the matches counts as the match.
        invert: bool,
    },
    /// Writes another character for spaces, and splits before it.
    Metaspace {
        /// The character.
        mark: char,
        /// Where one is put in front.
        prepend: Prepend,
        /// Whether to split.
        split: bool,
    },
    /// Puts a space before each piece that begins with none.
    PrefixSpace,
    /// Spells bytes as characters ([`bytes`]).
    Bytes,
}

impl PreTokenizer {
    /// A split by `pattern` of which every match is a word.
    ///
    /// # Errors
    /// As [`Pattern::new`].
    pub(super) fn isolate(pattern: &str) -> Result<Self, String> {
        Ok(Self::Split { pattern: Pattern::new(pattern)?, behaviour: Behaviour::Isolated, invert: false })
    }

    /// Appends what becomes of `piece` to `words`. `is_first`: whether it is the beginning of the whole text.
    ///
    /// # Errors
    /// Says that the pattern takes too long.
    pub(super) fn apply<'t>(&self, piece: Cow<'t, str>, is_first: bool, words: &mut Vec<Cow<'t, str>>) -> Result<(), String> {
        match self {
            Self::Split { pattern, behaviour, invert } => {
                let found = pattern.find_all(&piece)?;
                let parts = parts(piece.len(), &found, *behaviour, *invert);
                cut(piece, parts, words);
            }
            Self::Metaspace { mark, prepend, split } => {
                let mut text = piece.replace(' ', mark.encode_utf8(&mut [0; 4]));
                let wanted = *prepend == Prepend::Always || (*prepend == Prepend::First && is_first);
                if wanted && !text.starts_with(*mark) {
                    text.insert(0, *mark);
                }
                let mut starts: Vec<usize> = if *split { text.match_indices(*mark).map(|(at, _)| at).collect() } else { Vec::new() };
                starts.insert(0, 0);
                let ends = starts.iter().skip(1).copied().chain([text.len()]);
                let parts: Vec<Range<usize>> = starts.iter().copied().zip(ends).map(|(start, end)| start..end).collect();
                cut(Cow::Owned(text), parts, words);
            }
            Self::PrefixSpace if piece.starts_with(' ') => words.push(piece),
            Self::PrefixSpace => words.push(Cow::Owned(format!(" {piece}"))),
            Self::Bytes => words.push(Cow::Owned(piece.bytes().map(bytes::to_char).collect())),
        }
        Ok(())
    }
}

/// Appends the parts of `piece` that are not empty.
fn cut<'t>(piece: Cow<'t, str>, parts: Vec<Range<usize>>, words: &mut Vec<Cow<'t, str>>) {
    let parts = parts.into_iter().filter(|part| !part.is_empty());
    match piece {
        Cow::Borrowed(text) => words.extend(parts.map(|part| Cow::Borrowed(&text[part]))),
        Cow::Owned(text) => words.extend(parts.map(|part| Cow::Owned(text[part].to_owned()))),
    }
}

/// The words into which matches `found` divide a text of `len` bytes.
fn parts(len: usize, found: &[Range<usize>], behaviour: Behaviour, invert: bool) -> Vec<Range<usize>> {
    let mut all: Vec<(Range<usize>, bool)> = Vec::with_capacity(found.len() * 2 + 1);
    let mut done = 0;
    for range in found {
        if done < range.start {
            all.push((done..range.start, invert));
        }
        all.push((range.clone(), !invert));
        done = range.end;
    }
    if done < len {
        all.push((done..len, invert));
    }
    let mut words: Vec<Range<usize>> = Vec::with_capacity(all.len());
    let mut before = None;
    for (range, is_match) in all {
        let joins = match behaviour {
            Behaviour::Isolated | Behaviour::Removed => false,
            Behaviour::MergedWithPrevious => is_match && before == Some(false),
            Behaviour::MergedWithNext => !is_match && before == Some(true),
            Behaviour::Contiguous => before == Some(is_match),
        };
        match words.last_mut() {
            Some(last) if joins => last.end = range.end,
            _ if behaviour == Behaviour::Removed && is_match => {}
            _ => words.push(range),
        }
        before = Some(is_match);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn behaviours_divide_as_they_are_named() {
        let divide = |behaviour, invert| -> Vec<String> {
            let pattern = Pattern::new("-").unwrap();
            let split = PreTokenizer::Split { pattern, behaviour, invert };
            let mut words = Vec::new();
            split.apply("the-final--countdown".into(), true, &mut words).unwrap();
            words.into_iter().map(Cow::into_owned).collect()
        };
        assert_eq!(divide(Behaviour::Removed, false), ["the", "final", "countdown"]);
        assert_eq!(divide(Behaviour::Isolated, false), ["the", "-", "final", "-", "-", "countdown"]);
        assert_eq!(divide(Behaviour::MergedWithPrevious, false), ["the-", "final-", "-", "countdown"]);
        assert_eq!(divide(Behaviour::MergedWithNext, false), ["the", "-final", "-", "-countdown"]);
        assert_eq!(divide(Behaviour::Contiguous, false), ["the", "-", "final", "--", "countdown"]);
        assert_eq!(divide(Behaviour::Removed, true), ["-", "-", "-"]);
    }

    #[test]
    fn spaces_become_marks() {
        let words = |prepend, split, is_first| -> Vec<String> {
            let mut words = Vec::new();
            PreTokenizer::Metaspace { mark: '▁', prepend, split }.apply("a  b".into(), is_first, &mut words).unwrap();
            words.into_iter().map(Cow::into_owned).collect()
        };
        assert_eq!(words(Prepend::Always, true, false), ["▁a", "▁", "▁b"]);
        assert_eq!(words(Prepend::First, true, false), ["a", "▁", "▁b"]);
        assert_eq!(words(Prepend::First, false, true), ["▁a▁▁b"]);
        assert_eq!(words(Prepend::Never, false, true), ["a▁▁b"]);
    }
}
