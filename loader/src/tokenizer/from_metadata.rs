//! The tokenizer that a GGUF file's metadata describes.

use std::sync::Arc;

use tokenizers::NormalizerWrapper;
use tokenizers::normalizers::{BertNormalizer, NFC};

use super::charsmap::Charsmap;
use super::ends::end_tokens;
use super::model::{Fallback, Lexicon, Model, PairMerges, PairOptions, ScoredMerges, Unigram, WordPiece};
use super::normalize::Normalizer;
use super::pretokenize::{Behaviour, PreTokenizer, Prepend};
use super::rules::{ONE_PUNCTUATION, Rules, WHITE_SPACE};
use super::special::SpecialTokens;
use super::spelling::{Lead, Spelling};
use super::split::Pattern;
use super::vocabulary::{TOKENS, TokenKind, Vocabulary, token_kinds};
use super::{Affixes, Tokenizer};
use crate::LoadError;
use crate::metadata::{Array, Metadata, Strings, Value};

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const MERGES: &str = "tokenizer.ggml.merges";
const SCORES: &str = "tokenizer.ggml.scores";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const UNKNOWN: &str = "tokenizer.ggml.unknown_token_id";
const SEPARATOR: &str = "tokenizer.ggml.seperator_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";
const SINGLE_SPACES: &str = "tokenizer.ggml.remove_extra_whitespaces";
const CHARSMAP: &str = "tokenizer.ggml.precompiled_charsmap";
/// Entries that name a token which ends an answer.
const END_KEYS: [&str; 3] = [EOS, "tokenizer.ggml.eot_token_id", "tokenizer.ggml.eom_token_id"];
/// What SentencePiece writes for a space.
const SPACE: &str = "\u{2581}";
/// BERT's words of more characters are unknown.
const LONGEST_WORD: usize = 100;

/// The parts that differ from one kind of tokenizer to the next.
struct Parts {
    normalizers: Vec<Normalizer>,
    steps: Vec<PreTokenizer>,
    vocabulary: Arc<Vocabulary>,
    model: Model,
    /// Whether beginning-of-sequence and end-of-sequence tokens are expected where the file does not say.
    affixes: (bool, bool),
}

pub(super) fn build(metadata: &Metadata) -> Result<Tokenizer, LoadError> {
    let model = metadata.str(MODEL)?;
    let parts = match model {
        "gpt2" => byte_level(metadata)?,
        "gemma4" => raw_merges(metadata)?,
        "llama" => scored(metadata)?,
        "t5" => unigram(metadata)?,
        "bert" => word_piece(metadata)?,
        _ => {
            let expected = "\"gpt2\" (byte-level BPE), \"llama\" (SentencePiece BPE), \"t5\" (unigram), \"bert\" (WordPiece) or \"gemma4\"";
            return Err(metadata.bad_value(MODEL, expected, format!("{model:?}")));
        }
    };
    let vocabulary = parts.vocabulary;
    let size = vocabulary.len();
    let bos = token_id(metadata, BOS, size)?;
    let end = match token_id(metadata, EOS, size)? {
        None if model == "bert" => token_id(metadata, SEPARATOR, size)?,
        end => end,
    };
    let affix = |key, id: Option<u32>, otherwise: bool| -> Result<Vec<u32>, LoadError> {
        let is_added = metadata.optional(key, Metadata::bool)?.unwrap_or(otherwise);
        Ok(id.filter(|_| is_added).into_iter().collect())
    };
    let affixes = Affixes { before: affix(ADD_BOS, bos, parts.affixes.0)?, after: affix(ADD_EOS, end, parts.affixes.1)? };
    let mut named_ends = Vec::new();
    for key in END_KEYS {
        named_ends.extend(token_id(metadata, key, size)?);
    }
    // GGUF writes the spaces of markup as spaces; where the normaliser does no more than mark them, markup is found in what it makes.
    let (specials, normalized_specials) = match parts.normalizers[..] {
        [Normalizer::Replace { ref from, ref to }] if from == " " => {
            SpecialTokens::with_spaces_as(&vocabulary, to).map(|(control, markup)| (control, Some(markup)))
        }
        _ => SpecialTokens::of(&vocabulary).map(|specials| (specials, None)),
    }
    .map_err(|reason| failed(metadata, reason))?;
    Ok(Tokenizer {
        file: Arc::from(metadata.file()),
        normalizers: parts.normalizers,
        steps: parts.steps,
        model: parts.model,
        specials,
        normalized_specials,
        bos,
        eos: end_tokens(&vocabulary, named_ends),
        affixes,
        vocabulary,
    })
}

fn failed(metadata: &Metadata, reason: String) -> LoadError {
    LoadError::Tokenizer { file: metadata.file().to_owned(), reason }
}

/// Reads and checks the vocabulary.
fn vocabulary(metadata: &Metadata, spelling: Spelling) -> Result<Arc<Vocabulary>, LoadError> {
    let tokens = metadata.strings(TOKENS)?;
    if tokens.is_empty() || u32::try_from(tokens.len()).is_err() {
        return Err(metadata.bad_value(TOKENS, "1 to 2^32 - 1 tokens", tokens.len().to_string()));
    }
    let kinds = token_kinds(metadata, tokens.len())?;
    Ok(Arc::new(Vocabulary::new(tokens.clone(), kinds, spelling)))
}

/// Byte-level BPE: GPT-2 and most models after it.
fn byte_level(metadata: &Metadata) -> Result<Parts, LoadError> {
    let name = metadata.str(PRE)?;
    if name == "gemma4" {
        return raw_merges(metadata);
    }
    let rules = Rules::named(name).ok_or_else(|| {
        let known: Vec<String> = Rules::names().map(|known| format!("{known:?}")).collect();
        metadata.bad_value(PRE, format!("one of {}", known.join(", ")), format!("{name:?}"))
    })?;
    let vocabulary = vocabulary(metadata, Spelling::Bytes)?;
    let options = PairOptions {
        fallback: Fallback::new(&vocabulary, false, None),
        fuse_unknown: false,
        whole_words_first: rules.whole_words_first,
        end_of_word: String::new(),
    };
    Ok(Parts {
        normalizers: if rules.compose { vec![Normalizer::LibraryBeyondAscii(NormalizerWrapper::NFC(NFC))] } else { Vec::new() },
        steps: rules.steps().map_err(|reason| failed(metadata, reason))?,
        model: pairs(metadata, &vocabulary, options)?,
        vocabulary,
        affixes: (rules.add_bos, false),
    })
}

/// Gemma 4: merges over SentencePiece's spelling.
fn raw_merges(metadata: &Metadata) -> Result<Parts, LoadError> {
    let vocabulary = vocabulary(metadata, Spelling::Pieces { space: SPACE.to_owned(), named_bytes: true, lead: Lead::Kept })?;
    let options = PairOptions {
        fallback: Fallback::new(&vocabulary, true, token_id(metadata, UNKNOWN, vocabulary.len())?),
        fuse_unknown: true,
        whole_words_first: false,
        end_of_word: String::new(),
    };
    Ok(Parts {
        normalizers: vec![Normalizer::Replace { from: " ".to_owned(), to: SPACE.to_owned() }],
        steps: Vec::new(),
        model: pairs(metadata, &vocabulary, options)?,
        vocabulary,
        affixes: (true, false),
    })
}

/// SentencePiece's BPE: Llama 2, Mistral, Gemma.
fn scored(metadata: &Metadata) -> Result<Parts, LoadError> {
    let adds_space = metadata.optional(ADD_SPACE, Metadata::bool)?.unwrap_or(true);
    let lead = if adds_space { Lead::Stripped(1) } else { Lead::Kept };
    let vocabulary = vocabulary(metadata, Spelling::Pieces { space: SPACE.to_owned(), named_bytes: true, lead })?;
    let scores = scores(metadata, vocabulary.len())?;
    let unknown = token_id(metadata, UNKNOWN, vocabulary.len())?;
    let fallback = Fallback::new(&vocabulary, true, unknown);
    let space = Normalizer::Replace { from: " ".to_owned(), to: SPACE.to_owned() };
    let prefix = adds_space.then(|| Normalizer::Prepend(SPACE.to_owned()));
    Ok(Parts {
        normalizers: prefix.into_iter().chain([space]).collect(),
        steps: Vec::new(),
        model: Model::Scored(ScoredMerges::new(Lexicon::new(Arc::clone(&vocabulary)), Arc::from(scores), fallback)),
        vocabulary,
        affixes: (true, false),
    })
}

/// SentencePiece's unigram: T5, XLM-R.
fn unigram(metadata: &Metadata) -> Result<Parts, LoadError> {
    let adds_space = metadata.optional(ADD_SPACE, Metadata::bool)?.unwrap_or(true);
    let lead = if adds_space { Lead::StrippedFromToken } else { Lead::Kept };
    let vocabulary = vocabulary(metadata, Spelling::Pieces { space: SPACE.to_owned(), named_bytes: false, lead })?;
    let scores: Vec<f64> = scores(metadata, vocabulary.len())?.iter().map(|&score| f64::from(score)).collect();
    let unknown = token_id(metadata, UNKNOWN, vocabulary.len())?;
    let mut normalizers = Vec::new();
    if let Some(bytes) = charsmap(metadata)? {
        let table = Charsmap::new(bytes).map_err(|reason| metadata.bad_value(CHARSMAP, "a table of replacements", reason))?;
        normalizers.push(Normalizer::Charsmap(table));
    }
    if metadata.optional(SINGLE_SPACES, Metadata::bool)?.unwrap_or(true) {
        // As the published tokenizers do it: none at the end, runs as one.
        let runs = Pattern::new(" {2,}").map_err(|reason| failed(metadata, reason))?;
        normalizers.push(Normalizer::Strip { left: false, right: true });
        normalizers.push(Normalizer::ReplacePattern { from: Box::new(runs), to: SPACE.to_owned() });
    }
    let prepend = if adds_space { Prepend::Always } else { Prepend::Never };
    let fallback = Fallback::new(&vocabulary, false, unknown);
    Ok(Parts {
        normalizers,
        steps: vec![PreTokenizer::Metaspace { mark: '\u{2581}', prepend, split: true }],
        model: Model::Unigram(Unigram::new(Arc::clone(&vocabulary), Arc::from(scores), fallback)),
        vocabulary,
        affixes: (false, true),
    })
}

/// WordPiece: BERT and the embedding models after it. GGUF does not say whether letter case counts: as llama.cpp, text
/// is put in lower case and loses its accents, as the published models of this kind do.
fn word_piece(metadata: &Metadata) -> Result<Parts, LoadError> {
    let spelling = Spelling::Words { beginning: SPACE.to_owned(), continuing: String::new(), tidy: true };
    let vocabulary = vocabulary(metadata, spelling)?;
    let unknown = match token_id(metadata, UNKNOWN, vocabulary.len())? {
        Some(unknown) => unknown,
        None => {
            let found = vocabulary.of_kind(TokenKind::Control).find(|(_, text)| *text == "[UNK]").map(|(id, _)| id);
            found.ok_or_else(|| LoadError::MissingKey { file: metadata.file().to_owned(), key: UNKNOWN.to_owned() })?
        }
    };
    let split = |pattern, behaviour| {
        let pattern = Pattern::new(pattern).map_err(|reason| failed(metadata, reason))?;
        Ok::<_, LoadError>(PreTokenizer::Split { pattern, behaviour, invert: false })
    };
    Ok(Parts {
        normalizers: vec![Normalizer::Library(NormalizerWrapper::BertNormalizer(BertNormalizer::default()))],
        steps: vec![split(WHITE_SPACE, Behaviour::Removed)?, split(ONE_PUNCTUATION, Behaviour::Isolated)?],
        model: Model::WordPiece(WordPiece {
            lexicon: Lexicon::new(Arc::clone(&vocabulary)),
            beginning: SPACE.to_owned(),
            continuing: String::new(),
            unknown,
            longest_word: LONGEST_WORD,
        }),
        vocabulary,
        affixes: (true, true),
    })
}

/// A finite score for each of `count` tokens.
fn scores(metadata: &Metadata, count: u32) -> Result<&[f32], LoadError> {
    let scores = metadata.f32s(SCORES)?;
    if scores.len() != count as usize {
        let expected = format!("{count} values, one for each of `{TOKENS}`");
        return Err(metadata.bad_value(SCORES, expected, scores.len().to_string()));
    }
    match scores.iter().position(|score| !score.is_finite()) {
        Some(id) => Err(metadata.bad_value(SCORES, "finite numbers", format!("{} for token {id}", scores[id]))),
        None => Ok(scores),
    }
}

/// The table of replacements, as bytes.
fn charsmap(metadata: &Metadata) -> Result<Option<&[u8]>, LoadError> {
    match metadata.get(CHARSMAP) {
        None => Ok(None),
        Some(Value::Array(Array::U8(bytes))) => Ok(Some(bytes).filter(|bytes| !bytes.is_empty()).map(Vec::as_slice)),
        // The signed form has the same bytes.
        Some(other) => Err(metadata.bad_value(CHARSMAP, "an array of u8", other.to_string())),
    }
}

/// Checks the merges against the vocabulary.
fn pairs(metadata: &Metadata, vocabulary: &Arc<Vocabulary>, options: PairOptions) -> Result<Model, LoadError> {
    let tokens = vocabulary.tokens();
    let lexicon = Lexicon::new(Arc::clone(vocabulary));
    check_unique(metadata, vocabulary, &lexicon)?;
    let merges = merges(metadata, metadata.strings(MERGES)?, tokens, &lexicon)?;
    Ok(Model::Pairs(PairMerges::new(lexicon, &merges, options)))
}

/// The first of equal texts is the one that text is encoded to; padding repeats texts after it, but no token of
/// ordinary text may.
fn check_unique(metadata: &Metadata, vocabulary: &Vocabulary, lexicon: &Lexicon) -> Result<(), LoadError> {
    for (id, text) in vocabulary.of_kind(TokenKind::Normal) {
        match lexicon.id(text) {
            Some(first) if first != id && vocabulary.kind(first) == Some(TokenKind::Normal) => {
                let got = format!("{text:?} as tokens {first} and {id}");
                return Err(metadata.bad_value(TOKENS, "each token once", got));
            }
            _ => {}
        }
    }
    Ok(())
}

/// The merges, each of two tokens. Those whose concatenation is no token can never be applied and are left out, as
/// llama.cpp does.
fn merges(metadata: &Metadata, lines: &Strings, tokens: &Strings, lexicon: &Lexicon) -> Result<Vec<(u32, u32, u32)>, LoadError> {
    let mut merges = Vec::with_capacity(lines.len());
    let mut joined = String::new();
    for (number, line) in lines.iter().enumerate() {
        let pair = line.match_indices(' ').find_map(|(at, _)| {
            let (left, right) = (&line[..at], &line[at + 1..]);
            Some((lexicon.id(left)?, lexicon.id(right)?))
        });
        let Some((left, right)) = pair else {
            let expected = format!("two of `{TOKENS}` with a space between");
            return Err(metadata.bad_value(MERGES, expected, format!("{line:?} as merge {number}")));
        };
        joined.clear();
        joined.extend([left, right].iter().filter_map(|&id| tokens.get(id as usize)));
        if let Some(merged) = lexicon.id(&joined) {
            merges.push((left, right, merged));
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
