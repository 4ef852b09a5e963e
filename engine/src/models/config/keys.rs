//! Settings by the names of their dialect, each checked as it is read.

use std::cell::RefCell;

use parhelion_loader::{Dialect, LoadError, Metadata, Value};

/// A setting's name in each dialect, none where a dialect has no such setting.
#[derive(Debug, Clone, Copy)]
pub(in super::super) struct Key {
    /// GGUF's, without the architecture in front.
    gguf: Option<&'static str>,
    /// config.json's.
    hf: Option<&'static str>,
    /// Another one of config.json.
    or_hf: Option<&'static str>,
}

impl Key {
    /// A setting of both.
    pub(in super::super) const fn new(gguf: &'static str, hf: &'static str) -> Self {
        Self { gguf: Some(gguf), hf: Some(hf), or_hf: None }
    }

    /// A setting of GGUF alone.
    pub(in super::super) const fn gguf(gguf: &'static str) -> Self {
        Self { gguf: Some(gguf), hf: None, or_hf: None }
    }

    /// The full name of the setting in a GGUF file.
    pub(super) fn in_gguf(self, architecture: &str) -> Option<String> {
        self.gguf.map(|name| format!("{architecture}.{name}"))
    }

    /// A setting of config.json alone.
    pub(in super::super) const fn hf(hf: &'static str) -> Self {
        Self { gguf: None, hf: Some(hf), or_hf: None }
    }

    /// The same by another name in config.json, where it is not there by the first.
    pub(in super::super) const fn or_hf(self, hf: &'static str) -> Self {
        Self { or_hf: Some(hf), ..self }
    }
}

/// A model's settings by the names of its dialect, each checked as it is read.
pub struct Keys<'a> {
    pub(super) metadata: &'a Metadata,
    pub(super) dialect: Dialect,
    architecture: &'a str,
    has_tensor: &'a dyn Fn(&str) -> bool,
    /// What was read of the settings that both dialects have, by their names in GGUF.
    read: RefCell<Vec<(&'static str, Value)>>,
}

impl<'a> Keys<'a> {
    /// `has_tensor` says whether the model has a tensor of a name.
    pub(in super::super) fn new(
        metadata: &'a Metadata,
        dialect: Dialect,
        architecture: &'a str,
        has_tensor: &'a dyn Fn(&str) -> bool,
    ) -> Self {
        Self { metadata, dialect, architecture, has_tensor, read: RefCell::default() }
    }

    /// Whether the model has a tensor of this name.
    pub(super) fn has_tensor(&self, name: &str) -> bool {
        (self.has_tensor)(name)
    }

    /// What was read of the settings that both dialects have, as a GGUF file of `architecture` has it.
    pub(in super::super) fn in_gguf(self, architecture: &str) -> Vec<(String, Value)> {
        self.read.into_inner().into_iter().map(|(name, value)| (format!("{architecture}.{name}"), value)).collect()
    }

    /// Books a setting as read.
    fn note(&self, key: Key, value: Value) {
        if let (Some(gguf), Some(_)) = (key.gguf, key.hf) {
            let mut read = self.read.borrow_mut();
            read.retain(|(known, _)| *known != gguf);
            read.push((gguf, value));
        }
    }

    /// What the model calls its architecture.
    pub(in super::super) fn architecture(&self) -> &'a str {
        self.architecture
    }

    /// Whose names and keys the model has.
    pub(in super::super) fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// The full name of a setting in this dialect.
    pub(super) fn name(&self, key: Key) -> Option<String> {
        match self.dialect {
            Dialect::Gguf => key.in_gguf(self.architecture),
            Dialect::HuggingFace => {
                let other = key.or_hf.filter(|other| self.metadata.contains(other));
                let usual = key.hf.filter(|hf| other.is_none() || self.metadata.contains(hf));
                usual.or(other).map(str::to_owned)
            }
        }
    }

    /// What `getter` makes of a setting, none where the model does not say.
    pub(super) fn get<T>(&self, key: Key, getter: impl FnOnce(&'a Metadata, &str) -> Result<T, LoadError>) -> Result<Option<T>, LoadError> {
        match self.name(key) {
            Some(name) => self.metadata.optional(&name, getter),
            None => Ok(None),
        }
    }

    pub(in super::super) fn bad(&self, key: Key, expected: impl Into<String>, got: impl ToString) -> LoadError {
        self.metadata.bad_value(&self.name(key).unwrap_or_default(), expected, got.to_string())
    }

    /// A whole number within `range`; `default` where the model does not say.
    pub(in super::super) fn size(&self, key: Key, range: std::ops::RangeInclusive<u32>, default: Option<u32>) -> Result<u32, LoadError> {
        let read = self.get(key, Metadata::u32)?;
        let value = match (read, default) {
            (Some(value), _) | (None, Some(value)) => value,
            // the getter's own error: there is no such entry
            (None, None) => self.metadata.u32(&self.name(key).unwrap_or_default())?,
        };
        if range.contains(&value) {
            if read.is_some() {
                self.note(key, Value::U32(value));
            }
            return Ok(value);
        }
        Err(self.bad(key, format!("a number from {} to {}", range.start(), range.end()), value))
    }

    /// A whole number within `range`; none where the model does not say.
    pub(in super::super) fn optional_size(&self, key: Key, range: std::ops::RangeInclusive<u32>) -> Result<Option<u32>, LoadError> {
        match self.name(key).filter(|name| self.metadata.contains(name)) {
            Some(_) => self.size(key, range, None).map(Some),
            None => Ok(None),
        }
    }

    /// A finite number over 0; `default` where the model does not say.
    pub(in super::super) fn positive(&self, key: Key, default: f32) -> Result<f32, LoadError> {
        Ok(self.optional_positive(key)?.unwrap_or(default))
    }

    /// A finite number over 0; none where the model does not say.
    pub(in super::super) fn optional_positive(&self, key: Key) -> Result<Option<f32>, LoadError> {
        match self.get(key, Metadata::f32)? {
            Some(value) if !(value.is_finite() && value > 0.0) => Err(self.bad(key, "a finite number over 0", value)),
            Some(value) => {
                self.note(key, Value::F32(value));
                Ok(Some(value))
            }
            None => Ok(None),
        }
    }

    /// An even number.
    pub(super) fn even(&self, key: Key, range: std::ops::RangeInclusive<u32>, default: u32) -> Result<u32, LoadError> {
        let value = self.size(key, range, Some(default))?;
        if value.is_multiple_of(2) { Ok(value) } else { Err(self.bad(key, "an even number", value)) }
    }

    /// Refuses a model whose setting says that it has a part which the family does not build.
    pub(in super::super) fn refuse(&self, key: Key, what: &str) -> Result<(), LoadError> {
        let Some(name) = self.name(key) else { return Ok(()) };
        match self.metadata.get(&name) {
            None => Ok(()),
            Some(Value::Bool(false)) => Ok(()),
            Some(Value::Bool(true)) => Err(self.bad(key, format!("false: {what} are not supported"), true)),
            Some(_) => match self.metadata.u32(&name)? {
                0 => Ok(()),
                n => Err(self.bad(key, format!("0: {what} are not supported"), n)),
            },
        }
    }
}
