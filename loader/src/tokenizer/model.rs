//! Words to token ids: the four kinds of model that are published.

use std::sync::Arc;

use super::lexicon::TextIndex;
use super::vocabulary::{TokenKind, Vocabulary};

mod merges;
mod pairs;
mod scored;
mod unigram;
mod wordpiece;

pub(super) use pairs::{PairMerges, PairOptions};
pub(super) use scored::ScoredMerges;
pub(super) use unigram::Unigram;
pub(super) use wordpiece::WordPiece;

/// What turns a word into ids.
pub(super) enum Model {
    /// Byte-pair encoding by a list of merges (GPT-2 and after).
    Pairs(PairMerges),
    /// Byte-pair encoding by the tokens' scores (SentencePiece's BPE: Llama 2, Gemma).
    Scored(ScoredMerges),
    /// The most probable segmentation (SentencePiece's unigram: T5, XLM-R).
    Unigram(Unigram),
    /// The longest tokens from left to right (BERT).
    WordPiece(WordPiece),
}

impl Model {
    /// Appends the ids of `word`.
    ///
    /// # Errors
    /// Says that the model has no token for a part of it and none for the unknown.
    pub(super) fn tokenize(&self, word: &str, ids: &mut Vec<u32>) -> Result<(), String> {
        match self {
            Self::Pairs(model) => model.tokenize(word, ids),
            Self::Scored(model) => model.tokenize(word, ids),
            Self::Unigram(model) => return model.tokenize(word, ids),
            Self::WordPiece(model) => model.tokenize(word, ids),
        }
        Ok(())
    }
}

/// The tokens that text can become: not those of control, which only the program writes, nor those that stand for one
/// byte whatever their name spells.
pub(super) struct Lexicon {
    vocabulary: Arc<Vocabulary>,
    index: TextIndex,
}

impl Lexicon {
    pub(super) fn new(vocabulary: Arc<Vocabulary>) -> Self {
        let index = TextIndex::new(vocabulary.tokens(), text_tokens(&vocabulary));
        Self { vocabulary, index }
    }

    pub(super) fn id(&self, text: &str) -> Option<u32> {
        self.index.find(self.vocabulary.tokens(), text)
    }
}

/// The ids of a vocabulary's tokens that text can become.
fn text_tokens(vocabulary: &Vocabulary) -> impl Iterator<Item = u32> {
    let is_text = |kind| !matches!(kind, Some(TokenKind::Control | TokenKind::Byte));
    (0..vocabulary.len()).filter(move |&id| is_text(vocabulary.kind(id)))
}

/// What becomes of characters without a token.
pub(super) struct Fallback {
    /// The tokens of the 256 bytes, where there are all.
    bytes: Option<Box<[u32; 256]>>,
    /// The unknown token.
    unknown: Option<u32>,
}

impl Fallback {
    /// `bytes` asks for the tokens `<0x00>` to `<0xFF>` to be used.
    pub(super) fn new(vocabulary: &Vocabulary, bytes: bool, unknown: Option<u32>) -> Self {
        Self { bytes: if bytes { vocabulary.byte_tokens() } else { None }, unknown }
    }

    /// Appends the tokens of `text`'s bytes, or the unknown token.
    fn append(&self, text: &str, ids: &mut Vec<u32>) {
        match &self.bytes {
            Some(tokens) => ids.extend(text.bytes().map(|byte| tokens[usize::from(byte)])),
            None => ids.extend(self.unknown),
        }
    }
}
