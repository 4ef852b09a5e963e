//! 8-bit floats with a scale for the whole matrix, for each row, or for each tile of it.

use std::ops::Range;
use std::sync::Arc;

use super::part::Part;
use crate::{DType, LoadError, Source};

/// Columns of a block.
pub(super) const COLUMNS: u64 = 64;

#[derive(Debug, Clone)]
pub(super) struct Float8 {
    /// The type of the blocks.
    pub(super) dtype: DType,
    /// `[rows, cols]`, a byte each.
    pub(super) floats: Part,
    /// A scale for each tile.
    pub(super) scales: Part,
    /// Rows of a tile.
    pub(super) tile_rows: u64,
    /// Columns of a tile: all, or a multiple of 64.
    pub(super) tile_cols: u64,
}

impl Float8 {
    /// Rows of a matrix of `cols` columns in blocks.
    pub(super) async fn read_rows(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: u64) -> Result<Vec<u8>, LoadError> {
        let bytes = self.floats.region(files, rows.clone(), 0..cols).await?;
        let first = rows.start / self.tile_rows;
        let across = cols.div_ceil(self.tile_cols) as usize;
        // Stored as a vector where there is one a row, so counted from the first.
        let tiles = first * across as u64..rows.end.div_ceil(self.tile_rows) * across as u64;
        let scales = self.scales.floats(files, 0..1, tiles).await?;
        let mut out = Vec::with_capacity(bytes.len() / 64 * 68);
        for (row, bytes) in rows.zip(bytes.chunks_exact(cols as usize)) {
            let tile = (row / self.tile_rows - first) as usize * across;
            for (block, bytes) in bytes.chunks_exact(COLUMNS as usize).enumerate() {
                let scale = scales[tile + (block as u64 * COLUMNS / self.tile_cols) as usize];
                out.extend(scale.to_le_bytes());
                out.extend_from_slice(bytes);
            }
        }
        Ok(out)
    }
}
