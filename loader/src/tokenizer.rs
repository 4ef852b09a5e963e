//! Text to token ids and back.

use std::sync::Arc;

use tokenizers::Model as _;
use tokenizers::models::bpe::BPE;
use tokenizers::normalizer::NormalizedString;

use crate::LoadError;
use crate::chat::Prompt;
use crate::metadata::Metadata;

mod bytes;
mod decoder;
mod from_metadata;
mod special;
mod split;
mod vocabulary;

pub use decoder::Decoder;
pub(crate) use vocabulary::control_texts;

use special::SpecialTokens;
use split::Splitter;
use vocabulary::Vocabulary;

/// What becomes of the text of control tokens, such as `<|im_end|>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Specials {
    /// It stays text: what a user typed.
    Text,
    /// It becomes the control token: text that the program itself put together.
    Parse,
}

/// A model's tokenizer: byte-level byte-pair encoding with the model's own rules for splitting text.
///
/// The rules are those of the model's publisher (which the `tokenizers` library applies from its `tokenizer.json`),
/// named in GGUF by `tokenizer.ggml.pre`.
pub struct Tokenizer {
    file: Arc<str>,
    bpe: BPE,
    splitter: Splitter,
    /// Whether text is brought to Unicode's composed form first.
    compose: bool,
    specials: SpecialTokens,
    vocabulary: Arc<Vocabulary>,
    bos: Option<u32>,
    eos: Vec<u32>,
    add_bos: bool,
}

impl Tokenizer {
    /// Builds the tokenizer that `tokenizer.ggml.*` entries describe.
    ///
    /// # Errors
    /// [`LoadError::MissingKey`]; [`LoadError::BadValue`] for a tokenizer model or splitting rule that is not known
    /// (the message lists those that are), for lists of unequal length, ids outside the vocabulary, and merges that
    /// are no two tokens or whose result is none.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self, LoadError> {
        from_metadata::build(metadata)
    }

    /// The ids of `text`. No beginning-of-sequence token is added: see [`Tokenizer::add_bos`].
    ///
    /// Markup that the vocabulary lists as user-defined (such as `<think>` in some models) becomes its token in either
    /// mode, as in the model's training; control tokens only with [`Specials::Parse`]. Bytes that the vocabulary has no
    /// token for (SmolLM2: some ASCII control characters, and code points that Unicode has not assigned) are left out,
    /// as the published tokenizers do.
    ///
    /// # Errors
    /// [`LoadError::Tokenizer`] when the encoder fails.
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
    /// [`LoadError::Tokenizer`] when the encoder fails.
    pub fn encode_prompt(&self, prompt: &Prompt) -> Result<Vec<u32>, LoadError> {
        let mut ids = Vec::with_capacity(prompt.text().len() / 4 + 1);
        self.encode_pieces(prompt.text(), |start, end| !prompt.is_user_text_within(start, end), &mut ids)?;
        Ok(ids)
    }

    /// Encodes the text between special tokens piece by piece; `control_at` says whether the control token found at a
    /// byte range is meant as one.
    fn encode_pieces(&self, text: &str, control_at: impl Fn(usize, usize) -> bool, ids: &mut Vec<u32>) -> Result<(), LoadError> {
        let mut plain_from = 0;
        for found in self.specials.find(text, control_at) {
            self.encode_plain(&text[plain_from..found.start], ids)?;
            ids.push(found.id);
            plain_from = found.end;
        }
        self.encode_plain(&text[plain_from..], ids)
    }

    fn encode_plain(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), LoadError> {
        if self.compose && !text.is_ascii() {
            let mut composed = NormalizedString::from(text);
            composed.nfc();
            return self.encode_words(composed.get(), ids);
        }
        self.encode_words(text, ids)
    }

    fn encode_words(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), LoadError> {
        let mut spelled = String::new();
        for word in self.splitter.split(text) {
            spelled.clear();
            spelled.extend(word.bytes().map(bytes::to_char));
            let tokens = self
                .bpe
                .tokenize(&spelled)
                .map_err(|error| LoadError::Tokenizer { file: self.file.to_string(), reason: error.to_string() })?;
            ids.extend(tokens.into_iter().map(|token| token.id));
        }
        Ok(())
    }

    /// The text of `ids`, without control tokens and with U+FFFD where bytes are no UTF-8. Ids outside the vocabulary
    /// have no text.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut decoder = self.decoder();
        let mut text: String = ids.iter().map(|&id| decoder.push(id)).collect();
        text.push_str(&decoder.finish());
        text
    }

    /// A decoder for ids that come one at a time.
    pub fn decoder(&self) -> Decoder {
        Decoder::new(Arc::clone(&self.vocabulary))
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
        self.bpe.token_to_id(text)
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
        self.add_bos
    }
}
