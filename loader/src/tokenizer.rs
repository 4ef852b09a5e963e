//! Text to token ids and back.

use std::borrow::Cow;
use std::sync::Arc;

use crate::LoadError;
use crate::chat::Prompt;
use crate::hub::HubFiles;
use crate::metadata::Metadata;

mod bytes;
mod charsmap;
mod decoder;
mod ends;
mod from_hub;
mod from_metadata;
mod lexicon;
mod model;
mod normalize;
mod pretokenize;
mod rules;
mod special;
mod spelling;
mod split;
mod vocabulary;

pub use decoder::Decoder;
pub(crate) use from_hub::{control_texts as hub_control_texts, gguf_entries};
pub(crate) use vocabulary::control_texts;

use model::Model;
use normalize::{Normalizer, check_length};
use pretokenize::PreTokenizer;
use special::SpecialTokens;
use vocabulary::Vocabulary;

/// What becomes of the text of control tokens, such as `<|im_end|>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// It stays text: what a user typed.
    Text,
    /// It becomes the control token: text that the program itself put together.
    Parse,
}

/// Tokens that a model expects around plain text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Affixes {
    before: Vec<u32>,
    after: Vec<u32>,
}

/// A model's tokenizer: text is normalised, split into words, and each word becomes tokens, by the rules of the model's
/// publisher: byte-level BPE, SentencePiece's BPE and unigram, or WordPiece.
///
/// Both sources give the same ids: a GGUF file's `tokenizer.ggml.*` entries ([`Tokenizer::from_metadata`]) and a
/// repository's `tokenizer.json` ([`Tokenizer::from_hub`]).
pub struct Tokenizer {
    file: Arc<str>,
    normalizers: Vec<Normalizer>,
    steps: Vec<PreTokenizer>,
    model: Model,
    /// Found in text as it is.
    specials: SpecialTokens,
    /// Markup found in normalised text.
    normalized_specials: Option<SpecialTokens>,
    vocabulary: Arc<Vocabulary>,
    bos: Option<u32>,
    eos: Vec<u32>,
    affixes: Affixes,
}

impl Tokenizer {
    /// Builds the tokenizer that `tokenizer.ggml.*` entries describe.
    ///
    /// # Errors
    /// [`LoadError::MissingKey`]; [`LoadError::BadValue`] for a tokenizer model or splitting rule that is not known
    /// (the message lists those that are), for lists of unequal length, ids outside the vocabulary, scores that are no
    /// numbers, and merges that are no two tokens.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, LoadError> {
        from_metadata::build(metadata)
    }

    /// Builds the tokenizer of a repository in the layout of the Hugging Face hub.
    ///
    /// # Errors
    /// [`LoadError::MissingFile`] without a `tokenizer.json`; [`LoadError::BadValue`], naming the file and the part, for
    /// files that are no such JSON, parts of the `tokenizers` library that are not known here, patterns that cannot be
    /// matched in linear time, and vocabularies and merges that contradict themselves.
    pub fn from_hub(files: &HubFiles<'_>) -> Result<Self, LoadError> {
        from_hub::build(files)
    }

    /// The ids of `text`. No beginning-of-sequence token is added: see [`Tokenizer::add_bos`].
    ///
    /// Markup that the vocabulary lists as user-defined (such as `<think>` in some models) becomes its token in either
    /// mode, as in the model's training; control tokens only with [`Specials::Parse`]. Bytes that the vocabulary has no
    /// token for (SmolLM2: some ASCII control characters, and code points that Unicode has not assigned) are left out,
    /// as the published tokenizers do.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] for text that the vocabulary has no tokens for, and where a file's own splitting
    /// pattern would take more than linear time.
    pub fn encode(&self, text: &str, specials: Specials) -> Result<Vec<u32>, LoadError> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 1);
        let control_at = |_: usize, _: usize| specials == Specials::Parse;
        self.encode_pieces(text, control_at, &mut ids)?;
        Ok(ids)
    }

    /// The ids of a rendered conversation: control tokens where the template wrote them, text where a user did. No
    /// beginning-of-sequence token is added, because templates write it themselves.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, LoadError> {
        let mut ids = Vec::with_capacity(prompt.text().len() / 4 + 1);
        self.encode_pieces(prompt.text(), |start, end| !prompt.is_user_text_within(start, end), &mut ids)?;
        Ok(ids)
    }

    /// Encodes the text between special tokens piece by piece; `control_at` says whether the control token found at a
    /// byte range is meant as one.
    fn encode_pieces(&self, text: &str, control_at: impl Fn(usize, usize) -> bool, ids: &mut Vec<u32>) -> Result<(), LoadError> {
        let failed = |reason| LoadError::Tokenizer { file: self.file.to_string(), reason };
        let mut plain_from = 0;
        for found in self.specials.find(text, control_at) {
            self.encode_plain(&text[plain_from..found.start], plain_from == 0, ids).map_err(failed)?;
            ids.push(found.id);
            plain_from = found.end;
        }
        self.encode_plain(&text[plain_from..], plain_from == 0, ids).map_err(failed)
    }

    /// Encodes text without control tokens. `is_first`: whether it is the beginning of the whole text.
    fn encode_plain(&self, text: &str, is_first: bool, ids: &mut Vec<u32>) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let normalized = normalized(&self.normalizers, text)?;
        let mut plain_from = 0;
        if let Some(specials) = &self.normalized_specials {
            for found in specials.find(&normalized, |_, _| false) {
                self.encode_words(&normalized[plain_from..found.start], is_first && plain_from == 0, ids)?;
                ids.push(found.id);
                plain_from = found.end;
            }
        }
        self.encode_words(&normalized[plain_from..], is_first && plain_from == 0, ids)
    }

    fn encode_words(&self, text: &str, is_first: bool, ids: &mut Vec<u32>) -> Result<(), String> {
        if text.is_empty() {
            return Ok(());
        }
        let mut words = vec![Cow::Borrowed(text)];
        for step in &self.steps {
            let mut finer = Vec::with_capacity(words.len().max(text.len() / 4 + 1));
            for (at, word) in words.into_iter().enumerate() {
                step.apply(word, is_first && at == 0, &mut finer)?;
            }
            words = finer;
            check_length(text, words.iter().map(|word| word.len()).sum(), most_bytes(text))?;
        }
        words.iter().try_for_each(|word| self.model.tokenize(word, ids))
    }

    /// The text of `ids`, without control tokens and with U+FFFD where bytes are no UTF-8. Ids outside the vocabulary
    /// have no text.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder().with_whole_runs();
        let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// A decoder for ids that come one at a time, of which the first begins the text: a space that the encoder puts in
    /// front of every text is taken away.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(Arc::clone(&self.vocabulary), true)
    }

    /// A decoder for ids that go on with a text, such as a prompt that is no conversation: every space counts.
    pub fn continuing_decoder(&self) -> Decoder {
        Decoder::new(Arc::clone(&self.vocabulary), false)
    }

    /// The bytes that a token stands for, `None` outside the vocabulary. One token may hold part of a character.
    pub fn token_bytes(&self, id: u32) -> Option<Vec<u8>> {
        self.vocabulary.bytes(id)
    }

    /// What a token stands for, for people: control tokens by name, bytes that are no UTF-8 as U+FFFD. `None` outside
    /// the vocabulary.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.vocabulary.bytes(id).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
    }

    /// The id of the token whose text is exactly `text`: control and user-defined tokens as written, others in the
    /// spelling of the vocabulary.
    pub fn token_id(&self, text: &str) -> Option<u32> {
        self.specials.id(text).or_else(|| self.vocabulary.find(text))
    }

    /// Whether `id` is a control token, which has no text in an answer.
    pub fn is_control(&self, id: u32) -> bool {
        self.vocabulary.is_control(id)
    }

    /// How many tokens there are; ids are below this. A model's embedding may have more rows.
    pub fn vocab_size(&self) -> u32 {
        self.vocabulary.len()
    }

    /// The beginning-of-sequence token.
    pub fn bos(&self) -> Option<u32> {
        self.bos
    }

    /// The tokens that end an answer, ascending: end of sequence, of turn, of message.
    pub fn eos(&self) -> &[u32] {
        &self.eos
    }

    /// Whether `id` ends an answer.
    pub fn is_eos(&self, id: u32) -> bool {
        self.eos.binary_search(&id).is_ok()
    }

    /// Whether the model expects [`Tokenizer::bos`] before plain text (chat templates write it themselves).
    pub fn add_bos(&self) -> bool {
        self.bos.is_some_and(|bos| self.affixes.before.first() == Some(&bos))
    }

    /// The tokens that the model expects before plain text: BERT's `[CLS]`, many a model's [`Tokenizer::bos`].
    pub fn prefix(&self) -> &[u32] {
        &self.affixes.before
    }

    /// The tokens that the model expects after plain text: BERT's `[SEP]`, T5's `</s>`.
    pub fn suffix(&self) -> &[u32] {
        &self.affixes.after
    }
}

/// `text` after all of `normalizers`.
fn normalized<'t>(normalizers: &[Normalizer], text: &'t str) -> Result<Cow<'t, str>, String> {
    let mut normalized = Cow::Borrowed(text);
    for normalizer in normalizers {
        normalized = normalizer.apply(normalized, most_bytes(text))?;
        check_length(text, normalized.len(), most_bytes(text))?;
    }
    Ok(normalized)
}

/// The most bytes that a text may become before it is encoded. Published steps make a text at most four times as long
/// (spelling) or, for a few characters, twelve times (NFKC); a file could ask for anything.
fn most_bytes(text: &str) -> usize {
    text.len().saturating_mul(32).saturating_add(4096)
}
