//! IQ1_S and IQ1_M: points of 8 values -1, 0 and 1, all moved up or down by 1/8.

use parhelion_loader::DType;

use super::{Block, BlockScales, Format, Info, Row, RowOut, Section, Source, codebooks, pack::field, whole};
use crate::ops::f16_to_f32;

/// 4 points; for each the upper 3 bits of its index, and whether it is moved down.
#[inline(always)]
fn points(row: &Row<'_>, block: usize, rest: impl Fn(usize) -> (usize, bool)) -> Block {
    let indices = row.quants::<4>(0, block);
    let mut out = [0.0; 32];
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (upper, down) = rest(i);
        let levels = codebooks::IQ1[usize::from(indices[i]) | (upper & 7) << 8].to_le_bytes();
        let moved = if down { -1.125 } else { -0.875 };
        *out = std::array::from_fn(|j| f32::from(levels[j % 4] >> (j / 4 * 4) & 15) + moved);
    }
    out
}

/// IQ1_S: d, 32 bytes of lower bits of indices, for each block of 32 16 bits: 4 times 3 upper bits, a scale of 3, a move; a weight is
/// (value +- 1/8) * d * (1 + 2 scale).
pub(crate) struct Iq1S;
impl Format for Iq1S {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::IQ1_S, scales: BlockScales::Halves(&[0]) }],
        quant_bits: 1,
        sections: &[Section::each_block(2), Section::each_256(2)],
        codebook: &codebooks::IQ1,
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<50>().0.iter().enumerate() {
            out.put_quants(0, i, field::<32>(block, 2));
            out.put_scale(0, i, field::<16>(block, 34));
            out.put_scale(1, i, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let rest = u16::from_le_bytes(*row.entry(0, block));
        points(row, block, |i| (usize::from(rest >> (3 * i)), rest & 0x8000 != 0))
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let scale = row.entry::<2>(0, block)[1] >> 4 & 7;
        whole(row.half(1, block / 8) * f32::from(1 + 2 * scale), 0.0)
    }
}

/// IQ1_M: 32 bytes of lower bits of indices, 16 bytes with 3 upper bits and a move for each, 4 times 16 bits: 4 scales of 3 and 4 bits
/// of d; a weight is (value +- 1/8) * d * (1 + 2 scale).
pub(crate) struct Iq1M;
impl Format for Iq1M {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::IQ1_M, scales: BlockScales::Pieces(48) }],
        quant_bits: 1,
        sections: &[Section::each_block(2), Section::each_256(8)],
        codebook: &codebooks::IQ1,
    };
    const SCALED: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<56>().0.iter().enumerate() {
            out.put_quants(0, i, field::<32>(block, 0));
            out.put_scale(0, i, field::<16>(block, 32));
            out.put_scale(1, i, field::<8>(block, 48));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let rest = usize::from(u16::from_le_bytes(*row.entry(0, block)));
        points(row, block, |i| (rest >> (4 * i), rest >> (4 * i) & 8 != 0))
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let packed = row.entry::<8>(1, block / 8);
        let d = f16_to_f32(u32::from(half_of_pieces(packed)));
        let b = block % 8;
        let both = u16::from_le_bytes([packed[b / 2 * 2], packed[b / 2 * 2 + 1]]) >> (b % 2 * 6);
        [both & 7, both >> 3 & 7].map(|scale| (d * f32::from(1 + 2 * scale), 0.0))
    }
}

/// The f16 whose bits are the upper 4 of each of 4 times 16 bits, the first the lowest.
#[inline(always)]
pub(super) fn half_of_pieces(packed: &[u8; 8]) -> u16 {
    (0..4).map(|i| u16::from(packed[2 * i + 1] >> 4) << (4 * i)).sum()
}

/// Stores the bits that [`half_of_pieces`] reads.
pub(super) fn put_pieces(packed: &mut [u8], bits: u16) {
    for (i, pair) in packed.as_chunks_mut::<2>().0.iter_mut().enumerate().take(4) {
        pair[1] = pair[1] & 15 | ((bits >> (4 * i)) as u8 & 15) << 4;
    }
}
