//! Codes with an f32 scale and an f32 offset for groups of columns: what GPTQ, AWQ, MLX and compressed-tensors come down to.

use parhelion_loader::DType;

use super::{
    BLOCK, Block, BlockScales, Format, Info, Row, RowOut, Section, Source,
    legacy::put_bytes,
    pack::{self, field},
    whole,
};

/// Bytes of the scale and the offset.
const HEAD: usize = 8;

#[inline(always)]
fn group_scale(row: &Row<'_>, group: usize) -> [(f32, f32); 2] {
    let &[d0, d1, d2, d3, m0, m1, m2, m3] = row.entry(0, group);
    whole(f32::from_le_bytes([d0, d1, d2, d3]), f32::from_le_bytes([m0, m1, m2, m3]))
}

/// d, m, 16 bytes of nibbles for each of `BLOCKS` blocks; a weight is q * d + m.
pub(crate) struct Affine4<const BLOCKS: usize>;
impl<const BLOCKS: usize> Format for Affine4<BLOCKS> {
    const INFO: Info = Info {
        sources: match BLOCKS {
            1 => &[Source { dtype: DType::AFFINE4_32, scales: BlockScales::Floats(&[0, 4]) }],
            2 => &[Source { dtype: DType::AFFINE4_64, scales: BlockScales::Floats(&[0, 4]) }],
            _ => &[Source { dtype: DType::AFFINE4_128, scales: BlockScales::Floats(&[0, 4]) }],
        },
        quant_bits: 4,
        sections: &[Section { bytes: HEAD, blocks: BLOCKS }],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, group) in row.chunks_exact(HEAD + BLOCK / 2 * BLOCKS).enumerate() {
            out.put_scale(0, i, &group[..HEAD]);
            for (b, nibbles) in group[HEAD..].as_chunks::<16>().0.iter().enumerate() {
                out.put_quants(0, BLOCKS * i + b, nibbles);
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        pack::from_nibbles(row.quants(0, block), f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        group_scale(row, block / BLOCKS)
    }
}

/// d, m, 32 bytes for each of `BLOCKS` blocks; a weight is q * d + m.
pub(crate) struct Affine8<const BLOCKS: usize>;
impl<const BLOCKS: usize> Format for Affine8<BLOCKS> {
    const INFO: Info = Info {
        sources: match BLOCKS {
            1 => &[Source { dtype: DType::AFFINE8_32, scales: BlockScales::Floats(&[0, 4]) }],
            _ => &[Source { dtype: DType::AFFINE8_64, scales: BlockScales::Floats(&[0, 4]) }],
        },
        quant_bits: 8,
        sections: &[Section { bytes: HEAD, blocks: BLOCKS }],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, group) in row.chunks_exact(HEAD + BLOCK * BLOCKS).enumerate() {
            out.put_scale(0, i, &group[..HEAD]);
            for b in 0..BLOCKS {
                put_bytes(out, BLOCKS * i + b, field(group, HEAD + BLOCK * b));
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        unsigned_bytes(row, block, f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        group_scale(row, block / BLOCKS)
    }
}

/// What the bytes that [`put_bytes`] has stored stand for.
#[inline(always)]
pub(super) fn unsigned_bytes(row: &Row<'_>, block: usize, value: impl Fn(u8) -> f32) -> Block {
    let mut out = [0.0; BLOCK];
    for (v, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
        *out = row.quants::<16>(v * row.blocks, block).map(&value);
    }
    out
}
