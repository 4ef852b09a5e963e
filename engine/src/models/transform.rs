//! How rows of published tensors become those of weights.

use std::borrow::Cow;

use parhelion_loader::{Checkpoint, DType, LoadError, TensorInfo};

use crate::formats;

/// [`super::Reorder`] with the model's sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transform {
    /// Rows stay where they are.
    None,
    /// See [`super::Reorder::InterleavedHeads`].
    InterleavedHeads {
        /// Rows of a head, even.
        head_dim: u32,
    },
    /// From the engine's order to that of [`super::Reorder::InterleavedHeads`]: for files that are written.
    IntoInterleavedHeads {
        /// Rows of a head, even.
        head_dim: u32,
    },
    /// Every other published row.
    Alternate {
        /// The first of them, 0 or 1.
        first: u32,
    },
    /// Every so manieth column, as a row; of each of several matrices, one after another.
    Transposed {
        /// Rows that a matrix gives.
        rows: u32,
        /// From one of its columns to the next.
        step: u32,
        /// The first of them.
        first: u32,
    },
}

impl Transform {
    /// The elements of a published vector of plain numbers in their new order, with `shift` added.
    pub(crate) fn vector(self, dtype: DType, bytes: &[u8], shift: f32) -> Vec<f32> {
        let published: Vec<f32> = formats::to_f32(dtype, bytes).collect();
        let order = (0..published.len()).map(|i| match self {
            Self::Alternate { first } => 2 * i + first as usize,
            _ => self.source_row(i as u32) as usize,
        });
        order.map_while(|i| Some(published.get(i)? + shift)).collect()
    }

    /// The dimensions of the published tensor that has `rows` rows of `cols` columns, or `rows` elements of a vector.
    pub(crate) fn published(self, rows: u32, cols: Option<u32>) -> Vec<u64> {
        let (rows, cols) = (u64::from(rows), cols.map(u64::from));
        match (self, cols) {
            (Self::Alternate { .. }, _) => [Some(2 * rows), cols].into_iter().flatten().collect(),
            (Self::Transposed { step, .. }, Some(cols)) => vec![cols, u64::from(step) * rows],
            _ => [Some(rows), cols].into_iter().flatten().collect(),
        }
    }

    /// Whether published rows are rows.
    pub(crate) fn keeps_rows(self) -> bool {
        !matches!(self, Self::Transposed { .. })
    }

    /// How many published rows make one.
    pub(crate) fn published_rows(self) -> u64 {
        if matches!(self, Self::Alternate { .. }) { 2 } else { 1 }
    }

    /// Bytes of a row of `cols` columns of a tensor.
    pub(crate) fn row_bytes(self, info: &TensorInfo, cols: u32) -> u64 {
        match self {
            Self::Transposed { .. } => u64::from(cols) * info.dtype.block_bytes(),
            _ => info.row_bytes(),
        }
    }

    /// Rows `first..first + count` of `cols` columns, of which [`Transform::source_row`] says the order.
    ///
    /// # Errors
    /// The checkpoint's.
    pub(crate) async fn read<'a>(
        self,
        checkpoint: &'a Checkpoint,
        info: &TensorInfo,
        (first, count, cols): (u32, u32, u32),
    ) -> Result<Cow<'a, [u8]>, LoadError> {
        match self {
            Self::Alternate { first: odd } => {
                let bytes = checkpoint.read_rows(info, 2 * u64::from(first), 2 * u64::from(count)).await?;
                let row = info.row_bytes().max(1) as usize;
                let rows = bytes.chunks_exact(row).skip(odd as usize).step_by(2);
                Ok(Cow::Owned(rows.flatten().copied().collect()))
            }
            Self::Transposed { rows, step, first: odd } => {
                let columns = Columns { rows, step, odd, cols };
                columns.read(checkpoint, info, first, count).await.map(Cow::Owned)
            }
            _ => checkpoint.read_rows(info, u64::from(first), u64::from(count)).await,
        }
    }

    /// Rows are reordered within groups of this many.
    pub fn granule(self) -> u32 {
        match self {
            Self::None | Self::Alternate { .. } | Self::Transposed { .. } => 1,
            Self::InterleavedHeads { head_dim } | Self::IntoInterleavedHeads { head_dim } => head_dim,
        }
    }

    /// The row among those that [`Transform::read`] gives that becomes row `row`, both counted from the start of a granule.
    pub fn source_row(self, row: u32) -> u32 {
        match self {
            Self::None | Self::Alternate { .. } | Self::Transposed { .. } => row,
            Self::InterleavedHeads { head_dim } => {
                let (head, within) = (row / head_dim * head_dim, row % head_dim);
                let half = head_dim / 2;
                head + (within % half) * 2 + within / half
            }
            Self::IntoInterleavedHeads { head_dim } => {
                let (head, within) = (row / head_dim * head_dim, row % head_dim);
                head + within % 2 * (head_dim / 2) + within / 2
            }
        }
    }
}

/// Matrices of which every so manieth column is a row, one matrix after another.
struct Columns {
    /// Rows that a matrix gives.
    rows: u32,
    /// From one of its columns to the next.
    step: u32,
    /// The first of them.
    odd: u32,
    /// Columns of a row.
    cols: u32,
}

impl Columns {
    /// Rows `first..first + count`: of each matrix the same strip of all its own rows.
    async fn read(&self, checkpoint: &Checkpoint, info: &TensorInfo, first: u32, count: u32) -> Result<Vec<u8>, LoadError> {
        let size = info.dtype.block_bytes();
        let across = u64::from(self.step) * u64::from(self.rows) * size;
        let (row_bytes, element) = (self.cols as usize * size as usize, size as usize);
        let mut out = vec![0; count as usize * row_bytes];
        let mut done = 0;
        while done < count {
            let (matrix, within) = ((first + done) / self.rows.max(1), (first + done) % self.rows.max(1));
            let taken = (count - done).min(self.rows - within).max(1);
            for col in 0..self.cols {
                let row = u64::from(matrix) * u64::from(self.cols) + u64::from(col);
                let strip = u64::from(self.step) * size;
                let bytes = checkpoint.read(info, row * across + u64::from(within) * strip, u64::from(taken) * strip).await?;
                let values = bytes.chunks_exact(element).skip(self.odd as usize).step_by(self.step as usize);
                for (value, row) in values.zip(out[done as usize * row_bytes..].chunks_exact_mut(row_bytes)) {
                    row[col as usize * element..][..element].copy_from_slice(value);
                }
            }
            done += taken;
        }
        Ok(out)
    }
}
