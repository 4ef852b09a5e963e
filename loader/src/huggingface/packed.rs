//! Quantised matrices that repositories store as several tensors: codes, scales, zero points. Each is one tensor of the index, and
//! its rows are put together here, as many as are asked for, in blocks:
//!
//! | type | a block |
//! |---|---|
//! | `AFFINE4_*`, `AFFINE8_*` | f32 `d`, f32 `m`, codes of 4 or 8 bits: `code * d + m` |
//! | `NF4` | f32 `d`, codes of 4 bits: `NF4_VALUES[code] * d` |
//! | `MXFP4` | an exponent, codes of 4 bits, as in ggml's blocks |
//! | `SCALED_F8_E4M3`, `SCALED_F8_E5M2` | f32 `d`, floats of 8 bits: `float * d` |
//! | `F16`, `BF16`, `F32` | a value: where groups are of columns that are no neighbours |
//!
//! 4-bit codes are 16 bytes for each 32 columns: byte `i` has that of column `i` in its low half and that of column `i + 16` in its
//! high half, as in ggml's blocks. A block has the columns that share a scale, or an even part of them.

use std::sync::Arc;

use crate::{DType, LoadError, Source};

mod affine;
mod codes;
mod collect;
mod float8;
mod gathered;
mod matrix;
mod mxfp4;
mod nf4;
mod part;
mod scheme;

pub(super) use collect::{Assembled, assemble};
pub(crate) use scheme::Refusal;

pub use nf4::VALUES as NF4_VALUES;

use affine::Affine;
use float8::Float8;
use gathered::Gathered;
use mxfp4::Mxfp4;
use nf4::Nf4;

/// Columns whose codes lie together; a block has one or more times as many.
const RUN: usize = 32;

/// A matrix in several tensors.
#[derive(Debug, Clone)]
pub(crate) struct Packed {
    /// How many matrices lie one after another; none for one that is a tensor of its own.
    matrices: Option<u64>,
    rows: u64,
    cols: u64,
    storage: Storage,
}

#[derive(Debug, Clone)]
enum Storage {
    Affine(Affine),
    Gathered(Gathered),
    Nf4(Nf4),
    Float8(Float8),
    Mxfp4(Mxfp4),
}

impl Packed {
    /// The type of the blocks that come of it.
    fn dtype(&self) -> DType {
        match &self.storage {
            Storage::Affine(affine) => affine.dtype(),
            Storage::Gathered(gathered) => gathered.dtype(),
            Storage::Nf4(_) => DType::NF4,
            Storage::Float8(float8) => float8.dtype,
            Storage::Mxfp4(_) => DType::MXFP4,
        }
    }

    /// Rows `first..first + rows` in blocks.
    pub(crate) async fn read_rows(&self, files: &[Arc<dyn Source>], first: u64, rows: u64) -> Result<Vec<u8>, LoadError> {
        let range = first..first.saturating_add(rows).min(self.rows);
        match &self.storage {
            Storage::Affine(affine) => affine.read_rows(files, range, self.cols).await,
            Storage::Gathered(gathered) => gathered.read_rows(files, range, self.cols).await,
            Storage::Nf4(nf4) => nf4.read_rows(files, range, self.cols).await,
            Storage::Float8(float8) => float8.read_rows(files, range, self.cols).await,
            Storage::Mxfp4(mxfp4) => mxfp4.read_rows(files, range).await,
        }
    }
}

/// Appends codes of 4 bits, two a byte.
fn push_nibbles(out: &mut Vec<u8>, codes: &[u8]) {
    for run in codes.as_chunks::<RUN>().0 {
        let (low, high) = run.split_at(RUN / 2);
        out.extend(low.iter().zip(high).map(|(low, high)| low | high << 4));
    }
}
