//! The tokenizer that a repository's `tokenizer.json` describes, with the files beside it.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use super::ends::end_tokens;
use super::model::{Fallback, Lexicon, Model, PairMerges, PairOptions, Unigram, WordPiece};
use super::normalize::Normalizer;
use super::special::{Manner, Special, SpecialTokens};
use super::vocabulary::{MAX_SPECIAL, TokenKind, Vocabulary, named_byte};
use super::{Affixes, Tokenizer};
use crate::LoadError;
use crate::hub::{Beside, HubFiles};
use crate::metadata::Strings;

mod gguf;
mod json;
mod output;
mod steps;

use json::{AddedToken, AddedTokens, ModelJson, Scores, TokenizerJson};

pub(crate) use gguf::entries as gguf_entries;

const FILE: &str = "tokenizer.json";
/// Ids may leave out so many numbers in all.
const MAX_GAPS: usize = 1 << 16;

/// A part of a file that cannot be used, before the file's name is known.
pub(super) struct Bad {
    /// The part, with dots.
    pub(super) key: String,
    pub(super) expected: String,
    pub(super) got: String,
}

impl Bad {
    pub(super) fn new(key: impl Into<String>, expected: impl Into<String>, got: impl Into<String>) -> Self {
        Self { key: key.into(), expected: expected.into(), got: got.into() }
    }
}

pub(super) fn build(files: &HubFiles<'_>) -> Result<Tokenizer, LoadError> {
    let read: TokenizerJson<'_> = parse(files)?;
    let beside = Beside::read(files)?;
    let file = files.path(FILE);
    assemble(read, &beside, &file).map_err(|bad| LoadError::BadValue { file, key: bad.key, expected: bad.expected, got: bad.got })
}

/// The texts of the control tokens, for templates to guard, without the rest of the tokenizer.
pub(crate) fn control_texts(files: &HubFiles<'_>) -> Result<Vec<String>, LoadError> {
    let read: AddedTokens = parse(files)?;
    let controls = read.added_tokens.into_iter().filter(|token| token.special && !token.content.is_empty());
    let checked = controls.map(|token| match token.content.len() {
        0..=MAX_SPECIAL => Ok(token.content),
        len => Err(LoadError::BadValue {
            file: files.path(FILE),
            key: "added_tokens".to_owned(),
            expected: format!("special tokens of at most {MAX_SPECIAL} bytes"),
            got: format!("one of {len}"),
        }),
    });
    checked.collect()
}

fn parse<'a, T: Deserialize<'a>>(files: &HubFiles<'a>) -> Result<T, LoadError> {
    let bytes = files.tokenizer_json.ok_or_else(|| missing(files))?;
    serde_json::from_slice(bytes).map_err(|error| LoadError::BadValue {
        file: files.path(FILE),
        key: "(the whole file)".to_owned(),
        expected: "a tokenizer in JSON".to_owned(),
        got: error.to_string(),
    })
}

/// The error for a repository without `tokenizer.json`.
fn missing(files: &HubFiles<'_>) -> LoadError {
    LoadError::MissingFile {
        file: files.name.to_owned(),
        path: FILE.to_owned(),
        why: "it turns text into tokens, and a tokenizer.model alone is not read (transformers makes the one from the other: \
              AutoTokenizer.from_pretrained(directory).save_pretrained(directory))"
            .to_owned(),
    }
}

fn assemble(mut read: TokenizerJson<'_>, beside: &Beside, file: &str) -> Result<Tokenizer, Bad> {
    let normalizers = steps::normalizers(read.normalizer)?;
    let pre_tokenizers = steps::pre_tokenizers(read.pre_tokenizer)?;
    let spelling = output::spelling(read.decoder)?;
    let mut added = std::mem::take(&mut read.added_tokens);
    let vocabulary = Arc::new(vocabulary(&mut read.model, &mut added, spelling)?);
    let affixes = output::affixes(read.post_processor, vocabulary.len())?;
    let model = model(read.model, &vocabulary)?;
    let (specials, normalized_specials) = specials(&added, &normalizers)?;

    let id = |text: &str| specials.id(text).or_else(|| vocabulary.find(text));
    let bos = beside.token("bos_token").and_then(id);
    let mut named_ends: Vec<u32> = beside.token("eos_token").and_then(id).into_iter().collect();
    named_ends.extend(beside.end_ids.iter().filter(|&&end| end < vocabulary.len()));
    Ok(Tokenizer {
        file: Arc::from(file),
        affixes: with_bos(affixes, bos, beside.add_bos),
        eos: end_tokens(&vocabulary, named_ends),
        normalizers,
        steps: pre_tokenizers,
        model,
        specials,
        normalized_specials,
        vocabulary,
        bos,
    })
}

/// `affixes` with or without the beginning-of-sequence token, where `tokenizer_config.json` says which.
fn with_bos(mut affixes: Affixes, bos: Option<u32>, wanted: Option<bool>) -> Affixes {
    let has = bos.is_some() && affixes.before.first() == bos.as_ref();
    match (wanted, bos) {
        (Some(true), Some(bos)) if !has => affixes.before.insert(0, bos),
        (Some(false), _) if has => {
            affixes.before.remove(0);
        }
        _ => {}
    }
    affixes
}

/// Puts the model's vocabulary and the added tokens in the order of their ids, and gives each added token the id that
/// the model has for its text.
fn vocabulary(model: &mut ModelJson, added: &mut [AddedToken], spelling: super::spelling::Spelling) -> Result<Vocabulary, Bad> {
    let texts = std::mem::take(&mut model.vocab.texts);
    let ids = std::mem::take(&mut model.vocab.ids);
    let mut by_text: HashMap<String, Option<u32>> = added.iter().map(|token| (token.content.clone(), None)).collect();
    let mut order: Vec<(u32, usize)> = Vec::with_capacity(ids.len() + added.len());
    for (place, (&id, text)) in ids.iter().zip(texts.iter()).enumerate() {
        if let Some(known) = by_text.get_mut(text) {
            known.get_or_insert(id);
        }
        order.push((id, place));
    }
    for (place, token) in added.iter_mut().enumerate() {
        match by_text.get_mut(&token.content) {
            Some(Some(known)) => token.id = *known,
            Some(unknown) => {
                *unknown = Some(token.id);
                order.push((token.id, ids.len() + place));
            }
            None => {}
        }
    }
    order.sort_unstable();
    let count = order.len();
    let size = order.last().map_or(0, |&(last, _)| last as usize + 1);
    if size == 0 || size > count + MAX_GAPS {
        let got = format!("{count} tokens with ids below {size}");
        return Err(Bad::new("model.vocab", format!("at least one token, and ids with at most {MAX_GAPS} left out"), got));
    }
    let mut tokens = Strings::default();
    for (id, place) in order {
        let text = texts.get(place).or_else(|| added.get(place - ids.len()).map(|token| token.content.as_str())).unwrap_or_default();
        if tokens.len() > id as usize {
            let got = format!("{text:?} and {:?} as token {id}", tokens.get(id as usize).unwrap_or_default());
            return Err(Bad::new("model.vocab", "one text for each id", got));
        }
        let fits = (tokens.len()..id as usize).all(|_| tokens.push("")) && tokens.push(text);
        if !fits {
            return Err(Bad::new("model.vocab", "under 4 GiB of text", "more"));
        }
    }
    let mut kinds: Vec<TokenKind> = tokens.iter().map(|text| kind(text, model.byte_fallback)).collect();
    for token in added.iter() {
        if let Some(kind) = kinds.get_mut(token.id as usize) {
            *kind = if token.special { TokenKind::Control } else { TokenKind::UserDefined };
        }
    }
    Ok(Vocabulary::new(tokens, kinds, spelling))
}

/// The kind of a token that is in the model's own vocabulary.
fn kind(text: &str, byte_fallback: bool) -> TokenKind {
    match text {
        "" => TokenKind::Unused,
        _ if byte_fallback && named_byte(text).is_some() => TokenKind::Byte,
        _ => TokenKind::Normal,
    }
}

/// The tokens that are found in text as it is, and those that are found in what the normalisers make of it. Control
/// tokens are always found as they are written.
fn specials(added: &[AddedToken], normalizers: &[Normalizer]) -> Result<(SpecialTokens, Option<SpecialTokens>), Bad> {
    let bad = |reason: String| Bad::new("added_tokens", "tokens that can be looked for", reason);
    let special = |token: &AddedToken| Manner { single_word: token.single_word, takes_before: token.lstrip, takes_after: token.rstrip };
    let is_raw = |token: &&AddedToken| token.special || !token.normalized;
    let raw = added.iter().filter(is_raw).map(|token| Special {
        id: token.id,
        text: &token.content,
        is_control: token.special,
        manner: special(token),
    });
    let raw = SpecialTokens::new(raw).map_err(bad)?;
    let mut texts = Vec::new();
    for token in added.iter().filter(|token| !is_raw(token)) {
        let text = super::normalized(normalizers, &token.content).map_err(bad)?.into_owned();
        texts.push((token, text));
    }
    if texts.is_empty() {
        return Ok((raw, None));
    }
    let normalized = texts.iter().map(|(token, text)| Special { id: token.id, text, is_control: false, manner: special(token) });
    Ok((raw, Some(SpecialTokens::new(normalized).map_err(bad)?)))
}

/// The kind of model, by its name or, in older files, by what it has: "BPE", "Unigram" or "WordPiece".
fn kind_of(model: &ModelJson) -> Result<&'static str, Bad> {
    let kind = match (model.kind.as_deref(), &model.vocab.scores) {
        (Some(kind), _) => kind,
        (None, Scores::Given(_)) => "Unigram",
        (None, Scores::None) if model.merges.is_some() => "BPE",
        (None, Scores::None) => "WordPiece",
    };
    match (kind, &model.vocab.scores) {
        ("BPE", Scores::None) => Ok("BPE"),
        ("WordPiece", Scores::None) => Ok("WordPiece"),
        ("Unigram", Scores::Given(_)) => Ok("Unigram"),
        ("BPE" | "WordPiece", Scores::Given(_)) => Err(Bad::new("model.vocab", "an object of ids by text", "an array")),
        ("Unigram", Scores::None) => Err(Bad::new("model.vocab", "an array of texts with scores", "an object")),
        _ => Err(Bad::new("model.type", "\"BPE\", \"Unigram\" or \"WordPiece\"", format!("{kind:?}"))),
    }
}

fn model(model: ModelJson, vocabulary: &Arc<Vocabulary>) -> Result<Model, Bad> {
    match kind_of(&model)? {
        "BPE" => pairs(model, vocabulary),
        "Unigram" => unigram(model, vocabulary),
        _ => word_piece(model, vocabulary),
    }
}

fn pairs(model: ModelJson, vocabulary: &Arc<Vocabulary>) -> Result<Model, Bad> {
    if model.dropout.is_some_and(|dropout| dropout != 0.0) {
        return Err(Bad::new("model.dropout", "none: merges left out by chance are for training", format!("{:?}", model.dropout)));
    }
    if let Some(prefix) = model.continuing_subword_prefix.filter(|prefix| !prefix.is_empty()) {
        return Err(Bad::new("model.continuing_subword_prefix", "none for a BPE model", format!("{prefix:?}")));
    }
    let end_of_word = model.end_of_word_suffix.unwrap_or_default();
    if !end_of_word.is_empty() && model.byte_fallback {
        return Err(Bad::new("model.end_of_word_suffix", "none where bytes are fallen back on", format!("{end_of_word:?}")));
    }
    let unknown = unknown_token(model.unk_token.as_deref(), vocabulary)?;
    let lexicon = Lexicon::new(Arc::clone(vocabulary));
    let merges = model.merges.unwrap_or_default();
    let mut ranked = Vec::with_capacity(merges.lefts.len());
    let mut joined = String::new();
    for (number, (left, right)) in merges.lefts.iter().zip(merges.rights.iter()).enumerate() {
        joined.clear();
        joined.extend([left, right]);
        match (lexicon.id(left), lexicon.id(right), lexicon.id(&joined)) {
            (Some(left), Some(right), Some(merged)) => ranked.push((left, right, merged)),
            // Merges that make a control token cannot come from text.
            (Some(_), Some(_), None) if vocabulary.find(&joined).is_some() => {}
            _ => {
                let got = format!("{left:?} and {right:?} as merge {number}");
                return Err(Bad::new("model.merges", "two tokens that together are one", got));
            }
        }
    }
    let options = PairOptions {
        fallback: Fallback::new(vocabulary, model.byte_fallback, unknown),
        fuse_unknown: model.fuse_unk,
        whole_words_first: model.ignore_merges,
        end_of_word,
    };
    Ok(Model::Pairs(PairMerges::new(lexicon, &ranked, options)))
}

fn word_piece(model: ModelJson, vocabulary: &Arc<Vocabulary>) -> Result<Model, Bad> {
    let unknown = unknown_token(Some(model.unk_token.as_deref().unwrap_or("[UNK]")), vocabulary)?;
    Ok(Model::WordPiece(WordPiece {
        lexicon: Lexicon::new(Arc::clone(vocabulary)),
        beginning: String::new(),
        continuing: model.continuing_subword_prefix.unwrap_or_else(|| "##".to_owned()),
        unknown: unknown.ok_or_else(|| Bad::new("model.unk_token", "the unknown token", "none"))?,
        longest_word: model.max_input_chars_per_word.unwrap_or(100),
    }))
}

fn unigram(model: ModelJson, vocabulary: &Arc<Vocabulary>) -> Result<Model, Bad> {
    let Scores::Given(mut scores) = model.vocab.scores else {
        return Err(Bad::new("model.vocab", "an array of texts with scores", "an object"));
    };
    if let Some(id) = scores.iter().position(|score| !score.is_finite()) {
        return Err(Bad::new("model.vocab", "finite scores", format!("{} for token {id}", scores[id])));
    }
    // Added tokens after the model's own are never found by their score.
    scores.resize(vocabulary.len() as usize, 0.0);
    if model.unk_id.is_some_and(|id| id >= vocabulary.len()) {
        return Err(Bad::new("model.unk_id", format!("the id of one of {} tokens", vocabulary.len()), format!("{:?}", model.unk_id)));
    }
    let fallback = Fallback::new(vocabulary, model.byte_fallback, model.unk_id);
    Ok(Model::Unigram(Unigram::new(Arc::clone(vocabulary), Arc::from(scores), fallback)))
}

/// The id of the unknown token `text`.
fn unknown_token(text: Option<&str>, vocabulary: &Vocabulary) -> Result<Option<u32>, Bad> {
    let Some(text) = text else {
        return Ok(None);
    };
    match vocabulary.find(text) {
        Some(id) => Ok(Some(id)),
        None => Err(Bad::new("model.unk_token", "a token of the vocabulary", format!("{text:?}"))),
    }
}
