//! Weight matrices in the engine's layout as scalar twins read them: blocks of 32 columns in every format.
//!
//! The layout is that of `shaders/wgsl/shared/quants.wgsl`; the formats are those of ggml, whose blocks keep their bytes.

use parhelion_shaders::axes::Weight;

use super::twin::f16_to_f32;

/// Columns of a block.
pub(crate) const BLOCK: usize = 32;

/// 32 values in a row.
pub(crate) type Block = [f32; BLOCK];

/// The planes of one part of a weight matrix.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes<'a> {
    format: Weight,
    /// Blocks of a row.
    pub(crate) blocks: usize,
    quants: &'a [[u8; 16]],
    scales: &'a [u32],
}

impl<'a> Planes<'a> {
    /// Planes of `rows` rows of `blocks` blocks.
    ///
    /// # Errors
    /// If a plane is too short for them.
    pub(crate) fn new(format: Weight, rows: u32, blocks: u32, quants: &'a [u32], scales: Option<&'a [u32]>) -> Result<Self, String> {
        let quants: &[[u8; 16]] = bytemuck::cast_slice(quants.as_chunks::<4>().0);
        let scales = scales.unwrap_or_default();
        let count = u64::from(rows) * u64::from(blocks);
        let (vectors, scale_words) = match format {
            Weight::F32 => (count.checked_mul(8), 0),
            Weight::F16 | Weight::Bf16 => (count.checked_mul(4), 0),
            Weight::Q8_0 => (count.checked_mul(2), count.div_ceil(2)),
            Weight::Q4_0 => (Some(count), count.div_ceil(2)),
            Weight::Q4_1 => (Some(count), count),
        };
        if vectors.is_none_or(|n| n > quants.len() as u64) || scale_words > scales.len() as u64 {
            let (have, format) = (quants.len(), format.name());
            return Err(format!("{rows} rows of {blocks} {format} blocks where {have} vectors and {} scale words are bound", scales.len()));
        }
        Ok(Self { format, blocks: blocks as usize, quants, scales })
    }

    /// A block's weights.
    pub(crate) fn block(&self, row: usize, block: usize) -> Block {
        match self.format {
            Weight::F32 => weights::<F32>(self, row, block),
            Weight::F16 => weights::<F16>(self, row, block),
            Weight::Bf16 => weights::<Bf16>(self, row, block),
            Weight::Q8_0 => weights::<Q8_0>(self, row, block),
            Weight::Q4_0 => weights::<Q4_0>(self, row, block),
            Weight::Q4_1 => weights::<Q4_1>(self, row, block),
        }
    }

    /// `out[i]` = row `first + i` times a row of activations.
    #[inline(always)]
    pub(crate) fn dot_rows(&self, first: usize, x: Activations<'_>, out: &mut [f32]) {
        match self.format {
            Weight::F32 => dot_rows::<F32>(self, first, x, out),
            Weight::F16 => dot_rows::<F16>(self, first, x, out),
            Weight::Bf16 => dot_rows::<Bf16>(self, first, x, out),
            Weight::Q8_0 => dot_rows::<Q8_0>(self, first, x, out),
            Weight::Q4_0 => dot_rows::<Q4_0>(self, first, x, out),
            Weight::Q4_1 => dot_rows::<Q4_1>(self, first, x, out),
        }
    }

    /// The weights of a whole row.
    #[inline(always)]
    pub(crate) fn dequantise_row(&self, row: usize, out: &mut [Block]) {
        match self.format {
            Weight::F32 => dequantise_row::<F32>(self, row, out),
            Weight::F16 => dequantise_row::<F16>(self, row, out),
            Weight::Bf16 => dequantise_row::<Bf16>(self, row, out),
            Weight::Q8_0 => dequantise_row::<Q8_0>(self, row, out),
            Weight::Q4_0 => dequantise_row::<Q4_0>(self, row, out),
            Weight::Q4_1 => dequantise_row::<Q4_1>(self, row, out),
        }
    }

    /// Vector `v` of the `V` of a block.
    #[inline(always)]
    fn vector<const V: usize>(&self, row: usize, block: usize, v: usize) -> &[u8; 16] {
        &self.quants[(row * V + v) * self.blocks + block]
    }

    /// The f16 scale of a block, two of which share a word.
    #[inline(always)]
    fn half_scale(&self, row: usize, block: usize) -> f32 {
        let i = row * self.blocks + block;
        f16_to_f32(self.scales[i / 2] >> (16 * (i % 2)) & 0xffff)
    }
}

/// A row of activations in blocks, zero past its last column, and the sum of each block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Activations<'a> {
    pub(crate) blocks: &'a [Block],
    pub(crate) sums: &'a [f32],
}

/// What a stored value means: weight = value * scale + offset. Everything here is inlined into loops that are compiled for
/// several instruction sets.
trait Format {
    /// Whether values are to be multiplied by `scale`.
    const SCALED: bool;
    /// Whether `offset` is to be added.
    const OFFSET: bool = false;
    /// The values of a block as floats, exactly.
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block;
    /// The scale and the offset of a block.
    fn scale(_planes: &Planes<'_>, _row: usize, _block: usize) -> (f32, f32) {
        (1.0, 0.0)
    }
}

/// `values` from the vectors of a block: weight `i` is made of the bytes from `(i % per_vector) * 16 / per_vector` on.
#[inline(always)]
fn from_vectors<const V: usize, const BYTES: usize>(
    planes: &Planes<'_>,
    row: usize,
    block: usize,
    value: impl Fn([u8; BYTES]) -> f32,
) -> Block {
    let mut out = [0.0; BLOCK];
    for v in 0..V {
        let (elements, _) = planes.vector::<V>(row, block, v).as_chunks::<BYTES>();
        for (i, &element) in elements.iter().enumerate() {
            out[v * (BLOCK / V) + i] = value(element);
        }
    }
    out
}

struct F32;
impl Format for F32 {
    const SCALED: bool = false;
    #[inline(always)]
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block {
        from_vectors::<8, 4>(planes, row, block, f32::from_le_bytes)
    }
}

struct F16;
impl Format for F16 {
    const SCALED: bool = false;
    #[inline(always)]
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block {
        from_vectors::<4, 2>(planes, row, block, |bytes| f16_to_f32(u32::from(u16::from_le_bytes(bytes))))
    }
}

struct Bf16;
impl Format for Bf16 {
    const SCALED: bool = false;
    #[inline(always)]
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block {
        from_vectors::<4, 2>(planes, row, block, |bytes| f32::from_bits(u32::from(u16::from_le_bytes(bytes)) << 16))
    }
}

struct Q8_0;
impl Format for Q8_0 {
    const SCALED: bool = true;
    #[inline(always)]
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block {
        from_vectors::<2, 1>(planes, row, block, |[byte]| f32::from(byte as i8))
    }
    #[inline(always)]
    fn scale(planes: &Planes<'_>, row: usize, block: usize) -> (f32, f32) {
        (planes.half_scale(row, block), 0.0)
    }
}

/// Byte j holds value j in its low nibble and value j + 16 in its high one.
#[inline(always)]
fn nibbles(planes: &Planes<'_>, row: usize, block: usize, value: impl Fn(u8) -> f32) -> Block {
    let bytes = planes.vector::<1>(row, block, 0);
    let mut out = [0.0; BLOCK];
    for (j, &byte) in bytes.iter().enumerate() {
        out[j] = value(byte & 15);
        out[j + 16] = value(byte >> 4);
    }
    out
}

struct Q4_0;
impl Format for Q4_0 {
    const SCALED: bool = true;
    #[inline(always)]
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block {
        nibbles(planes, row, block, |nibble| f32::from(nibble) - 8.0)
    }
    #[inline(always)]
    fn scale(planes: &Planes<'_>, row: usize, block: usize) -> (f32, f32) {
        (planes.half_scale(row, block), 0.0)
    }
}

struct Q4_1;
impl Format for Q4_1 {
    const SCALED: bool = true;
    const OFFSET: bool = true;
    #[inline(always)]
    fn values(planes: &Planes<'_>, row: usize, block: usize) -> Block {
        nibbles(planes, row, block, f32::from)
    }
    #[inline(always)]
    fn scale(planes: &Planes<'_>, row: usize, block: usize) -> (f32, f32) {
        let word = planes.scales[row * planes.blocks + block];
        (f16_to_f32(word & 0xffff), f16_to_f32(word >> 16))
    }
}

#[inline(always)]
fn weights<F: Format>(planes: &Planes<'_>, row: usize, block: usize) -> Block {
    let mut values = F::values(planes, row, block);
    let (scale, offset) = F::scale(planes, row, block);
    if F::SCALED {
        values.iter_mut().for_each(|value| *value *= scale);
    }
    if F::OFFSET {
        values.iter_mut().for_each(|value| *value += offset);
    }
    values
}

#[inline(always)]
fn dequantise_row<F: Format>(planes: &Planes<'_>, row: usize, out: &mut [Block]) {
    for (block, out) in out.iter_mut().enumerate() {
        *out = weights::<F>(planes, row, block);
    }
}

#[inline(always)]
fn dot_rows<F: Format>(planes: &Planes<'_>, first: usize, x: Activations<'_>, out: &mut [f32]) {
    for (row, out) in (first..).zip(out) {
        *out = dot::<F>(planes, row, x);
    }
}

/// Lanes that sums are kept in, so that loops over them become vector instructions. Their number is part of the result: it is
/// the same for every instruction set.
pub(crate) const LANES: usize = 8;

/// Adds the products of two blocks to the lanes.
#[inline(always)]
pub(crate) fn add_products(lanes: &mut [f32; LANES], a: &Block, b: &Block) {
    for i in 0..BLOCK / LANES {
        for (j, lane) in lanes.iter_mut().enumerate() {
            *lane += a[i * LANES + j] * b[i * LANES + j];
        }
    }
}

/// A row of weights times a row of activations: scale and offset are applied to the sums over a block.
#[inline(always)]
fn dot<F: Format>(planes: &Planes<'_>, row: usize, x: Activations<'_>) -> f32 {
    let mut lanes = [0.0; LANES];
    let mut offsets = 0.0;
    for (block, (x, sum)) in x.blocks.iter().zip(x.sums).enumerate() {
        let values = F::values(planes, row, block);
        let (scale, offset) = F::scale(planes, row, block);
        let mut products = [0.0; LANES];
        add_products(&mut products, &values, x);
        for (lane, product) in lanes.iter_mut().zip(products) {
            *lane += if F::SCALED { product * scale } else { product };
        }
        if F::OFFSET {
            offsets += sum * offset;
        }
    }
    lanes.iter().sum::<f32>() + offsets
}
