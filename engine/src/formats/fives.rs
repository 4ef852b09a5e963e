//! Q5_0 and Q5_1: blocks of 32 with the upper bits of their values apart.

use parhelion_loader::DType;

use super::{
    BLOCK, Block, BlockScales, Format, Info, Row, RowOut, Section, Source,
    pack::{self, field},
    whole,
};

/// The codes of a block: nibbles among the quants, upper bits in section 0.
#[inline(always)]
pub(super) fn five_bits(row: &Row<'_>, block: usize) -> [u8; BLOCK] {
    let mut codes = pack::nibbles(row.quants(0, block));
    pack::add_bits(&mut codes, row.entry(0, block), 4);
    codes
}

/// Stores nibbles as they are and 32 bits, bit i of which is the upper bit of value i.
fn put_five_bits(out: &mut RowOut<'_>, block: usize, upper: &[u8; 4], nibbles: &[u8; 16]) {
    out.put_quants(0, block, nibbles);
    out.put_scale(0, block, &pack::to_bits(|i| upper[i / 8] >> (i % 8)));
}

/// Q5_0: d, upper bits, 16 bytes of nibbles; a weight is (q - 16) * d.
pub(crate) struct Q5_0;
impl Format for Q5_0 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q5_0, scales: BlockScales::Halves(&[0]) }],
        quant_bits: 4,
        sections: &[Section::each_block(4), Section::each_block(2)],
        codebook: &[],
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<22>().0.iter().enumerate() {
            put_five_bits(out, b, field(block, 2), field(block, 6));
            out.put_scale(1, b, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        five_bits(row, block).map(|q| f32::from(q) - 16.0)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(1, block), 0.0)
    }
}

/// Q5_1: d, m, upper bits, 16 bytes of nibbles; a weight is q * d + m.
pub(crate) struct Q5_1;
impl Format for Q5_1 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::Q5_1, scales: BlockScales::Halves(&[0, 2]) }],
        quant_bits: 4,
        sections: &[Section::each_block(4), Section::each_block(4)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const OFFSET: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<24>().0.iter().enumerate() {
            put_five_bits(out, b, field(block, 4), field(block, 8));
            out.put_scale(1, b, field::<4>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        five_bits(row, block).map(f32::from)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(1, 2 * block), row.half(1, 2 * block + 1))
    }
}
