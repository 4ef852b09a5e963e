//! Finding special tokens in text.

use aho_corasick::{AhoCorasick, BuildError, Input, MatchKind};

use super::vocabulary::{TokenKind, Vocabulary};

/// Searches for control and user-defined tokens: the leftmost, and of several there the longest.
pub(super) struct SpecialTokens {
    /// Both kinds; the ids in the order of the patterns; the first `controls` are control tokens.
    all: AhoCorasick,
    ids: Vec<u32>,
    controls: usize,
    /// The user-defined ones alone, for where a control token may not be.
    user_defined: AhoCorasick,
}

/// A special token in a text.
pub(super) struct Found {
    pub(super) id: u32,
    /// Byte range in the text.
    pub(super) start: usize,
    pub(super) end: usize,
}

impl SpecialTokens {
    pub(super) fn new(vocabulary: &Vocabulary) -> Result<Self, BuildError> {
        let (mut ids, texts): (Vec<u32>, Vec<&str>) = vocabulary.of_kind(TokenKind::Control).unzip();
        let (user_ids, user_texts): (Vec<u32>, Vec<&str>) = vocabulary.of_kind(TokenKind::UserDefined).unzip();
        let controls = ids.len();
        ids.extend(user_ids);
        let build = |texts: &mut dyn Iterator<Item = &&str>| AhoCorasick::builder().match_kind(MatchKind::LeftmostLongest).build(texts);
        Ok(Self { all: build(&mut texts.iter().chain(&user_texts))?, ids, controls, user_defined: build(&mut user_texts.iter())? })
    }

    /// The special tokens of `text` from left to right. A control token counts only where `control_at` says so of its
    /// byte range; elsewhere its characters are text like any other.
    pub(super) fn find(&self, text: &str, control_at: impl Fn(usize, usize) -> bool) -> impl Iterator<Item = Found> {
        let mut position = 0;
        std::iter::from_fn(move || {
            // Where to search from; `position` is where text not yet given out begins.
            let mut from = position;
            loop {
                let found = self.all.find(Input::new(text).range(from..))?;
                let index = found.pattern().as_usize();
                if index < self.controls && !control_at(found.start(), found.end()) {
                    // A user-defined token may begin inside the text that is no control token after all.
                    if let Some(inner) = self.user_defined.find(Input::new(text).range(from..))
                        && inner.start() <= found.start()
                    {
                        position = inner.end();
                        let id = self.ids[self.controls + inner.pattern().as_usize()];
                        return Some(Found { id, start: inner.start(), end: inner.end() });
                    }
                    from = found.start() + text[found.start()..].chars().next().map_or(1, char::len_utf8);
                    continue;
                }
                position = found.end();
                return Some(Found { id: self.ids[index], start: found.start(), end: found.end() });
            }
        })
    }
}
