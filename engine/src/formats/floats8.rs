//! 8-bit floats with an f32 scale for 64 columns.

use parhelion_loader::DType;

use super::{
    BLOCK, Block, BlockScales, Format, Info, Row, RowOut, Section, Source, affine::unsigned_bytes, legacy::put_bytes, pack::field, whole,
};

/// Blocks that share a scale.
const BLOCKS: usize = 2;
/// Bytes of the scale.
const HEAD: usize = 4;

const fn info(sources: &'static [Source]) -> Info {
    Info { sources, quant_bits: 8, sections: &[Section { bytes: HEAD, blocks: BLOCKS }], codebook: &[] }
}

fn repack(row: &[u8], out: &mut RowOut<'_>) {
    for (i, group) in row.as_chunks::<{ HEAD + BLOCK * BLOCKS }>().0.iter().enumerate() {
        out.put_scale(0, i, &group[..HEAD]);
        for b in 0..BLOCKS {
            put_bytes(out, BLOCKS * i + b, field(group, HEAD + BLOCK * b));
        }
    }
}

#[inline(always)]
fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
    whole(f32::from_le_bytes(*row.entry(0, block / BLOCKS)), 0.0)
}

/// A float of `MANTISSA` bits of mantissa and 7 less that of exponent. Codes of infinities and of what is no number go on as if the
/// largest exponent were like the others, as in `floats8.wgsl`.
#[inline(always)]
fn small_float<const MANTISSA: u32>(byte: u8) -> f32 {
    let bias = (1 << (6 - MANTISSA)) - 1;
    let magnitude = u32::from(byte & 0x7f);
    let value = match magnitude >> MANTISSA {
        0 => magnitude as f32 / (1_u32 << (bias + MANTISSA - 1)) as f32,
        _ => f32::from_bits((magnitude << (23 - MANTISSA)) + ((127 - bias) << 23)),
    };
    f32::from_bits(value.to_bits() | u32::from(byte & 0x80) << 24)
}

/// F8_E4M3: d, 64 floats of 4 bits of exponent and 3 of mantissa; a weight is float * d.
pub(crate) struct E4m3;
impl Format for E4m3 {
    const INFO: Info = info(&[Source { dtype: DType::SCALED_F8_E4M3, scales: BlockScales::Floats(&[0]) }]);
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        repack(row, out);
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        unsigned_bytes(row, block, small_float::<3>)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        scale(row, block)
    }
}

/// F8_E5M2: d, 64 floats of 5 bits of exponent and 2 of mantissa; a weight is float * d.
pub(crate) struct E5m2;
impl Format for E5m2 {
    const INFO: Info = info(&[Source { dtype: DType::SCALED_F8_E5M2, scales: BlockScales::Floats(&[0]) }]);
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        repack(row, out);
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        unsigned_bytes(row, block, small_float::<2>)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        scale(row, block)
    }
}
