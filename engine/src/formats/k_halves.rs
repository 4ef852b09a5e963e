//! Blocks of 256 with scales for each 16 columns: Q2_K, Q3_K, Q6_K.

use parhelion_loader::DType;

use super::{
    Block, BlockScales, Format, Info, Row, RowOut, Section, Source,
    pack::{self, field},
};

/// Codes of 2 bits as most types publish them: 32 bytes for 128 columns, bits 2k and 2k + 1 of byte j for column 32 k + j.
pub(super) fn published_pairs(bytes: &[u8; 64], b: usize) -> [u8; 8] {
    pack::to_pairs(|j| bytes[b / 4 * 32 + j] >> (2 * (b % 4)))
}

/// Q2_K: 16 bytes with a scale and a minimum of 4 bits each, 64 bytes of codes, d, dmin; a weight is q * d * scale - dmin * minimum.
pub(crate) struct Q2K;
impl Format for Q2K {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q2_K, scales: BlockScales::Halves(&[80, 82]) }],
        quant_bits: 2,
        sections: &[Section::each_block(2), Section::each_256(4)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<84>().0.iter().enumerate() {
            for b in 0..8 {
                out.put_quants(0, 8 * i + b, &published_pairs(field(block, 16), b));
            }
            out.put_scale(0, i, field::<16>(block, 0));
            out.put_scale(1, i, field::<4>(block, 80));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let mut codes = [0; 32];
        pack::add_pairs(&mut codes, row.quants(0, block), 0);
        codes.map(f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let (d, dmin) = (row.half(1, block / 8 * 2), row.half(1, block / 8 * 2 + 1));
        row.entry::<2>(0, block).map(|byte| (d * f32::from(byte & 15), -(dmin * f32::from(byte >> 4))))
    }
}

/// Q3_K: 32 bytes with an upper bit for each block of 32, 64 bytes of lower codes, 12 bytes of scales of 6 bits, d; a weight is
/// (q - 4) * d * (scale - 32).
pub(crate) struct Q3K;
impl Format for Q3K {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q3_K, scales: BlockScales::Halves(&[108]) }],
        quant_bits: 2,
        sections: &[Section::each_block(4), Section::each_256(12), Section::each_256(2)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<110>().0.iter().enumerate() {
            let upper: &[u8; 32] = field(block, 0);
            for b in 0..8 {
                out.put_quants(0, 8 * i + b, &published_pairs(field(block, 32), b));
                out.put_scale(0, 8 * i + b, &pack::to_bits(|j| upper[j] >> b));
            }
            // Scale s: lower 4 bits in the nibbles of bytes 0..8, upper 2 in bytes 8..12.
            let packed: &[u8; 12] = field(block, 96);
            let lower = |s: usize| packed[s % 8] >> (s / 8 * 4) & 15;
            let upper = |s: usize| packed[8 + s % 4] >> (s / 4 * 2) & 3;
            let mut entry = [0; 12];
            for b in 0..8 {
                entry[b] = lower(2 * b) | lower(2 * b + 1) << 4;
                entry[8 + b / 2] |= (upper(2 * b) | upper(2 * b + 1) << 2) << (b % 2 * 4);
            }
            out.put_scale(1, i, &entry);
            out.put_scale(2, i, field::<2>(block, 108));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let mut codes = [0; 32];
        pack::add_pairs(&mut codes, row.quants(0, block), 0);
        pack::add_bits(&mut codes, row.entry(0, block), 2);
        codes.map(|q| f32::from(q) - 4.0)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let (d, b) = (row.half(2, block / 8), block % 8);
        let entry: &[u8; 12] = row.entry(1, block / 8);
        let (lower, upper) = (entry[b], entry[8 + b / 2] >> (b % 2 * 4));
        [lower & 15 | (upper & 3) << 4, lower >> 4 | (upper & 12) << 2].map(|scale| (d * (f32::from(scale) - 32.0), 0.0))
    }
}

/// Q6_K: 128 bytes of lower nibbles, 64 bytes of upper pairs of bits, 16 signed bytes of scales, d; a weight is (q - 32) * d * scale.
pub(crate) struct Q6K;
impl Format for Q6K {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q6_K, scales: BlockScales::Halves(&[208]) }],
        quant_bits: 6,
        sections: &[Section::each_block(2), Section::each_256(2)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<210>().0.iter().enumerate() {
            for b in 0..8 {
                // 64 bytes for 128 columns: low nibbles for the first 64, high nibbles for the others.
                let lower: &[u8; 32] = field(block, b / 4 * 64 + b % 2 * 32);
                out.put_quants(0, 8 * i + b, &pack::to_nibbles(|j| lower[j] >> (b % 4 / 2 * 4)));
                out.put_quants(out.blocks, 8 * i + b, &published_pairs(field(block, 128), b));
            }
            out.put_scale(0, i, field::<16>(block, 192));
            out.put_scale(1, i, field::<2>(block, 208));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let mut codes = pack::nibbles(row.quants(0, block));
        pack::add_pairs(&mut codes, row.quants(row.blocks, block), 4);
        codes.map(|q| f32::from(q) - 32.0)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let d = row.half(1, block / 8);
        row.entry::<2>(0, block).map(|byte| (d * f32::from(byte as i8), 0.0))
    }
}
