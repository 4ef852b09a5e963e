//! How byte-level tokenizers split text, by its name in `tokenizer.ggml.pre`.
//!
//! A name stands for what the model's publisher wrote in its `tokenizer.json`. Where llama.cpp, which gave the names,
//! splits otherwise (it has no character classes for some, and none of Unicode's forms), the published way is taken.

use super::pretokenize::PreTokenizer;

/// What a name means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Rules {
    /// The splits to make, each within the pieces of the one before.
    pub(super) stages: &'static [&'static str],
    /// Whether text is brought to Unicode's composed form (NFC) first.
    pub(super) compose: bool,
    /// Whether a word that is itself a token is taken whole, whatever the merges would make of it.
    pub(super) whole_words_first: bool,
    /// Whether a beginning-of-sequence token is expected where the file does not say.
    pub(super) add_bos: bool,
    /// A split of the bytes' spelling, not of the text.
    pub(super) spelled_stages: &'static [&'static str],
}

/// GPT-2: contractions, words, numbers, punctuation, each with the space before it.
pub(super) const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";
/// Qwen 2 and 3: digits apart, line breaks kept together.
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Qwen 3.5: combining marks belong to words.
const QWEN35: &str =
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Llama 3 (and GPT-4's cl100k): up to three digits together, line breaks kept together.
const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// GPT-4o (o200k): words end where lower case turns to upper.
const GPT4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Mistral's Tekken: as GPT-4o, with digits apart and no contractions.
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Kimi K2: as GPT-4o, with Han characters apart.
const KIMI: &str = r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Seed Coder: punctuation does not take line breaks along.
const SEED_CODER: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+";
/// Ling: published with possessive repetition, which on these classes gives back nothing anyway.
const BAILING: &str = r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+";
/// EXAONE's mixture of experts: several words are one.
const EXAONE_MOE: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+";
/// MiniCPM 5's second stage.
const MINICPM: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
/// DeepSeek V3's third stage.
const DEEPSEEK3: &str = r##"[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"##;
/// Han characters and kana.
const CJK: &str = r"[\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+";
/// Han characters, Hangul, and all between them and the scripts of India.
const CJK_WIDE: &str = r"[\x{4E00}-\x{9FA5}\x{0800}-\x{4E00}\x{AC00}-\x{D7FF}]+";
/// The cased letters as DeepSeek LLM's tokenizer lists them.
const CASED: &str = concat!(
    r"\s?[",
    r"A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293}\x{295}-\x{2AF}",
    r"\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386}\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}",
    r"\x{3F7}-\x{481}\x{48A}-\x{52F}\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}",
    r"\x{1C90}-\x{1CBA}\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A}\x{1E00}-\x{1F15}",
    r"\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D}\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}",
    r"\x{1F80}-\x{1FB4}\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3}\x{1FD6}-\x{1FDB}",
    r"\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107}\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}",
    r"\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D}\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}",
    r"\x{2183}\x{2184}\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D}",
    r"\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E}\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}",
    r"\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A}\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB}",
    r"\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943}",
    "]+"
);
/// Punctuation as DeepSeek LLM's tokenizer lists it.
const DEEPSEEK_PUNCTUATION: &str = r"\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+";
/// BLOOM: words end at punctuation.
const BLOOM: &str = " ?[^(\\s|.,!?…。，、।۔،)]+";
/// Runs of what the published tokenizers take for punctuation: Unicode's, and all of ASCII that is no letter or digit.
pub(super) const PUNCTUATION: &str = r"[\p{P}!-/:-@\[-`{-~]+";
/// One character of [`PUNCTUATION`].
pub(super) const ONE_PUNCTUATION: &str = r"[\p{P}!-/:-@\[-`{-~]";
/// A run of white space.
pub(super) const WHITE_SPACE: &str = r"\s+";

/// A rule that only splits.
const fn plain(stages: &'static [&'static str]) -> Rules {
    Rules { stages, compose: false, whole_words_first: false, add_bos: false, spelled_stages: &[] }
}

const fn composed(stages: &'static [&'static str]) -> Rules {
    Rules { compose: true, ..plain(stages) }
}

/// A rule of a tokenizer that takes whole words first and expects a beginning-of-sequence token.
const fn whole_words(stages: &'static [&'static str]) -> Rules {
    Rules { whole_words_first: true, add_bos: true, ..plain(stages) }
}

/// The names that files use, with the rules they mean.
const NAMED: &[(&[&str], Rules)] = &[
    (
        &[
            "gpt-2",
            "gpt2",
            "phi-2",
            "jina-es",
            "jina-de",
            "jina-v1-en",
            "jina-v2-es",
            "jina-v2-de",
            "jina-v2-code",
            "roberta-bpe",
            "gigachat",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "jais",
            "trillion",
            "granite-docling",
        ],
        plain(&[GPT2]),
    ),
    (&["mpt", "olmo"], composed(&[GPT2])),
    (&["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"], plain(&[r"\p{N}", GPT2])),
    (&["qwen2", "deepseek-r1-qwen"], composed(&[QWEN2])),
    (&["qwen35"], composed(&[QWEN35])),
    (&["stablelm2", "hunyuan", "solar-open", "grok-2", "megrez", "kormo", "f2llmv2"], plain(&[QWEN2])),
    (&["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"], whole_words(&[LLAMA3])),
    (&["dbrx", "smaug-bpe", "chatglm-bpe", "glm4"], plain(&[LLAMA3])),
    (&["gpt-4o", "o200k", "llama4", "kanana2", "talkie", "minimax-m2"], plain(&[GPT4O])),
    (&["granite-embed-multi-97m"], Rules { whole_words_first: true, ..plain(&[GPT4O]) }),
    (&["tekken"], whole_words(&[TEKKEN])),
    (&["kimi-k2"], plain(&[KIMI])),
    (&["deepseek-llm"], plain(&[r"[\r\n]", CASED, DEEPSEEK_PUNCTUATION, r"\s+$", CJK_WIDE, r"\p{N}"])),
    (&["deepseek-coder"], plain(&[r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", CJK_WIDE, r"\p{N}"])),
    (&["deepseek-v3", "hunyuan-dense", "joyai-llm"], plain(&[r"\p{N}{1,3}", CJK, DEEPSEEK3])),
    (
        &["falcon"],
        // Runs of digits, and threes of them, are split after the bytes are spelled.
        Rules { spelled_stages: &[r"\p{N}+", "[0-9][0-9][0-9]"], ..plain(&[PUNCTUATION, GPT2]) },
    ),
    (&["bloom", "gpt3-finnish", "poro-chat"], plain(&[BLOOM])),
    (&["viking"], plain(&[BLOOM, r"\p{N}"])),
    (&["seed-coder"], plain(&[SEED_CODER])),
    (&["bailingmoe", "bailingmoe2", "llada-moe"], plain(&[BAILING])),
    (&["exaone-moe"], plain(&[EXAONE_MOE])),
    (&["minicpm5"], Rules { whole_words_first: true, ..plain(&[r"\p{N}{1,3}", MINICPM]) }),
    (&["laguna"], plain(&[r"[^\n]+|[\n]+", QWEN2])),
    (
        &["chameleon"],
        Rules {
            add_bos: true,
            ..plain(&["<sentinel:[0-9]+>", "(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z", r"([\t\n]|    |  )", r"\p{N}", ONE_PUNCTUATION, GPT2])
        },
    ),
    // What files converted before rules had names are read with.
    (&["default"], plain(&[r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"\p{N}+", "[0-9][0-9][0-9]"])),
];

impl Rules {
    /// The rules called `name`.
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMED.iter().find(|(names, _)| names.contains(&name)).map(|&(_, rules)| rules)
    }

    /// The name of the rules that split by `stages`; none if no rules do.
    pub(super) fn name_of(stages: &[String], compose: bool, whole_words_first: bool) -> Option<&'static str> {
        let same = |rules: &Self| {
            let alike = (rules.compose, rules.whole_words_first) == (compose, whole_words_first);
            alike && rules.spelled_stages.is_empty() && rules.stages.iter().eq(stages)
        };
        NAMED.iter().find(|(_, rules)| same(rules)).and_then(|(names, _)| names.first().copied())
    }

    /// All names.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        NAMED.iter().flat_map(|(names, _)| names.iter().copied())
    }

    /// The steps of splitting.
    ///
    /// # Errors
    /// What the pattern compiler says; none for the rules here.
    pub(super) fn steps(self) -> Result<Vec<PreTokenizer>, String> {
        let splits =
            |patterns: &[&'static str]| patterns.iter().map(|pattern| PreTokenizer::isolate(pattern)).collect::<Result<Vec<_>, _>>();
        let mut steps = splits(self.stages)?;
        steps.push(PreTokenizer::Bytes);
        steps.extend(splits(self.spelled_stages)?);
        Ok(steps)
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;

    fn words(name: &str, text: &str) -> Vec<String> {
        let mut pieces = vec![Cow::Borrowed(text)];
        for step in Rules::named(name).unwrap().steps().unwrap().iter().filter(|step| !matches!(step, PreTokenizer::Bytes)) {
            let mut finer = Vec::new();
            pieces.into_iter().for_each(|piece| step.apply(piece, false, &mut finer).unwrap());
            pieces = finer;
        }
        pieces.into_iter().map(Cow::into_owned).collect()
    }

    #[test]
    fn white_space_before_a_word_gives_its_last_character_to_it() {
        assert_eq!(words("gpt-2", "a   b"), ["a", "  ", " b"]);
        assert_eq!(words("gpt-2", "a \n\nb  "), ["a", " \n", "\n", "b", "  "]);
        assert_eq!(words("qwen2", "a \n\nb  "), ["a", " \n\n", "b", "  "]);
        assert_eq!(words("llama-bpe", "x\u{3000}\u{3000}y"), ["x", "\u{3000}", "\u{3000}y"]);
    }

    #[test]
    fn numbers_split_as_each_rule_says() {
        assert_eq!(words("gpt-2", "in 2024!"), ["in", " 2024", "!"]);
        assert_eq!(words("smollm", "in 20!"), ["in", " ", "2", "0", "!"]);
        assert_eq!(words("qwen2", "in 20!"), ["in", " ", "2", "0", "!"]);
        assert_eq!(words("llama-bpe", "20245"), ["202", "45"]);
        assert_eq!(words("default", "a+12345"), ["a", "+", "123", "45"]);
    }

    #[test]
    fn contractions_follow_the_rule_s_case() {
        assert_eq!(words("gpt-2", "we'll WE'LL"), ["we", "'ll", " WE", "'", "LL"]);
        assert_eq!(words("qwen2", "we'll WE'LL"), ["we", "'ll", " WE", "'LL"]);
    }

    #[test]
    fn long_runs_take_linear_time() {
        for name in Rules::names() {
            for unit in [" ", "\n", " \n", "a", "aB", "'", "1", "!\n ", "e\u{301}", "你"] {
                let text = unit.repeat(1 << 12);
                assert_eq!(words(name, &text).concat(), text, "{name}: {unit:?}");
            }
        }
    }
}
