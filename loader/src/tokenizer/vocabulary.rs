//! What each token is and stands for.

use super::spelling::Spelling;
use crate::LoadError;
use crate::metadata::{Metadata, Strings};

pub(super) const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// The longest text of a control token or of user-defined markup, in bytes; published ones have under 100.
pub(super) const MAX_SPECIAL: usize = 256;

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
    /// One byte of text that has no other token, written `<0x0A>`.
    Byte,
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
        1 => Ok(TokenKind::Normal),
        // The unknown token is matched and hidden as control tokens are.
        2 | 3 => Ok(TokenKind::Control),
        4 => Ok(TokenKind::UserDefined),
        // Some converters wrote 0 for padding.
        0 | 5 => Ok(TokenKind::Unused),
        6 => Ok(TokenKind::Byte),
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
        0..=MAX_SPECIAL => Ok(text.to_owned()),
        len => {
            let expected = format!("control tokens of at most {MAX_SPECIAL} bytes");
            Err(metadata.bad_value(TOKENS, expected, format!("one of {len}")))
        }
    });
    checked.collect()
}

/// The byte that a token written `<0x0A>` stands for.
pub(super) fn named_byte(text: &str) -> Option<u8> {
    let digits = text.strip_prefix("<0x")?.strip_suffix('>')?;
    if digits.len() != 2 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    u8::from_str_radix(digits, 16).ok()
}

/// The texts and kinds of all tokens, and how to read them.
pub(super) struct Vocabulary {
    tokens: Strings,
    kinds: Vec<TokenKind>,
    spelling: Spelling,
}

impl Vocabulary {
    /// `tokens` and `kinds` are equally long, and shorter than u32 counts.
    pub(super) fn new(tokens: Strings, kinds: Vec<TokenKind>, spelling: Spelling) -> Self {
        Self { tokens, kinds, spelling }
    }

    pub(super) fn len(&self) -> u32 {
        self.tokens.len() as u32
    }

    pub(super) fn tokens(&self) -> &Strings {
        &self.tokens
    }

    /// The token's text as the vocabulary writes it.
    pub(super) fn text(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize)
    }

    pub(super) fn kind(&self, id: u32) -> Option<TokenKind> {
        self.kinds.get(id as usize).copied()
    }

    /// The first token that the vocabulary writes as `text`.
    pub(super) fn find(&self, text: &str) -> Option<u32> {
        (0..self.len()).zip(self.tokens.iter()).find(|(_, token)| *token == text).map(|(id, _)| id)
    }

    pub(super) fn spelling(&self) -> &Spelling {
        &self.spelling
    }

    /// The tokens of `kind`: ids and texts. Empty texts, which could be found nowhere, are left out.
    pub(super) fn of_kind(&self, kind: TokenKind) -> impl Iterator<Item = (u32, &str)> {
        (0..self.len()).zip(self.tokens.iter()).filter(move |(id, text)| self.kind(*id) == Some(kind) && !text.is_empty())
    }

    pub(super) fn is_control(&self, id: u32) -> bool {
        self.kind(id) == Some(TokenKind::Control)
    }

    /// The tokens that stand for the bytes 0 to 255; `None` unless there is one for each.
    pub(super) fn byte_tokens(&self) -> Option<Box<[u32; 256]>> {
        let mut tokens = Box::new([None; 256]);
        let may_be = |id: &u32| matches!(self.kind(*id), Some(TokenKind::Byte | TokenKind::Normal));
        for (id, byte) in (0..self.len()).filter(may_be).filter_map(|id| Some((id, named_byte(self.text(id)?)?))) {
            tokens[usize::from(byte)].get_or_insert(id);
        }
        let all: Option<Vec<u32>> = tokens.iter().copied().collect();
        all.and_then(|all| all.into_boxed_slice().try_into().ok())
    }

    /// The bytes that a token stands for, `None` outside the vocabulary.
    pub(super) fn bytes(&self, id: u32) -> Option<Vec<u8>> {
        let text = self.text(id)?;
        Some(match self.kind(id)? {
            TokenKind::Control => text.as_bytes().to_vec(),
            kind => self.spelling.bytes(text, kind == TokenKind::UserDefined),
        })
    }
}
