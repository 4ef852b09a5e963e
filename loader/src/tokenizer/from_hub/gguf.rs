//! A repository's tokenizer and chat template as a GGUF file has them: under the same names, and with the same marks in tokens, as
//! llama.cpp's converters write them. GGUF says less than `tokenizer.json`; what it has no words for is refused, so that a written
//! file's ids are those of the repository.

use std::borrow::Cow;

use super::super::vocabulary::{TOKENS, TokenKind, Vocabulary};
use super::json::TokenizerJson;
use super::{Bad, FILE, kind_of, output, parse, vocabulary, with_bos};
use crate::LoadError;
use crate::chat::published_templates;
use crate::hub::{Beside, HubFiles};
use crate::metadata::{Array, Strings, Value};
use crate::tokenizer::Affixes;

mod byte_level;
mod sentencepiece;
mod word_piece;

type Entries = Vec<(String, Value)>;

/// The special tokens that GGUF has entries for: their names in `tokenizer_config.json`, and those entries.
const SPECIAL: [(&str, &str); 7] = [
    ("bos_token", "bos_token_id"),
    ("eos_token", "eos_token_id"),
    ("unk_token", "unknown_token_id"),
    ("pad_token", "padding_token_id"),
    ("sep_token", "seperator_token_id"),
    ("cls_token", "cls_token_id"),
    ("mask_token", "mask_token_id"),
];
/// The score of rows past the last token, as converters write it.
const UNUSED_SCORE: f32 = -10_000.0;

/// What a kind of tokenizer writes of its own.
#[derive(Default)]
struct Written {
    /// `tokenizer.ggml.model`.
    model: &'static str,
    /// `tokenizer.ggml.pre`.
    rule: &'static str,
    /// The entries that this kind has alone.
    more: Entries,
    /// A score for each token, where the kind has scores.
    scores: Vec<f32>,
    /// The token for what has no other.
    unknown: Option<u32>,
}

/// How GGUF spells a token of a vocabulary.
type Spell = for<'t> fn(&'t str, TokenKind) -> Cow<'t, str>;

fn entry(name: &str, value: Value) -> (String, Value) {
    (format!("tokenizer.ggml.{name}"), value)
}

/// The `tokenizer.*` entries of a model whose embedding has `rows` rows: rows past the last token get tokens that are never meant.
pub(crate) fn entries(files: &HubFiles<'_>, rows: u32) -> Result<Entries, LoadError> {
    let read: TokenizerJson<'_> = parse(files)?;
    let beside = Beside::read(files)?;
    let file = files.path(FILE);
    let bad = |bad: Bad| LoadError::BadValue { file: file.clone(), key: bad.key, expected: bad.expected, got: bad.got };
    let mut entries = tokenizer(read, &beside, rows).map_err(bad)?;
    if let Some((source, with_tools)) = published_templates(files, &beside.templates)? {
        entries.push(("tokenizer.chat_template".to_owned(), Value::String(source)));
        entries.extend(with_tools.map(|source| ("tokenizer.chat_template.tool_use".to_owned(), Value::String(source))));
    }
    Ok(entries)
}

fn tokenizer(mut read: TokenizerJson<'_>, beside: &Beside, rows: u32) -> Result<Entries, Bad> {
    let spelling = output::spelling(read.decoder)?;
    let mut added = std::mem::take(&mut read.added_tokens);
    let vocabulary = vocabulary(&mut read.model, &mut added, spelling)?;
    let affixes = output::affixes(read.post_processor, vocabulary.len())?;
    let kind = kind_of(&read.model)?;
    let (written, spell): (Written, Spell) = match kind {
        "BPE" if read.model.byte_fallback => (sentencepiece::merged(&mut read, &vocabulary)?, sentencepiece::spell),
        "BPE" => (byte_level::written(&mut read)?, |text, _| Cow::Borrowed(text)),
        "Unigram" => (sentencepiece::unigram(&mut read, &vocabulary)?, sentencepiece::spell),
        _ => (word_piece::written(&read, &vocabulary)?, word_piece::spell),
    };
    let mut entries = vec![entry("model", Value::String(written.model.to_owned())), entry("pre", Value::String(written.rule.to_owned()))];
    let (tokens, kinds) = padded(&vocabulary, rows, spell)?;
    entries.push((TOKENS.to_owned(), Value::Array(Array::String(tokens))));
    entries.push(entry("token_type", Value::Array(Array::I32(kinds))));
    if !written.scores.is_empty() {
        let mut scores = written.scores;
        scores.resize(rows as usize, UNUSED_SCORE);
        entries.push(entry("scores", Value::Array(Array::F32(scores))));
    }
    entries.extend(written.more);
    entries.extend(special(&vocabulary, affixes, beside, (written.model, written.unknown))?);
    Ok(entries)
}

/// The special tokens, and which of them are put around a text.
fn special(vocabulary: &Vocabulary, affixes: Affixes, beside: &Beside, of: (&str, Option<u32>)) -> Result<Entries, Bad> {
    let (model, unknown) = of;
    let named = |token: &str| beside.token(token).and_then(|text| vocabulary.find(text));
    let affixes = with_bos(affixes, named("bos_token"), beside.add_bos);
    let (before, after) = (affixes.before.as_slice(), affixes.after.as_slice());
    let only = |ids: &[u32]| if let [id] = ids { Some(*id) } else { None };
    // Files that do not name the tokens around a text still put them there. BERT's first token has two names.
    let first = if model == "bert" { named("cls_token") } else { None };
    let bos = named("bos_token").or(first).or(only(before));
    let last = if model == "bert" { "sep_token" } else { "eos_token" };
    let end = named(last).or(only(after));
    let is_only = |ids: &[u32], token: Option<u32>| ids.is_empty() || (ids.len() == 1 && ids.first() == token.as_ref());
    if !is_only(before, bos) || !is_only(after, end) {
        return Err(Bad::new("post_processor", "at most the tokens that begin and end a text, around it", format!("{affixes:?}")));
    }
    let id = |token: &str| match token {
        "bos_token" => bos,
        "unk_token" => named(token).or(unknown),
        token if token == last => end,
        token => named(token),
    };
    let mut entries: Entries = SPECIAL.iter().filter_map(|(token, name)| Some(entry(name, Value::U32(id(token)?)))).collect();
    // GGUF has room for one more token that ends an answer.
    let other_end = beside.end_ids.iter().copied().find(|&other| Some(other) != end && other < vocabulary.len());
    entries.extend(other_end.map(|other| entry("eot_token_id", Value::U32(other))));
    entries.push(entry("add_bos_token", Value::Bool(!before.is_empty())));
    entries.push(entry("add_eos_token", Value::Bool(!after.is_empty())));
    Ok(entries)
}

/// The texts of `rows` tokens and GGUF's numbers of their kinds.
fn padded(vocabulary: &Vocabulary, rows: u32, spell: Spell) -> Result<(Strings, Vec<i32>), Bad> {
    if vocabulary.len() > rows {
        return Err(Bad::new(
            "model.vocab",
            format!("at most a token for each of the embedding's {rows} rows"),
            vocabulary.len().to_string(),
        ));
    }
    let (mut tokens, mut kinds) = (Strings::default(), Vec::with_capacity(rows as usize));
    for id in 0..rows {
        let text = vocabulary.text(id).filter(|text| !text.is_empty());
        let kind = vocabulary.kind(id).filter(|_| text.is_some()).unwrap_or(TokenKind::Unused);
        kinds.push(match kind {
            TokenKind::Normal => 1,
            TokenKind::Control => 3,
            TokenKind::UserDefined => 4,
            TokenKind::Unused => 5,
            TokenKind::Byte => 6,
        });
        let fits = match text {
            Some(text) => tokens.push(&spell(text, kind)),
            None => tokens.push(&format!("[PAD{id}]")),
        };
        if !fits {
            return Err(Bad::new("model.vocab", "under 4 GiB of text", "more"));
        }
    }
    Ok((tokens, kinds))
}
