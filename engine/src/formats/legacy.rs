//! Blocks of 32 with an f16 scale, and perhaps an f16 minimum: ggml's first formats.

use parhelion_loader::DType;

use super::{BLOCK, Block, BlockScales, Format, Info, Row, RowOut, Section, Source, pack, pack::field, whole};

/// Stores the bytes of a block as two vectors.
pub(super) fn put_bytes(out: &mut RowOut<'_>, block: usize, bytes: &[u8; BLOCK]) {
    for (v, vector) in bytes.as_chunks::<16>().0.iter().enumerate() {
        out.put_quants(v * out.blocks, block, vector);
    }
}

/// The values that [`put_bytes`] has stored.
#[inline(always)]
pub(super) fn signed_bytes(row: &Row<'_>, block: usize) -> Block {
    let mut out = [0.0; BLOCK];
    for (v, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *out = row.quants::<16>(v * row.blocks, block).map(|byte| f32::from(byte as i8));
    }
    out
}

/// Q8_0: d, 32 signed bytes; a weight is q * d.
pub(crate) struct Q8_0;
impl Format for Q8_0 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q8_0, scales: BlockScales::Halves(&[0]) }],
        quant_bits: 8,
        sections: &[Section::each_block(2)],
        codebook: &[],
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<34>().0.iter().enumerate() {
            out.put_scale(0, b, field::<2>(block, 0));
            put_bytes(out, b, field(block, 2));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        signed_bytes(row, block)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(0, block), 0.0)
    }
}

/// Q4_0: d, 16 bytes of nibbles; a weight is (q - 8) * d.
pub(crate) struct Q4_0;
impl Format for Q4_0 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q4_0, scales: BlockScales::Halves(&[0]) }],
        quant_bits: 4,
        sections: &[Section::each_block(2)],
        codebook: &[],
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<18>().0.iter().enumerate() {
            out.put_scale(0, b, field::<2>(block, 0));
            out.put_quants::<16>(0, b, field(block, 2));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        pack::from_nibbles(row.quants(0, block), |nibble| f32::from(nibble) - 8.0)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(0, block), 0.0)
    }
}

/// Q4_1: d, m, 16 bytes of nibbles; a weight is q * d + m.
pub(crate) struct Q4_1;
impl Format for Q4_1 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q4_1, scales: BlockScales::Halves(&[0, 2]) }],
        quant_bits: 4,
        sections: &[Section::each_block(4)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<20>().0.iter().enumerate() {
            out.put_scale(0, b, field::<4>(block, 0));
            out.put_quants::<16>(0, b, field(block, 4));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        pack::from_nibbles(row.quants(0, block), f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(0, 2 * block), row.half(0, 2 * block + 1))
    }
}
