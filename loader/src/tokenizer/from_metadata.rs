//! The tokenizer that a GGUF file's metadata describes.

use std::collections::HashMap;
use std::sync::Arc;

use tokenizers::models::bpe::BPE;

use super::Tokenizer;
use super::special::SpecialTokens;
use super::split::{Rules, Splitter};
use super::vocabulary::{TOKENS, TokenKind, Vocabulary, token_kinds};
use crate::LoadError;
use crate::metadata::{Metadata, Strings};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
/// Entries that name a token which ends an answer.
const END_KEYS: [&str; 3] = ["tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
/// Control tokens that end an answer by their published meaning. Files often name only one of a model's several, so
/// llama.cpp goes by the texts too, and this is its list.
const END_TEXTS: [&str; 25] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<|fim_pad|>",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<reponame>",
    "<|file_sep|>",
];

pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer, LoadError> {
    let model = metadata.str(MODEL)?;
    if model != "gpt2" {
        let expected = "\"gpt2\" (byte-level BPE, the one kind of tokenizer that is supported)";
        return Err(metadata.bad_value(MODEL, expected, format!("{model:?}")));
    }
    let rules = read_rules(metadata)?;
    let tokens = metadata.strings(TOKENS)?;
    let kinds = token_kinds(metadata, tokens.len())?;
    let bpe = build_bpe(metadata, tokens, &kinds, rules)?;
    let vocabulary = Vocabulary::new(tokens.clone(), kinds);
    let failed = |reason: String| LoadError::Tokenizer { file: metadata.file().to_owned(), reason };
    let size = vocabulary.len();
    Ok(Tokenizer {
        file: Arc::from(metadata.file()),
        bpe,
        splitter: Splitter::new(rules).map_err(|error| failed(error.to_string()))?,
        compose: rules.compose(),
        specials: SpecialTokens::new(&vocabulary).map_err(|error| failed(error.to_string()))?,
        bos: token_id(metadata, BOS, size)?,
        eos: end_tokens(metadata, &vocabulary)?,
        add_bos: metadata.optional(ADD_BOS, Metadata::bool)?.unwrap_or_else(|| rules.add_bos()),
        vocabulary: Arc::new(vocabulary),
    })
}

fn read_rules(metadata: &Metadata) -> Result<Rules, LoadError> {
    let name = metadata.str(PRE)?;
    Rules::NAMES.iter().find(|(known, _)| *known == name).map(|&(_, rules)| rules).ok_or_else(|| {
        let known: Vec<String> = Rules::NAMES.iter().map(|(known, _)| format!("{known:?}")).collect();
        metadata.bad_value(PRE, format!("one of {}", known.join(", ")), format!("{name:?}"))
    })
}

/// Checks the vocabulary and the merges, and hands them to the encoder.
fn build_bpe(metadata: &Metadata, tokens: &Strings, kinds: &[TokenKind], rules: Rules) -> Result<BPE, LoadError> {
    if tokens.is_empty() || u32::try_from(tokens.len()).is_err() {
        return Err(metadata.bad_value(TOKENS, "1 to 2^32 - 1 tokens", tokens.len().to_string()));
    }
    let mut ids: HashMap<&str, u32> = HashMap::with_capacity(tokens.len());
    for (id, text) in (0_u32..).zip(tokens.iter()) {
        // The first of equal texts is the one that text is encoded to; padding repeats texts after it.
        let first = *ids.entry(text).or_insert(id);
        let both_normal = [first, id].iter().all(|&id| kinds.get(id as usize) == Some(&TokenKind::Normal));
        if first != id && both_normal {
            let got = format!("{text:?} as tokens {first} and {id}");
            return Err(metadata.bad_value(TOKENS, "each token once", got));
        }
    }
    let merges = read_merges(metadata, &ids)?;
    let vocab: tokenizers::models::bpe::Vocab = ids.into_iter().map(|(text, id)| (text.to_owned(), id)).collect();
    BPE::builder()
        .vocab_and_merges(vocab, merges)
        .ignore_merges(rules.whole_words_first())
        .build()
        .map_err(|error| LoadError::Tokenizer { file: metadata.file().to_owned(), reason: error.to_string() })
}

/// The merges, each of two tokens. Those whose concatenation is no token can never be applied and are left out, as llama.cpp
/// does: the encoder takes it for granted that there is one.
fn read_merges(metadata: &Metadata, ids: &HashMap<&str, u32>) -> Result<Vec<(String, String)>, LoadError> {
    let lines = metadata.strings(MERGES)?;
    let mut merges = Vec::with_capacity(lines.len());
    let mut joined = String::new();
    for (number, line) in lines.iter().enumerate() {
        let known = |text: &str| !text.is_empty() && ids.contains_key(text);
        let Some((left, right)) = line.split_once(' ').filter(|(left, right)| known(left) && known(right)) else {
            let expected = format!("two of `{TOKENS}` with a space between");
            return Err(metadata.bad_value(MERGES, expected, format!("{line:?} as merge {number}")));
        };
        joined.clear();
        joined.extend([left, right]);
        if known(&joined) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(merges)
}

/// The token that `key` names, if it names one of the `size` tokens.
fn token_id(metadata: &Metadata, key: &str, size: u32) -> Result<Option<u32>, LoadError> {
    let id = metadata.optional(key, Metadata::u32)?;
    match id {
        Some(id) if id >= size => Err(metadata.bad_value(key, format!("the id of one of {size} tokens"), id.to_string())),
        id => Ok(id),
    }
}

fn end_tokens(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Vec<u32>, LoadError> {
    let mut ends: Vec<(u32, &str)> = vocabulary
        .of_kind(TokenKind::Control)
        .chain(vocabulary.of_kind(TokenKind::UserDefined))
        .filter(|(_, text)| END_TEXTS.contains(text))
        .collect();
    let has = |text: &str| ends.iter().any(|(_, end)| *end == text);
    // In the harmony format and its kin `<|end|>` ends one message of an answer, not the answer; and where tool
    // responses have a token, `</s>` is ordinary text.
    let ends_a_message = (has("<|return|>") && has("<|call|>")) || (has("<|flush|>") && (has("<|call|>") || has("<|calls|>")));
    let is_text = has("<|tool_response>");
    ends.retain(|&(_, text)| match text {
        "<|end|>" => !ends_a_message,
        "</s>" => !is_text,
        _ => true,
    });
    let mut ids: Vec<u32> = ends.into_iter().map(|(id, _)| id).collect();
    for key in END_KEYS {
        ids.extend(token_id(metadata, key, vocabulary.len())?);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}
