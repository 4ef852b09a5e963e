//! SentencePiece's tokenizers, which GGUF describes by scores: BPE that falls back on bytes (`llama`), and unigram (`t5`).

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::super::json::{Merges, Scores, TokenizerJson};
use super::super::steps::{base64, flat, part, text};
use super::super::{Bad, unknown_token};
use super::{Written, entry};
use crate::metadata::{Array, Value};
use crate::tokenizer::lexicon::TextIndex;
use crate::tokenizer::vocabulary::{TokenKind, Vocabulary};

/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";

/// Markup has plain spaces in GGUF.
pub(super) fn spell(text: &str, kind: TokenKind) -> Cow<'_, str> {
    match kind {
        TokenKind::UserDefined if text.contains(SPACE) => Cow::Owned(text.replace(SPACE, " ")),
        _ => Cow::Borrowed(text),
    }
}

/// BPE: what is merged first has the highest score.
pub(super) fn merged(read: &mut TokenizerJson<'_>, vocabulary: &Vocabulary) -> Result<Written, Bad> {
    let adds_space = adds_space(read.normalizer, read.pre_tokenizer)?;
    let merges = read.model.merges.take().unwrap_or_default();
    Ok(Written {
        model: "llama",
        rule: "default",
        scores: scores(&merges, vocabulary)?,
        unknown: unknown_token(read.model.unk_token.as_deref(), vocabulary)?,
        more: vec![entry("add_space_prefix", Value::Bool(adds_space))],
    })
}

/// Whether a space is put in front of text, whose spaces become [`SPACE`].
fn adds_space(normalizer: Option<&RawValue>, pre_tokenizer: Option<&RawValue>) -> Result<bool, Bad> {
    let refused = |part: &str, got: String| {
        let expected = "spaces that are marked, and one more in front of all text or of none: GGUF has no word for other rules";
        Bad::new(part, expected, got)
    };
    let value = part(normalizer, "normalizer")?.unwrap_or(Json::Null);
    let steps = steps(&value, "normalizer", "normalizers")?;
    let marks = |step: &Json| is(step, "Replace") && literal(step) == Some(" ") && field(step, "content") == Some(SPACE);
    let adds = match steps.as_slice() {
        [prepend, replace] if is(prepend, "Prepend") && field(prepend, "prepend") == Some(SPACE) && marks(replace) => true,
        [replace] if marks(replace) => false,
        _ => return Err(refused("normalizer", value.to_string())),
    };
    // No spaces are left to split at.
    let value = part(pre_tokenizer, "pre_tokenizer")?.unwrap_or(Json::Null);
    let splits = self::steps(&value, "pre_tokenizer", "pretokenizers")?;
    match splits.iter().all(|step| is(step, "Split") && literal(step) == Some(" ")) {
        true => Ok(adds),
        false => Err(refused("pre_tokenizer", value.to_string())),
    }
}

/// The steps of a part, none where there is none.
fn steps<'v>(value: &'v Json, key: &str, list: &str) -> Result<Vec<&'v Json>, Bad> {
    if value.is_null() {
        return Ok(Vec::new());
    }
    Ok(flat(value, key, list)?.into_iter().map(|(_, step)| step).collect())
}

fn field<'v>(step: &'v Json, name: &str) -> Option<&'v str> {
    step.get(name).and_then(Json::as_str)
}

fn is(step: &Json, kind: &str) -> bool {
    field(step, "type") == Some(kind)
}

/// The text that a step looks for.
fn literal(step: &Json) -> Option<&str> {
    step.get("pattern").and_then(|pattern| field(pattern, "String"))
}

/// A score for each token: less the later the first merge that makes it. SentencePiece merges whatever two neighbours are a token
/// together, so there must be a merge for each two tokens that are.
fn scores(merges: &Merges, vocabulary: &Vocabulary) -> Result<Vec<f32>, Bad> {
    let tokens = vocabulary.tokens();
    let is_text = |&id: &u32| !matches!(vocabulary.kind(id), Some(TokenKind::Control | TokenKind::Byte));
    let index = TextIndex::new(tokens, (0..vocabulary.len()).filter(is_text));
    let id = |text: &str| index.find(tokens, text);
    let mut scores = vec![0.0; tokens.len()];
    let mut known = HashSet::with_capacity(merges.lefts.len());
    let mut joined = String::new();
    for (rank, (left, right)) in merges.lefts.iter().zip(merges.rights.iter()).enumerate() {
        joined.clear();
        joined.extend([left, right]);
        let (Some(left), Some(right)) = (id(left), id(right)) else { continue };
        known.insert((left, right));
        if let Some(score) = id(&joined).and_then(|made| scores.get_mut(made as usize)).filter(|score| **score == 0.0) {
            // The most merges that are published, some 600,000, are exact in f32.
            *score = -1.0 - rank as f32;
        }
    }
    for (_, whole) in (0..vocabulary.len()).zip(tokens.iter()).filter(|(id, _)| is_text(id)) {
        let splits = whole.char_indices().skip(1).map(|(at, _)| whole.split_at(at));
        let mut pairs = splits.filter(|(left, right)| id(left).zip(id(right)).is_some_and(|pair| !known.contains(&pair)));
        if let Some((left, right)) = pairs.next() {
            let expected = "a merge for every two tokens that are one together, as SentencePiece's tokenizers have: GGUF has no merges beside its scores";
            return Err(Bad::new("model.merges", expected, format!("none of {left:?} and {right:?}")));
        }
    }
    Ok(scores)
}

/// Unigram: the scores are the model's.
pub(super) fn unigram(read: &mut TokenizerJson<'_>, vocabulary: &Vocabulary) -> Result<Written, Bad> {
    let Scores::Given(given) = std::mem::take(&mut read.model.vocab.scores) else {
        return Err(Bad::new("model.vocab", "an array of texts with scores", "an object"));
    };
    if read.model.byte_fallback {
        return Err(Bad::new("model.byte_fallback", "none for a unigram model: GGUF has no word for it", "true"));
    }
    let mut scores: Vec<f32> = given.iter().map(|&score| score as f32).collect();
    // Tokens after the model's own are never found by their score.
    scores.resize(vocabulary.len() as usize, 0.0);
    let mut more = Vec::new();
    let value = part(read.normalizer, "normalizer")?.unwrap_or(Json::Null);
    let mut steps = steps(&value, "normalizer", "normalizers")?;
    if let Some(table) = steps.first().copied().filter(|step| is(step, "Precompiled")) {
        let bytes = base64(text(table, "normalizer", "precompiled_charsmap")?);
        let bytes = bytes.ok_or_else(|| Bad::new("normalizer.precompiled_charsmap", "bytes in base64", "other characters"))?;
        more.push(entry("precompiled_charsmap", Value::Array(Array::U8(bytes))));
        steps.remove(0);
    }
    more.push(entry("remove_extra_whitespaces", Value::Bool(takes_spaces_away(&steps, &value)?)));
    more.push(entry("add_space_prefix", Value::Bool(begins_with_space(read.pre_tokenizer)?)));
    Ok(Written { model: "t5", rule: "default", scores, unknown: read.model.unk_id, more })
}

/// Whether spaces at the end are left out and runs of them are one.
fn takes_spaces_away(steps: &[&Json], value: &Json) -> Result<bool, Bad> {
    let flag = |step: &Json, name: &str| step.get(name).and_then(Json::as_bool).unwrap_or(true);
    let regex = |step: &Json| step.get("pattern").and_then(|pattern| field(pattern, "Regex")) == Some(" {2,}");
    match steps {
        [] => Ok(false),
        [strip, runs]
            if is(strip, "Strip")
                && !flag(strip, "strip_left")
                && flag(strip, "strip_right")
                && is(runs, "Replace")
                && regex(runs)
                && field(runs, "content") == Some(SPACE) =>
        {
            Ok(true)
        }
        _ => Err(Bad::new("normalizer", "a table of replacements, then spaces taken away as GGUF's readers do it", value.to_string())),
    }
}

/// Whether words begin with [`SPACE`], the first too.
fn begins_with_space(raw: Option<&RawValue>) -> Result<bool, Bad> {
    let value = part(raw, "pre_tokenizer")?.unwrap_or(Json::Null);
    let steps = steps(&value, "pre_tokenizer", "pretokenizers")?;
    let splits = |step: &Json| step.get("split").and_then(Json::as_bool).unwrap_or(true);
    let adds = |step: &Json| match field(step, "prepend_scheme") {
        Some("always") => Some(true),
        Some("never") => Some(false),
        None => Some(step.get("add_prefix_space").and_then(Json::as_bool).unwrap_or(true)),
        Some(_) => None,
    };
    match steps.as_slice() {
        [step] if is(step, "Metaspace") && field(step, "replacement") == Some(SPACE) && splits(step) => adds(step),
        _ => None,
    }
    .ok_or_else(|| {
        Bad::new("pre_tokenizer", "words that begin with a mark for the space, the first of all text or of none", value.to_string())
    })
}
