//! Splitting text into the words that byte-pair encoding then works on, one at a time.

use regex::Regex;

/// How a tokenizer splits text, by its name in `tokenizer.ggml.pre`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// GPT-2: contractions, words, numbers, punctuation, each with the space before it.
    Gpt2,
    /// As GPT-2 after each digit has been set apart (SmolLM, StarCoder, Command R).
    Digits,
    /// What files converted before rules had names are read with.
    Default,
    /// Qwen 2 to 3: digits apart, line breaks kept together, text composed.
    Qwen2,
    /// Llama 3: up to three digits together, line breaks kept together.
    Llama3,
}

impl Rules {
    /// The names that files use, with the rules they mean.
    pub(super) const NAMES: [(&'static str, Self); 9] = [
        ("smollm", Self::Digits),
        ("starcoder", Self::Digits),
        ("gpt-2", Self::Gpt2),
        ("gpt2", Self::Gpt2),
        ("default", Self::Default),
        ("qwen2", Self::Qwen2),
        ("llama-bpe", Self::Llama3),
        ("llama3", Self::Llama3),
        ("llama-v3", Self::Llama3),
    ];

    /// The splits to make, each within the pieces of the one before.
    fn stages(self) -> Vec<(&'static str, LastSpace)> {
        const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
        const QWEN2: &str =
            concat!(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+");
        const LLAMA3: &str =
            concat!(r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}", r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+");
        match self {
            Self::Gpt2 => vec![(GPT2, LastSpace::Freed)],
            Self::Digits => vec![(r"\p{N}", LastSpace::Kept), (GPT2, LastSpace::Freed)],
            Self::Default => vec![
                (r"[\p{P}\$\+<=>\^~\|`]+", LastSpace::Kept),
                (GPT2, LastSpace::Freed),
                (r"\p{N}+", LastSpace::Kept),
                ("[0-9][0-9][0-9]", LastSpace::Kept),
            ],
            Self::Qwen2 => vec![(QWEN2, LastSpace::FreedUnlessLineBreak)],
            Self::Llama3 => vec![(LLAMA3, LastSpace::FreedUnlessLineBreak)],
        }
    }

    /// Whether text is brought to Unicode's composed form (NFC) first.
    pub(super) fn compose(self) -> bool {
        self == Self::Qwen2
    }

    /// Whether a word that is itself a token is taken whole, whatever the merges would make of it.
    pub(super) fn whole_words_first(self) -> bool {
        self == Self::Llama3
    }

    /// Whether a beginning-of-sequence token is expected where the file does not say.
    pub(super) fn add_bos(self) -> bool {
        self == Self::Llama3
    }
}

/// What a stage does with the last character of a run of white space before a word.
///
/// The published patterns end in `\s+(?!\S)|\s+`: all of the run but its last character, which then begins the word.
/// Looking ahead needs a backtracking engine, whose time a hostile text can drive up; so the patterns here end in
/// `\s+`, which runs in linear time, and the last character is given back after the match.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum LastSpace {
    /// The pattern has no such ending.
    Kept,
    /// Given back.
    Freed,
    /// Given back, except from runs that end in a line break: those are matches of `\s*[\r\n]+`, which comes first.
    FreedUnlessLineBreak,
}

impl LastSpace {
    /// Where `matched` ends, given whether more text follows it.
    fn end(self, matched: &str, text_follows: bool) -> usize {
        let whole = matched.len();
        if self == Self::Kept || !text_follows || !matched.chars().all(char::is_whitespace) {
            return whole;
        }
        match matched.char_indices().next_back() {
            // A run of one character stays a word of its own.
            None | Some((0, _)) => whole,
            Some((_, '\r' | '\n')) if self == Self::FreedUnlessLineBreak => whole,
            Some((last, _)) => last,
        }
    }
}

/// Compiled rules.
pub(super) struct Splitter {
    stages: Vec<(Regex, LastSpace)>,
}

impl Splitter {
    pub(super) fn new(rules: Rules) -> Result<Self, regex::Error> {
        let compile = |(pattern, last_space)| Ok((Regex::new(pattern)?, last_space));
        Ok(Self { stages: rules.stages().into_iter().map(compile).collect::<Result<_, _>>()? })
    }

    /// The words of `text`, which together are all of it.
    pub(super) fn split<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let mut pieces = vec![text];
        for (pattern, last_space) in &self.stages {
            let mut finer = Vec::with_capacity(text.len() / 4 + 1);
            for piece in pieces {
                split_piece(pattern, *last_space, piece, &mut finer);
            }
            pieces = finer;
        }
        pieces
    }
}

/// Appends the matches of `pattern` in `piece`, and what lies between them.
fn split_piece<'t>(pattern: &Regex, last_space: LastSpace, piece: &'t str, words: &mut Vec<&'t str>) {
    let mut position = 0;
    while let Some(found) = pattern.find_at(piece, position) {
        let end = found.start() + last_space.end(found.as_str(), found.end() < piece.len());
        if position < found.start() {
            words.push(&piece[position..found.start()]);
        }
        words.push(&piece[found.start()..end]);
        position = end;
    }
    if position < piece.len() {
        words.push(&piece[position..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(rules: Rules, text: &str) -> Vec<&str> {
        Splitter::new(rules).unwrap().split(text)
    }

    #[test]
    fn white_space_before_a_word_gives_its_last_character_to_it() {
        assert_eq!(words(Rules::Gpt2, "a   b"), ["a", "  ", " b"]);
        assert_eq!(words(Rules::Gpt2, "a \n\nb  "), ["a", " \n", "\n", "b", "  "]);
        assert_eq!(words(Rules::Qwen2, "a \n\nb  "), ["a", " \n\n", "b", "  "]);
        assert_eq!(words(Rules::Llama3, "x\u{3000}\u{3000}y"), ["x", "\u{3000}", "\u{3000}y"]);
    }

    #[test]
    fn numbers_split_as_each_rule_says() {
        assert_eq!(words(Rules::Gpt2, "in 2024!"), ["in", " 2024", "!"]);
        assert_eq!(words(Rules::Digits, "in 20!"), ["in", " ", "2", "0", "!"]);
        assert_eq!(words(Rules::Qwen2, "in 20!"), ["in", " ", "2", "0", "!"]);
        assert_eq!(words(Rules::Llama3, "20245"), ["202", "45"]);
        assert_eq!(words(Rules::Default, "a+12345"), ["a", "+", "123", "45"]);
    }

    #[test]
    fn contractions_follow_the_rule_s_case() {
        assert_eq!(words(Rules::Gpt2, "we'll WE'LL"), ["we", "'ll", " WE", "'", "LL"]);
        assert_eq!(words(Rules::Qwen2, "we'll WE'LL"), ["we", "'ll", " WE", "'LL"]);
    }

    #[test]
    fn long_runs_take_linear_time() {
        for rules in [Rules::Gpt2, Rules::Digits, Rules::Default, Rules::Qwen2, Rules::Llama3] {
            for unit in [" ", "\n", " \n", "a", "'", "1", "!\n "] {
                let text = unit.repeat(1 << 18);
                assert_eq!(words(rules, &text).concat(), text);
            }
        }
    }
}
