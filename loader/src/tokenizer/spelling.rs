//! How a vocabulary writes what its tokens stand for.

use super::bytes;
use super::vocabulary::named_byte;

/// How tokens become text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Spelling {
    /// Each character spells a byte ([`bytes`]).
    Bytes,
    /// SentencePiece's: text with another character for the space, and tokens for single bytes.
    Pieces {
        /// What stands for a space, usually `▁`.
        space: String,
        /// Whether tokens named `<0x0A>` stand for bytes.
        named_bytes: bool,
        /// What becomes of the space that was put in front of the text.
        lead: Lead,
    },
    /// WordPiece's: words with spaces between, in tokens that begin one or go on with one.
    Words {
        /// What tokens that begin a word have before their text.
        beginning: String,
        /// What tokens that go on with a word have before their text.
        continuing: String,
        /// Whether spaces before punctuation and contractions are left out.
        tidy: bool,
    },
    /// Words that end in a mark (`</w>`), which becomes the space before the next.
    Marked(String),
}

/// The spaces at the beginning of a text that the encoder may have put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lead {
    /// None was.
    Kept,
    /// So many are taken away.
    Stripped(usize),
    /// All of the first token.
    StrippedFromToken,
}

impl Spelling {
    /// The bytes of a token spelled `text`, in the middle of a text. Markup (`is_markup`) is written plainly.
    pub(super) fn bytes(&self, text: &str, is_markup: bool) -> Vec<u8> {
        match self {
            Self::Bytes if is_markup => text.as_bytes().to_vec(),
            Self::Bytes => {
                let mut spelled = Vec::with_capacity(text.len());
                for character in text.chars() {
                    match bytes::from_char(character) {
                        Some(byte) => spelled.push(byte),
                        None => spelled.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
                    }
                }
                spelled
            }
            Self::Pieces { space, named_bytes, .. } => match self.named_byte(text) {
                Some(byte) if *named_bytes => vec![byte],
                _ => text.replace(space.as_str(), " ").into_bytes(),
            },
            Self::Words { beginning, continuing, .. } => {
                let (_, word) = split_word(text, beginning, continuing);
                word.as_bytes().to_vec()
            }
            Self::Marked(mark) => text.replace(mark.as_str(), " ").into_bytes(),
        }
    }

    /// The byte that a token spelled `text` stands for by its name.
    pub(super) fn named_byte(&self, text: &str) -> Option<u8> {
        match self {
            Self::Pieces { named_bytes: true, .. } => named_byte(text),
            _ => None,
        }
    }
}

/// Whether the token `text` begins a word, and its text without the mark that says so.
pub(super) fn split_word<'t>(text: &'t str, beginning: &str, continuing: &str) -> (bool, &'t str) {
    // One of the two marks is empty; the other decides.
    if beginning.is_empty() {
        match text.strip_prefix(continuing).filter(|_| !continuing.is_empty()) {
            Some(rest) => (false, rest),
            None => (true, text),
        }
    } else {
        match text.strip_prefix(beginning) {
            Some(word) => (true, word),
            None => (false, text),
        }
    }
}
