//! One row of a matrix in the engine's layout, to read and to write.

use super::{BLOCK, Info, MAX_SECTIONS};
use crate::ops::f16_to_f32;

/// A row of both planes, as twins read it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Row<'a> {
    /// Blocks of the row.
    pub(crate) blocks: usize,
    quants: &'a [u8],
    scales: &'a [u8],
    starts: [usize; MAX_SECTIONS],
}

/// All rows of both planes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rows<'a> {
    blocks: usize,
    quants: &'a [u8],
    scales: &'a [u8],
    starts: [usize; MAX_SECTIONS],
    vectors: usize,
    words: usize,
}

impl<'a> Rows<'a> {
    /// Planes of `rows` rows of `blocks` blocks.
    ///
    /// # Errors
    /// If a plane is too short for them, or a row is no whole number of published blocks.
    pub(crate) fn new(info: &Info, rows: u32, blocks: u32, quants: &'a [u32], scales: &'a [u32]) -> Result<Self, String> {
        let rows = u64::from(rows);
        let (vectors, words) = (info.vectors(blocks.into()), info.words(blocks.into()));
        let needs_vectors = rows.checked_mul(vectors).filter(|&n| n <= quants.len() as u64 / 4);
        let needs_words = rows.checked_mul(words).and_then(|n| n.checked_add(info.codebook.len() as u64));
        if needs_vectors.is_none() || needs_words.is_none_or(|n| n > scales.len() as u64) {
            let (have, words) = (quants.len() / 4, scales.len());
            return Err(format!("{rows} rows of {blocks} blocks where {have} vectors and {words} words of scales are bound"));
        }
        if !(blocks as usize * BLOCK).is_multiple_of(info.columns()) {
            return Err(format!("rows of {blocks} blocks of 32 where {} columns belong together", info.columns()));
        }
        Ok(Self {
            blocks: blocks as usize,
            quants: bytemuck::cast_slice(quants),
            scales: bytemuck::cast_slice(&scales[info.codebook.len()..]),
            starts: info.starts(blocks as usize),
            vectors: vectors as usize,
            words: words as usize,
        })
    }

    pub(crate) fn blocks(&self) -> usize {
        self.blocks
    }

    #[inline(always)]
    pub(crate) fn row(&self, row: usize) -> Row<'a> {
        Row {
            blocks: self.blocks,
            quants: &self.quants[row * self.vectors * 16..][..self.vectors * 16],
            scales: &self.scales[row * self.words * 4..][..self.words * 4],
            starts: self.starts,
        }
    }
}

impl<'a> Row<'a> {
    /// The `N` bytes of a block in the plane of quants that begins at vector `first` of the row.
    #[inline(always)]
    pub(crate) fn quants<const N: usize>(&self, first: usize, block: usize) -> &'a [u8; N] {
        &self.quants[16 * first..].as_chunks::<N>().0[block]
    }

    /// Entry `i` of a section whose entries have `N` bytes.
    #[inline(always)]
    pub(crate) fn entry<const N: usize>(&self, section: usize, i: usize) -> &'a [u8; N] {
        &self.scales[4 * self.starts[section]..].as_chunks::<N>().0[i]
    }

    /// The f16 that is entry `i` of a section, were its entries f16 numbers.
    #[inline(always)]
    pub(crate) fn half(&self, section: usize, i: usize) -> f32 {
        f16_to_f32(u32::from(u16::from_le_bytes(*self.entry(section, i))))
    }
}

/// A row of both planes, as it is filled.
#[derive(Debug)]
pub(crate) struct RowOut<'a> {
    /// Blocks of the row.
    pub(crate) blocks: usize,
    quants: &'a mut [u8],
    scales: &'a mut [u8],
    starts: [usize; MAX_SECTIONS],
}

impl<'a> RowOut<'a> {
    pub(crate) fn new(info: &Info, blocks: usize, quants: &'a mut [u8], scales: &'a mut [u8]) -> Self {
        Self { blocks, quants, scales, starts: info.starts(blocks) }
    }

    /// Stores the bytes of a block in the plane of quants that begins at vector `first` of the row.
    #[inline(always)]
    pub(crate) fn put_quants<const N: usize>(&mut self, first: usize, block: usize, bytes: &[u8; N]) {
        self.quants[16 * first + N * block..][..N].copy_from_slice(bytes);
    }

    /// Stores entry `i` of a section.
    #[inline(always)]
    pub(crate) fn put_scale(&mut self, section: usize, i: usize, bytes: &[u8]) {
        self.scales[4 * self.starts[section] + bytes.len() * i..][..bytes.len()].copy_from_slice(bytes);
    }
}
