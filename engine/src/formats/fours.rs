//! 4 bits that name one of 16 values: IQ4_NL and IQ4_XS with a table of their own, MXFP4 and NVFP4 with 4-bit floats, NF4 with
//! quantiles of a normal distribution.

use parhelion_loader::DType;

use super::{Block, BlockScales, Format, Info, Row, RowOut, Section, Source, pack, pack::field, whole};

/// The values of IQ4_NL and IQ4_XS.
const VALUES: [f32; 16] = [-127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.];

/// The values of NF4, as bitsandbytes has them in f32.
const NORMAL: [f32; 16] = parhelion_loader::NF4_VALUES;

const CODEBOOK: [u32; 16] = words(&VALUES);
const NORMAL_CODEBOOK: [u32; 16] = words(&NORMAL);

/// Values as the words in front of the scales.
const fn words(values: &[f32; 16]) -> [u32; 16] {
    let mut words = [0; 16];
    let mut i = 0;
    while i < 16 {
        words[i] = values[i].to_bits();
        i += 1;
    }
    words
}

/// Twice the values of 4-bit floats: a sign, two bits of exponent, one of mantissa.
const FLOATS: [f32; 16] = [0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.];

#[inline(always)]
fn named(row: &Row<'_>, block: usize, values: &[f32; 16]) -> Block {
    pack::from_nibbles(row.quants(0, block), |nibble| values[usize::from(nibble & 15)])
}

/// IQ4_NL: d, 16 bytes of nibbles; a weight is value * d.
pub(crate) struct Iq4Nl;
impl Format for Iq4Nl {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::IQ4_NL, scales: BlockScales::Halves(&[0]) }],
        quant_bits: 4,
        sections: &[Section::each_block(2)],
        codebook: &CODEBOOK,
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<18>().0.iter().enumerate() {
            out.put_quants::<16>(0, b, field(block, 2));
            out.put_scale(0, b, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        named(row, block, &VALUES)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(row.half(0, block), 0.0)
    }
}

/// IQ4_XS: d, upper 2 bits and lower 4 bits of the scales of 8 blocks of 32, 128 bytes of nibbles; a weight is
/// value * d * (scale - 32).
pub(crate) struct Iq4Xs;
impl Format for Iq4Xs {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::IQ4_XS, scales: BlockScales::Halves(&[0]) }],
        quant_bits: 4,
        sections: &[Section::each_256(8)],
        codebook: &CODEBOOK,
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<136>().0.iter().enumerate() {
            let [d0, d1, h0, h1, l0, l1, l2, l3] = *field(block, 0);
            out.put_scale(0, i, &[l0, l1, l2, l3, d0, d1, h0, h1]);
            for (b, nibbles) in block[8..].as_chunks::<16>().0.iter().enumerate() {
                out.put_quants(0, 8 * i + b, nibbles);
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        named(row, block, &VALUES)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let (i, b) = (block / 8, block % 8);
        let entry: &[u8; 8] = row.entry(0, i);
        let (lower, upper) = (entry[b / 2] >> (b % 2 * 4) & 15, entry[6 + b / 4] >> (b % 4 * 2) & 3);
        whole(row.half(0, 4 * i + 2) * (f32::from(lower | upper << 4) - 32.0), 0.0)
    }
}

/// NF4: d, 16 bytes of nibbles for each of 2 blocks; a weight is value * d.
pub(crate) struct Nf4;
impl Format for Nf4 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::NF4, scales: BlockScales::Floats(&[0]) }],
        quant_bits: 4,
        sections: &[Section { bytes: 4, blocks: 2 }],
        codebook: &NORMAL_CODEBOOK,
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<36>().0.iter().enumerate() {
            out.put_scale(0, i, field::<4>(block, 0));
            for b in 0..2 {
                out.put_quants::<16>(0, 2 * i + b, field(block, 4 + 16 * b));
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        named(row, block, &NORMAL)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        whole(f32::from_le_bytes(*row.entry(0, block / 2)), 0.0)
    }
}

/// MXFP4: the exponent of a power of two, 16 bytes of nibbles; a weight is float * 2^(e - 127).
pub(crate) struct Mxfp4;
impl Format for Mxfp4 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::MXFP4, scales: BlockScales::Exponent(0) }],
        quant_bits: 4,
        sections: &[Section::each_block(1)],
        codebook: &[],
    };
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (b, block) in row.as_chunks::<17>().0.iter().enumerate() {
            out.put_quants::<16>(0, b, field(block, 1));
            out.put_scale(0, b, &block[..1]);
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        named(row, block, &FLOATS)
    }

    /// Half the power of two, since values are twice the floats; under 2^-126 it is a subnormal number.
    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let [e] = *row.entry(0, block);
        whole(f32::from_bits(if e < 2 { 0x0020_0000 << e } else { u32::from(e - 1) << 23 }), 0.0)
    }
}

/// NVFP4: 4 floats of 8 bits (E4M3), 32 bytes of nibbles, 8 for each 16 columns; a weight is float * scale.
pub(crate) struct Nvfp4;
impl Format for Nvfp4 {
    const INFO: Info = Info {
        sources: &[Source { dtype: DType::NVFP4, scales: BlockScales::Bytes }],
        quant_bits: 4,
        sections: &[Section::each_block(2)],
        codebook: &[],
    };
    const SCALED: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<36>().0.iter().enumerate() {
            out.put_scale(0, i, field::<4>(block, 0));
            for b in 0..2 {
                let quants: &[u8; 16] = field(block, 4 + 16 * b);
                let code = |j: usize| quants[j / 16 * 8 + j % 8] >> (j % 16 / 8 * 4);
                out.put_quants(0, 2 * i + b, &pack::to_nibbles(code));
            }
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        named(row, block, &FLOATS)
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        row.entry::<2>(0, block).map(|byte| (half_scale(byte), 0.0))
    }
}

/// Half an 8-bit float, since values are twice the floats. The top bit is not read; 0x7f is no number and counts as zero.
#[inline(always)]
fn half_scale(byte: u8) -> f32 {
    let (exponent, mantissa) = (u32::from(byte >> 3 & 15), u32::from(byte & 7));
    match byte {
        0x7f => 0.0,
        _ if exponent == 0 => mantissa as f32 / 1024.0,
        _ => f32::from_bits((exponent + 119) << 23 | mantissa << 20),
    }
}
