//! Text from tokens that come one at a time.

use std::sync::Arc;

use super::vocabulary::Vocabulary;

/// Turns token ids into text as they come. A token may end inside a character: its bytes are held back until the rest
/// arrives. Control tokens, and ids outside the vocabulary, give no text.
pub struct Decoder {
    vocabulary: Arc<Vocabulary>,
    /// The start of a character whose end has not come: at most three bytes between calls.
    pending: Vec<u8>,
}

impl Decoder {
    pub(super) fn new(vocabulary: Arc<Vocabulary>) -> Self {
        Self { vocabulary, pending: Vec::new() }
    }

    /// The text that `id` completes; bytes that can be no part of UTF-8 become U+FFFD.
    pub fn push(&mut self, id: u32) -> String {
        if !self.vocabulary.is_control(id) {
            self.pending.extend(self.vocabulary.bytes(id).unwrap_or_default());
        }
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
                            text.push(char::REPLACEMENT_CHARACTER);
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

    /// What is still held back: U+FFFD where a character never ended, else nothing. The decoder is then as new.
    pub fn finish(&mut self) -> String {
        let text = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        text
    }
}
