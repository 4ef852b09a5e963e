//! A repository's tokenizer and chat template as a GGUF file has them. Byte-level BPE alone: its splits must be those of a rule
//! that GGUF has a name for.

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::super::rules::{GPT2, Rules};
use super::super::vocabulary::{TOKENS, TokenKind, Vocabulary};
use super::json::{ModelJson, TokenizerJson};
use super::steps::{flat, part, text};
use super::{Bad, FILE, output, parse, vocabulary, with_bos};
use crate::LoadError;
use crate::chat::published_templates;
use crate::hub::{Beside, HubFiles};
use crate::metadata::{Array, Strings, Value};

type Entries = Vec<(String, Value)>;

/// The special tokens that GGUF has entries for: their names in `tokenizer_config.json`, and those entries.
const SPECIAL: [(&str, &str); 4] = [
    ("bos_token", "tokenizer.ggml.bos_token_id"),
    ("eos_token", "tokenizer.ggml.eos_token_id"),
    ("unk_token", "tokenizer.ggml.unknown_token_id"),
    ("pad_token", "tokenizer.ggml.padding_token_id"),
];

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
    let merges = byte_level_merges(&mut read.model)?;
    let composes = composes(read.normalizer)?;
    let stages = stages(read.pre_tokenizer)?;
    let rule = Rules::name_of(&stages, composes, read.model.ignore_merges).ok_or_else(|| {
        Bad::new(
            "pre_tokenizer",
            "splits that GGUF has a name for (those of GPT-2, Llama 3, Qwen 2, SmolLM and more)",
            format!("{stages:?}"),
        )
    })?;
    let spelling = output::spelling(read.decoder)?;
    let mut added = std::mem::take(&mut read.added_tokens);
    let vocabulary = vocabulary(&mut read.model, &mut added, spelling)?;
    let affixes = output::affixes(read.post_processor, vocabulary.len())?;
    let (tokens, kinds) = padded(&vocabulary, rows)?;

    let name = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |token: &str| beside.token(token).and_then(|text| vocabulary.find(text));
    let affixes = with_bos(affixes, id("bos_token"), beside.add_bos);
    let (bos, eos) = (id("bos_token"), id("eos_token"));
    let (before, after) = (affixes.before.as_slice(), affixes.after.as_slice());
    let is_only = |ids: &[u32], token: Option<u32>| ids.is_empty() || (ids.len() == 1 && ids.first() == token.as_ref());
    if !is_only(before, bos) || !is_only(after, eos) {
        return Err(Bad::new("post_processor", "at most the tokens that begin and end a text, around it", format!("{affixes:?}")));
    }
    let mut entries = vec![
        (name("model"), Value::String("gpt2".to_owned())),
        (name("pre"), Value::String(rule.to_owned())),
        (TOKENS.to_owned(), Value::Array(Array::String(tokens))),
        (name("token_type"), Value::Array(Array::I32(kinds))),
        (name("merges"), Value::Array(Array::String(merges))),
    ];
    entries.extend(SPECIAL.iter().filter_map(|(token, key)| Some(((*key).to_owned(), Value::U32(id(token)?)))));
    // GGUF has room for one more token that ends an answer.
    let other_end = beside.end_ids.iter().copied().find(|&end| Some(end) != eos && end < vocabulary.len());
    entries.extend(other_end.map(|end| (name("eot_token_id"), Value::U32(end))));
    entries.push((name("add_bos_token"), Value::Bool(!before.is_empty())));
    entries.push((name("add_eos_token"), Value::Bool(!after.is_empty())));
    Ok(entries)
}

/// The merges of a byte-level BPE model as GGUF writes them.
fn byte_level_merges(model: &mut ModelJson) -> Result<Strings, Bad> {
    let kind = model.kind.as_deref();
    let is = |affix: &Option<String>| affix.as_deref().is_none_or(str::is_empty);
    let plain = is(&model.continuing_subword_prefix) && is(&model.end_of_word_suffix) && !model.byte_fallback;
    let (true, true, Some(merges)) = (plain, kind.is_none_or(|kind| kind == "BPE"), model.merges.take()) else {
        return Err(Bad::new("model", "a byte-level BPE model: no other is written as GGUF yet", format!("{kind:?}")));
    };
    let mut written = Strings::default();
    for (left, right) in merges.lefts.iter().zip(merges.rights.iter()) {
        if left.contains(' ') || right.contains(' ') || !written.push(&format!("{left} {right}")) {
            return Err(Bad::new("model.merges", "texts without spaces, under 4 GiB in all", format!("{left:?} and {right:?}")));
        }
    }
    Ok(written)
}

/// Whether text is composed (NFC) before it is split.
fn composes(raw: Option<&RawValue>) -> Result<bool, Bad> {
    let Some(value) = part(raw, "normalizer")? else {
        return Ok(false);
    };
    let steps = flat(&value, "normalizer", "normalizers")?;
    let kinds = steps.iter().map(|(key, step)| text(step, key, "type")).collect::<Result<Vec<_>, _>>()?;
    match kinds.as_slice() {
        [] => Ok(false),
        ["NFC"] => Ok(true),
        other => Err(Bad::new("normalizer", "none, or NFC", format!("{other:?}"))),
    }
}

/// The patterns by which text is split, one after another.
fn stages(raw: Option<&RawValue>) -> Result<Vec<String>, Bad> {
    let value = part(raw, "pre_tokenizer")?.unwrap_or(Json::Null);
    let (mut stages, mut spelled) = (Vec::new(), false);
    let flag = |step: &Json, field: &str, otherwise: bool| step.get(field).and_then(Json::as_bool).unwrap_or(otherwise);
    for (key, step) in flat(&value, "pre_tokenizer", "pretokenizers")? {
        let unknown = || Bad::new(key.as_str(), "a split that GGUF has a name for, or the spelling of bytes at the end", step.to_string());
        match text(step, &key, "type")? {
            _ if spelled => return Err(unknown()),
            "ByteLevel" if !flag(step, "add_prefix_space", true) => {
                stages.extend(flag(step, "use_regex", true).then(|| GPT2.to_owned()));
                spelled = true;
            }
            "Digits" if flag(step, "individual_digits", false) => stages.push(r"\p{N}".to_owned()),
            "Split" => {
                let pattern = step.get("pattern").and_then(|pattern| pattern.get("Regex")).and_then(Json::as_str);
                let all_words = match (text(step, &key, "behavior")?, flag(step, "invert", false)) {
                    ("Isolated", false) => true,
                    // What lies between matches is left out, and these patterns leave nothing between.
                    ("Removed", true) => true,
                    _ => false,
                };
                stages.push(pattern.filter(|_| all_words).ok_or_else(unknown)?.to_owned());
            }
            _ => return Err(unknown()),
        }
    }
    if spelled { Ok(stages) } else { Err(Bad::new("pre_tokenizer", "bytes that are spelled as characters", value.to_string())) }
}

/// The texts of `rows` tokens and GGUF's numbers of their kinds.
fn padded(vocabulary: &Vocabulary, rows: u32) -> Result<(Strings, Vec<i32>), Bad> {
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
        let kind = match vocabulary.kind(id).filter(|_| text.is_some()) {
            Some(TokenKind::Normal) => 1,
            Some(TokenKind::Control) => 3,
            Some(TokenKind::UserDefined) => 4,
            Some(TokenKind::Byte) => 6,
            Some(TokenKind::Unused) | None => 5,
        };
        kinds.push(kind);
        let fits = match text {
            Some(text) => tokens.push(text),
            None => tokens.push(&format!("[PAD{id}]")),
        };
        if !fits {
            return Err(Bad::new("model.vocab", "under 4 GiB of text", "more"));
        }
    }
    Ok((tokens, kinds))
}
