//! Codes with a scale and an offset for each group of columns: GPTQ, AWQ, MLX, compressed-tensors.

use std::ops::Range;
use std::sync::Arc;

use super::part::{Grid, Part, transpose};
use super::push_nibbles;
use crate::{DType, LoadError, Source};

/// Where in a word of eight AWQ keeps the code of each of eight neighbours.
const AWQ_PLACES: [u32; 8] = [0, 4, 1, 5, 2, 6, 3, 7];

#[derive(Debug, Clone)]
pub(super) struct Affine {
    /// Bits of a code: 4 or 8.
    pub(super) bits: u32,
    /// Columns that share a scale: a multiple of 32.
    pub(super) group: u64,
    pub(super) codes: Codes,
    pub(super) scales: Grid,
    pub(super) zero: Zero,
}

/// How codes lie in words. `n` is the number of codes in 32 bits; the first is in the lowest bits.
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
        let fits = |&&(bits, dtype): &&(u32, DType)| bits == self.bits && self.group.is_multiple_of(dtype.block_elems());
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
                    4 => push_nibbles(&mut out, codes),
                    _ => out.extend_from_slice(codes),
                }
            }
        }
        Ok(out)
    }
}

/// Code `at` of those that a word holds.
fn code(word: u32, at: u32, bits: u32) -> u8 {
    (word >> (at * bits) & ((1 << bits) - 1)) as u8
}

/// The codes of words one after another.
fn unpack(words: &[u32], bits: u32) -> impl Iterator<Item = u8> + '_ {
    words.iter().flat_map(move |&word| (0..32 / bits).map(move |at| code(word, at, bits)))
}

/// The codes of some rows whose neighbours share words: `words` has, for each line, the words that hold them.
fn rows_in_words(words: &[u32], rows: &Range<u64>, per_word: u64, place: impl Fn(u64) -> u32, bits: u32) -> Vec<u8> {
    let first = rows.start / per_word;
    let width = (rows.end.div_ceil(per_word) - first) as usize;
    let line = |line: &[u32]| {
        rows.clone().map(|row| code(line[(row / per_word - first) as usize], place(row % per_word), bits)).collect::<Vec<_>>()
    };
    words.chunks_exact(width.max(1)).flat_map(line).collect()
}

/// The words that hold some rows, `per_word` in each.
fn word_range(rows: &Range<u64>, per_word: u64) -> Range<u64> {
    rows.start / per_word..rows.end.div_ceil(per_word)
}

impl Codes {
    /// The codes of some rows, a byte each.
    async fn read(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: u64, bits: u32) -> Result<Vec<u8>, LoadError> {
        let count = (rows.end - rows.start) as usize;
        Ok(match self {
            Self::Along(part) => {
                let words = part.words(files, rows, 0..part.cols).await?;
                unpack(&words, bits).collect()
            }
            Self::Signed(part) => {
                let mut bytes = part.region(files, rows, 0..cols).await?;
                bytes.iter_mut().for_each(|byte| *byte ^= 0x80);
                bytes
            }
            Self::Across(part) => {
                let words = part.words(files, 0..part.rows, rows).await?;
                unpack(&transpose(&words, count), bits).collect()
            }
            Self::Awq(part) => {
                let words = part.words(files, 0..cols, word_range(&rows, 8)).await?;
                transpose(&rows_in_words(&words, &rows, 8, |row| AWQ_PLACES[row as usize], bits), count)
            }
        })
    }
}

impl Zero {
    /// What is added to `code * scale`, for each row and group.
    async fn read(&self, files: &[Arc<dyn Source>], rows: Range<u64>, bits: u32, scales: &[f32]) -> Result<Vec<f32>, LoadError> {
        let per_word = u64::from(32 / bits);
        let mask = (1 << bits) - 1;
        let count = (rows.end - rows.start) as usize;
        let zeros: Vec<u8> = match self {
            Self::Bias(grid) => return grid.read(files, rows).await,
            Self::Constant(zero) => return Ok(scales.iter().map(|scale| -zero * scale).collect()),
            Self::Across { part, plus } => {
                let words = part.words(files, 0..part.rows, word_range(&rows, per_word)).await?;
                let stored = transpose(&rows_in_words(&words, &rows, per_word, |row| row as u32, bits), count);
                // 0 is stored as -1, whose bits are all set.
                stored.into_iter().map(|zero| ((u32::from(zero) + plus) & mask) as u8).collect()
            }
            Self::Awq(part) => {
                let words = part.words(files, 0..part.rows, word_range(&rows, 8)).await?;
                transpose(&rows_in_words(&words, &rows, 8, |row| AWQ_PLACES[row as usize], bits), count)
            }
            Self::Down(part) => {
                let first = rows.start / per_word * per_word;
                let words = part.words(files, word_range(&rows, per_word), 0..part.cols).await?;
                let groups = part.cols as usize;
                let word = |row: u64, group: usize| words[((row - first) / per_word) as usize * groups + group];
                rows.flat_map(|row| (0..groups).map(move |group| (row, group)))
                    .map(|(row, group)| code(word(row, group), (row % per_word) as u32, bits))
                    .collect()
            }
        };
        Ok(zeros.iter().zip(scales).map(|(&zero, scale)| -f32::from(zero) * scale).collect())
    }
}
