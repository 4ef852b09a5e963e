//! Limits that keep files and functions small enough to read, and a few words that must not be committed.

use std::fmt;

use crate::source::{Source, functions};

/// What a limit counts lines of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Unit {
    File,
    Function,
}

/// Which files a limit is for, how many lines warn and how many fail.
struct Limit {
    applies: fn(&str) -> bool,
    unit: Unit,
    warn_over: usize,
    fail_over: usize,
}

const LIMITS: [Limit; 4] = [
    Limit { applies: is_code, unit: Unit::File, warn_over: 400, fail_over: 600 },
    Limit { applies: is_code, unit: Unit::Function, warn_over: 80, fail_over: 120 },
    // Functions are measured in Rust and WGSL alone.
    Limit { applies: is_script, unit: Unit::File, warn_over: 400, fail_over: 600 },
    // A model family is a difference, not a copy.
    Limit { applies: is_family, unit: Unit::File, warn_over: 250, fail_over: 250 },
];

/// Written in two parts, so that this file passes its own check.
const WORDS: [&str; 4] = [concat!("to", "do!"), concat!("db", "g!"), concat!("FIX", "ME"), concat!("TO", "DO")];

fn is_code(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with(".wgsl")
}

fn is_script(path: &str) -> bool {
    [".ts", ".js", ".mjs"].iter().any(|extension| path.ends_with(extension))
}

fn is_family(path: &str) -> bool {
    path.starts_with("engine/src/models/") && path.ends_with(".rs")
}

/// Something over a limit, with the place in the form that editors can follow.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// Whether it fails the check or only warns.
    pub(crate) fails: bool,
    path: String,
    line: usize,
    text: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fails, path, line, text } = self;
        write!(f, "{}: {path}:{line}: {text}", if *fails { "error" } else { "warning" })
    }
}

/// All findings of one file.
pub(crate) fn check_file(file: &Source) -> Vec<Finding> {
    let mut findings = over_limits(file);
    let mut fail = |line, text| findings.push(Finding { fails: true, path: file.path.clone(), line, text });
    for (index, line) in file.text.lines().enumerate() {
        for word in WORDS.into_iter().filter(|word| contains_word(line, word)) {
            fail(index + 1, format!("`{word}` must not be committed"));
        }
    }
    let comment = file.text.lines().next().and_then(|line| line.strip_prefix("//"));
    if file.extension() == "wgsl" && comment.is_none_or(|text| text.trim().is_empty()) {
        fail(1, "a WGSL file opens with a `//` comment: what it computes, its grid, its needs".into());
    }
    findings
}

fn over_limits(file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for limit in LIMITS.iter().filter(|limit| (limit.applies)(&file.path)) {
        let measured = match limit.unit {
            Unit::File => vec![("the file".to_owned(), 1, file.text.lines().count())],
            Unit::Function => functions(&file.text).into_iter().map(|f| (format!("`{}`", f.name), f.line, f.lines)).collect(),
        };
        for (name, line, lines) in measured.into_iter().filter(|(.., lines)| *lines > limit.warn_over) {
            let Limit { warn_over, fail_over, .. } = limit;
            let text = format!("{name} has {lines} lines (warns over {warn_over}, fails over {fail_over})");
            findings.push(Finding { fails: lines > *fail_over, path: file.path.clone(), line, text });
        }
    }
    findings
}

/// Whether `word` stands in `line` on its own, not as a part of a longer name.
fn contains_word(line: &str, word: &str) -> bool {
    let is_name = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let goes_on = word.ends_with(is_name) && line[at + word.len()..].starts_with(is_name);
        !goes_on && !line[..at].ends_with(is_name)
    })
}

#[cfg(test)]
mod tests {
    use super::{Source, WORDS, check_file};

    /// (fails, line) of each finding.
    fn found(path: &str, text: &str) -> Vec<(bool, usize)> {
        let file = Source { path: path.into(), text: text.into() };
        check_file(&file).iter().map(|finding| (finding.fails, finding.line)).collect()
    }

    #[test]
    fn long_files_warn_then_fail() {
        for (lines, expected) in [(400, vec![]), (401, vec![(false, 1)]), (600, vec![(false, 1)]), (601, vec![(true, 1)])] {
            for path in ["engine/src/a.rs", "web/ts/a.ts", "tests/browser/a.mjs"] {
                assert_eq!(found(path, &"\n".repeat(lines)), expected, "{path}, {lines} lines");
            }
        }
    }

    #[test]
    fn long_functions_warn_then_fail() {
        for (lines, expected) in [(80, vec![]), (81, vec![(false, 2)]), (120, vec![(false, 2)]), (121, vec![(true, 2)])] {
            let text = format!("\nfn f() {{{}}}\n", "\n".repeat(lines - 1));
            assert_eq!(found("engine/src/a.rs", &text), expected, "{lines} lines");
        }
    }

    #[test]
    fn model_families_have_a_tighter_limit() {
        let text = "\n".repeat(251);
        assert_eq!(found("engine/src/models/llama.rs", &text), [(true, 1)]);
        assert_eq!(found("engine/src/ops/matmul.rs", &text), []);
        assert_eq!(found("engine/src/models/llama.rs", &"\n".repeat(250)), []);
    }

    #[test]
    fn wgsl_opens_with_a_comment() {
        assert_eq!(found("shaders/wgsl/a.wgsl", "// Adds.\nfn main() {}\n"), []);
        for text in ["", "\n// Adds.\n", "//\n", "fn main() {}\n"] {
            assert_eq!(found("shaders/wgsl/a.wgsl", text), [(true, 1)], "{text:?}");
        }
    }

    #[test]
    fn forbidden_words_fail_where_they_stand() {
        for word in WORDS {
            assert_eq!(found("web/src/a.ts", &format!("// fine\n// {word}: later\n")), [(true, 2)], "{word}");
            assert_eq!(found("web/src/a.ts", &format!("// A{word}\n")), [], "{word}");
        }
    }
}
