//! Normalisers and pre-tokenizers by their names in `tokenizer.json`.

use serde_json::Value;
use serde_json::value::RawValue;
use tokenizers::NormalizerWrapper;
use tokenizers::normalizers::{BertNormalizer, ByteLevel, Lowercase, NFC, NFD, NFKC, NFKD, Nmt, StripAccents};

use super::super::charsmap::Charsmap;
use super::super::normalize::Normalizer;
use super::super::pretokenize::{Behaviour, PreTokenizer, Prepend};
use super::super::rules::{GPT2, ONE_PUNCTUATION, WHITE_SPACE};
use super::super::split::Pattern;
use super::Bad;

/// Steps that a part may have; published ones have up to eight.
const MAX_STEPS: usize = 16;
/// Values that a part may consist of: what it takes in memory stays small against the file.
const MAX_VALUES: usize = 4096;
/// The longest text that a step may put in, in bytes.
const MAX_INSERTED: usize = 64;

/// The value of a part of the file, `None` where there is none.
pub(super) fn part(raw: Option<&RawValue>, key: &str) -> Result<Option<Value>, Bad> {
    let Some(text) = raw.map(RawValue::get) else {
        return Ok(None);
    };
    let values = text.bytes().filter(|byte| matches!(byte, b'[' | b'{' | b',')).count();
    if values > MAX_VALUES {
        return Err(Bad::new(key, format!("at most {MAX_VALUES} values"), values.to_string()));
    }
    match serde_json::from_str(text) {
        Ok(Value::Null) => Ok(None),
        Ok(value) => Ok(Some(value)),
        Err(error) => Err(Bad::new(key, "JSON", error.to_string())),
    }
}

/// The steps of a part: those of a `Sequence`, which has them under `list`, or itself.
pub(super) fn flat<'v>(value: &'v Value, key: &str, list: &str) -> Result<Vec<(String, &'v Value)>, Bad> {
    let mut steps = Vec::new();
    let mut rest = vec![(key.to_owned(), value)];
    while let Some((key, value)) = rest.pop() {
        if name(value, &key)? != "Sequence" {
            steps.push((key.clone(), value));
        } else {
            let Some(items) = value.get(list).and_then(Value::as_array) else {
                return Err(Bad::new(format!("{key}.{list}"), "an array", "none"));
            };
            rest.extend(items.iter().enumerate().rev().map(|(at, item)| (format!("{key}.{list}.{at}"), item)));
        }
        if steps.len() + rest.len() > MAX_STEPS {
            return Err(Bad::new(key, format!("at most {MAX_STEPS} steps"), "more"));
        }
    }
    Ok(steps)
}

fn name<'v>(value: &'v Value, key: &str) -> Result<&'v str, Bad> {
    value.get("type").and_then(Value::as_str).ok_or_else(|| Bad::new(format!("{key}.type"), "a name", "none"))
}

/// The field `name` as a truth value.
fn flag(value: &Value, name: &str, otherwise: bool) -> bool {
    value.get(name).and_then(Value::as_bool).unwrap_or(otherwise)
}

pub(super) fn normalizers(raw: Option<&RawValue>) -> Result<Vec<Normalizer>, Bad> {
    let Some(value) = part(raw, "normalizer")? else {
        return Ok(Vec::new());
    };
    flat(&value, "normalizer", "normalizers")?.into_iter().map(|(key, step)| normalizer(step, &key)).collect()
}

fn normalizer(step: &Value, key: &str) -> Result<Normalizer, Bad> {
    use Normalizer::{Library, LibraryBeyondAscii};
    let kind = name(step, key)?;
    Ok(match kind {
        "NFC" => LibraryBeyondAscii(NormalizerWrapper::NFC(NFC)),
        "NFD" => LibraryBeyondAscii(NormalizerWrapper::NFD(NFD)),
        "NFKC" => LibraryBeyondAscii(NormalizerWrapper::NFKC(NFKC)),
        "NFKD" => LibraryBeyondAscii(NormalizerWrapper::NFKD(NFKD)),
        "StripAccents" => LibraryBeyondAscii(NormalizerWrapper::StripAccents(StripAccents)),
        "Lowercase" => Library(NormalizerWrapper::Lowercase(Lowercase)),
        "Nmt" => Library(NormalizerWrapper::Nmt(Nmt)),
        "ByteLevel" => Library(NormalizerWrapper::ByteLevel(ByteLevel::new())),
        "BertNormalizer" => Library(NormalizerWrapper::BertNormalizer(BertNormalizer::new(
            flag(step, "clean_text", true),
            flag(step, "handle_chinese_chars", true),
            step.get("strip_accents").and_then(Value::as_bool),
            flag(step, "lowercase", true),
        ))),
        "Strip" => Normalizer::Strip { left: flag(step, "strip_left", true), right: flag(step, "strip_right", true) },
        "Prepend" => Normalizer::Prepend(inserted(step, key, "prepend")?),
        "Replace" => match wanted(step, key)? {
            Wanted::Text(from) => Normalizer::Replace { from, to: inserted(step, key, "content")? },
            Wanted::Pattern(from) => Normalizer::ReplacePattern { from: Box::new(from), to: inserted(step, key, "content")? },
        },
        "Precompiled" => {
            let text = text(step, key, "precompiled_charsmap")?;
            let key = format!("{key}.precompiled_charsmap");
            let bytes = base64(text).ok_or_else(|| Bad::new(key.as_str(), "bytes in base64", "other characters"))?;
            Normalizer::Charsmap(Charsmap::new(&bytes).map_err(|reason| Bad::new(key, "a table of replacements", reason))?)
        }
        _ => return Err(Bad::new(format!("{key}.type"), "a normalizer that is known", format!("{kind:?}"))),
    })
}

pub(super) fn pre_tokenizers(raw: Option<&RawValue>) -> Result<Vec<PreTokenizer>, Bad> {
    let mut steps = Vec::new();
    if let Some(value) = part(raw, "pre_tokenizer")? {
        for (key, step) in flat(&value, "pre_tokenizer", "pretokenizers")? {
            pre_tokenizer(step, &key, &mut steps)?;
        }
    }
    Ok(steps)
}

fn pre_tokenizer(step: &Value, key: &str, steps: &mut Vec<PreTokenizer>) -> Result<(), Bad> {
    let split = |pattern: &str, behaviour, invert| {
        let pattern = Pattern::new(pattern).map_err(|reason| Bad::new(key, "a pattern", reason))?;
        Ok(PreTokenizer::Split { pattern, behaviour, invert })
    };
    let kind = name(step, key)?;
    match kind {
        "ByteLevel" => {
            steps.extend(flag(step, "add_prefix_space", true).then_some(PreTokenizer::PrefixSpace));
            if flag(step, "use_regex", true) {
                steps.push(split(GPT2, Behaviour::Isolated, false)?);
            }
            steps.push(PreTokenizer::Bytes);
        }
        "Split" => {
            let pattern = match wanted(step, key)? {
                Wanted::Text(text) => Pattern::literal(&text).map_err(|reason| Bad::new(format!("{key}.pattern"), "a text", reason))?,
                Wanted::Pattern(pattern) => pattern,
            };
            steps.push(PreTokenizer::Split { pattern, behaviour: behaviour(step, key)?, invert: flag(step, "invert", false) });
        }
        "Metaspace" => steps.push(metaspace(step, key)?),
        "Digits" if flag(step, "individual_digits", false) => steps.push(split(r"\p{N}", Behaviour::Isolated, false)?),
        "Digits" => steps.push(split(r"\p{N}+", Behaviour::Isolated, false)?),
        "Punctuation" if step.get("behavior").is_none() => steps.push(split(ONE_PUNCTUATION, Behaviour::Isolated, false)?),
        "Punctuation" => steps.push(split(ONE_PUNCTUATION, behaviour(step, key)?, false)?),
        "Whitespace" => steps.push(split(r"\w+|[^\w\s]+", Behaviour::Removed, true)?),
        "WhitespaceSplit" => steps.push(split(WHITE_SPACE, Behaviour::Removed, false)?),
        "BertPreTokenizer" => {
            steps.push(split(WHITE_SPACE, Behaviour::Removed, false)?);
            steps.push(split(ONE_PUNCTUATION, Behaviour::Isolated, false)?);
        }
        "CharDelimiterSplit" => {
            let pattern = Pattern::literal(text(step, key, "delimiter")?);
            let pattern = pattern.map_err(|reason| Bad::new(format!("{key}.delimiter"), "a character", reason))?;
            steps.push(PreTokenizer::Split { pattern, behaviour: Behaviour::Removed, invert: false });
        }
        _ => return Err(Bad::new(format!("{key}.type"), "a pre-tokenizer that is known", format!("{kind:?}"))),
    }
    Ok(())
}

fn metaspace(step: &Value, key: &str) -> Result<PreTokenizer, Bad> {
    let mut characters = text(step, key, "replacement")?.chars();
    let (Some(mark), None) = (characters.next(), characters.next()) else {
        return Err(Bad::new(format!("{key}.replacement"), "one character", text(step, key, "replacement")?));
    };
    let prepend = match step.get("prepend_scheme").and_then(Value::as_str) {
        Some("always") => Prepend::Always,
        Some("first") => Prepend::First,
        Some("never") => Prepend::Never,
        // Older files say only whether.
        None if flag(step, "add_prefix_space", true) => Prepend::Always,
        None => Prepend::Never,
        Some(other) => return Err(Bad::new(format!("{key}.prepend_scheme"), "\"always\", \"first\" or \"never\"", other)),
    };
    Ok(PreTokenizer::Metaspace { mark, prepend, split: flag(step, "split", true) })
}

fn behaviour(step: &Value, key: &str) -> Result<Behaviour, Bad> {
    Ok(match text(step, key, "behavior")? {
        "Isolated" => Behaviour::Isolated,
        "Removed" => Behaviour::Removed,
        "MergedWithPrevious" => Behaviour::MergedWithPrevious,
        "MergedWithNext" => Behaviour::MergedWithNext,
        "Contiguous" => Behaviour::Contiguous,
        other => return Err(Bad::new(format!("{key}.behavior"), "what becomes of the matches", format!("{other:?}"))),
    })
}

/// What a step looks for.
enum Wanted {
    Text(String),
    Pattern(Pattern),
}

fn wanted(step: &Value, key: &str) -> Result<Wanted, Bad> {
    let key = format!("{key}.pattern");
    let pattern = step.get("pattern");
    let of = |name| pattern.and_then(|pattern| pattern.get(name)).and_then(Value::as_str);
    match (of("String"), of("Regex")) {
        (Some(text), _) if !text.is_empty() => Ok(Wanted::Text(text.to_owned())),
        (None, Some(pattern)) => match Pattern::new(pattern) {
            Ok(pattern) => Ok(Wanted::Pattern(pattern)),
            Err(reason) => Err(Bad::new(key, "a pattern that can be matched in linear time", format!("{reason}: {pattern}"))),
        },
        _ => Err(Bad::new(key, "a String that is not empty, or a Regex", format!("{pattern:?}"))),
    }
}

pub(super) fn text<'v>(step: &'v Value, key: &str, field: &str) -> Result<&'v str, Bad> {
    step.get(field).and_then(Value::as_str).ok_or_else(|| Bad::new(format!("{key}.{field}"), "a string", "none"))
}

/// A short text that a step puts in.
fn inserted(step: &Value, key: &str, field: &str) -> Result<String, Bad> {
    let text = text(step, key, field)?;
    match text.len() {
        0..=MAX_INSERTED => Ok(text.to_owned()),
        len => Err(Bad::new(format!("{key}.{field}"), format!("at most {MAX_INSERTED} bytes"), len.to_string())),
    }
}

/// The bytes that `text` is the base64 of.
pub(super) fn base64(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => Some(byte - b'A'),
        b'a'..=b'z' => Some(byte - b'a' + 26),
        b'0'..=b'9' => Some(byte - b'0' + 52),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    };
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    for four in text.trim_end_matches('=').as_bytes().chunks(4) {
        let mut bits = 0_u32;
        for &byte in four {
            bits = bits << 6 | u32::from(digit(byte)?);
        }
        bits <<= 6 * (4 - four.len() as u32);
        bytes.extend(&bits.to_be_bytes()[1..four.len()]);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::base64;

    #[test]
    fn base64_is_read() {
        assert_eq!(base64("aGVsbG8=").unwrap(), b"hello");
        assert_eq!(base64("AP8Q+/==").unwrap(), [0, 0xFF, 0x10, 0xFB]);
        assert_eq!((base64("").unwrap(), base64("a b")), (vec![], None));
    }
}
