//! Finding tokens by their text.
//!
//! Both indexes hold ids alone, four to eight bytes a token, and read the texts where the vocabulary has them.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;

use crate::metadata::Strings;

/// A slot without a token.
const EMPTY: u32 = u32::MAX;

/// Tokens by their whole text.
pub(super) struct TextIndex {
    /// Open addressing, linear probing, at most half full. The hash is keyed, so that no file can make it collide.
    slots: Vec<u32>,
    hasher: RandomState,
}

impl TextIndex {
    /// Indexes the tokens `ids` of `tokens`, the first of those with equal text. Empty texts are left out.
    pub(super) fn new(tokens: &Strings, ids: impl Iterator<Item = u32>) -> Self {
        let size = tokens.len().saturating_mul(2).next_power_of_two().max(2);
        let mut index = Self { slots: vec![EMPTY; size], hasher: RandomState::new() };
        for id in ids {
            let Some(text) = tokens.get(id as usize).filter(|text| !text.is_empty()) else {
                continue;
            };
            let slot = index.slot(tokens, text);
            if index.slots[slot] == EMPTY {
                index.slots[slot] = id;
            }
        }
        index
    }

    /// The token `text`.
    pub(super) fn find(&self, tokens: &Strings, text: &str) -> Option<u32> {
        Some(self.slots[self.slot(tokens, text)]).filter(|&id| id != EMPTY)
    }

    /// The slot that holds `text`, or the empty one where it would go.
    fn slot(&self, tokens: &Strings, text: &str) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = self.hasher.hash_one(text) as usize & mask;
        while self.slots[slot] != EMPTY && tokens.get(self.slots[slot] as usize) != Some(text) {
            slot = (slot + 1) & mask;
        }
        slot
    }
}

/// Tokens in the order of their bytes: all that a text begins with are found on one walk over it.
pub(super) struct PrefixIndex {
    ids: Vec<u32>,
    /// Where the tokens that begin with each byte start in `ids`; one more for the end.
    heads: Box<[u32; 257]>,
}

impl PrefixIndex {
    /// Indexes the tokens `ids` of `tokens`, the first of those with equal text. Empty texts are left out.
    pub(super) fn new(tokens: &Strings, ids: impl Iterator<Item = u32>) -> Self {
        let text = |id: u32| tokens.get(id as usize).unwrap_or_default();
        let mut ids: Vec<u32> = ids.filter(|&id| !text(id).is_empty()).collect();
        ids.sort_unstable_by(|&a, &b| text(a).cmp(text(b)).then(a.cmp(&b)));
        ids.dedup_by(|later, first| text(*later) == text(*first));
        let mut heads = Box::new([0; 257]);
        for (byte, head) in heads.iter_mut().enumerate() {
            *head = ids.partition_point(|&id| usize::from(text(id).as_bytes()[0]) < byte) as u32;
        }
        Self { ids, heads }
    }

    /// Whether no token is indexed.
    pub(super) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// The tokens that `text` begins with, the shortest first: lengths in bytes, and ids.
    pub(super) fn prefixes<'a>(&'a self, tokens: &'a Strings, text: &'a [u8]) -> impl Iterator<Item = (usize, u32)> + 'a {
        let token = move |id: u32| tokens.get(id as usize).unwrap_or_default().as_bytes();
        let (mut low, mut high) = match text.first() {
            Some(&byte) => (self.heads[usize::from(byte)] as usize, self.heads[usize::from(byte) + 1] as usize),
            None => (0, 0),
        };
        // All tokens of low..high begin with the first `length` bytes of the text.
        let mut length = 1;
        std::iter::from_fn(move || {
            while low < high {
                let first = self.ids[low];
                if token(first).len() == length {
                    low += 1;
                    return Some((length, first));
                }
                let Some(&byte) = text.get(length) else {
                    break;
                };
                let at = length;
                let here = &self.ids[low..high];
                high = low + here.partition_point(|&id| token(id)[at] <= byte);
                low += here.partition_point(|&id| token(id)[at] < byte);
                length += 1;
            }
            None
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(texts: &[&str]) -> Strings {
        let mut strings = Strings::default();
        assert!(texts.iter().all(|text| strings.push(text)));
        strings
    }

    #[test]
    fn whole_texts_are_found_and_the_first_of_equals() {
        let tokens = strings(&["b", "", "a", "b", "ab", "é"]);
        let index = TextIndex::new(&tokens, 0..6);
        assert_eq!(["a", "b", "ab", "é", "", "c"].map(|text| index.find(&tokens, text)), [Some(2), Some(0), Some(4), Some(5), None, None]);
        let none = TextIndex::new(&strings(&[]), 0..0);
        assert_eq!(none.find(&strings(&[]), "a"), None);
    }

    #[test]
    fn prefixes_come_shortest_first() {
        let tokens = strings(&["abc", "a", "ab", "b", "abd", "", "é", "ab"]);
        let index = PrefixIndex::new(&tokens, 0..8);
        let found = |text: &str| index.prefixes(&tokens, text.as_bytes()).collect::<Vec<_>>();
        assert_eq!(found("abcd"), [(1, 1), (2, 2), (3, 0)]);
        assert_eq!(found("abe"), [(1, 1), (2, 2)]);
        assert_eq!((found("éa"), found("è"), found("")), (vec![(2, 6)], vec![], vec![]));
    }
}
