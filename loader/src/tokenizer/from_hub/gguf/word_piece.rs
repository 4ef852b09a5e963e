//! WordPiece, which GGUF knows as BERT without letter case (`bert`).

use std::borrow::Cow;

use serde_json::Value as Json;

use super::super::json::TokenizerJson;
use super::super::steps::{flat, part};
use super::super::{Bad, unknown_token};
use super::Written;
use crate::tokenizer::vocabulary::{TokenKind, Vocabulary};

/// What GGUF has in front of tokens that begin a word.
const BEGINNING: &str = "\u{2581}";
/// What the vocabulary has in front of those that go on with one.
const CONTINUING: &str = "##";

/// Beginnings of words are marked instead of what follows them, as in llama.cpp's converters; names in brackets stay.
pub(super) fn spell(text: &str, kind: TokenKind) -> Cow<'_, str> {
    let is_name = text.starts_with('[') && text.ends_with(']');
    match text.strip_prefix(CONTINUING) {
        _ if is_name || matches!(kind, TokenKind::Control | TokenKind::UserDefined) => Cow::Borrowed(text),
        Some(rest) => Cow::Borrowed(rest),
        None => Cow::Owned(format!("{BEGINNING}{text}")),
    }
}

pub(super) fn written(read: &TokenizerJson<'_>, vocabulary: &Vocabulary) -> Result<Written, Bad> {
    let value = part(read.normalizer, "normalizer")?.unwrap_or(Json::Null);
    let flag = |step: &Json, name: &str| step.get(name).and_then(Json::as_bool).unwrap_or(true);
    let flags = ["clean_text", "handle_chinese_chars", "strip_accents", "lowercase"];
    if !only(&value, ("normalizer", "normalizers", "BertNormalizer"))?.is_some_and(|step| flags.iter().all(|name| flag(step, name))) {
        let expected = "BERT's, which puts text in lower case and takes accents away: GGUF has no word for others";
        return Err(Bad::new("normalizer", expected, value.to_string()));
    }
    let value = part(read.pre_tokenizer, "pre_tokenizer")?.unwrap_or(Json::Null);
    if only(&value, ("pre_tokenizer", "pretokenizers", "BertPreTokenizer"))?.is_none() {
        return Err(Bad::new("pre_tokenizer", "BERT's", value.to_string()));
    }
    let (prefix, longest) = (read.model.continuing_subword_prefix.as_deref(), read.model.max_input_chars_per_word);
    if prefix.is_some_and(|prefix| prefix != CONTINUING) || longest.is_some_and(|longest| longest != 100) {
        let got = format!("{prefix:?} and {longest:?}");
        return Err(Bad::new("model", "words of at most 100 characters, and `##` before what goes on with one", got));
    }
    // The mark must not be in tokens already.
    if let Some((id, text)) = vocabulary.of_kind(TokenKind::Normal).find(|(_, text)| text.starts_with(BEGINNING)) {
        return Err(Bad::new("model.vocab", "no tokens that begin with GGUF's mark for a word", format!("{text:?} as token {id}")));
    }
    let unknown = unknown_token(Some(read.model.unk_token.as_deref().unwrap_or("[UNK]")), vocabulary)?;
    Ok(Written { model: "bert", rule: "default", unknown, ..Written::default() })
}

/// The only step of a part (its name, where a sequence has its list), if it is of this type.
fn only<'v>(value: &'v Json, (key, list, kind): (&str, &str, &str)) -> Result<Option<&'v Json>, Bad> {
    let steps = if value.is_null() { Vec::new() } else { flat(value, key, list)? };
    Ok(match steps.as_slice() {
        [(_, step)] if step.get("type").and_then(Json::as_str) == Some(kind) => Some(*step),
        _ => None,
    })
}
