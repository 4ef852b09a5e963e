//! Comments of WGSL files, as documentation of what is generated from them.

/// The comment that a file opens with.
pub(super) fn header(text: &str) -> Vec<String> {
    text.lines().map_while(comment).collect()
}

/// The comment of the declaration on line `line` (from 1): the lines right above it, else what follows it on its line.
/// A comment that opens the file belongs to the file.
pub(super) fn declaration(text: &str, line: usize) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    let Some(index) = line.checked_sub(1).filter(|&i| i < lines.len()) else {
        return Vec::new();
    };
    let start = (0..index).rev().take_while(|&i| comment(lines[i]).is_some()).last();
    match start {
        Some(start) if start > 0 => lines[start..index].iter().filter_map(|l| comment(l)).collect(),
        _ => trailing(lines[index]).into_iter().collect(),
    }
}

/// The comment of a struct's field: the struct begins on line `line` (from 1).
pub(super) fn field(text: &str, line: usize, name: &str) -> Vec<String> {
    let found =
        text.lines().enumerate().skip(line.saturating_sub(1)).take_while(|(_, l)| !l.trim_start().starts_with('}')).find(|(_, l)| {
            let code = l.split('{').next_back().unwrap_or(l).trim_start();
            code.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with(':'))
        });
    match found {
        Some((index, _)) => declaration(text, index + 1),
        None => Vec::new(),
    }
}

/// The text of a line that is a comment and nothing else.
fn comment(line: &str) -> Option<String> {
    let text = line.trim_start().strip_prefix("//")?;
    Some(text.strip_prefix(' ').unwrap_or(text).trim_end().to_owned())
}

/// The comment after the code of a line.
fn trailing(line: &str) -> Option<String> {
    line.split_once("//").map(|(_, text)| text.trim().to_owned())
}
