//! Metadata values.

use std::future::Future;
use std::pin::Pin;

use super::reader::Reader;
use super::writer::write_string;
use crate::LoadError;
use crate::metadata::{Array, Strings, Value};
use crate::names::reserve_gently;

/// Arrays of arrays may nest this deep; published files do not nest at all.
pub(super) const MAX_DEPTH: u32 = 4;
/// Bytes of an array that are decoded at a time.
const CHUNK: u64 = 64 << 10;
/// ggml's numbers for the types of strings and arrays.
const STRING: u32 = 8;
const ARRAY: u32 = 9;

/// Reads a value: its type, then its bytes.
pub(super) async fn read_value(reader: &mut Reader<'_>) -> Result<Value, LoadError> {
    let kind = reader.u32().await?;
    Ok(match kind {
        0 => Value::U8(u8::from_le_bytes(reader.array().await?)),
        1 => Value::I8(i8::from_le_bytes(reader.array().await?)),
        2 => Value::U16(u16::from_le_bytes(reader.array().await?)),
        3 => Value::I16(i16::from_le_bytes(reader.array().await?)),
        4 => Value::U32(u32::from_le_bytes(reader.array().await?)),
        5 => Value::I32(i32::from_le_bytes(reader.array().await?)),
        6 => Value::F32(f32::from_le_bytes(reader.array().await?)),
        7 => {
            let [byte] = reader.array().await?;
            Value::Bool(to_bool(byte).ok_or_else(|| not_a_bool(reader, byte))?)
        }
        STRING => Value::String(reader.string(u64::MAX).await?),
        ARRAY => Value::Array(read_array(reader, 1).await?),
        10 => Value::U64(u64::from_le_bytes(reader.array().await?)),
        11 => Value::I64(i64::from_le_bytes(reader.array().await?)),
        12 => Value::F64(f64::from_le_bytes(reader.array().await?)),
        _ => return Err(unknown_kind(reader, kind)),
    })
}

/// Reads an array at nesting `depth`: element type, count, elements.
async fn read_array(reader: &mut Reader<'_>, depth: u32) -> Result<Array, LoadError> {
    let kind = reader.u32().await?;
    let count = reader.u64().await?;
    Ok(match kind {
        0 => Array::U8(read_numbers(reader, count, u8::from_le_bytes).await?),
        1 => Array::I8(read_numbers(reader, count, i8::from_le_bytes).await?),
        2 => Array::U16(read_numbers(reader, count, u16::from_le_bytes).await?),
        3 => Array::I16(read_numbers(reader, count, i16::from_le_bytes).await?),
        4 => Array::U32(read_numbers(reader, count, u32::from_le_bytes).await?),
        5 => Array::I32(read_numbers(reader, count, i32::from_le_bytes).await?),
        6 => Array::F32(read_numbers(reader, count, f32::from_le_bytes).await?),
        7 => {
            let bytes = read_numbers(reader, count, u8::from_le_bytes).await?;
            if let Some(&byte) = bytes.iter().find(|&&byte| to_bool(byte).is_none()) {
                return Err(not_a_bool(reader, byte));
            }
            Array::Bool(bytes.into_iter().map(|byte| byte == 1).collect())
        }
        STRING => Array::String(read_strings(reader, count).await?),
        ARRAY => Array::Array(read_arrays(reader, count, depth).await?),
        10 => Array::U64(read_numbers(reader, count, u64::from_le_bytes).await?),
        11 => Array::I64(read_numbers(reader, count, i64::from_le_bytes).await?),
        12 => Array::F64(read_numbers(reader, count, f64::from_le_bytes).await?),
        _ => return Err(unknown_kind(reader, kind)),
    })
}

/// Checks that `count` elements of at least `smallest` bytes each can still be in the file.
fn check_count(reader: &Reader<'_>, count: u64, smallest: u64) -> Result<(), LoadError> {
    match count.checked_mul(smallest) {
        Some(bytes) if bytes <= reader.remaining() => Ok(()),
        _ => Err(reader.malformed(
            format!("an array that fits the {} bytes left in the file", reader.remaining()),
            format!("{count} elements of {smallest} or more bytes each"),
        )),
    }
}

async fn read_numbers<T, const N: usize>(reader: &mut Reader<'_>, count: u64, decode: fn([u8; N]) -> T) -> Result<Vec<T>, LoadError> {
    check_count(reader, count, N as u64)?;
    let mut numbers = Vec::new();
    let mut left = count;
    while left > 0 {
        let now = left.min(CHUNK / N as u64);
        let bytes = reader.take(now * N as u64).await?;
        numbers.extend(bytes.as_chunks::<N>().0.iter().map(|&bytes| decode(bytes)));
        left -= now;
    }
    Ok(numbers)
}

async fn read_strings(reader: &mut Reader<'_>, count: u64) -> Result<Strings, LoadError> {
    check_count(reader, count, 8)?;
    let mut strings = Strings::default();
    for _ in 0..count {
        if !reader.with_str(u64::MAX, |text| strings.push(text)).await? {
            return Err(reader.malformed("at most 4 GiB of text in an array", "more"));
        }
    }
    Ok(strings)
}

/// Boxed, because it and [`read_array`] call each other.
fn read_arrays<'a>(
    reader: &'a mut Reader<'_>,
    count: u64,
    depth: u32,
) -> Pin<Box<dyn Future<Output = Result<Vec<Array>, LoadError>> + 'a>> {
    Box::pin(async move {
        if depth == MAX_DEPTH {
            return Err(reader.malformed(format!("arrays nested at most {MAX_DEPTH} deep"), "deeper nesting"));
        }
        check_count(reader, count, 4 + 8)?;
        let mut arrays = Vec::new();
        for read in 0..count {
            let array = read_array(reader, depth + 1).await?;
            reserve_gently(&mut arrays, count - read);
            arrays.push(array);
        }
        Ok(arrays)
    })
}

fn to_bool(byte: u8) -> Option<bool> {
    match byte {
        0 => Some(false),
        1 => Some(true),
        _ => None,
    }
}

fn not_a_bool(reader: &Reader<'_>, byte: u8) -> LoadError {
    reader.malformed("a bool, 0 or 1", byte)
}

fn unknown_kind(reader: &Reader<'_>, kind: u32) -> LoadError {
    reader.malformed("a value type from 0 to 12", kind)
}

/// Appends a value: its type, then its bytes. `false` if it nests deeper than [`read_value`] follows.
#[must_use]
pub(super) fn write_value(out: &mut Vec<u8>, value: &Value) -> bool {
    let kind: u32 = match value {
        Value::U8(_) => 0,
        Value::I8(_) => 1,
        Value::U16(_) => 2,
        Value::I16(_) => 3,
        Value::U32(_) => 4,
        Value::I32(_) => 5,
        Value::F32(_) => 6,
        Value::Bool(_) => 7,
        Value::String(_) => STRING,
        Value::Array(_) => ARRAY,
        Value::U64(_) => 10,
        Value::I64(_) => 11,
        Value::F64(_) => 12,
    };
    out.extend_from_slice(&kind.to_le_bytes());
    match value {
        Value::U8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I8(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I16(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::U32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F32(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::String(v) => write_string(out, v),
        Value::Array(v) => return write_array(out, v, 1),
        Value::U64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::I64(v) => out.extend_from_slice(&v.to_le_bytes()),
        Value::F64(v) => out.extend_from_slice(&v.to_le_bytes()),
    }
    true
}

/// Appends an array at nesting `depth`: element type, count, elements.
fn write_array(out: &mut Vec<u8>, array: &Array, depth: u32) -> bool {
    fn numbers<T: Copy, const N: usize>(out: &mut Vec<u8>, kind: u32, items: &[T], encode: fn(T) -> [u8; N]) {
        head(out, kind, items.len());
        out.extend(items.iter().flat_map(|&item| encode(item)));
    }
    fn head(out: &mut Vec<u8>, kind: u32, count: usize) {
        out.extend_from_slice(&kind.to_le_bytes());
        out.extend_from_slice(&(count as u64).to_le_bytes());
    }
    match array {
        Array::U8(items) => numbers(out, 0, items, u8::to_le_bytes),
        Array::I8(items) => numbers(out, 1, items, i8::to_le_bytes),
        Array::U16(items) => numbers(out, 2, items, u16::to_le_bytes),
        Array::I16(items) => numbers(out, 3, items, i16::to_le_bytes),
        Array::U32(items) => numbers(out, 4, items, u32::to_le_bytes),
        Array::I32(items) => numbers(out, 5, items, i32::to_le_bytes),
        Array::F32(items) => numbers(out, 6, items, f32::to_le_bytes),
        Array::Bool(items) => numbers(out, 7, items, |item| [u8::from(item)]),
        Array::String(items) => {
            head(out, STRING, items.len());
            items.iter().for_each(|item| write_string(out, item));
        }
        Array::Array(items) => {
            head(out, ARRAY, items.len());
            return depth < MAX_DEPTH && items.iter().all(|item| write_array(out, item, depth + 1));
        }
        Array::U64(items) => numbers(out, 10, items, u64::to_le_bytes),
        Array::I64(items) => numbers(out, 11, items, i64::to_le_bytes),
        Array::F64(items) => numbers(out, 12, items, f64::to_le_bytes),
    }
    true
}
