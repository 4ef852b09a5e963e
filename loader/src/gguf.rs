//! GGUF versions 2 and 3, little-endian: magic, version, counts, metadata, tensor index, padding, tensor data.
//!
//! The layout is ggml's `docs/gguf.md`. Every count and size is checked against the bytes that the file still has
//! before anything is allocated for it.

use std::sync::Arc;

use crate::metadata::{Metadata, Value};
use crate::names::{NameIndex, reserve_gently};
use crate::{LoadError, Source, TensorInfo};

mod reader;
mod split;
mod tensors;
mod values;
mod writer;

pub(crate) use split::{Parts, open_parts, part_count, refuse_part};

use reader::{Place, Reader};
pub use writer::{GgufLayout, GgufWriteError, GgufWriter, NewTensor};

const MAGIC: &[u8; 4] = b"GGUF";
/// Entries and tensors that a file may have; published files have under a hundred entries and a few thousand tensors.
const MAX_ENTRIES: u64 = 1 << 14;
const MAX_TENSORS: u64 = 1 << 17;
/// The longest key or tensor name, in bytes, by the format (keys) and far past practice (names).
const MAX_NAME: u64 = (1 << 16) - 1;
/// Bytes of the smallest entry: a key of one byte, its type, a value of one byte.
const MIN_ENTRY: u64 = 8 + 1 + 4 + 1;
/// Bytes of the smallest tensor record: a name of one byte, rank, one dimension, type, offset.
const MIN_TENSOR: u64 = 8 + 1 + 4 + 8 + 4 + 8;
/// Where tensors begin, unless `general.alignment` says otherwise, in bytes.
const DEFAULT_ALIGNMENT: u64 = 32;
const ALIGNMENT_KEY: &str = "general.alignment";

/// What a GGUF file says before its tensor data.
pub(crate) struct Header {
    pub(crate) metadata: Metadata,
    pub(crate) tensors: Vec<TensorInfo>,
    pub(crate) index: NameIndex,
}

/// Whether `head`, a file's first bytes, is the start of a GGUF file of either byte order.
pub(crate) fn is_gguf(head: &[u8]) -> bool {
    head.starts_with(MAGIC)
}

/// Reads and checks everything before the tensor data.
pub(crate) async fn read_header(source: &dyn Source) -> Result<Header, LoadError> {
    let mut reader = Reader::new(source);
    reader.skip(MAGIC.len() as u64).await?;
    read_version(&mut reader).await?;
    let tensor_count = read_count(&mut reader, "tensor count", MAX_TENSORS, MIN_TENSOR).await?;
    let entry_count = read_count(&mut reader, "metadata entry count", MAX_ENTRIES, MIN_ENTRY).await?;
    let metadata = read_metadata(&mut reader, entry_count).await?;
    let alignment = read_alignment(&metadata)?;
    let (tensors, index) = tensors::read_index(&mut reader, tensor_count, alignment).await?;
    Ok(Header { metadata, tensors, index })
}

async fn read_version(reader: &mut Reader<'_>) -> Result<(), LoadError> {
    reader.place = Place::Field("version");
    let version = reader.u32().await?;
    let (found, advice) = match version {
        2 | 3 => return Ok(()),
        1 => ("GGUF version 1".to_owned(), "convert the model again with a current converter"),
        _ if matches!(version.swap_bytes(), 1..=3) => ("big-endian GGUF".to_owned(), "use a little-endian conversion of the model"),
        _ => (format!("GGUF version {version}"), "versions 2 and 3 are read; use a newer program or an older conversion"),
    };
    Err(LoadError::Unsupported { file: reader.file().to_owned(), found, advice: advice.to_owned() })
}

/// Reads a count of records that each take at least `smallest` bytes.
async fn read_count(reader: &mut Reader<'_>, what: &'static str, most: u64, smallest: u64) -> Result<u64, LoadError> {
    reader.place = Place::Field(what);
    let count = reader.u64().await?;
    let room = reader.remaining() / smallest;
    if count > most || count > room {
        return Err(reader.malformed(format!("at most {} (the file has {} more bytes)", most.min(room), reader.remaining()), count));
    }
    Ok(count)
}

async fn read_metadata(reader: &mut Reader<'_>, count: u64) -> Result<Metadata, LoadError> {
    let mut entries: Vec<(String, Value)> = Vec::new();
    for number in 0..count {
        reader.place = Place::Entry(number);
        let key = reader.string(MAX_NAME).await?;
        if key.is_empty() {
            return Err(reader.malformed("a key", "an empty string"));
        }
        reader.place = Place::Key(key.clone());
        let value = values::read_value(reader).await?;
        reserve_gently(&mut entries, count - number);
        entries.push((key, value));
    }
    Metadata::new(Arc::from(reader.file()), entries).map_err(|(mut entries, duplicate)| {
        reader.place = Place::Key(std::mem::take(&mut entries[duplicate].0));
        reader.malformed("each key once", "the key a second time")
    })
}

fn read_alignment(metadata: &Metadata) -> Result<u64, LoadError> {
    let alignment = metadata.optional(ALIGNMENT_KEY, Metadata::u32)?.map_or(DEFAULT_ALIGNMENT, u64::from);
    if alignment.is_power_of_two() {
        Ok(alignment)
    } else {
        Err(metadata.bad_value(ALIGNMENT_KEY, "a power of two", alignment.to_string()))
    }
}
