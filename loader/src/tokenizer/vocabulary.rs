//! What each token is and stands for.

use super::bytes;
use crate::LoadError;
use crate::metadata::{Metadata, Strings};

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// The longest text of a control token, in bytes; published ones have under 40.
const MAX_CONTROL: usize = 256;

/// The kind of a token, by GGUF's numbers in `tokenizer.ggml.token_type`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// Part of ordinary text.
    Normal,
    /// Structure that only the program writes: ends of turns, roles.
    Control,
    /// Text that is one token wherever it occurs.
    UserDefined,
    /// In the vocabulary but never meant.
    Unused,
}

/// The kind of each of `count` tokens; all normal where the file does not say.
pub(crate) fn token_kinds(metadata: &Metadata, count: usize) -> Result<Vec<TokenKind>, LoadError> {
    let Some(types) = metadata.optional(TOKEN_TYPES, Metadata::i32s)? else {
        return Ok(vec![TokenKind::Normal; count]);
    };
    if types.len() != count {
        let expected = format!("{count} values, one for each of `{TOKENS}`");
        return Err(metadata.bad_value(TOKEN_TYPES, expected, types.len().to_string()));
    }
    let kind = |(id, &number): (usize, &i32)| match number {
        1 | 6 => Ok(TokenKind::Normal),
        // The unknown token is matched and hidden as control tokens are.
        2 | 3 => Ok(TokenKind::Control),
        4 => Ok(TokenKind::UserDefined),
        // Some converters wrote 0 for padding.
        0 | 5 => Ok(TokenKind::Unused),
        _ => Err(metadata.bad_value(TOKEN_TYPES, "token types from 0 to 6", format!("{number} for token {id}"))),
    };
    types.iter().enumerate().map(kind).collect()
}

/// The texts of the control tokens, for templates to guard.
pub(crate) fn control_texts(metadata: &Metadata) -> Result<Vec<String>, LoadError> {
    let tokens = metadata.strings(TOKENS)?;
    let kinds = token_kinds(metadata, tokens.len())?;
    let controls = tokens.iter().zip(kinds).filter(|(text, kind)| *kind == TokenKind::Control && !text.is_empty());
    let checked = controls.map(|(text, _)| match text.len() {
        0..=MAX_CONTROL => Ok(text.to_owned()),
        len => {
            let expected = format!("control tokens of at most {MAX_CONTROL} bytes");
            Err(metadata.bad_value(TOKENS, expected, format!("one of {len}")))
        }
    });
    checked.collect()
}

/// The texts and kinds of all tokens.
pub(super) struct Vocabulary {
    tokens: Strings,
    kinds: Vec<TokenKind>,
}

impl Vocabulary {
    /// `tokens` and `kinds` are equally long, and no longer than u32 counts.
    pub(super) fn new(tokens: Strings, kinds: Vec<TokenKind>) -> Self {
        Self { tokens, kinds }
    }

    pub(super) fn len(&self) -> u32 {
        self.tokens.len() as u32
    }

    /// The tokens of `kind`: ids and texts. Empty texts, which could be found nowhere, are left out.
    pub(super) fn of_kind(&self, kind: TokenKind) -> impl Iterator<Item = (u32, &str)> {
        (0..self.len()).zip(self.tokens.iter()).filter(move |(id, text)| self.kinds.get(*id as usize) == Some(&kind) && !text.is_empty())
    }

    pub(super) fn is_control(&self, id: u32) -> bool {
        self.kinds.get(id as usize) == Some(&TokenKind::Control)
    }

    /// The bytes of a token: those that its characters spell; of control and user-defined tokens, which are written
    /// plainly, the text itself.
    pub(super) fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        let text = self.tokens.get(id as usize)?;
        if matches!(self.kinds.get(id as usize), Some(TokenKind::Control | TokenKind::UserDefined)) {
            return Some(text.as_bytes().to_vec());
        }
        let mut spelled = Vec::with_capacity(text.len());
        for character in text.chars() {
            match bytes::from_char(character) {
                Some(byte) => spelled.push(byte),
                None => spelled.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Some(spelled)
    }
}
