//! The shape of `tokenizer.json`, read without holding more than its bytes: texts back to back, lists of numbers.

use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::metadata::Strings;

#[derive(Deserialize)]
pub(super) struct TokenizerJson<'a> {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
    #[serde(borrow, default)]
    pub(super) normalizer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) pre_tokenizer: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) post_processor: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) decoder: Option<&'a RawValue>,
    pub(super) model: ModelJson,
}

/// The added tokens alone.
#[derive(Deserialize)]
pub(super) struct AddedTokens {
    #[serde(default)]
    pub(super) added_tokens: Vec<AddedToken>,
}

#[derive(Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    pub(super) content: String,
    #[serde(default)]
    pub(super) single_word: bool,
    #[serde(default)]
    pub(super) lstrip: bool,
    #[serde(default)]
    pub(super) rstrip: bool,
    #[serde(default)]
    pub(super) normalized: bool,
    #[serde(default)]
    pub(super) special: bool,
}

/// All kinds of model in one: which fields are there depends on the kind.
#[derive(Deserialize)]
pub(super) struct ModelJson {
    #[serde(rename = "type", default)]
    pub(super) kind: Option<String>,
    #[serde(default)]
    pub(super) vocab: Vocab,
    #[serde(default)]
    pub(super) merges: Option<Merges>,
    #[serde(default)]
    pub(super) unk_token: Option<String>,
    #[serde(default)]
    pub(super) unk_id: Option<u32>,
    #[serde(default)]
    pub(super) dropout: Option<f64>,
    #[serde(default)]
    pub(super) continuing_subword_prefix: Option<String>,
    #[serde(default)]
    pub(super) end_of_word_suffix: Option<String>,
    #[serde(default)]
    pub(super) fuse_unk: bool,
    #[serde(default)]
    pub(super) byte_fallback: bool,
    #[serde(default)]
    pub(super) ignore_merges: bool,
    #[serde(default)]
    pub(super) max_input_chars_per_word: Option<usize>,
}

/// Texts and their ids, and scores where the file gives them.
#[derive(Default)]
pub(super) struct Vocab {
    pub(super) texts: Strings,
    pub(super) ids: Vec<u32>,
    pub(super) scores: Scores,
}

#[derive(Default)]
pub(super) enum Scores {
    #[default]
    None,
    Given(Vec<f64>),
}

/// Two lists of texts: what each merge merges.
#[derive(Default)]
pub(super) struct Merges {
    pub(super) lefts: Strings,
    pub(super) rights: Strings,
}

/// A visitor of `Vocab`: `{"text": id}` or `[["text", score]]`.
struct VocabVisitor;

impl<'de> Visitor<'de> for VocabVisitor {
    type Value = Vocab;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of ids by text, or an array of texts with scores")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Vocab, A::Error> {
        let mut vocab = Vocab::default();
        while let Some((text, id)) = map.next_entry::<String, u32>()? {
            push(&mut vocab.texts, &text)?;
            vocab.ids.push(id);
        }
        Ok(vocab)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vocab, A::Error> {
        let mut vocab = Vocab::default();
        let mut scores = Vec::new();
        while let Some((text, score)) = list.next_element::<(String, f64)>()? {
            let id = u32::try_from(scores.len()).map_err(A::Error::custom)?;
            push(&mut vocab.texts, &text)?;
            vocab.ids.push(id);
            scores.push(score);
        }
        vocab.scores = Scores::Given(scores);
        Ok(vocab)
    }
}

impl<'de> Deserialize<'de> for Vocab {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(VocabVisitor)
    }
}

/// A visitor of `Merges`: `["left right"]` or `[["left", "right"]]`.
struct MergesVisitor;

impl<'de> Visitor<'de> for MergesVisitor {
    type Value = Merges;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of merges")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Merges, A::Error> {
        let mut merges = Merges::default();
        while let Some(merge) = list.next_element::<Merge>()? {
            push(&mut merges.lefts, &merge.0)?;
            push(&mut merges.rights, &merge.1)?;
        }
        Ok(merges)
    }
}

impl<'de> Deserialize<'de> for Merges {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(MergesVisitor)
    }
}

struct Merge(String, String);

struct MergeVisitor;

impl<'de> Visitor<'de> for MergeVisitor {
    type Value = Merge;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("two texts, as an array or with a space between")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Merge, E> {
        match text.split_once(' ') {
            Some((left, right)) => Ok(Merge(left.to_owned(), right.to_owned())),
            None => Err(E::custom(format!("the merge {text:?} has no space between two texts"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Merge, A::Error> {
        let one_less = || A::Error::custom("a merge of fewer than two texts");
        let left = pair.next_element()?.ok_or_else(one_less)?;
        let right = pair.next_element()?.ok_or_else(one_less)?;
        match pair.next_element::<IgnoredAny>()? {
            None => Ok(Merge(left, right)),
            Some(_) => Err(A::Error::custom("a merge of more than two texts")),
        }
    }
}

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MergeVisitor)
    }
}

fn push<E: Error>(texts: &mut Strings, text: &str) -> Result<(), E> {
    if texts.push(text) { Ok(()) } else { Err(E::custom("over 4 GiB of text")) }
}
