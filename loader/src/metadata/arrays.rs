//! Arrays of a model's metadata, each read as what a setting needs.

use super::{Array, Metadata, Strings, Value};
use crate::LoadError;

impl Metadata {
    /// An array of any type.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn array(&self, key: &str) -> Result<&Array, LoadError> {
        match self.require(key)? {
            Value::Array(v) => Ok(v),
            other => Err(self.bad_value(key, "an array", other.to_string())),
        }
    }

    /// An array of strings.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn strings(&self, key: &str) -> Result<&Strings, LoadError> {
        match self.require(key)? {
            Value::Array(Array::String(v)) => Ok(v),
            other => Err(self.bad_value(key, "an array of strings", other.to_string())),
        }
    }

    /// An array of f32.
    ///
    /// # Errors
    /// As [`Metadata::u32`].
    pub fn f32s(&self, key: &str) -> Result<&[f32], LoadError> {
        match self.require(key)? {
            Value::Array(Array::F32(v)) => Ok(v),
            other => Err(self.bad_value(key, "an array of f32", other.to_string())),
        }
    }

    /// An array of finite numbers of any type, as f32.
    ///
    /// # Errors
    /// As [`Metadata::u32`]; the message names the first element that is none.
    pub fn numbers(&self, key: &str) -> Result<Vec<f32>, LoadError> {
        let array = self.array(key)?;
        let number = |index: usize| match array {
            Array::F32(list) => Some(list[index]),
            Array::F64(list) => Some(list[index] as f32),
            _ => array.integer(index).map(|whole| whole as f32),
        };
        let finite = |index| {
            let number = number(index);
            number.filter(|number| number.is_finite()).ok_or_else(|| {
                let got = number.map_or_else(|| format!("an array of {}", array.element_name()), |n| format!("{n} at index {index}"));
                self.bad_value(key, "an array of finite numbers", got)
            })
        };
        (0..array.len()).map(finite).collect()
    }

    /// An array of whole numbers of any width, each fitting u32. Some converters write one number where all layers
    /// agree and an array where they differ: [`Metadata::u32`] reads the former.
    ///
    /// # Errors
    /// As [`Metadata::u32`]; the message names the first element that does not fit.
    pub fn u32s(&self, key: &str) -> Result<Vec<u32>, LoadError> {
        self.wholes(key, "an array of whole numbers that fit u32")
    }

    /// An array of whole numbers of any width, each fitting i32.
    ///
    /// # Errors
    /// As [`Metadata::u32s`].
    pub fn i32s(&self, key: &str) -> Result<Vec<i32>, LoadError> {
        self.wholes(key, "an array of whole numbers that fit i32")
    }

    fn wholes<T: TryFrom<i128>>(&self, key: &str, expected: &str) -> Result<Vec<T>, LoadError> {
        let value = self.require(key)?;
        let Value::Array(array) = value else {
            return Err(self.bad_value(key, expected, value.to_string()));
        };
        let element = |index| {
            let number = array.integer(index);
            number.and_then(|number| T::try_from(number).ok()).ok_or_else(|| {
                let got = number.map_or_else(|| value.to_string(), |number| format!("{number} at index {index}"));
                self.bad_value(key, expected, got)
            })
        };
        (0..array.len()).map(element).collect()
    }
}
