//! Blocks of 256 with a scale, and perhaps a minimum, for each 32 columns: Q4_K, Q5_K, Q8_K.

use parhelion_loader::DType;

use super::{
    Block, BlockScales, Format, Info, Row, RowOut, Section, Source,
    fives::five_bits,
    legacy::{put_bytes, signed_bytes},
    pack::{self, field},
    whole,
};

/// Stores d, dmin and the scale and minimum of 6 bits of each of 8 blocks in the order of `k_scales.wgsl`: d and dmin, the lower 4
/// bits of each scale and minimum, their upper 2.
pub(crate) fn put_k_scales(out: &mut RowOut<'_>, section: usize, i: usize, d: [u8; 4], pairs: &[[u8; 2]; 8]) {
    let mut entry = [0; 16];
    entry[..4].copy_from_slice(&d);
    for (b, [scale, minimum]) in pairs.iter().enumerate() {
        entry[4 + b] = scale & 15 | minimum << 4;
        entry[12 + b / 2] |= (scale >> 4 | minimum >> 4 << 2) << (b % 2 * 4);
    }
    out.put_scale(section, i, &entry);
}

/// The scale and minimum of each of 8 blocks from the 12 bytes in which they are published.
fn published_pairs(packed: &[u8; 12]) -> [[u8; 2]; 8] {
    std::array::from_fn(|b| match b {
        0..4 => [packed[b] & 63, packed[b + 4] & 63],
        _ => [packed[b + 4] & 15 | packed[b - 4] >> 6 << 4, packed[b + 4] >> 4 | packed[b] >> 6 << 4],
    })
}

/// The scale and minimum of a block, as [`put_k_scales`] stored them in an entry.
#[inline(always)]
pub(crate) fn k_pair(entry: &[u8; 16], b: usize) -> [u8; 2] {
    let (lower, upper) = (entry[4 + b], entry[12 + b / 2] >> (b % 2 * 4));
    [lower & 15 | (upper & 3) << 4, lower >> 4 | (upper & 12) << 2]
}

/// The scale and the offset of a block of 32.
#[inline(always)]
fn k_scale(row: &Row<'_>, section: usize, block: usize) -> [(f32, f32); 2] {
    let (i, b) = (block / 8, block % 8);
    let [scale, minimum] = k_pair(row.entry(section, i), b);
    whole(row.half(section, 8 * i) * f32::from(scale), -(row.half(section, 8 * i + 1) * f32::from(minimum)))
}

/// Q4_K: d, dmin, scales and minima, 128 bytes of nibbles; a weight is q * d * scale - dmin * minimum.
pub(crate) struct Q4K;
impl Format for Q4K {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q4_K, scales: BlockScales::Halves(&[0, 2]) }],
        quant_bits: 4,
        sections: &[Section::each_256(16)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<144>().0.iter().enumerate() {
            put_k_scales(out, 0, i, *field(block, 0), &published_pairs(field(block, 4)));
            for (pair, bytes) in block[16..].as_chunks::<32>().0.iter().enumerate() {
                out.put_quants(0, 8 * i + 2 * pair, &pack::to_nibbles(|j| bytes[j]));
                out.put_quants(0, 8 * i + 2 * pair + 1, &pack::to_nibbles(|j| bytes[j] >> 4));
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        pack::from_nibbles(row.quants(0, block), f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        k_scale(row, 0, block)
    }
}

/// Q5_K: d, dmin, scales and minima, 32 bytes with an upper bit for each block of 32, 128 bytes of nibbles; a weight is
/// q * d * scale - dmin * minimum.
pub(crate) struct Q5K;
impl Format for Q5K {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q5_K, scales: BlockScales::Halves(&[0, 2]) }],
        quant_bits: 4,
        sections: &[Section::each_block(4), Section::each_256(16)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<176>().0.iter().enumerate() {
            put_k_scales(out, 1, i, *field(block, 0), &published_pairs(field(block, 4)));
            let upper: &[u8; 32] = field(block, 16);
            for (pair, bytes) in block[48..].as_chunks::<32>().0.iter().enumerate() {
                out.put_quants(0, 8 * i + 2 * pair, &pack::to_nibbles(|j| bytes[j]));
                out.put_quants(0, 8 * i + 2 * pair + 1, &pack::to_nibbles(|j| bytes[j] >> 4));
            }
            for b in 0..8 {
                out.put_scale(0, 8 * i + b, &pack::to_bits(|j| upper[j] >> b));
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        five_bits(row, block).map(f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        k_scale(row, 1, block)
    }
}

/// Q8_K: d as f32, 256 signed bytes, sums of each 16 of them, which nothing here needs; a weight is q * d.
pub(crate) struct Q8K;
impl Format for Q8K {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q8_K, scales: BlockScales::Floats(&[0]) }],
        quant_bits: 8,
        sections: &[Section::each_256(4)],
        codebook: &[],
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<292>().0.iter().enumerate() {
            out.put_scale(0, i, field::<4>(block, 0));
            for (b, quants) in block[4..260].as_chunks::<32>().0.iter().enumerate() {
                put_bytes(out, 8 * i + b, quants);
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        signed_bytes(row, block)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(f32::from_le_bytes(*row.entry(0, block / 8)), 0.0)
    }
}
