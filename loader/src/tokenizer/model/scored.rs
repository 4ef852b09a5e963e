//! Byte-pair encoding by scores, as SentencePiece does it: of all neighbours that together are a token, those of the
//! highest score are merged first.

use std::sync::Arc;

use super::merges::{Piece, merge};
use super::{Fallback, Lexicon};

/// A vocabulary with a score for each token.
pub(in super::super) struct ScoredMerges {
    lexicon: Lexicon,
    scores: Arc<[f32]>,
    fallback: Fallback,
}

impl ScoredMerges {
    /// `scores` has one finite number for each token.
    pub(in super::super) fn new(lexicon: Lexicon, scores: Arc<[f32]>, fallback: Fallback) -> Self {
        Self { lexicon, scores, fallback }
    }

    pub(super) fn tokenize(&self, word: &str, ids: &mut Vec<u32>) {
        let characters = word.char_indices().map(|(start, character)| {
            let end = start + character.len_utf8();
            Piece { id: self.lexicon.id(&word[start..end]), start, end }
        });
        let mut pieces: Vec<Piece> = characters.collect();
        merge(&mut pieces, |left, right| {
            let id = self.lexicon.id(&word[left.start..right.end])?;
            Some((ascending(*self.scores.get(id as usize)?), id))
        });
        let mut after_unknown = false;
        for piece in pieces {
            match piece.id {
                Some(id) => ids.push(id),
                None if after_unknown && self.fallback.bytes.is_none() => {}
                None => self.fallback.append(&word[piece.start..piece.end], ids),
            }
            after_unknown = piece.id.is_none();
        }
    }
}

/// A number in the order of finite `score`s.
fn ascending(score: f32) -> i32 {
    // Zeros of either sign are equal.
    let bits = (score + 0.0).to_bits() as i32;
    if bits < 0 { i32::MIN - bits } else { bits }
}

#[cfg(test)]
mod tests {
    use super::ascending;

    #[test]
    fn scores_keep_their_order() {
        let scores = [f32::MIN, -2.5, -1.0, -f32::MIN_POSITIVE, 0.0, 1e-30, 3.0, f32::MAX];
        assert!(scores.windows(2).all(|pair| ascending(pair[0]) < ascending(pair[1])));
        assert_eq!(ascending(-0.0), ascending(0.0));
    }
}
