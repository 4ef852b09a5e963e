//! Codes with a scale and an offset for each group of columns: GPTQ, AWQ, MLX, compressed-tensors.

use std::ops::Range;
use std::sync::Arc;

use super::codes::{bits_of_rows, code, unpack, word_range};
use super::part::{Grid, Part, transpose};
use super::push_nibbles;
use crate::{DType, LoadError, Source};

/// Where in a word of eight AWQ keeps the code of each of eight neighbours.
const AWQ_PLACES: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

#[derive(Debug, Clone)]
pub(super) struct Affine {
    /// Bits of a code: 2, 3, 4 or 8.
    pub(super) bits: u32,
    /// Columns that share a scale: a multiple of 32.
    pub(super) group: u64,
    pub(super) codes: Codes,
    pub(super) scales: Grid,
    pub(super) zero: Zero,
}

/// How codes lie in words. `n` is the number of codes in 32 bits; the first is in the lowest bits. Those of 3 bits cross from one
/// word into the next.
#[derive(Debug, Clone)]
pub(super) enum Codes {
    /// `[rows, cols / n]`: MLX, compressed-tensors.
    Along(Part),
    /// `[rows, cols]` signed bytes: compressed-tensors' `int-quantized`. A code is 128 more.
    Signed(Part),
    /// `[cols / n, rows]`: GPTQ.
    Across(Part),
    /// `[cols, rows / 8]`, rows in the order of [`AWQ_PLACES`]: AWQ.
    Awq(Part),
}

/// What is taken away from codes, or added to scaled ones.
#[derive(Debug, Clone)]
pub(super) enum Zero {
    /// Added after scaling: MLX.
    Bias(Grid),
    /// The same for all: symmetric quantisation, whose codes are stored with half their range added.
    Constant(f32),
    /// `[groups, rows / n]`, to which `plus` is added: GPTQ, whose first format stores one less.
    Across { part: Part, plus: u32 },
    /// `[groups, rows / 8]` in AWQ's order.
    Awq(Part),
    /// `[rows / n, groups]`: compressed-tensors.
    Down(Part),
}

/// Types by bits and by columns of a block, the largest first.
const TYPES: [(u32, DType); 5] =
    [(4, DType::AFFINE4_128), (4, DType::AFFINE4_64), (4, DType::AFFINE4_32), (8, DType::AFFINE8_64), (8, DType::AFFINE8_32)];

impl Affine {
    /// The type of the largest blocks that groups are made of.
    pub(super) fn dtype(&self) -> DType {
        let fits = |&&(bits, dtype): &&(u32, DType)| bits == self.bits.max(4) && self.group.is_multiple_of(dtype.block_elems());
        TYPES.iter().find(fits).map_or(DType::AFFINE8_32, |&(_, dtype)| dtype)
    }

    /// Rows of a matrix of `cols` columns in blocks.
    pub(super) async fn read_rows(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: u64) -> Result<Vec<u8>, LoadError> {
        let codes = self.codes.read(files, rows.clone(), cols, self.bits).await?;
        let scales = self.scales.read(files, rows.clone()).await?;
        let offsets = self.zero.read(files, rows, self.bits, &scales).await?;
        let (cols, groups) = (cols as usize, cols.div_ceil(self.group) as usize);
        let size = self.dtype().block_elems() as usize;
        let mut out = Vec::with_capacity(codes.len() / size * self.dtype().block_bytes() as usize);
        let by_row = codes.chunks_exact(cols).zip(scales.chunks_exact(groups).zip(offsets.chunks_exact(groups)));
        for (codes, (scales, offsets)) in by_row {
            for (block, codes) in codes.chunks_exact(size).enumerate() {
                let group = block * size / self.group as usize;
                out.extend(scales[group].to_le_bytes());
                out.extend(offsets[group].to_le_bytes());
                match self.bits {
                    8 => out.extend_from_slice(codes),
                    _ => push_nibbles(&mut out, codes),
                }
            }
        }
        Ok(out)
    }
}

impl Codes {
    /// The codes of some rows, a byte each.
    pub(super) async fn read(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: u64, bits: u32) -> Result<Vec<u8>, LoadError> {
        let count = (rows.end - rows.start) as usize;
        Ok(match self {
            Self::Along(part) => {
                let words = part.words(files, rows, 0..part.cols).await?;
                unpack(&words, bits)
            }
            Self::Signed(part) => {
                let mut bytes = part.region(files, rows, 0..cols).await?;
                bytes.iter_mut().for_each(|byte| *byte ^= 0x80);
                bytes
            }
            Self::Across(part) => {
                let words = part.words(files, 0..part.rows, rows).await?;
                unpack(&transpose(&words, count), bits)
            }
            Self::Awq(part) => {
                let words = part.words(files, 0..cols, word_range(&rows, bits)).await?;
                transpose(&bits_of_rows(&words, &rows, awq_place, bits), count)
            }
        })
    }
}

impl Zero {
    /// What is added to `code * scale`, for each row and group.
    async fn read(&self, files: &[Arc<dyn Source>], rows: Range<u64>, bits: u32, scales: &[f32]) -> Result<Vec<f32>, LoadError> {
        if let Self::Bias(grid) = self {
            return grid.read(files, rows).await;
        }
        let points = self.points(files, rows, bits, scales.len()).await?;
        Ok(points.iter().zip(scales).map(|(&zero, scale)| -zero * scale).collect())
    }

    /// What is taken away from codes, for each row and group, `count` in all. Nothing where something is added after scaling instead.
    pub(super) async fn points(&self, files: &[Arc<dyn Source>], rows: Range<u64>, bits: u32, count: usize) -> Result<Vec<f32>, LoadError> {
        let height = (rows.end - rows.start) as usize;
        let zeros: Vec<u8> = match self {
            Self::Bias(_) => return Ok(vec![0.0; count]),
            Self::Constant(zero) => return Ok(vec![*zero; count]),
            Self::Across { part, plus } => {
                let words = part.words(files, 0..part.rows, word_range(&rows, bits)).await?;
                let stored = transpose(&bits_of_rows(&words, &rows, |row| row, bits), height);
                // 0 is stored as -1, whose bits are all set.
                stored.into_iter().map(|zero| ((u32::from(zero) + plus) & ((1 << bits) - 1)) as u8).collect()
            }
            Self::Awq(part) => {
                let words = part.words(files, 0..part.rows, word_range(&rows, bits)).await?;
                transpose(&bits_of_rows(&words, &rows, awq_place, bits), height)
            }
            Self::Down(part) => {
                let per_word = u64::from(32 / bits);
                let first = rows.start / per_word * per_word;
                let words = part.words(files, rows.start / per_word..rows.end.div_ceil(per_word), 0..part.cols).await?;
                let groups = part.cols as usize;
                let word = |row: u64, group: usize| words[((row - first) / per_word) as usize * groups + group];
                rows.flat_map(|row| (0..groups).map(move |group| (row, group)))
                    .map(|(row, group)| code(&[word(row, group)], row % per_word * u64::from(bits), bits))
                    .collect()
            }
        };
        Ok(zeros.into_iter().map(f32::from).collect())
    }
}

/// The place of a row's code in AWQ's order.
fn awq_place(row: u64) -> u64 {
    row / 8 * 8 + u64::from(AWQ_PLACES[(row % 8) as usize])
}
