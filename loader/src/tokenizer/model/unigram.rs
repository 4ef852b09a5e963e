//! The most probable segmentation of a text into tokens (Kudo, 2018), as SentencePiece's Viterbi search finds it.

use std::sync::Arc;

use super::super::lexicon::PrefixIndex;
use super::super::vocabulary::Vocabulary;
use super::{Fallback, text_tokens};

/// How much less probable than the least probable token an unknown character is, as a logarithm.
const UNKNOWN_PENALTY: f64 = 10.0;

/// A vocabulary with the logarithm of a probability for each token.
pub(in super::super) struct Unigram {
    vocabulary: Arc<Vocabulary>,
    index: PrefixIndex,
    scores: Arc<[f64]>,
    unknown_score: f64,
    fallback: Fallback,
}

/// The best way to a position of the text.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    /// Where the last token of the way begins.
    start: usize,
    /// `None` for a character without a token.
    id: Option<u32>,
}

impl Unigram {
    /// `scores` has one finite number for each token.
    pub(in super::super) fn new(vocabulary: Arc<Vocabulary>, scores: Arc<[f64]>, fallback: Fallback) -> Self {
        let index = PrefixIndex::new(vocabulary.tokens(), text_tokens(&vocabulary));
        let known = text_tokens(&vocabulary).filter_map(|id| scores.get(id as usize));
        let least = known.copied().fold(f64::INFINITY, f64::min);
        let unknown_score = if least.is_finite() { least } else { 0.0 } - UNKNOWN_PENALTY;
        Self { vocabulary, index, scores, unknown_score, fallback }
    }

    pub(super) fn tokenize(&self, word: &str, ids: &mut Vec<u32>) -> Result<(), String> {
        let mut unknown: Option<usize> = None;
        for (start, end, id) in self.best_path(word) {
            let Some(id) = id else {
                // Unknown characters in a row become one.
                unknown = unknown.or(Some(start));
                if end == word.len() {
                    self.append_unknown(&word[unknown.unwrap_or(start)..end], ids)?;
                }
                continue;
            };
            if let Some(from) = unknown.take() {
                self.append_unknown(&word[from..start], ids)?;
            }
            ids.push(id);
        }
        Ok(())
    }

    fn append_unknown(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), String> {
        if self.fallback.bytes.is_none() && self.fallback.unknown.is_none() {
            return Err(format!("the vocabulary has no token for {text:?}, and no unknown token"));
        }
        self.fallback.append(text, ids);
        Ok(())
    }

    /// The tokens of the best way through `word`: where each begins and ends.
    fn best_path(&self, word: &str) -> Vec<(usize, usize, Option<u32>)> {
        let mut best: Vec<Option<Best>> = vec![None; word.len() + 1];
        let offer = |place: &mut Option<Best>, way: Best| {
            if place.is_none_or(|known| way.score > known.score) {
                *place = Some(way);
            }
        };
        for (start, character) in word.char_indices() {
            let here = best[start].map_or(0.0, |way| way.score);
            let mut has_character = false;
            for (length, id) in self.index.prefixes(self.vocabulary.tokens(), &word.as_bytes()[start..]) {
                has_character |= length == character.len_utf8();
                let score = here + self.scores.get(id as usize).copied().unwrap_or(self.unknown_score);
                offer(&mut best[start + length], Best { score, start, id: Some(id) });
            }
            if !has_character {
                let score = here + self.unknown_score;
                offer(&mut best[start + character.len_utf8()], Best { score, start, id: None });
            }
        }
        let mut path = Vec::new();
        let mut end = word.len();
        while let Some(way) = best[end] {
            path.push((way.start, end, way.id));
            end = way.start;
        }
        path.reverse();
        path
    }
}
