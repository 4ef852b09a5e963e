//! Text that comes from files and models, made safe for a terminal.

/// `text` with control characters spelled out: a file's name for a tensor may hold commands to a terminal.
pub fn printable(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if is_unsafe(c) { out.extend(c.escape_unicode()) } else { out.push(c) }
    }
    out
}

/// `text` as a model's answer is shown: line ends and tabs stay, other control characters are dropped.
pub fn answer(text: &str) -> String {
    text.chars().filter(|&c| matches!(c, '\n' | '\t') || !is_unsafe(c)).collect()
}

/// Control characters, and the marks that reorder the text around them.
fn is_unsafe(c: char) -> bool {
    c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_get_no_commands() {
        assert_eq!(printable("a\u{1b}[31mé\n"), "a\\u{1b}[31mé\\u{a}");
        assert_eq!(printable("\u{202e}abc"), "\\u{202e}abc");
        assert_eq!(answer("a\u{1b}[2Jb\r\n\tc\u{7f}"), "a[2Jb\n\tc");
        assert_eq!(answer("ʻokina 日本 🙂"), "ʻokina 日本 🙂");
    }
}
