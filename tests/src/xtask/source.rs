//! The workspace's source files, and just enough reading of Rust and WGSL to measure functions.

use std::fs;
use std::path::Path;

/// Folders that hold sources; the rest of the top level is configuration and documents.
const FOLDERS: [&str; 7] = ["benches", "engine", "loader", "native", "shaders", "tests", "web"];
/// Folders of outputs and of other people's code.
const SKIPPED: [&str; 4] = ["dist", "node_modules", "pkg", "target"];
const EXTENSIONS: [&str; 5] = ["rs", "wgsl", "ts", "js", "mjs"];

/// A source file.
pub(crate) struct Source {
    /// Path from the workspace's root, with `/` on every system.
    pub(crate) path: String,
    pub(crate) text: String,
}

impl Source {
    /// The part of the path after the last dot.
    pub(crate) fn extension(&self) -> &str {
        self.path.rsplit_once('.').map_or("", |(_, extension)| extension)
    }
}

/// Every source file of the workspace, in the order of their paths.
pub(crate) fn read_all(root: &Path) -> Result<Vec<Source>, String> {
    let mut files = Vec::new();
    for folder in FOLDERS {
        read_folder(root, folder, &mut files)?;
    }
    files.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(files)
}

fn read_folder(root: &Path, folder: &str, files: &mut Vec<Source>) -> Result<(), String> {
    let at = |error| format!("cannot read {folder}: {error}");
    for entry in fs::read_dir(root.join(folder)).map_err(at)? {
        let entry = entry.map_err(at)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}/{name}");
        let kind = entry.file_type().map_err(at)?;
        if kind.is_dir() && !name.starts_with('.') && !SKIPPED.contains(&name.as_str()) {
            read_folder(root, &path, files)?;
        } else if kind.is_file() && EXTENSIONS.iter().any(|e| Path::new(&name).extension().is_some_and(|x| x == *e)) {
            let text = fs::read_to_string(entry.path()).map_err(|error| format!("cannot read {path}: {error}"))?;
            files.push(Source { path, text });
        }
    }
    Ok(())
}

/// A function with a body, as its text lies in the file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// The line of the word `fn`, from 1.
    pub(crate) line: usize,
    /// Lines from there to the closing brace, both counted.
    pub(crate) lines: usize,
}

/// The functions of a Rust or WGSL file; one inside another is counted on its own and in the outer one.
pub(crate) fn functions(text: &str) -> Vec<Function> {
    let code = blank_comments_and_strings(text);
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let mut found = Vec::new();
    for start in code.windows(3).enumerate().filter(|(_, w)| w == b"fn ").map(|(at, _)| at) {
        if start > 0 && is_word(code[start - 1]) {
            continue;
        }
        let name: Vec<u8> = code[start + 3..].iter().copied().take_while(|&byte| is_word(byte)).collect();
        let Some(end) = body_end(&code, start).filter(|_| !name.is_empty()) else { continue };
        let line = 1 + count_lines(&code[..start]);
        let lines = 1 + count_lines(&code[start..end]);
        found.push(Function { name: String::from_utf8_lossy(&name).into_owned(), line, lines });
    }
    found
}

fn count_lines(code: &[u8]) -> usize {
    code.iter().filter(|&&byte| byte == b'\n').count()
}

/// Where the body that follows `start` closes; `None` for a declaration without one.
fn body_end(code: &[u8], start: usize) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, byte) in code.iter().enumerate().skip(start) {
        match byte {
            b'(' | b'[' => others += 1,
            b')' | b']' => others = others.saturating_sub(1),
            b';' if braces == 0 && others == 0 => return None,
            b'{' => braces += 1,
            b'}' => {
                braces = braces.checked_sub(1)?;
                if braces == 0 && others == 0 {
                    return Some(at);
                }
            }
            _ => {}
        }
    }
    None
}

/// The same bytes with comments, strings and character literals turned to spaces; line ends stay.
fn blank_comments_and_strings(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let length = literal_or_comment(&bytes[at..], at.checked_sub(1).map(|before| bytes[before]));
        for byte in &mut out[at..at + length] {
            if *byte != b'\n' {
                *byte = b' ';
            }
        }
        at += length.max(1);
    }
    out
}

/// Length of the comment or literal that `rest` starts with, 0 if with neither; `before` is the byte in front of it.
fn literal_or_comment(rest: &[u8], before: Option<u8>) -> usize {
    let until = |found: Option<usize>| found.unwrap_or(rest.len());
    match rest {
        [b'/', b'/', ..] => until(rest.iter().position(|&byte| byte == b'\n')),
        [b'/', b'*', ..] => block_comment(rest),
        [b'"', ..] => 1 + quoted(&rest[1..], b'"'),
        [b'r', b'"' | b'#', ..] if !before.is_some_and(|byte| byte.is_ascii_alphanumeric() && byte != b'b' || byte == b'_') => {
            raw_string(rest)
        }
        [b'\'', b'\\', ..] => 1 + quoted(&rest[1..], b'\''),
        // A character, not a lifetime: the closing quote follows within one character of UTF-8.
        [b'\'', tail @ ..] => match tail.iter().take(5).skip(1).position(|&byte| byte == b'\'') {
            Some(distance) if distance == 0 || !tail[0].is_ascii() => distance + 3,
            _ => 0,
        },
        _ => 0,
    }
}

/// Length up to and with the closing quote, which a backslash can hide.
fn quoted(rest: &[u8], quote: u8) -> usize {
    let mut at = 0;
    while at < rest.len() {
        match rest[at] {
            b'\\' => at += 2,
            byte if byte == quote => return at + 1,
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"..."` or `r#"..."#` with any number of hashes; 0 for a raw identifier.
fn raw_string(rest: &[u8]) -> usize {
    let hashes = rest[1..].iter().take_while(|&&byte| byte == b'#').count();
    let open = 2 + hashes;
    if rest.get(open - 1) != Some(&b'"') {
        return 0;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    let end = rest[open..].windows(close.len()).position(|window| window == close);
    end.map_or(rest.len(), |end| open + end + close.len())
}

/// `/* ... */`, which nests in both languages.
fn block_comment(rest: &[u8]) -> usize {
    let (mut depth, mut at) = (0_usize, 0);
    while at + 1 < rest.len() {
        match &rest[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    rest.len()
}

#[cfg(test)]
mod tests {
    use super::{Function, functions};

    fn measured(text: &str) -> Vec<(String, usize, usize)> {
        functions(text).into_iter().map(|Function { name, line, lines }| (name, line, lines)).collect()
    }

    #[test]
    fn functions_are_measured_from_fn_to_brace() {
        let text = "struct S;\n\nfn one() {}\n\npub(crate) fn two<const N: usize>(\n    a: [u8; N],\n) -> u32 {\n    if a.is_empty() { 1 } else { 2 }\n}\n";
        assert_eq!(measured(text), [("one".into(), 3, 1), ("two".into(), 5, 5)]);
    }

    #[test]
    fn wgsl_functions_are_measured() {
        let text = "// fn comment() {\n@compute @workgroup_size(64)\nfn main(@builtin(global_invocation_id) id: vec3<u32>) {\n    let x = 1u;\n}\n";
        assert_eq!(measured(text), [("main".into(), 3, 3)]);
    }

    #[test]
    fn braces_in_literals_and_comments_do_not_count() {
        let text = concat!(
            "fn tricky<'a>(s: &'a str) -> &'a str {\n",
            "    let _ = ('{', '\\'', '\\u{7b}', 'é', \"}\\\"}\", r#\"}\"}\"#, b'}', br\"}\");\n",
            "    /* } /* } */ } */ // }\n",
            "    s\n",
            "}\n",
            "fn after() {}\n",
        );
        assert_eq!(measured(text), [("tricky".into(), 1, 5), ("after".into(), 6, 1)]);
    }

    #[test]
    fn what_only_resembles_a_function_is_none() {
        let text =
            "trait T {\n    fn declared(&self) -> [u8; 4];\n}\ntype F = fn (u8);\nstatic NOTE: &str = \"fn text() {}\";\nlet dfn x;\n";
        assert_eq!(measured(text), []);
    }

    #[test]
    fn unclosed_text_is_no_function() {
        for text in ["fn a() {", "fn a() { \"", "fn a() { /* ", "fn a() { r#\" ", "fn a() }", "fn a() { '\\", "fn "] {
            assert_eq!(measured(text), [], "{text}");
        }
    }

    #[test]
    fn nested_functions_count_for_both() {
        assert_eq!(measured("fn outer() {\n    fn inner() {\n    }\n}\n"), [("outer".into(), 1, 4), ("inner".into(), 2, 2)]);
    }
}
