//! TQ1_0 and TQ2_0: weights of -1, 0 and 1 times a scale for 256. The first packs five of them into a byte, which no kernel can take
//! apart at the speed of memory: both are kept at 2 bits.

use parhelion_loader::DType;

use super::{Block, BlockScales, Format, Info, Row, RowOut, Section, Source, k_halves::published_pairs, pack, pack::field, whole};

/// Codes of 2 bits, d; a weight is (q - 1) * d.
pub(crate) struct Tq2_0;
impl Format for Tq2_0 {
    const INFO: Info = Info {
        sources: &[
            Source { dtype: DType::TQ2_0, scales: BlockScales::Halves(&[64]) },
            Source { dtype: DType::TQ1_0, scales: BlockScales::Halves(&[52]) },
        ],
        quant_bits: 2,
        sections: &[Section::each_256(2)],
        codebook: &[],
    };
    const SCALED: bool = true;

    fn repack(dtype: DType, row: &[u8], out: &mut RowOut<'_>) {
        if dtype == DType::TQ1_0 {
            for (i, block) in row.as_chunks::<54>().0.iter().enumerate() {
                let codes: [u8; 256] = std::array::from_fn(|column| digit(block, column));
                for (b, codes) in codes.as_chunks::<32>().0.iter().enumerate() {
                    out.put_quants(0, 8 * i + b, &pack::to_pairs(|j| codes[j]));
                }
                out.put_scale(0, i, field::<2>(block, 52));
            }
            return;
        }
        for (i, block) in row.as_chunks::<66>().0.iter().enumerate() {
            for b in 0..8 {
                out.put_quants(0, 8 * i + b, &published_pairs(field(block, 0), b));
            }
            out.put_scale(0, i, field::<2>(block, 64));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let mut codes = [0; 32];
        pack::add_pairs(&mut codes, row.quants(0, block), 0);
        codes.map(|q| f32::from(q) - 1.0)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(0, block / 8), 0.0)
    }
}

/// Digit of a column of a TQ1_0 block. A byte is a fraction of 256 in base 3, its first digit that of the first column: digit n is
/// the whole part of 3 times what is left after n digits. Three runs of bytes: 32 with 5 digits, 16 with 5, 4 with 4.
fn digit(block: &[u8; 54], column: usize) -> u8 {
    let (byte, n) = match column {
        0..160 => (column % 32, column / 32),
        160..240 => (32 + column % 16, (column - 160) / 16),
        _ => (48 + column % 4, (column - 240) / 4),
    };
    let rest = block[byte].wrapping_mul([1, 3, 9, 27, 81][n]);
    ((u16::from(rest) * 3) >> 8) as u8
}
