//! One stored tensor of several that make a matrix.

use std::ops::Range;
use std::sync::Arc;

use crate::{DType, LoadError, Source, TensorInfo};

/// A stored tensor, seen as a matrix.
#[derive(Debug, Clone)]
pub(super) struct Part {
    name: String,
    file: usize,
    offset: u64,
    dtype: DType,
    pub(super) rows: u64,
    pub(super) cols: u64,
}

impl Part {
    /// The whole of a stored tensor: its last dimension are the columns.
    pub(super) fn new(info: &TensorInfo) -> Self {
        let (cols, rows) = info.shape.split_last().map_or((1, 1), |(&cols, rows)| (cols, rows.iter().product()));
        Self { name: info.name.clone(), file: info.file, offset: info.offset, dtype: info.dtype, rows, cols }
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The number of the file.
    pub(super) fn file(&self) -> usize {
        self.file
    }

    /// The bytes of a rectangle, row after row.
    pub(super) async fn region(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: Range<u64>) -> Result<Vec<u8>, LoadError> {
        let size = self.dtype.block_bytes();
        let (width, across) = ((cols.end - cols.start) * size, self.cols * size);
        let file = files.get(self.file).ok_or_else(|| self.failed(0, "there is no such file".to_owned()))?;
        let too_much = |_| self.failed(width, "more than this machine can address".to_owned());
        let total = usize::try_from((rows.end - rows.start) * width).map_err(too_much)?;
        let at = |row: u64| self.offset + row * across + cols.start * size;
        if width == across || rows.end - rows.start == 1 {
            return Ok(file.read(at(rows.start), total).await?.into_owned());
        }
        let width = usize::try_from(width).map_err(too_much)?;
        let mut bytes = Vec::with_capacity(total);
        for row in rows {
            bytes.extend_from_slice(&file.read(at(row), width).await?);
        }
        Ok(bytes)
    }

    /// A rectangle of words of 32 bits.
    pub(super) async fn words(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: Range<u64>) -> Result<Vec<u32>, LoadError> {
        let bytes = self.region(files, rows, cols).await?;
        Ok(bytes.as_chunks::<4>().0.iter().map(|&word| u32::from_le_bytes(word)).collect())
    }

    /// A rectangle of F32, F16 or BF16.
    pub(super) async fn floats(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: Range<u64>) -> Result<Vec<f32>, LoadError> {
        let bytes = self.region(files, rows, cols).await?;
        let halves = bytes.as_chunks::<2>().0.iter().map(|&half| u16::from_le_bytes(half));
        Ok(match self.dtype {
            DType::F16 => halves.map(f16_to_f32).collect(),
            DType::BF16 => halves.map(|half| f32::from_bits(u32::from(half) << 16)).collect(),
            _ => bytes.as_chunks::<4>().0.iter().map(|&word| f32::from_le_bytes(word)).collect(),
        })
    }

    fn failed(&self, len: u64, reason: String) -> LoadError {
        LoadError::Read { file: self.name.clone(), offset: self.offset, len, reason }
    }
}

/// Whether a type is one that scales are stored in.
pub(super) fn is_float(dtype: DType) -> bool {
    matches!(dtype, DType::F32 | DType::F16 | DType::BF16)
}

fn f16_to_f32(bits: u16) -> f32 {
    half::f16::from_bits(bits).to_f32()
}

/// A part with a value for each row of a matrix and each group of its columns.
#[derive(Debug, Clone)]
pub(super) struct Grid {
    pub(super) part: Part,
    /// Whether the part is `[groups, rows]`.
    pub(super) transposed: bool,
}

impl Grid {
    /// The values of some rows, all groups of a row together.
    pub(super) async fn read(&self, files: &[Arc<dyn Source>], rows: Range<u64>) -> Result<Vec<f32>, LoadError> {
        if !self.transposed {
            return self.part.floats(files, rows, 0..self.part.cols).await;
        }
        let groups = self.part.rows;
        let values = self.part.floats(files, 0..groups, rows.clone()).await?;
        Ok(transpose(&values, (rows.end - rows.start) as usize))
    }
}

/// Rows of a matrix of `cols` columns become columns.
pub(super) fn transpose<T: Copy>(values: &[T], cols: usize) -> Vec<T> {
    (0..cols).flat_map(|col| values.iter().skip(col).step_by(cols.max(1)).copied()).collect()
}
