//! Byte-pair encoding by a list of merges.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::merges::{Piece, merge};
use super::{Fallback, Lexicon};

/// What merges are published with.
pub(in super::super) struct PairOptions {
    /// What becomes of characters that are no tokens; without either they are left out.
    pub(in super::super) fallback: Fallback,
    /// Whether unknown characters in a row become one unknown token.
    pub(in super::super) fuse_unknown: bool,
    /// Whether a word that is itself a token is taken whole, whatever the merges would make of it.
    pub(in super::super) whole_words_first: bool,
    /// What the last character of a word has after it in the vocabulary (`</w>` in the first GPT and CLIP), or nothing.
    /// Not together with bytes to fall back on.
    pub(in super::super) end_of_word: String,
}

/// A vocabulary and its merges.
pub(in super::super) struct PairMerges {
    lexicon: Lexicon,
    /// Rank, the lowest first, and result of a pair of tokens.
    merges: HashMap<(u32, u32), (u32, u32)>,
    options: PairOptions,
}

impl PairMerges {
    /// `merges` in the order of their rank: two tokens and what they become.
    pub(in super::super) fn new(lexicon: Lexicon, merges: &[(u32, u32, u32)], options: PairOptions) -> Self {
        let mut ranked = HashMap::with_capacity(merges.len());
        for (rank, &(left, right, merged)) in (0_u32..).zip(merges) {
            ranked.insert((left, right), (rank, merged));
        }
        Self { lexicon, merges: ranked, options }
    }

    pub(super) fn tokenize(&self, word: &str, ids: &mut Vec<u32>) {
        if self.options.whole_words_first
            && let Some(id) = self.lexicon.id(word)
        {
            ids.push(id);
            return;
        }
        let mut pieces = self.characters(word);
        merge(&mut pieces, |left, right| {
            let (rank, id) = *self.merges.get(&(left.id?, right.id?))?;
            Some((Reverse(rank), id))
        });
        ids.extend(pieces.iter().filter_map(|piece| piece.id));
    }

    /// The tokens of the single characters.
    fn characters(&self, word: &str) -> Vec<Piece> {
        let mut pieces: Vec<Piece> = Vec::with_capacity(word.len());
        let mut after_unknown = false;
        let mut suffixed = String::new();
        let mut spare = Vec::new();
        for (start, character) in word.char_indices() {
            let end = start + character.len_utf8();
            let mut text = &word[start..end];
            if end == word.len() && !self.options.end_of_word.is_empty() {
                suffixed.extend([text, &self.options.end_of_word]);
                text = &suffixed;
            }
            if let Some(id) = self.lexicon.id(text) {
                pieces.push(Piece { id: Some(id), start, end });
                after_unknown = false;
                continue;
            }
            if let Some(bytes) = &self.options.fallback.bytes {
                pieces.extend(text.bytes().zip(start..).map(|(byte, at)| Piece {
                    id: Some(bytes[usize::from(byte)]),
                    start: at,
                    end: at + 1,
                }));
                after_unknown = false;
                continue;
            }
            if let Some(last) = pieces.last_mut().filter(|_| after_unknown && self.options.fuse_unknown) {
                last.end = end;
                continue;
            }
            self.options.fallback.append(text, &mut spare);
            after_unknown = !spare.is_empty();
            pieces.extend(spare.drain(..).map(|id| Piece { id: Some(id), start, end }));
        }
        pieces
    }
}
