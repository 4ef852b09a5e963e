//! Finding special tokens in text.

use super::lexicon::PrefixIndex;
use super::vocabulary::{MAX_SPECIAL, TokenKind, Vocabulary};

/// How a special token is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Manner {
    /// Only where no letter, digit or underscore is beside it.
    pub(super) single_word: bool,
    /// With the white space before it.
    pub(super) takes_before: bool,
    /// With the white space after it.
    pub(super) takes_after: bool,
}

/// Searches for control and user-defined tokens: the leftmost, and of several there the longest.
pub(super) struct SpecialTokens {
    /// The texts to look for: those of the vocabulary, or what a normaliser makes of them.
    texts: crate::metadata::Strings,
    /// Positions in `texts`, for looking them up.
    index: PrefixIndex,
    /// The token of each text, whether it is one of control, and how it is found.
    tokens: Vec<(u32, bool, Manner)>,
}

/// A special token in a text.
pub(super) struct Found {
    pub(super) id: u32,
    /// Byte range in the text.
    pub(super) start: usize,
    pub(super) end: usize,
}

/// A token to look for.
pub(super) struct Special<'a> {
    pub(super) id: u32,
    pub(super) text: &'a str,
    pub(super) is_control: bool,
    pub(super) manner: Manner,
}

fn of_kind(vocabulary: &Vocabulary, kind: TokenKind) -> impl Iterator<Item = Special<'_>> {
    let special = move |(id, text)| Special { id, text, is_control: kind == TokenKind::Control, manner: Manner::default() };
    vocabulary.of_kind(kind).map(special)
}

impl SpecialTokens {
    /// # Errors
    /// Names a token that is too long.
    pub(super) fn new<'a>(specials: impl Iterator<Item = Special<'a>>) -> Result<Self, String> {
        let mut texts = crate::metadata::Strings::default();
        let mut tokens = Vec::new();
        for special in specials.filter(|special| !special.text.is_empty()) {
            if special.text.len() > MAX_SPECIAL || !texts.push(special.text) {
                return Err(format!("special token {} has {} bytes; expected at most {MAX_SPECIAL}", special.id, special.text.len()));
            }
            tokens.push((special.id, special.is_control, special.manner));
        }
        let index = PrefixIndex::new(&texts, 0..tokens.len() as u32);
        Ok(Self { texts, index, tokens })
    }

    /// The control and user-defined tokens of `vocabulary`, as they are written there.
    ///
    /// # Errors
    /// As [`SpecialTokens::new`].
    pub(super) fn of(vocabulary: &Vocabulary) -> Result<Self, String> {
        Self::new(of_kind(vocabulary, TokenKind::Control).chain(of_kind(vocabulary, TokenKind::UserDefined)))
    }

    /// The control tokens of `vocabulary`, and its user-defined ones with `space` for each space, to be found where text has it too.
    ///
    /// # Errors
    /// As [`SpecialTokens::new`].
    pub(super) fn with_spaces_as(vocabulary: &Vocabulary, space: &str) -> Result<(Self, Self), String> {
        let texts: Vec<(u32, String)> =
            vocabulary.of_kind(TokenKind::UserDefined).map(|(id, text)| (id, text.replace(' ', space))).collect();
        let markup = texts.iter().map(|(id, text)| Special { id: *id, text, is_control: false, manner: Manner::default() });
        Ok((Self::new(of_kind(vocabulary, TokenKind::Control))?, Self::new(markup)?))
    }

    /// The token of control or markup that is written `text`.
    pub(super) fn id(&self, text: &str) -> Option<u32> {
        let (_, place) = self.index.prefixes(&self.texts, text.as_bytes()).find(|&(length, _)| length == text.len())?;
        self.tokens.get(place as usize).map(|&(id, ..)| id)
    }

    /// The special tokens of `text` from left to right. A control token counts only where `control_at` says so of its
    /// byte range; elsewhere its characters are text like any other.
    pub(super) fn find(&self, text: &str, control_at: impl Fn(usize, usize) -> bool) -> impl Iterator<Item = Found> {
        let mut position = if self.index.is_empty() { text.len() } else { 0 };
        // Where text not yet given out begins.
        let mut free = 0;
        std::iter::from_fn(move || {
            while position < text.len() {
                let start = position;
                match self.longest_at(text, start, &control_at) {
                    Some((length, id, manner)) => {
                        let found = extended(text, free, start..start + length, manner);
                        position = found.end;
                        free = found.end;
                        return Some(Found { id, start: found.start, end: found.end });
                    }
                    None => position += text[position..].chars().next().map_or(1, char::len_utf8),
                }
            }
            None
        })
    }

    /// The longest token that may be at `start`.
    fn longest_at(&self, text: &str, start: usize, control_at: &impl Fn(usize, usize) -> bool) -> Option<(usize, u32, Manner)> {
        let allowed = |(length, place): (usize, u32)| {
            let &(id, is_control, manner) = self.tokens.get(place as usize)?;
            let end = start + length;
            let alone = || !text[..start].ends_with(is_word) && !text[end..].starts_with(is_word);
            let allowed = (!is_control || control_at(start, end)) && (!manner.single_word || alone());
            allowed.then_some((length, id, manner))
        };
        self.index.prefixes(&self.texts, &text.as_bytes()[start..]).filter_map(allowed).last()
    }
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

/// `range` with the white space that goes with the token, from `free` on.
fn extended(text: &str, free: usize, range: std::ops::Range<usize>, manner: Manner) -> std::ops::Range<usize> {
    let start = if manner.takes_before { free + text[free..range.start].trim_end().len() } else { range.start };
    let rest = &text[range.end..];
    let after = if manner.takes_after { rest.len() - rest.trim_start().len() } else { 0 };
    start..range.end + after
}
