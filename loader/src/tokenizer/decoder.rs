//! Text from tokens that come one at a time.

use std::sync::Arc;

use super::spelling::{Lead, Spelling, split_word};
use super::vocabulary::{TokenKind, Vocabulary};

/// Turns token ids into text as they come. A token may end inside a character: its bytes are held back until the rest
/// arrives. Control tokens, and ids outside the vocabulary, give no text.
pub struct Decoder {
    vocabulary: Arc<Vocabulary>,
    /// Bytes whose character is not complete: at most three between calls, unless whole runs of bytes are held back.
    pending: Vec<u8>,
    /// How many tokens with text came before.
    came: usize,
    /// Spaces that may still be taken from the beginning of the text.
    strip: usize,
    /// Whether the text begins here, and does not go on with another.
    begins: bool,
    /// Whether the bytes of tokens that stand for one each are held back until the last of a row has come.
    whole_runs: bool,
    /// A space to write before the next word.
    space_due: bool,
}

impl Decoder {
    /// `begins`: whether the text begins here, so that the space which encoders put in front of it is taken away.
    pub(super) fn new(vocabulary: Arc<Vocabulary>, begins: bool) -> Self {
        let mut decoder = Self { vocabulary, pending: Vec::new(), came: 0, strip: 0, begins, whole_runs: false, space_due: false };
        decoder.reset();
        decoder
    }

    /// Holds rows of byte tokens back until they end: one bad byte then makes all of a row U+FFFD, as in the
    /// published tokenizers, which decode a whole text at once.
    pub(super) fn with_whole_runs(mut self) -> Self {
        self.whole_runs = true;
        self
    }

    fn reset(&mut self) {
        self.came = 0;
        self.space_due = false;
        self.strip = match self.vocabulary.spelling() {
            Spelling::Pieces { lead: Lead::Stripped(most), .. } if self.begins => *most,
            _ => 0,
        };
    }

    /// The text that `id` completes; bytes that can be no part of UTF-8 become U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        let vocabulary = Arc::clone(&self.vocabulary);
        let (Some(text), Some(kind)) = (vocabulary.text(id), vocabulary.kind(id)) else {
            return String::new();
        };
        if kind == TokenKind::Control {
            return String::new();
        }
        let is_first = self.came == 0 && self.begins;
        let came_before = self.came > 0 || !self.begins;
        self.came = self.came.saturating_add(1);
        let written = match vocabulary.spelling() {
            Spelling::Bytes => {
                self.pending.extend(vocabulary.bytes(id).unwrap_or_default());
                self.complete()
            }
            Spelling::Pieces { space, lead, .. } => match vocabulary.spelling().named_byte(text) {
                Some(byte) => {
                    self.pending.push(byte);
                    if self.whole_runs { String::new() } else { self.complete() }
                }
                None => {
                    let spaces = if is_first && *lead == Lead::StrippedFromToken { "" } else { " " };
                    self.flush() + &text.replace(space.as_str(), spaces)
                }
            },
            Spelling::Words { beginning, continuing, tidy } => {
                let (begins, word) = match kind {
                    TokenKind::UserDefined => (true, text),
                    _ => split_word(text, beginning, continuing),
                };
                let word = match () {
                    // The first token is written as it is, even one that goes on with a word.
                    () if !came_before && beginning.is_empty() => text.to_owned(),
                    () if begins && came_before => format!(" {word}"),
                    () => word.to_owned(),
                };
                if *tidy { tidied(&word) } else { word }
            }
            Spelling::Marked(mark) => {
                let due = std::mem::take(&mut self.space_due);
                let plain = text.strip_suffix(mark.as_str());
                self.space_due = plain.is_some();
                let word = plain.unwrap_or(text).replace(mark.as_str(), " ");
                if due { format!(" {word}") } else { word }
            }
        };
        self.stripped(written)
    }

    /// What is still held back: U+FFFD where a character never ended, else nothing. The decoder is then as new.
    pub fn finish(&mut self) -> String {
        let text = self.flush();
        let text = self.stripped(text);
        self.reset();
        text
    }

    /// The characters that are complete, bytes that can be part of none as U+FFFD; the rest stays.
    fn complete(&mut self) -> String {
        let mut text = String::new();
        let mut rest = self.pending.as_slice();
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    rest = &[];
                    break;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    text.push_str(&String::from_utf8_lossy(valid));
                    rest = after;
                    match error.error_len() {
                        Some(bad) => {
                            text.extend(std::iter::repeat_n(char::REPLACEMENT_CHARACTER, self.replacements(bad)));
                            rest = &rest[bad..];
                        }
                        None => break,
                    }
                }
            }
        }
        let done = self.pending.len() - rest.len();
        self.pending.drain(..done);
        text
    }

    /// How many U+FFFD stand for `bad` bytes: the published tokenizers write one for what byte-level tokens leave of
    /// a character, and one for each token that stands for a byte.
    fn replacements(&self, bad: usize) -> usize {
        match self.vocabulary.spelling() {
            Spelling::Bytes => 1,
            _ => bad,
        }
    }

    /// All that is held back, complete or not.
    fn flush(&mut self) -> String {
        if self.pending.is_empty() {
            return String::new();
        }
        let bytes = std::mem::take(&mut self.pending);
        if self.vocabulary.spelling() == &Spelling::Bytes {
            return String::from_utf8_lossy(&bytes).into_owned();
        }
        String::from_utf8(bytes).unwrap_or_else(|error| "\u{FFFD}".repeat(error.as_bytes().len()))
    }

    /// `text` without the spaces that encoders put in front.
    fn stripped(&mut self, text: String) -> String {
        if self.strip == 0 || text.is_empty() {
            return text;
        }
        let spaces = text.bytes().take(self.strip).take_while(|&byte| byte == b' ').count();
        self.strip = if spaces == text.len() { self.strip - spaces } else { 0 };
        text[spaces..].to_owned()
    }
}

/// `word` without spaces before punctuation and contractions, as BERT's tokenizer writes text.
fn tidied(word: &str) -> String {
    const TIDY: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    TIDY.iter().fold(word.to_owned(), |text, (from, to)| text.replace(from, to))
}
