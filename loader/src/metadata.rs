//! A checkpoint's key-value metadata, with getters that say what they expected.

use std::fmt;
use std::sync::Arc;

use crate::LoadError;
use crate::names::NameIndex;

mod arrays;

/// A list of strings, stored back to back: a vocabulary of 250,000 tokens is two allocations.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Strings {
    text: String,
    ends: Vec<u32>,
}

impl Strings {
    /// Appends `item`; `false`, and nothing done, where the list would pass 4 GiB of text.
    #[must_use]
    pub(crate) fn push(&mut self, item: &str) -> bool {
        match u32::try_from(self.text.len() + item.len()) {
            Ok(end) => {
                self.text.push_str(item);
                self.ends.push(end);
                true
            }
            Err(_) => false,
        }
    }

    /// How many strings there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The string at `index`.
    pub fn get(&self, index: usize) -> Option<&str> {
        let end = *self.ends.get(index)? as usize;
        let start = match index {
            0 => 0,
            _ => self.ends[index - 1] as usize,
        };
        self.text.get(start..end)
    }

    /// The strings in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).filter_map(|index| self.get(index))
    }
}

/// An array in metadata; all its elements have one type.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant is a list of the type that names it")]
pub enum Array {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F32(Vec<f32>),
    F64(Vec<f64>),
    Bool(Vec<bool>),
    String(Strings),
    Array(Vec<Array>),
}

impl Array {
    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::U8(items) => items.len(),
            Self::I8(items) => items.len(),
            Self::U16(items) => items.len(),
            Self::I16(items) => items.len(),
            Self::U32(items) => items.len(),
            Self::I32(items) => items.len(),
            Self::U64(items) => items.len(),
            Self::I64(items) => items.len(),
            Self::F32(items) => items.len(),
            Self::F64(items) => items.len(),
            Self::Bool(items) => items.len(),
            Self::String(items) => items.len(),
            Self::Array(items) => items.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements' type, as error messages and `inspect` print it.
    pub fn element_name(&self) -> &'static str {
        match self {
            Self::U8(_) => "u8",
            Self::I8(_) => "i8",
            Self::U16(_) => "u16",
            Self::I16(_) => "i16",
            Self::U32(_) => "u32",
            Self::I32(_) => "i32",
            Self::U64(_) => "u64",
            Self::I64(_) => "i64",
            Self::F32(_) => "f32",
            Self::F64(_) => "f64",
            Self::Bool(_) => "bool",
            Self::String(_) => "string",
            Self::Array(_) => "array",
        }
    }

    /// The element at `index` as a whole number, `None` where it is none or there is no such element.
    fn integer(&self, index: usize) -> Option<i128> {
        match self {
            Self::U8(items) => items.get(index).map(|&v| v.into()),
            Self::I8(items) => items.get(index).map(|&v| v.into()),
            Self::U16(items) => items.get(index).map(|&v| v.into()),
            Self::I16(items) => items.get(index).map(|&v| v.into()),
            Self::U32(items) => items.get(index).map(|&v| v.into()),
            Self::I32(items) => items.get(index).map(|&v| v.into()),
            Self::U64(items) => items.get(index).map(|&v| v.into()),
            Self::I64(items) => items.get(index).map(|&v| v.into()),
            _ => None,
        }
    }
}

/// A metadata value, in the type that the file stores.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs, reason = "each variant holds the type that names it")]
pub enum Value {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    U64(u64),
    I64(i64),
    F32(f32),
    F64(f64),
    Bool(bool),
    String(String),
    Array(Array),
}

impl Value {
    /// The value as a whole number, whatever width it is stored in.
    fn integer(&self) -> Option<i128> {
        match *self {
            Self::U8(v) => Some(v.into()),
            Self::I8(v) => Some(v.into()),
            Self::U16(v) => Some(v.into()),
            Self::I16(v) => Some(v.into()),
            Self::U32(v) => Some(v.into()),
            Self::I32(v) => Some(v.into()),
            Self::U64(v) => Some(v.into()),
            Self::I64(v) => Some(v.into()),
            _ => None,
        }
    }
}

/// The type and the value, strings and arrays cut short: `u32 30`, `string "llama"`, `array of 49152 strings`.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        match self {
            Self::U8(v) => write!(f, "u8 {v}"),
            Self::I8(v) => write!(f, "i8 {v}"),
            Self::U16(v) => write!(f, "u16 {v}"),
            Self::I16(v) => write!(f, "i16 {v}"),
            Self::U32(v) => write!(f, "u32 {v}"),
            Self::I32(v) => write!(f, "i32 {v}"),
            Self::U64(v) => write!(f, "u64 {v}"),
            Self::I64(v) => write!(f, "i64 {v}"),
            Self::F32(v) => write!(f, "f32 {v}"),
            Self::F64(v) => write!(f, "f64 {v}"),
            Self::Bool(v) => write!(f, "bool {v}"),
            Self::String(v) if v.chars().nth(SHOWN).is_none() => write!(f, "string {v:?}"),
            Self::String(v) => {
                let start: String = v.chars().take(SHOWN).collect();
                write!(f, "string {start:?}... ({} bytes)", v.len())
            }
            Self::Array(v) => write!(f, "array of {} {} values", v.len(), v.element_name()),
        }
    }
}

/// A checkpoint's metadata in the order of the file. Each getter's error names the file, the key, what was expected
/// and what is there. Whole numbers are accepted in any width that holds the value; other values are not converted, unless
/// a getter says so.
#[derive(Debug, Clone)]
pub struct Metadata {
    file: Arc<str>,
    entries: Vec<(String, Value)>,
    index: NameIndex,
}

impl Metadata {
    /// Indexes `entries`; `Err` is the position of an entry whose key came before.
    pub(crate) fn new(file: Arc<str>, entries: Vec<(String, Value)>) -> Result<Self, (Vec<(String, Value)>, usize)> {
        match NameIndex::build(entries.len(), |i| entries[i].0.as_str()) {
            Ok(index) => Ok(Self { file, entries, index }),
            Err(duplicate) => Err((entries, duplicate)),
        }
    }

    /// Metadata of these entries, under `name` in messages.
    ///
    /// # Errors
    /// [`LoadError::BadValue`] for a key that is there twice.
    pub fn of_entries(name: &str, entries: Vec<(String, Value)>) -> Result<Self, LoadError> {
        Self::new(Arc::from(name), entries).map_err(|(entries, twice)| {
            let key = entries.get(twice).map(|(key, _)| key.clone()).unwrap_or_default();
            LoadError::BadValue { file: name.to_owned(), key, expected: "each key once".into(), got: "a second one".into() }
        })
    }

    /// The file's name, for errors.
    pub(crate) fn file(&self) -> &str {
        &self.file
    }

    /// All entries in the order of the file.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &Value)> {
        self.entries.iter().map(|(key, value)| (key.as_str(), value))
    }

    /// The value of `key`, `None` where the file has no such entry.
    pub fn get(&self, key: &str) -> Option<&Value> {
        let at = self.index.find(key, |i| self.entries[i].0.as_str())?;
        self.entries.get(at).map(|(_, value)| value)
    }

    /// Whether there is an entry `key`. With [`Metadata::optional`], how a default is written.
    pub fn contains(&self, key: &str) -> bool {
        self.get(key).is_some()
    }

    /// `Ok(None)` where the entry is absent, else what `getter` makes of it: `metadata.optional("a.b", Metadata::u32)`.
    ///
    /// # Errors
    /// Those of `getter` for an entry that is present.
    pub fn optional<'a, T>(
        &'a self,
        key: &str,
        getter: impl FnOnce(&'a Self, &str) -> Result<T, LoadError>,
    ) -> Result<Option<T>, LoadError> {
        if self.contains(key) { getter(self, key).map(Some) } else { Ok(None) }
    }

    fn require(&self, key: &str) -> Result<&Value, LoadError> {
        self.get(key).ok_or_else(|| LoadError::MissingKey { file: self.file.to_string(), key: key.to_owned() })
    }

    /// The error for an entry that holds what cannot be used.
    pub fn bad_value(&self, key: &str, expected: impl Into<String>, got: impl Into<String>) -> LoadError {
        LoadError::BadValue { file: self.file.to_string(), key: key.to_owned(), expected: expected.into(), got: got.into() }
    }

    fn whole<T: TryFrom<i128>>(&self, key: &str, expected: &str) -> Result<T, LoadError> {
        let value = self.require(key)?;
        value.integer().and_then(|number| T::try_from(number).ok()).ok_or_else(|| self.bad_value(key, expected, value.to_string()))
    }

    /// A whole number from 0 to 2^32 - 1.
    ///
    /// # Errors
    /// [`LoadError::MissingKey`] or [`LoadError::BadValue`], as for every getter here.
    pub fn u32(&self, key: &str) -> Result<u32, LoadError> {
        self.whole(key, "a whole number that fits u32")
    }

    /// A whole number from 0 to 2^64 - 1.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn u64(&self, key: &str) -> Result<u64, LoadError> {
        self.whole(key, "a whole number that fits u64")
    }

    /// A whole number of either sign.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn i64(&self, key: &str) -> Result<i64, LoadError> {
        self.whole(key, "a whole number that fits i64")
    }

    /// A finite number stored as f32 or f64, or as a whole number: JSON has 10000 for 10000.0.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn f32(&self, key: &str) -> Result<f32, LoadError> {
        let value = self.require(key)?;
        match *value {
            Value::F32(v) if v.is_finite() => Ok(v),
            Value::F64(v) if (v as f32).is_finite() => Ok(v as f32),
            Value::I64(v) => Ok(v as f32),
            Value::U64(v) => Ok(v as f32),
            _ => Err(self.bad_value(key, "a finite f32", value.to_string())),
        }
    }

    /// A truth value.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn bool(&self, key: &str) -> Result<bool, LoadError> {
        match self.require(key)? {
            Value::Bool(v) => Ok(*v),
            other => Err(self.bad_value(key, "a bool", other.to_string())),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn str(&self, key: &str) -> Result<&str, LoadError> {
        match self.require(key)? {
            Value::String(v) => Ok(v),
            other => Err(self.bad_value(key, "a string", other.to_string())),
        }
    }
}
