//! Byte-level BPE: its splits must be those of a rule that GGUF has a name for.

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::super::Bad;
use super::super::json::{ModelJson, TokenizerJson};
use super::super::steps::{flat, part, text};
use super::{Written, entry};
use crate::metadata::{Array, Strings, Value};
use crate::tokenizer::rules::{GPT2, Rules};

pub(super) fn written(read: &mut TokenizerJson<'_>) -> Result<Written, Bad> {
    let merges = merges(&mut read.model)?;
    let composes = composes(read.normalizer)?;
    let stages = stages(read.pre_tokenizer)?;
    let rule = Rules::name_of(&stages, composes, read.model.ignore_merges).ok_or_else(|| {
        Bad::new(
            "pre_tokenizer",
            "splits that GGUF has a name for (those of GPT-2, Llama 3, Qwen 2, SmolLM and more)",
            format!("{stages:?}"),
        )
    })?;
    Ok(Written { model: "gpt2", rule, more: vec![entry("merges", Value::Array(Array::String(merges)))], ..Written::default() })
}

/// The merges of a byte-level BPE model as GGUF writes them.
fn merges(model: &mut ModelJson) -> Result<Strings, Bad> {
    let kind = model.kind.as_deref();
    let is = |affix: &Option<String>| affix.as_deref().is_none_or(str::is_empty);
    let plain = is(&model.continuing_subword_prefix) && is(&model.end_of_word_suffix) && !model.byte_fallback;
    let (true, true, Some(merges)) = (plain, kind.is_none_or(|kind| kind == "BPE"), model.merges.take()) else {
        return Err(Bad::new("model", "a byte-level BPE model, or one that falls back on bytes", format!("{kind:?}")));
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
