//! Weight matrices in the engine's layout as scalar twins compute with them: blocks of 32 columns in every format.

use parhelion_shaders::axes::Weight;

use crate::formats::{self, Format, Row, Rows, with_format};
pub(crate) use crate::formats::{BLOCK, Block};

/// The planes of one part of a weight matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    format: Weight,
    rows: Rows<'a>,
}

impl<'a> Planes<'a> {
    /// Planes of `rows` rows of `blocks` blocks.
    ///
    /// # Errors
    /// If a plane is too short for them.
    pub(crate) fn new(format: Weight, rows: u32, blocks: u32, quants: &'a [u32], scales: Option<&'a [u32]>) -> Result<Self, String> {
        let rows = Rows::new(formats::info(format), rows, blocks, quants, scales.unwrap_or_default());
        Ok(Self { format, rows: rows.map_err(|why| format!("{}: {why}", format.name()))? })
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.rows.blocks()
    }

    /// A block's weights.
    pub(crate) fn block(&self, row: usize, block: usize) -> Block {
        with_format!(self.format, F => weights::<F>(&self.rows.row(row), block))
    }

    /// Scale and offset of each half of a block.
    pub(crate) fn scale(&self, row: usize, block: usize) -> [(f32, f32); 2] {
        with_format!(self.format, F => F::scale(&self.rows.row(row), block))
    }

    /// `out[i]` = row `first + i` times a row of activations.
    #[inline(always)]
    pub(crate) fn dot_rows(&self, first: usize, x: Activations<'_>, out: &mut [f32]) {
        with_format!(self.format, F => {
            for (row, out) in (first..).zip(out) {
                *out = dot::<F>(&self.rows.row(row), x);
            }
        });
    }

    /// The weights of a whole row.
    #[inline(always)]
    pub(crate) fn dequantise_row(&self, row: usize, out: &mut [Block]) {
        let row = self.rows.row(row);
        with_format!(self.format, F => {
            for (block, out) in out.iter_mut().enumerate() {
                *out = weights::<F>(&row, block);
            }
        });
    }
}

/// A row of activations in blocks, zero past its last column, and the sums of the halves of each block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activations<'a> {
    pub(crate) blocks: &'a [Block],
    pub(crate) sums: &'a [[f32; 2]],
}

/// The sums of the halves of a block.
#[inline(always)]
pub(crate) fn half_sums(block: &Block) -> [f32; 2] {
    let (low, high) = block.split_at(BLOCK / 2);
    [low.iter().sum(), high.iter().sum()]
}

#[inline(always)]
fn weights<F: Format>(row: &Row<'_>, block: usize) -> Block {
    let mut values = F::values(row, block);
    let scales = F::scale(row, block);
    let halves = values.chunks_mut(if F::HALVES { BLOCK / 2 } else { BLOCK });
    for (half, (scale, offset)) in halves.zip(scales) {
        if F::SCALED {
            half.iter_mut().for_each(|value| *value *= scale);
        }
        if F::OFFSET {
            half.iter_mut().for_each(|value| *value += offset);
        }
    }
    values
}

/// Lanes that sums are kept in, so that loops over them become vector instructions. Their number is part of the result: it is
/// the same for every instruction set.
pub(crate) const LANES: usize = 8;

/// Adds the products of `a` and `b`, as long as each other, to the lanes.
#[inline(always)]
pub(crate) fn add_products(lanes: &mut [f32; LANES], a: &[f32], b: &[f32]) {
    for (a, b) in a.as_chunks::<LANES>().0.iter().zip(b.as_chunks::<LANES>().0) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
}

/// A row of weights times a row of activations: scales and offsets are applied to the sums over a block or half a block.
#[inline(always)]
fn dot<F: Format>(row: &Row<'_>, x: Activations<'_>) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut offsets = 0.0;
    for (block, (x, sums)) in x.blocks.iter().zip(x.sums).enumerate() {
        let values = F::values(row, block);
        let scales = F::scale(row, block);
        if F::HALVES {
            let halves = values.chunks_exact(BLOCK / 2).zip(x.chunks_exact(BLOCK / 2));
            for ((values, x), (scale, _)) in halves.zip(scales) {
                add_scaled::<F>(&mut lanes, values, x, scale);
            }
        } else {
            add_scaled::<F>(&mut lanes, &values, x, scales[0].0);
        }
        if F::OFFSET {
            offsets += if F::HALVES { sums[0] * scales[0].1 + sums[1] * scales[1].1 } else { (sums[0] + sums[1]) * scales[0].1 };
        }
    }
    lanes.iter().sum::<f32>() + offsets
}

/// Adds the products of values and activations, times the values' scale, to the lanes.
#[inline(always)]
fn add_scaled<F: Format>(lanes: &mut [f32; LANES], values: &[f32], x: &[f32], scale: f32) {
    let mut products = [0.0; LANES];
    add_products(&mut products, values, x);
    for (lane, product) in lanes.iter_mut().zip(products) {
        *lane += if F::SCALED { product * scale } else { product };
    }
}
