//! What a hostile template is refused for, or stopped at, that the template engine's fuel does not count.
//!
//! - The compiler descends once for each operator of a tag and each block within another, and its stack is small.
//! - Lists refer to what is in them, so a few dozen steps make one that is written out as more than any memory holds: by adding a list
//!   to itself, or by putting it into another twice. Each step gives its result a name, so the names that a tag gives are looked at
//!   right after it, by a call that is put into the template there.
//! - Lists that are multiplied are as long as a number says. Operands of products are put through what refuses lists.
//! - A jump to the next turn of a loop, or out of it, leaves behind what blocks between the two have opened, and the engine panics.

use std::fmt::Write as _;

use minijinja::value::{Rest, Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

/// The name of [`check_values`] in templates: one that none has by chance.
pub(super) const CHECK: &str = "parhelion_check_values";
/// The name of [`no_list`] in templates.
pub(super) const NO_LIST: &str = "parhelion_no_list";
/// The variable with the bytes of all messages and further variables.
pub(super) const SIZE: &str = "parhelion_input_size";

/// Bytes of a tag, text in quotes aside; the longest of published templates have under 600.
const MAX_TAG: usize = 2048;
/// Additions in a tag; published templates have under 15.
const MAX_ADDITIONS: usize = 64;
/// Blocks within blocks, and branches of them.
const MAX_BLOCKS: usize = 100;
/// Parts of a value that has a name, beside one for each byte of the conversation.
const MAX_VALUE: usize = 16_384;

/// A tag of a template, or the text before one.
struct Tag<'s> {
    /// The text before it, with comments.
    before: &'s str,
    /// All of it, from `{{` or `{%` on.
    whole: &'s str,
    /// What is between the brackets and their signs for white space, with text in quotes blanked out.
    plain: String,
    /// Where in `whole` something is multiplied.
    products: Vec<usize>,
    is_block: bool,
}

/// Splits off the first tag; none where only text is left.
fn next_tag(source: &str) -> Option<(Tag<'_>, &str)> {
    let mut at = 0;
    loop {
        at += source[at..].find('{')?;
        let rest = &source[at..];
        if rest.starts_with("{#") {
            at += rest.find("#}").map_or(rest.len(), |end| end + 2);
        } else if rest.starts_with("{{") || rest.starts_with("{%") {
            break;
        } else {
            at += 1;
        }
    }
    let (before, rest) = source.split_at(at);
    let is_block = rest.starts_with("{%");
    let close = if is_block { "%}" } else { "}}" };
    let (mut plain, mut quote, mut escaped, mut end) = (String::new(), None, false, rest.len());
    let (mut products, mut before_star) = (Vec::new(), false);
    for (place, character) in rest.char_indices().skip(2) {
        match quote {
            Some(_) if escaped => escaped = false,
            Some(_) if character == '\\' => escaped = true,
            Some(open) if open == character => quote = None,
            Some(_) => {}
            None if rest[place..].starts_with(close) => {
                end = place + close.len();
                break;
            }
            None if matches!(character, '"' | '\'') => {
                quote = Some(character);
                plain.push(' ');
                before_star = true;
            }
            None => {
                // Two are a power; one behind no operand spreads a list over arguments.
                if character == '*' && before_star && !rest[place + 1..].starts_with('*') {
                    products.push(place);
                }
                if !character.is_whitespace() {
                    before_star = character.is_alphanumeric() || matches!(character, '_' | ')' | ']' | '}');
                }
                plain.push(character);
            }
        }
    }
    let (whole, rest) = rest.split_at(end);
    Some((Tag { before, whole, plain, products, is_block }, rest))
}

impl Tag<'_> {
    /// The block's keyword and what follows it; nothing for an expression.
    fn block(&self) -> Option<(&str, &str)> {
        let inside = self.plain.trim_start_matches(['-', '+']).trim();
        let inside = inside.trim_end_matches(['-', '+']).trim_end();
        self.is_block.then(|| inside.split_at(inside.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(inside.len())))
    }

    /// The word of the block that begins here, or of the branch: `set` begins one where it has no value beside the name.
    fn opens(&self) -> Option<&'static str> {
        const BLOCKS: [&str; 10] = ["if", "elif", "for", "set", "with", "filter", "autoescape", "macro", "call", "block"];
        let (word, rest) = self.block()?;
        let has_value = word == "set" && rest.split('|').next().is_some_and(|target| target.contains('='));
        BLOCKS.into_iter().find(|block| *block == word && !has_value)
    }

    /// The variables that the tag gives a value to.
    fn names(&self) -> Vec<&str> {
        let Some((word, rest)) = self.block() else { return Vec::new() };
        match word {
            "set" => {
                let target = rest.split_once('=').map_or("", |(target, _)| target);
                target.split(',').map(|name| name.trim_matches([' ', '\t', '\r', '\n', '(', ')'])).filter(|name| is_path(name)).collect()
            }
            "for" => {
                let end = rest.split_whitespace().position(|word| word == "in").unwrap_or(0);
                let target = rest.split_whitespace().take(end);
                target.flat_map(|word| word.split([',', '(', ')'])).filter(|name| is_name(name)).collect()
            }
            "with" | "macro" | "call" => bare_names(rest),
            _ => Vec::new(),
        }
    }
}

fn is_name(text: &str) -> bool {
    let mut characters = text.chars();
    characters.next().is_some_and(|c| c.is_alphabetic() || c == '_') && characters.all(|c| c.is_alphanumeric() || c == '_')
}

fn is_path(text: &str) -> bool {
    !text.is_empty() && text.split('.').all(|part| is_name(part.trim()))
}

/// Names that stand by themselves: no attributes, no functions, no words of the language.
fn bare_names(text: &str) -> Vec<&str> {
    const WORDS: [&str; 13] = ["in", "is", "not", "and", "or", "if", "else", "true", "false", "none", "True", "False", "None"];
    let mut names = Vec::new();
    let mut rest = text;
    let mut after = ' ';
    while let Some(start) = rest.find(|c: char| c.is_alphanumeric() || c == '_') {
        after = rest[..start].trim_end().chars().next_back().unwrap_or(after);
        let word = &rest[start..];
        let end = word.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(word.len());
        let (name, behind) = word.split_at(end);
        if is_name(name) && !matches!(after, '.' | '|') && !behind.trim_start().starts_with('(') && !WORDS.contains(&name) {
            names.push(name);
        }
        after = ' ';
        rest = behind;
    }
    names
}

/// The template with what it names checked.
///
/// # Errors
/// For a template that would take the compiler too deep.
pub(super) fn checked(source: &str) -> Result<String, Error> {
    let refused = |what: String| Err(Error::new(ErrorKind::SyntaxError, format!("the template has {what}")));
    let mut output = String::with_capacity(source.len() + source.len() / 4);
    let (mut rest, mut open, mut raw) = (source, Vec::new(), false);
    while let Some((tag, behind)) = next_tag(rest) {
        rest = behind;
        output.push_str(tag.before);
        let word = tag.block().map_or("", |(word, _)| word);
        if raw || word == "raw" {
            raw = word != "endraw";
            output.push_str(tag.whole);
            continue;
        }
        let mut written = 0;
        for &star in &tag.products {
            // Writing to a string cannot fail. The filter refuses a list on the left; what is negated twice is no list on the right.
            let _ = write!(output, "{}|{NO_LIST} * - -", &tag.whole[written..star]);
            written = star + 1;
        }
        output.push_str(&tag.whole[written..]);
        if tag.plain.len() > MAX_TAG {
            return refused(format!("a tag of over {MAX_TAG} bytes"));
        }
        if tag.plain.matches('+').count() > MAX_ADDITIONS {
            return refused(format!("over {MAX_ADDITIONS} additions in a tag"));
        }
        match word {
            "break" | "continue" if !jumps_out_of_conditions(&open) => {
                return refused(format!("`{word}` within another block than `if` and `for`"));
            }
            // What follows is behind the loop.
            "else" if open.last() == Some(&"for") => *open.last_mut().unwrap_or(&mut "") = "else",
            word if word.starts_with("end") => while open.pop() == Some("elif") {},
            // A branch is a condition within the one before it.
            _ => open.extend(tag.opens()),
        }
        if open.len() > MAX_BLOCKS {
            return refused(format!("over {MAX_BLOCKS} blocks within each other"));
        }
        let names = tag.names();
        if !names.is_empty() {
            // White space behind the call is treated as it would be behind the tag.
            let sign = tag.whole.trim_end_matches("%}").chars().next_back().filter(|sign| matches!(sign, '-' | '+'));
            let sign = sign.map(String::from).unwrap_or_default();
            let _ = write!(output, "{{% if {CHECK}({}) %}}{{% endif {sign}%}}", names.join(", "));
        }
    }
    output.push_str(rest);
    Ok(output)
}

/// Whether a jump within the `open` blocks crosses nothing but conditions on its way to the loop.
fn jumps_out_of_conditions(open: &[&str]) -> bool {
    open.iter().rev().find(|word| !matches!(**word, "if" | "elif")).is_none_or(|&word| word == "for")
}

/// Refuses values that have grown past what conversations need; always false. What is looked at is paid for.
pub(super) fn check_values(state: &mut State, values: Rest<Value>) -> Result<bool, Error> {
    let size = state.lookup(SIZE).and_then(|size| size.as_usize()).unwrap_or(0);
    let most = size.saturating_add(MAX_VALUE);
    for value in values.iter() {
        let weight = weight(value, most)?;
        state.consume_fuel((weight / 16) as u64)?;
        if weight > most {
            return Err(Error::new(ErrorKind::InvalidOperation, format!("a value of over {most} parts")));
        }
    }
    Ok(false)
}

/// `value` unless it is a list: one that is multiplied is as long as the template wants, and nothing pays for it.
pub(super) fn no_list(value: Value) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::Seq | ValueKind::Iterable => Err(Error::new(ErrorKind::InvalidOperation, "lists cannot be multiplied here")),
        _ => Ok(value),
    }
}

/// How many parts a value has, in all lists and maps within it, and one more for each 64 bytes of text. Stops past `most`.
fn weight(value: &Value, most: usize) -> Result<usize, Error> {
    let mut total = 0_usize;
    let mut pending = vec![value.clone()];
    while let Some(value) = pending.pop() {
        total += 1 + value.as_str().map_or(0, |text| text.len() / 64);
        let is_map = value.kind() == ValueKind::Map;
        if is_map || matches!(value.kind(), ValueKind::Seq | ValueKind::Iterable) {
            for item in value.try_iter()? {
                if pending.len() + total > most {
                    return Ok(most + 1);
                }
                pending.push(if is_map { value.get_item(&item)? } else { item });
            }
        }
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_checks(source: &str) -> String {
        checked(source).unwrap().replace(CHECK, "?")
    }

    #[test]
    fn names_and_products_are_checked() {
        assert_eq!(with_checks("a{% set x = y %}b"), "a{% set x = y %}{% if ?(x) %}{% endif %}b");
        assert_eq!(with_checks("{%- set n.l = n.l + [1] -%} b"), "{%- set n.l = n.l + [1] -%}{% if ?(n.l) %}{% endif -%} b");
        assert_eq!(with_checks("{% set a, b = c +%}\n"), "{% set a, b = c +%}{% if ?(a, b) %}{% endif +%}\n");
        assert_eq!(with_checks("{% for k, v in d.items() if k %}"), "{% for k, v in d.items() if k %}{% if ?(k, v) %}{% endif %}");
        assert_eq!(with_checks("{% with a = b + b %}"), "{% with a = b + b %}{% if ?(a, b, b) %}{% endif %}");
        assert_eq!(with_checks("{% macro m(a, b=[]) %}"), "{% macro m(a, b=[]) %}{% if ?(a, b) %}{% endif %}");
        assert_eq!(
            checked("{{ 'a*' * n ** 2 + f(*l, 3*k) }}").unwrap().replace(NO_LIST, "?"),
            "{{ 'a*' |? * - - n ** 2 + f(*l, 3|? * - -k) }}"
        );
        assert_eq!(with_checks("{% set x = 'it\\'s %}' %}"), "{% set x = 'it\\'s %}' %}{% if ?(x) %}{% endif %}");
    }

    #[test]
    fn jumps_cross_conditions_alone() {
        for source in [
            "{% for a in b %}{% if a %}{% continue %}{% elif c %}{% break %}{% endif %}{% endfor %}",
            "{% with x = 1 %}{% for a in b %}{% set c %}{% endset %}{% set d = 1 %}{% break %}{% endfor %}{% endwith %}",
            "{% for a in b %}{% for c in d %}{% else %}{% endfor %}{% continue %}{% endfor %}",
            "{% raw %}{% with x = 1 %}{% endraw %}{% for a in b %}{% continue %}{% endfor %}",
        ] {
            assert!(checked(source).is_ok(), "{source}");
        }
        for block in
            ["with x = 1", "set c", "set c | replace('=', '')", "filter upper", "autoescape true", "macro m()", "call m()", "block b"]
        {
            let end = block.split(' ').next().unwrap();
            for jump in ["break", "continue"] {
                let source =
                    format!("{{% for a in b %}}{{%- {block} -%}}{{% if a %}}{{% {jump} %}}{{% endif %}}{{% end{end} %}}{{% endfor %}}");
                assert!(checked(&source).is_err(), "{source}");
            }
        }
        let behind = "{% for a in b %}{% with x = a %}{% for c in d %}{% else %}{% continue %}{% endfor %}{% endwith %}{% endfor %}";
        assert!(checked(behind).is_err());
    }

    #[test]
    fn all_else_stays_as_it_is() {
        for source in [
            "{{ x + y }} { {",
            "{% if a == b %}{% else %}{% endif %}",
            "{# {% set x = y %} #}",
            "{% raw %}{% set x = y %}{{ z }}{% endraw %}{{ a }}",
            "{% set x %}text{% endset %}",
            "{% set x = y",
            "{# {%",
        ] {
            let unchanged = source == "{% set x = y" || with_checks(source) == source;
            assert!(unchanged, "{source}: {}", with_checks(source));
        }
    }
}
