//! Keeps control tokens in user text from becoming control tokens.
//!
//! A template is a program: it trims, tests, splits, joins and drops what users wrote, so where in its output user
//! text ends up cannot be told from outside. What survives all of it is the characters themselves. So before a
//! template runs, characters of user text that could begin a control token, or go on with one that the template's own
//! text began, are replaced by stand-ins: private-use characters that occur nowhere in the input. Afterwards each
//! stand-in becomes its character again, and its place is remembered: no control token may cover it. All other
//! characters stay, so that text without control tokens is encoded exactly as if it had never been touched.
//!
//! Which characters are replaced:
//! - each that is the first of some control token (usually `<`), wherever it stands. So no control token can begin in
//!   user text, however the template joins or cuts it. Excepted are tags that the template itself names and that are
//!   no control token, such as `</think>`, because it may look for them;
//! - the first of a string that goes on with a control token up to the token's end (`|im_end|>`) or that lies whole
//!   inside one (`|im_end|`), because a template may write `<` before it. Words alone are excepted: templates make
//!   control tokens out of the names of roles.
//!
//! User text that contains private-use characters needs no care: stand-ins are chosen among those it does not contain.

use std::collections::{HashMap, HashSet};

use minijinja::value::Value;

use super::json::MAX_DEPTH;
use super::{ChatOptions, Message};

/// The longest tag that a template may name and look for in user text, in bytes.
const MAX_TAG: usize = 64;

/// What a template and a vocabulary say about which characters matter.
pub(super) struct Guard {
    template: String,
    controls: HashSet<String>,
    heads: HashSet<char>,
    /// The control tokens spelled backwards, sorted: where those that end in some text are found.
    backwards: Vec<String>,
    /// Bytes of the longest control token.
    longest: usize,
}

impl Guard {
    pub(super) fn new(controls: Vec<String>, template: &str) -> Self {
        let mut backwards: Vec<String> = controls.iter().map(|token| token.chars().rev().collect()).collect();
        backwards.sort_unstable();
        backwards.dedup();
        Self {
            template: template.to_owned(),
            heads: controls.iter().filter_map(|token| token.chars().next()).collect(),
            backwards,
            longest: controls.iter().map(String::len).max().unwrap_or(0),
            controls: controls.into_iter().collect(),
        }
    }

    /// Stand-ins for one rendering of this input.
    pub(super) fn marking(&self, messages: &[Message], options: &ChatOptions) -> Marking<'_> {
        let mut taken = HashSet::new();
        note_private_use(&self.template, &mut taken);
        for message in messages {
            note_private_use(&message.content, &mut taken);
            message.extra.iter().for_each(|(name, value)| note_in_field(name, value, &mut taken));
        }
        options.extra.iter().for_each(|(name, value)| note_in_field(name, value, &mut taken));
        Marking { guard: self, taken, next: 0xF_0000, stand_ins: HashMap::new(), originals: HashMap::new() }
    }

    /// Whether the user's text at `rest`, whose first character begins some control token, is a tag that the template
    /// names for itself.
    fn is_tag_of_template(&self, rest: &str) -> bool {
        let end = rest.bytes().take(MAX_TAG).position(|byte| matches!(byte, b'>' | b']'));
        let Some(tag) = end.and_then(|end| rest.get(..=end)) else {
            return false;
        };
        let starts_control =
            || (1..=rest.len().min(self.longest)).any(|len| rest.get(..len).is_some_and(|start| self.controls.contains(start)));
        self.template.contains(tag) && !starts_control()
    }

    /// Whether some control token ends in `text` and has more before it.
    fn is_tail(&self, text: &str) -> bool {
        let tail: String = text.chars().rev().collect();
        let from = self.backwards.partition_point(|token| *token < tail);
        // The first may be the text itself; one that is longer comes right after it.
        self.backwards[from..].iter().take(2).any(|token| token.len() > tail.len() && token.starts_with(&tail))
    }

    /// Whether a string of user text, white space before it aside, goes on with a control token that something else
    /// began.
    fn continues_control(&self, text: &str) -> bool {
        let ends = text.char_indices().skip(1).map(|(at, _)| at).chain([text.len()]);
        let to_the_end = ends.take_while(|&end| end < self.longest).any(|end| self.is_tail(&text[..end]));
        let is_word = || text.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '.'));
        to_the_end || (text.len() < self.longest && !is_word() && self.controls.iter().any(|token| token.contains(text)))
    }
}

/// The stand-ins of one rendering.
pub(super) struct Marking<'g> {
    guard: &'g Guard,
    /// Private-use characters that the input contains.
    taken: HashSet<char>,
    /// The next code point to try as a stand-in.
    next: u32,
    stand_ins: HashMap<char, char>,
    originals: HashMap<char, char>,
}

impl Marking<'_> {
    /// `text` with stand-ins.
    pub(super) fn text(&mut self, text: &str) -> Result<String, String> {
        let start = text.len() - text.trim_start().len();
        let continues = self.guard.continues_control(&text[start..]);
        let mut marked = String::with_capacity(text.len());
        for (at, character) in text.char_indices() {
            let begins = self.guard.heads.contains(&character) && !self.guard.is_tag_of_template(&text[at..]);
            let replaced = begins || (continues && at == start);
            marked.push(if replaced { self.stand_in(character)? } else { character });
        }
        Ok(marked)
    }

    /// `value` as templates see it, with stand-ins in all its strings.
    pub(super) fn value(&mut self, value: &serde_json::Value) -> Result<Value, String> {
        self.nested(value, 0)
    }

    fn nested(&mut self, value: &serde_json::Value, depth: usize) -> Result<Value, String> {
        if depth > MAX_DEPTH {
            return Err(format!("a field of the conversation is nested over {MAX_DEPTH} deep"));
        }
        Ok(match value {
            serde_json::Value::Null => Value::from(()),
            serde_json::Value::Bool(value) => Value::from(*value),
            serde_json::Value::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(number), _) => Value::from(number),
                (_, Some(number)) => Value::from(number),
                _ => Value::from(number.as_f64().unwrap_or(f64::NAN)),
            },
            serde_json::Value::String(text) => Value::from(self.text(text)?),
            serde_json::Value::Array(items) => {
                let items = items.iter().map(|item| self.nested(item, depth + 1)).collect::<Result<Vec<_>, _>>()?;
                Value::from(items)
            }
            serde_json::Value::Object(fields) => {
                let mut marked = Vec::with_capacity(fields.len());
                for (name, value) in fields {
                    marked.push((self.text(name)?, self.nested(value, depth + 1)?));
                }
                Value::from_pairs(marked)
            }
        })
    }

    fn stand_in(&mut self, character: char) -> Result<char, String> {
        if let Some(&known) = self.stand_ins.get(&character) {
            return Ok(known);
        }
        let free = (self.next..=u32::from(char::MAX))
            .find_map(|code| char::from_u32(code).filter(|&candidate| is_private_use(candidate) && !self.taken.contains(&candidate)));
        let Some(stand_in) = free else {
            return Err("the messages contain every private-use character of Unicode; remove some".to_owned());
        };
        self.next = u32::from(stand_in) + 1;
        self.stand_ins.insert(character, stand_in);
        self.originals.insert(stand_in, character);
        Ok(stand_in)
    }

    /// The rendered text with characters in place of stand-ins, and the byte offsets of those characters.
    pub(super) fn restore(&self, rendered: &str) -> (String, Vec<usize>) {
        let mut text = String::with_capacity(rendered.len());
        let mut places = Vec::new();
        for character in rendered.chars() {
            match self.originals.get(&character) {
                Some(&original) => {
                    places.push(text.len());
                    text.push(original);
                }
                None => text.push(character),
            }
        }
        (text, places)
    }
}

/// Planes 15 and 16, but for their last two code points, which are no characters.
pub(super) fn is_private_use(character: char) -> bool {
    matches!(character, '\u{F0000}'..='\u{FFFFD}' | '\u{100000}'..='\u{10FFFD}')
}

fn note_private_use(text: &str, taken: &mut HashSet<char>) {
    taken.extend(text.chars().filter(|&character| is_private_use(character)));
}

fn note_in_field(name: &str, value: &serde_json::Value, taken: &mut HashSet<char>) {
    note_private_use(name, taken);
    match value {
        serde_json::Value::String(text) => note_private_use(text, taken),
        serde_json::Value::Array(items) => items.iter().for_each(|item| note_in_field("", item, taken)),
        serde_json::Value::Object(fields) => fields.iter().for_each(|(name, value)| note_in_field(name, value, taken)),
        _ => {}
    }
}
