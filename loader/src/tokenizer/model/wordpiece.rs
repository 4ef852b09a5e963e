//! The longest tokens from left to right (Schuster and Nakajima, 2012), as BERT's vocabularies are made for.

use super::Lexicon;

/// A vocabulary in which beginnings of words are told from what goes on with one.
pub(in super::super) struct WordPiece {
    pub(in super::super) lexicon: Lexicon,
    /// What tokens that begin a word have before their text: nothing in tokenizer.json, `▁` in GGUF.
    pub(in super::super) beginning: String,
    /// What tokens that go on with a word have before their text: `##` in tokenizer.json, nothing in GGUF.
    pub(in super::super) continuing: String,
    pub(in super::super) unknown: u32,
    /// Words of more characters are unknown.
    pub(in super::super) longest_word: usize,
}

impl WordPiece {
    pub(super) fn tokenize(&self, word: &str, ids: &mut Vec<u32>) {
        let before = ids.len();
        if word.chars().count() > self.longest_word || self.pieces(word, ids).is_none() {
            ids.truncate(before);
            ids.push(self.unknown);
        }
    }

    /// Appends the tokens of `word`; `None` where some part of it has none.
    fn pieces(&self, word: &str, ids: &mut Vec<u32>) -> Option<()> {
        let mut candidate = String::new();
        let mut start = 0;
        while start < word.len() {
            let prefix = if start == 0 { &self.beginning } else { &self.continuing };
            let rest = &word[start..];
            candidate.clear();
            candidate.extend([prefix.as_str(), rest]);
            // Where only beginnings are marked, what goes on with a word may not look like one.
            if start > 0 && self.continuing.is_empty() && rest.starts_with(self.beginning.as_str()) {
                return None;
            }
            let found = rest.char_indices().rev().find_map(|(at, character)| {
                let end = at + character.len_utf8();
                candidate.truncate(prefix.len() + end);
                Some((end, self.lexicon.id(&candidate)?))
            });
            let (end, id) = found?;
            ids.push(id);
            start += end;
        }
        Some(())
    }
}
