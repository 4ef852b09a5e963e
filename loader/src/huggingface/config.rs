//! config.json and its kin as metadata: each value under its path, `rope_scaling.factor`.
//!
//! Numbers are I64, U64 above that, or F64; `null` is no entry. A list of numbers, of strings or of truth values is one array;
//! a mixed list, or one of objects or lists, has an entry for each element, `layers.0.kind`.

use std::fmt;
use std::sync::Arc;

use serde::Deserializer;
use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};

use super::json::{self, malformed};
use crate::metadata::{Array, Metadata, Strings, Value};
use crate::names::reserve_gently;
use crate::{LoadError, Source};

/// Bytes of a file, entries of all files and elements of a list; published ones have a few KB and a few dozen entries.
const MAX_FILE: u64 = 16 << 20;
const MAX_ENTRIES: usize = 1 << 13;
const MAX_ELEMENTS: usize = 1 << 16;
/// Objects and lists within one another.
const MAX_DEPTH: usize = 16;
/// Bytes of one path, which is put together for every element of a list; published ones have under 80.
const MAX_PATH: usize = 512;
/// Bytes of all paths, beyond twice the file's own: short entries in an object with a long name repeat it.
const SPARE_PATHS: usize = 256 << 10;
const PLACE: &str = "configuration";

/// The entries of several files. The list has room for all that there may be from the start, since one that grows holds more
/// while it moves.
pub(super) struct Entries {
    list: Vec<(String, Value)>,
    path_bytes: usize,
    most_path_bytes: usize,
}

impl Entries {
    pub(super) fn new() -> Self {
        Self { list: Vec::with_capacity(MAX_ENTRIES), path_bytes: 0, most_path_bytes: 0 }
    }

    /// Adds the entries of a file, their paths after `prefix`.
    pub(super) async fn add(&mut self, source: &dyn Source, prefix: &str) -> Result<(), LoadError> {
        let bytes = json::read_whole(source, MAX_FILE).await?;
        self.most_path_bytes += 2 * bytes.len() + SPARE_PATHS;
        let rest = json::parse(source.name(), PLACE, &bytes, Node { entries: self, path: prefix, depth: 0 })?;
        match rest {
            None => Ok(()),
            Some(value) => Err(malformed(source.name(), PLACE, "a JSON object", value)),
        }
    }

    /// Puts the settings of the language model of a larger one in the place of those around them; whether it is one.
    pub(super) fn promote_language_model(&mut self) -> bool {
        super::nested::promote_settings(&mut self.list)
    }

    /// The value of `key`, if it was added.
    pub(super) fn get(&self, key: &str) -> Option<&Value> {
        self.list.iter().find(|(known, _)| known == key).map(|(_, value)| value)
    }

    /// All of it, under `name` in messages.
    pub(super) fn finish(mut self, name: &str) -> Result<Metadata, LoadError> {
        if self.list.len() < MAX_ENTRIES / 2 {
            self.list.shrink_to_fit();
        }
        Metadata::new(Arc::from(name), self.list)
            .map_err(|(list, twice)| malformed(name, PLACE, "each key once", format!("`{}` a second time", list[twice].0.escape_debug())))
    }

    fn push<E: Error>(&mut self, path: &str, value: Value) -> Result<(), E> {
        self.path_bytes += path.len();
        if self.list.len() == MAX_ENTRIES || self.path_bytes > self.most_path_bytes {
            return Err(E::custom(format!("over {MAX_ENTRIES} entries, or over {} bytes of their paths", self.most_path_bytes)));
        }
        self.list.push((path.to_owned(), value));
        Ok(())
    }
}

/// A value at `path`: a number, text, truth value or uniform list is returned, the rest becomes entries.
struct Node<'a> {
    entries: &'a mut Entries,
    path: &'a str,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Option<Value>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Option<Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Some(Value::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Some(Value::I64(value)))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Self::Value, E> {
        Ok(Some(i64::try_from(value).map_or(Value::U64(value), Value::I64)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Some(Value::F64(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Some(Value::String(value.to_owned())))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let depth = deeper(self.depth)?;
        while let Some(key) = map.next_key::<String>()? {
            if self.path.len() + key.len() > MAX_PATH {
                let start: String = key.chars().take(40).collect();
                return Err(A::Error::custom(format!("a path of over {MAX_PATH} bytes, at the key that begins {start:?}")));
            }
            let path = if self.path.is_empty() { key } else { format!("{}.{key}", self.path) };
            if let Some(value) = map.next_value_seed(Node { entries: self.entries, path: &path, depth })? {
                self.entries.push(&path, value)?;
            }
        }
        Ok(None)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let depth = deeper(self.depth)?;
        let mut uniform = Some(Uniform::Empty);
        let path = |index: usize| format!("{}.{index}", self.path);
        let mut count = 0;
        while let Some(value) = list.next_element_seed(Node { entries: self.entries, path: &path(count), depth })? {
            if count == MAX_ELEMENTS {
                return Err(A::Error::custom(format!("a list of over {MAX_ELEMENTS} elements")));
            }
            let alone = match (value, uniform.take()) {
                (None, gathered) => {
                    spread(self.entries, path, gathered)?;
                    None
                }
                (Some(value), None) => Some(value),
                (Some(value), Some(gathered)) => match gathered.with(value) {
                    Ok(more) => {
                        uniform = Some(more);
                        None
                    }
                    Err((gathered, value)) => {
                        spread(self.entries, path, Some(gathered))?;
                        Some(value)
                    }
                },
            };
            if let Some(value) = alone {
                self.entries.push(&path(count), value)?;
            }
            count += 1;
        }
        Ok(uniform.map(Uniform::finish))
    }
}

fn deeper<E: Error>(depth: usize) -> Result<usize, E> {
    if depth == MAX_DEPTH { Err(E::custom(format!("objects nested over {MAX_DEPTH} deep"))) } else { Ok(depth + 1) }
}

/// Gives each element of a list that turned out mixed an entry of its own.
fn spread<E: Error>(entries: &mut Entries, path: impl Fn(usize) -> String, gathered: Option<Uniform>) -> Result<(), E> {
    let mut index = 0;
    gathered.unwrap_or(Uniform::Empty).each(|value| {
        entries.push(&path(index), value)?;
        index += 1;
        Ok(())
    })
}

/// A list so far, all of whose elements are of one type.
enum Uniform {
    Empty,
    Integers(Vec<i64>),
    Floats(Vec<f64>),
    Bools(Vec<bool>),
    Texts(Strings),
}

impl Uniform {
    /// The list with one more, or both back where the types differ. Whole numbers among others become floats.
    fn with(self, value: Value) -> Result<Self, (Self, Value)> {
        Ok(match (self, value) {
            (Self::Empty, Value::I64(value)) => Self::Integers(vec![value]),
            (Self::Empty, Value::F64(value)) => Self::Floats(vec![value]),
            (Self::Empty, Value::Bool(value)) => Self::Bools(vec![value]),
            (Self::Empty, Value::String(value)) => return Self::Texts(Strings::default()).with(Value::String(value)),
            (Self::Integers(list), Value::I64(value)) => Self::Integers(pushed(list, value)),
            (Self::Integers(list), Value::F64(value)) => Self::Floats(pushed(list.into_iter().map(|v| v as f64).collect(), value)),
            (Self::Floats(list), Value::I64(value)) => Self::Floats(pushed(list, value as f64)),
            (Self::Floats(list), Value::F64(value)) => Self::Floats(pushed(list, value)),
            (Self::Bools(list), Value::Bool(value)) => Self::Bools(pushed(list, value)),
            (Self::Texts(mut list), Value::String(value)) => match list.push(&value) {
                true => Self::Texts(list),
                false => return Err((Self::Texts(list), Value::String(value))),
            },
            other => return Err(other),
        })
    }

    fn finish(self) -> Value {
        Value::Array(match self {
            Self::Empty => Array::I64(Vec::new()),
            Self::Integers(list) => Array::I64(list),
            Self::Floats(list) => Array::F64(list),
            Self::Bools(list) => Array::Bool(list),
            Self::Texts(list) => Array::String(list),
        })
    }

    /// Hands each element to `use_value`.
    fn each<E>(self, use_value: impl FnMut(Value) -> Result<(), E>) -> Result<(), E> {
        match self {
            Self::Empty => Ok(()),
            Self::Integers(list) => list.into_iter().map(Value::I64).try_for_each(use_value),
            Self::Floats(list) => list.into_iter().map(Value::F64).try_for_each(use_value),
            Self::Bools(list) => list.into_iter().map(Value::Bool).try_for_each(use_value),
            Self::Texts(list) => list.iter().map(|text| Value::String(text.to_owned())).try_for_each(use_value),
        }
    }
}

fn pushed<T>(mut list: Vec<T>, value: T) -> Vec<T> {
    reserve_gently(&mut list, MAX_ELEMENTS as u64);
    list.push(value);
    list
}
