//! safetensors: the header's length as u64, the header as a JSON object (a tensor's type, shape and byte range under its name),
//! and the tensors' bytes. The format's own rules hold (its reference crate refuses the same files): ranges follow one another
//! from the first byte to the last, and each is as long as its type and shape say.
//!
//! Stricter than the reference: each name once, no empty names, and at most [`MAX_RANK`] dimensions.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::json::{self, malformed};
use crate::names::{NameIndex, reserve_gently};
use crate::{DType, LoadError, Source, TensorInfo};

/// Bytes of a header, by the format.
pub(super) const MAX_HEADER: u64 = 100_000_000;
/// Bytes of the header's length.
const LENGTH: u64 = 8;
/// Tensors of one file; published shards have a few thousand.
const MAX_TENSORS: usize = 1 << 20;
/// Dimensions of a tensor; frameworks stop at 8 as a rule.
const MAX_RANK: usize = 16;
const PLACE: &str = "safetensors header";

/// Whether `head`, a file's first bytes, may be the start of a safetensors file.
pub(crate) fn is_safetensors(head: &[u8]) -> bool {
    head.get(LENGTH as usize) == Some(&b'{')
}

/// Reads and checks a file's header; the tensors are in the order of their bytes.
pub(super) async fn read_header(source: &dyn Source) -> Result<Vec<TensorInfo>, LoadError> {
    let file = source.name();
    let room = source.len().saturating_sub(LENGTH);
    if source.len() < LENGTH {
        return Err(malformed(file, PLACE, "its length in 8 bytes", format!("{} bytes in all", source.len())));
    }
    let mut length = [0; LENGTH as usize];
    length.copy_from_slice(&source.read(0, LENGTH as usize).await?);
    let length = u64::from_le_bytes(length);
    if length > room.min(MAX_HEADER) {
        return Err(malformed(file, PLACE, format!("at most {} bytes", room.min(MAX_HEADER)), format!("a length of {length}")));
    }
    let bytes = source.read(LENGTH, length as usize).await?;
    if bytes.first() != Some(&b'{') {
        return Err(malformed(file, PLACE, "a JSON object", "something else"));
    }
    let mut tensors = json::parse(file, PLACE, &bytes, Header)?;
    drop(bytes);
    // Ranges count from the header's end.
    place(file, &mut tensors, LENGTH + length, source.len())?;
    Ok(tensors)
}

/// Puts tensors in the order of their bytes, checks that they fill the file, and turns offsets into absolute ones.
fn place(file: &str, tensors: &mut [TensorInfo], data: u64, end: u64) -> Result<(), LoadError> {
    tensors.sort_unstable_by(|a, b| (a.offset, a.len, &a.name).cmp(&(b.offset, b.len, &b.name)));
    let room = end - data;
    let mut at = 0;
    for tensor in tensors.iter_mut() {
        if tensor.offset != at {
            let place = format!("data of tensor `{}`", tensor.name.escape_debug());
            return Err(malformed(file, &place, format!("a start at byte {at}, where the tensor before it ends"), tensor.offset));
        }
        // Each range ends at a number of 64 bits, so the sum does not overflow; that the file has the range comes first.
        at += tensor.len;
        if at > room {
            break;
        }
        tensor.offset += data;
    }
    if at != room {
        return Err(malformed(file, "data of all tensors", format!("the file's {room} bytes after the header"), at));
    }
    match NameIndex::build(tensors.len(), |i| tensors[i].name.as_str()) {
        Ok(_) => Ok(()),
        Err(duplicate) => {
            let name = tensors[duplicate].name.escape_debug();
            Err(malformed(file, PLACE, "each tensor once", format!("`{name}` a second time")))
        }
    }
}

/// The whole header.
struct Header;

impl<'de> DeserializeSeed<'de> for Header {
    type Value = Vec<TensorInfo>;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Header {
    type Value = Vec<TensorInfo>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tensors = Vec::new();
        let mut described = false;
        while let Some(name) = map.next_key::<String>()? {
            if name == "__metadata__" {
                if std::mem::replace(&mut described, true) {
                    return Err(A::Error::duplicate_field("__metadata__"));
                }
                map.next_value::<Option<Texts>>()?;
                continue;
            }
            if name.is_empty() || tensors.len() == MAX_TENSORS {
                let reason = if name.is_empty() { "a tensor without a name".to_owned() } else { format!("over {MAX_TENSORS} tensors") };
                return Err(A::Error::custom(reason));
            }
            let tensor = map.next_value_seed(Entry { name })?;
            reserve_gently(&mut tensors, u64::MAX);
            tensors.push(tensor);
        }
        Ok(tensors)
    }
}

/// An object of strings, which nothing here needs.
struct Texts;

impl<'de> Deserialize<'de> for Texts {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Texts {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<String, String>()?.is_some() {}
        Ok(self)
    }
}

/// The value under a tensor's name.
struct Entry {
    name: String,
}

impl<'de> DeserializeSeed<'de> for Entry {
    type Value = TensorInfo;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<TensorInfo, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entry {
    type Value = TensorInfo;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with dtype, shape and data_offsets")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TensorInfo, A::Error> {
        let (mut dtype, mut shape, mut range) = (None, None, None);
        while let Some(field) = map.next_key::<String>()? {
            match field.as_str() {
                "dtype" => once(&mut dtype, map.next_value::<String>()?, "dtype")?,
                "shape" => once(&mut shape, map.next_value::<Shape>()?.0, "shape")?,
                "data_offsets" => once(&mut range, map.next_value::<(u64, u64)>()?, "data_offsets")?,
                _ => drop(map.next_value::<IgnoredAny>()?),
            }
        }
        let dtype = dtype.ok_or_else(|| A::Error::missing_field("dtype"))?;
        let shape = shape.ok_or_else(|| A::Error::missing_field("shape"))?;
        let range = range.ok_or_else(|| A::Error::missing_field("data_offsets"))?;
        self.tensor(&dtype, shape, range).map_err(A::Error::custom)
    }
}

impl Entry {
    fn tensor(self, dtype: &str, shape: Vec<u64>, (start, end): (u64, u64)) -> Result<TensorInfo, String> {
        let name = self.name.escape_debug();
        let Some(dtype) = DType::from_safetensors(dtype) else {
            return Err(format!("tensor `{name}` is of type {:?}, which is not known", dtype.chars().take(40).collect::<String>()));
        };
        let elems = shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
        let expected = elems.and_then(|elems| dtype.bytes_for(elems));
        match (end.checked_sub(start), expected) {
            (Some(len), Some(expected)) if len == expected => {
                Ok(TensorInfo { name: self.name, dtype, shape, file: 0, offset: start, len, packed: None })
            }
            (_, expected) => {
                let expected =
                    expected.map_or_else(|| "more bytes than 64 bits count, or no whole number".to_owned(), |n| format!("{n} bytes"));
                Err(format!("tensor `{name}`: {dtype} {shape:?} takes {expected}, and its data_offsets are {start} and {end}"))
            }
        }
    }
}

fn once<T, E: Error>(slot: &mut Option<T>, value: T, field: &'static str) -> Result<(), E> {
    if slot.replace(value).is_some() { Err(E::duplicate_field(field)) } else { Ok(()) }
}

/// Dimensions, not more than [`MAX_RANK`].
struct Shape(Vec<u64>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(reader: D) -> Result<Self, D::Error> {
        reader.deserialize_seq(ShapeVisitor).map(Self)
    }
}

struct ShapeVisitor;

impl<'de> Visitor<'de> for ShapeVisitor {
    type Value = Vec<u64>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a list of at most {MAX_RANK} dimensions")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut dims = [0; MAX_RANK];
        let mut rank = 0;
        while let Some(dim) = list.next_element()? {
            *dims.get_mut(rank).ok_or_else(|| A::Error::invalid_length(rank + 1, &self))? = dim;
            rank += 1;
        }
        Ok(dims[..rank].to_vec())
    }
}
