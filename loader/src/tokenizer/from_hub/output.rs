//! Decoders and post-processors by their names in `tokenizer.json`.

use serde_json::Value;
use serde_json::value::RawValue;

use super::super::Affixes;
use super::super::spelling::{Lead, Spelling};
use super::Bad;
use super::steps::{flat, part, text};

/// Tokens that a post-processor may put around a text.
const MAX_AFFIXES: usize = 64;

/// How the decoder says that tokens are spelled.
pub(super) fn spelling(raw: Option<&RawValue>) -> Result<Spelling, Bad> {
    let Some(value) = part(raw, "decoder")? else {
        // Words with spaces between.
        return Ok(Spelling::Words { beginning: String::new(), continuing: String::new(), tidy: false });
    };
    let steps = flat(&value, "decoder", "decoders")?;
    let mut pieces: Option<(Option<String>, bool, usize)> = None;
    let mut whole = None;
    for (key, step) in &steps {
        let kind = text(step, key, "type")?;
        match kind {
            "ByteLevel" => whole = Some(Spelling::Bytes),
            "Metaspace" => whole = Some(metaspace(step, key)?),
            "WordPiece" => {
                let tidy = step.get("cleanup").and_then(Value::as_bool).unwrap_or(true);
                let prefix = step.get("prefix").and_then(Value::as_str).unwrap_or("##");
                whole = Some(Spelling::Words { beginning: String::new(), continuing: prefix.to_owned(), tidy });
            }
            "BPEDecoder" => whole = Some(Spelling::Marked(text(step, key, "suffix")?.to_owned())),
            "ByteFallback" => pieces.get_or_insert_default().1 = true,
            "Fuse" => {
                pieces.get_or_insert_default();
            }
            "Replace" => {
                let from = step.get("pattern").and_then(|pattern| pattern.get("String")).and_then(Value::as_str);
                match (from, text(step, key, "content")?) {
                    (Some(from), " ") if !from.is_empty() => pieces.get_or_insert_default().0 = Some(from.to_owned()),
                    _ => return Err(Bad::new(key, "a text that is replaced by a space", format!("{step}"))),
                }
            }
            "Strip" => match (text(step, key, "content")?, number(step, "start"), number(step, "stop")) {
                (" ", Some(start), Some(0)) => pieces.get_or_insert_default().2 = start,
                _ => return Err(Bad::new(key, "spaces taken from the beginning", format!("{step}"))),
            },
            _ => return Err(Bad::new(format!("{key}.type"), "a decoder that is known", format!("{kind:?}"))),
        }
    }
    match (whole, pieces) {
        (Some(spelling), None) if steps.len() == 1 => Ok(spelling),
        (None, Some((space, named_bytes, strip))) => {
            let lead = if strip == 0 { Lead::Kept } else { Lead::Stripped(strip) };
            Ok(Spelling::Pieces { space: space.unwrap_or_else(|| " ".to_owned()), named_bytes, lead })
        }
        _ => Err(Bad::new("decoder", "one decoder, or a sequence as SentencePiece's tokenizers have", "another sequence")),
    }
}

fn metaspace(step: &Value, key: &str) -> Result<Spelling, Bad> {
    let adds = step.get("add_prefix_space").and_then(Value::as_bool).unwrap_or(true);
    let scheme = step.get("prepend_scheme").and_then(Value::as_str).unwrap_or(if adds { "always" } else { "never" });
    let lead = if scheme == "never" { Lead::Kept } else { Lead::StrippedFromToken };
    let space = text(step, key, "replacement")?.to_owned();
    if space.is_empty() {
        return Err(Bad::new(format!("{key}.replacement"), "one character", "none"));
    }
    Ok(Spelling::Pieces { space, named_bytes: false, lead })
}

fn number(step: &Value, field: &str) -> Option<usize> {
    step.get(field).and_then(Value::as_u64).and_then(|number| usize::try_from(number).ok())
}

/// The tokens that the post-processor puts around a text, each one of `size`.
pub(super) fn affixes(raw: Option<&RawValue>, size: u32) -> Result<Affixes, Bad> {
    let mut affixes = Affixes::default();
    let Some(value) = part(raw, "post_processor")? else {
        return Ok(affixes);
    };
    for (key, step) in flat(&value, "post_processor", "processors")? {
        match text(step, &key, "type")? {
            "TemplateProcessing" => template(step, &key, size, &mut affixes)?,
            "BertProcessing" | "RobertaProcessing" => {
                affixes.before.insert(0, pair_id(step, &key, "cls", size)?);
                affixes.after.push(pair_id(step, &key, "sep", size)?);
            }
            // Says only where tokens are in the text.
            "ByteLevel" => {}
            other => return Err(Bad::new(format!("{key}.type"), "a post-processor that is known", format!("{other:?}"))),
        }
    }
    if affixes.before.len() + affixes.after.len() > MAX_AFFIXES {
        return Err(Bad::new("post_processor", format!("at most {MAX_AFFIXES} tokens"), "more"));
    }
    Ok(affixes)
}

/// The id of `["[CLS]", 101]`.
fn pair_id(step: &Value, key: &str, field: &str, size: u32) -> Result<u32, Bad> {
    let id = step.get(field).and_then(|pair| pair.get(1));
    token(id, size).ok_or_else(|| Bad::new(format!("{key}.{field}"), "a token's text and id", format!("{id:?}")))
}

fn token(id: Option<&Value>, size: u32) -> Option<u32> {
    id.and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok()).filter(|&id| id < size)
}

fn template(step: &Value, key: &str, size: u32, affixes: &mut Affixes) -> Result<(), Bad> {
    let pieces = step.get("single").and_then(Value::as_array);
    let pieces = pieces.ok_or_else(|| Bad::new(format!("{key}.single"), "an array", "none"))?;
    let mut after = false;
    for piece in pieces {
        if piece.get("Sequence").is_some() {
            after = true;
            continue;
        }
        let name = piece.get("SpecialToken").and_then(|token| token.get("id")).and_then(Value::as_str);
        let ids = name.and_then(|name| step.get("special_tokens")?.get(name)?.get("ids")?.as_array());
        let ids: Option<Vec<u32>> = ids.and_then(|ids| ids.iter().map(|id| token(Some(id), size)).collect());
        let Some(ids) = ids else {
            return Err(Bad::new(format!("{key}.single"), "special tokens with ids", format!("{piece}")));
        };
        if after {
            affixes.after.extend(ids);
        } else {
            affixes.before.extend(ids);
        }
    }
    Ok(())
}
