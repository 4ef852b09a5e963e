//! Writes GGUF files, version 3, little-endian: everything before the tensor data at once, then the tensors as they come.

use std::collections::HashSet;
use std::io::{self, Write};

use super::{DEFAULT_ALIGNMENT, MAGIC, MAX_ENTRIES, MAX_NAME, MAX_TENSORS, tensors::MAX_RANK, values};
use crate::metadata::Value;
use crate::{DType, TensorInfo};

/// The version that is written.
const VERSION: u32 = 3;

/// Why a GGUF file cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GgufWriteError {
    /// Something that the format has no room for.
    #[error("{place}: a GGUF file needs {expected}, and this is {got}")]
    Unwritable {
        /// The entry or the tensor.
        place: String,
        /// What the format asks for.
        expected: String,
        /// What was to be written.
        got: String,
    },
    /// More or fewer bytes than the tensors have.
    #[error("the data of tensor `{tensor}` take {expected} bytes and {got} were given")]
    Length {
        /// The tensor.
        tensor: String,
        /// Bytes by its type and shape.
        expected: u64,
        /// Bytes that came.
        got: u64,
    },
    /// The system refused to write.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A tensor to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewTensor {
    /// The name, up to 65,535 bytes (llama.cpp reads up to 63).
    pub name: String,
    /// How its elements are stored.
    pub dtype: DType,
    /// Dimensions, the slowest first, as in [`TensorInfo::shape`]: one to four, none of them 0.
    pub shape: Vec<u64>,
}

/// Everything of a file that comes before its tensors' data, and where these go: sizes are known before a byte is written.
#[derive(Debug, Clone)]
pub struct GgufLayout {
    head: Vec<u8>,
    alignment: u64,
    /// Name and bytes of each tensor.
    tensors: Vec<(String, u64)>,
    total: u64,
}

impl GgufLayout {
    /// Lays out a file of these entries and tensors, both in the order in which they are to stand. Data are aligned as
    /// `general.alignment` says, or to 32 bytes.
    ///
    /// # Errors
    /// [`GgufWriteError::Unwritable`] for what the format cannot hold or readers would refuse: names that are empty, too long or
    /// taken, shapes of no elements, rows that are no whole blocks, sizes past 64 bits.
    pub fn new<'a>(
        entries: impl ExactSizeIterator<Item = (&'a str, &'a Value)>,
        tensors: impl ExactSizeIterator<Item = NewTensor>,
    ) -> Result<Self, GgufWriteError> {
        let within = |what: &str, count: usize, most: u64| match count as u64 {
            count if count <= most => Ok(count),
            count => Err(unwritable(what, format!("at most {most} of them"), count)),
        };
        let mut head = Vec::new();
        head.extend_from_slice(MAGIC);
        head.extend_from_slice(&VERSION.to_le_bytes());
        head.extend_from_slice(&within("tensors", tensors.len(), MAX_TENSORS)?.to_le_bytes());
        head.extend_from_slice(&within("metadata entries", entries.len(), MAX_ENTRIES)?.to_le_bytes());
        let alignment = write_entries(&mut head, entries)?;
        let mut layout = Self { head, alignment, tensors: Vec::with_capacity(tensors.len()), total: 0 };
        let mut names = HashSet::new();
        let mut end = 0;
        for tensor in tensors {
            end = layout.add(&tensor, end)?;
            if !names.insert(tensor.name.clone()) {
                return Err(unwritable(tensor_place(&tensor.name), "each name once", "a second tensor of the name"));
            }
        }
        layout.head.resize(layout.head.len().next_multiple_of(alignment as usize), 0);
        let total = end.checked_add(layout.head.len() as u64);
        layout.total = total.ok_or_else(|| unwritable("the file", "a size that fits 64 bits", "larger"))?;
        Ok(layout)
    }

    /// Bytes of the whole file.
    pub fn total_bytes(&self) -> u64 {
        self.total
    }

    /// Adds a tensor's record; its data begin at `offset` of the data, and what is returned is where the next one's do.
    fn add(&mut self, tensor: &NewTensor, offset: u64) -> Result<u64, GgufWriteError> {
        let NewTensor { name, dtype, shape } = tensor;
        let refuse = |expected: String, got: String| Err(unwritable(tensor_place(name), expected, got));
        if name.is_empty() || name.len() as u64 > MAX_NAME {
            return refuse(format!("a name of 1 to {MAX_NAME} bytes"), format!("{} bytes", name.len()));
        }
        if shape.is_empty() || shape.len() > MAX_RANK as usize || shape.contains(&0) {
            return refuse(format!("1 to {MAX_RANK} dimensions over 0"), format!("{shape:?}"));
        }
        let Some(kind) = dtype.ggml_id() else { return refuse("a type that ggml has".to_owned(), dtype.to_string()) };
        let elems = shape.iter().try_fold(1_u64, |product, &dim| product.checked_mul(dim));
        let row = shape.last().copied().unwrap_or(0);
        let len = dtype.bytes_for(row).and_then(|_| dtype.bytes_for(elems?));
        let end = len.and_then(|len| offset.checked_add(len)?.checked_next_multiple_of(self.alignment));
        let (Some(len), Some(end)) = (len, end) else {
            let expected = format!("rows of whole {dtype} blocks of {} whose bytes fit 64 bits", dtype.block_elems());
            return refuse(expected, format!("{shape:?}"));
        };
        write_string(&mut self.head, name);
        self.head.extend_from_slice(&(shape.len() as u32).to_le_bytes());
        for dim in shape.iter().rev() {
            self.head.extend_from_slice(&dim.to_le_bytes());
        }
        self.head.extend_from_slice(&kind.to_le_bytes());
        self.head.extend_from_slice(&offset.to_le_bytes());
        self.tensors.push((name.clone(), len));
        Ok(end)
    }
}

/// Writes the entries and returns the alignment that they ask for.
fn write_entries<'a>(head: &mut Vec<u8>, entries: impl Iterator<Item = (&'a str, &'a Value)>) -> Result<u64, GgufWriteError> {
    let mut alignment = DEFAULT_ALIGNMENT;
    let mut keys = HashSet::new();
    for (key, value) in entries {
        let refuse = |expected: String, got: String| Err(unwritable(format!("metadata `{}`", key.escape_debug()), expected, got));
        if key.is_empty() || key.len() as u64 > MAX_NAME {
            return refuse(format!("a key of 1 to {MAX_NAME} bytes"), format!("{} bytes", key.len()));
        }
        if !keys.insert(key) {
            return refuse("each key once".to_owned(), "a second value".to_owned());
        }
        if key == super::ALIGNMENT_KEY {
            alignment = match value {
                Value::U32(bytes) if bytes.is_power_of_two() => u64::from(*bytes),
                other => return refuse("a u32 that is a power of two".to_owned(), other.to_string()),
            };
        }
        write_string(head, key);
        if !values::write_value(head, value) {
            return refuse(format!("arrays nested at most {} deep", values::MAX_DEPTH), "a deeper one".to_owned());
        }
    }
    Ok(alignment)
}

pub(super) fn write_string(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(&(text.len() as u64).to_le_bytes());
    out.extend_from_slice(text.as_bytes());
}

fn tensor_place(name: &str) -> String {
    format!("tensor `{}`", name.escape_debug())
}

fn unwritable(place: impl Into<String>, expected: impl Into<String>, got: impl ToString) -> GgufWriteError {
    GgufWriteError::Unwritable { place: place.into(), expected: expected.into(), got: got.to_string() }
}

/// Writes a file front to back. It holds no tensor: data are passed on as they come, in pieces of any size.
#[derive(Debug)]
pub struct GgufWriter<W> {
    out: W,
    alignment: u64,
    tensors: std::vec::IntoIter<(String, u64)>,
    /// The tensor whose data come next, and how many of its bytes came so far.
    current: Option<(String, u64, u64)>,
}

impl<W: Write> GgufWriter<W> {
    /// Writes everything before the tensors' data.
    ///
    /// # Errors
    /// [`GgufWriteError::Io`].
    pub fn new(mut out: W, layout: GgufLayout) -> Result<Self, GgufWriteError> {
        let GgufLayout { head, alignment, tensors, total: _ } = layout;
        out.write_all(&head)?;
        let mut writer = Self { out, alignment, tensors: tensors.into_iter(), current: None };
        writer.begin_next();
        Ok(writer)
    }

    fn begin_next(&mut self) {
        self.current = self.tensors.next().map(|(name, len)| (name, len, 0));
    }

    /// Writes the next bytes of the tensor `name`, which must be the one whose turn it is; its last bytes end its turn.
    ///
    /// # Errors
    /// [`GgufWriteError::Unwritable`] if it is another tensor's turn, [`GgufWriteError::Length`] for more bytes than it has,
    /// [`GgufWriteError::Io`].
    pub fn write(&mut self, name: &str, bytes: &[u8]) -> Result<(), GgufWriteError> {
        let Some((_, len, written)) = self.current.as_mut().filter(|(current, ..)| current == name) else {
            let turn = self.current.as_ref().map_or("the end".to_owned(), |(current, ..)| tensor_place(current));
            return Err(unwritable(tensor_place(name), format!("the data of {turn} next"), "another's"));
        };
        let got = written.saturating_add(bytes.len() as u64);
        if got > *len {
            return Err(GgufWriteError::Length { tensor: name.to_owned(), expected: *len, got });
        }
        self.out.write_all(bytes)?;
        *written = got;
        if got == *len {
            let padding = (got.next_multiple_of(self.alignment) - got) as usize;
            io::copy(&mut io::Read::take(io::repeat(0), padding as u64), &mut self.out)?;
            self.begin_next();
        }
        Ok(())
    }

    /// Ends the file and gives back what it was written to, flushed.
    ///
    /// # Errors
    /// [`GgufWriteError::Length`] if data are missing, [`GgufWriteError::Io`].
    pub fn finish(mut self) -> Result<W, GgufWriteError> {
        if let Some((tensor, expected, got)) = self.current {
            return Err(GgufWriteError::Length { tensor, expected, got });
        }
        self.out.flush()?;
        Ok(self.out)
    }
}

impl From<&TensorInfo> for NewTensor {
    fn from(info: &TensorInfo) -> Self {
        Self { name: info.name.clone(), dtype: info.dtype, shape: info.shape.clone() }
    }
}
