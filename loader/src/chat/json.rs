//! JSON as Python's `json.dumps` writes it, which is what models were trained on.

use minijinja::value::{Value, ValueKind};
use minijinja::{Error, ErrorKind, State};

use super::guard::is_private_use;

/// Values nest at most this deep, here and in [`super::guard`].
pub(super) const MAX_DEPTH: usize = 64;

pub(super) struct Style {
    /// Spaces a level, each item on a line of its own; `None` writes all on one line.
    pub(super) indent: Option<usize>,
    /// Whether characters outside ASCII are escaped.
    pub(super) ascii: bool,
    /// Whether object keys are sorted.
    pub(super) sort_keys: bool,
}

/// `value` as JSON. Paid for from the template's budget as it is written.
pub(super) fn write(state: &State, value: &Value, style: &Style) -> Result<String, Error> {
    let mut writer = Writer { state, style, text: String::new(), depth: 0 };
    writer.value(value)?;
    Ok(writer.text)
}

/// Bytes of text in `value`: the strings and keys, and a few for everything else.
pub(super) fn text_size(value: &serde_json::Value) -> usize {
    match value {
        serde_json::Value::String(text) => text.len(),
        serde_json::Value::Array(items) => items.iter().map(text_size).sum::<usize>() + 2,
        serde_json::Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + text_size(value)).sum::<usize>() + 2,
        _ => 8,
    }
}

struct Writer<'a> {
    state: &'a State<'a, 'a>,
    style: &'a Style,
    text: String,
    depth: usize,
}

impl Writer<'_> {
    fn value(&mut self, value: &Value) -> Result<(), Error> {
        let before = self.text.len();
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => self.text.push_str("null"),
            ValueKind::Bool => self.text.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => self.text.push_str(&value.to_string()),
            ValueKind::String => self.string(value.as_str().unwrap_or_default()),
            ValueKind::Seq | ValueKind::Iterable => self.list(value)?,
            ValueKind::Map => self.map(value)?,
            _ => {
                return Err(Error::new(ErrorKind::BadSerialization, format!("tojson: {value} has no JSON form")));
            }
        }
        self.state.consume_fuel(1 + (self.text.len() - before) as u64 / 64)
    }

    fn list(&mut self, list: &Value) -> Result<(), Error> {
        self.open('[')?;
        let mut first = true;
        for item in list.try_iter()? {
            self.next(&mut first);
            self.value(&item)?;
        }
        self.close(']', first);
        Ok(())
    }

    fn map(&mut self, map: &Value) -> Result<(), Error> {
        let mut keys: Vec<Value> = map.try_iter()?.collect();
        if self.style.sort_keys {
            keys.sort();
        }
        self.open('{')?;
        let mut first = true;
        for key in keys {
            self.next(&mut first);
            match key.as_str() {
                Some(name) => self.string(name),
                None => self.string(&key.to_string()),
            }
            self.text.push_str(": ");
            self.value(&map.get_item(&key)?)?;
        }
        self.close('}', first);
        Ok(())
    }

    fn open(&mut self, bracket: char) -> Result<(), Error> {
        self.text.push(bracket);
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(Error::new(ErrorKind::BadSerialization, format!("tojson: nested over {MAX_DEPTH} deep")));
        }
        Ok(())
    }

    /// Writes what stands between items.
    fn next(&mut self, first: &mut bool) {
        if !std::mem::take(first) {
            self.text.push_str(if self.style.indent.is_some() { "," } else { ", " });
        }
        self.line_break();
    }

    fn close(&mut self, bracket: char, empty: bool) {
        self.depth -= 1;
        if !empty {
            self.line_break();
        }
        self.text.push(bracket);
    }

    fn line_break(&mut self) {
        if let Some(indent) = self.style.indent {
            self.text.push('\n');
            let spaces = indent.min(16) * self.depth;
            self.text.extend(std::iter::repeat_n(' ', spaces));
        }
    }

    fn string(&mut self, string: &str) {
        self.text.push('"');
        for character in string.chars() {
            match character {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                '\u{8}' => self.text.push_str("\\b"),
                '\u{c}' => self.text.push_str("\\f"),
                control if control < ' ' => self.escape(control),
                // Private use: stand-ins for characters that users wrote, which are ASCII.
                other if self.style.ascii && !other.is_ascii() && !is_private_use(other) => self.escape(other),
                other => self.text.push(other),
            }
        }
        self.text.push('"');
    }

    fn escape(&mut self, character: char) {
        for unit in character.encode_utf16(&mut [0; 2]) {
            self.text.push_str(&format!("\\u{unit:04x}"));
        }
    }
}
