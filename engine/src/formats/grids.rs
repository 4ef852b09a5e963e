//! IQ2_XXS, IQ2_XS, IQ2_S, IQ3_XXS, IQ3_S: magnitudes that are points of a grid, signs, scales of 4 bits, an f16 d for 256.

use parhelion_loader::DType;

use super::{Block, BlockScales, Format, Info, Row, RowOut, Section, Source, codebooks, pack::field, whole};

const fn info(source: &'static [Source], sections: &'static [Section], codebook: &'static [u32]) -> Info {
    Info { sources: source, quant_bits: 2, sections, codebook }
}

/// `v` with its signs flipped where bits of `signs` are set.
#[inline(always)]
fn with_signs<const N: usize>(mut v: [f32; N], signs: u32) -> [f32; N] {
    for (i, v) in v.iter_mut().enumerate() {
        *v = f32::from_bits(v.to_bits() ^ (signs >> i & 1) << 31);
    }
    v
}

/// 8 signs of which 7 bits are kept: the eighth makes the number of minus signs even.
#[inline(always)]
fn eight_signs(bits: u32) -> u32 {
    bits & 127 | (bits & 127).count_ones() << 7
}

/// 4 points of 8 values, the signs of each in 8 bits.
#[inline(always)]
fn octets(codebook: &[u32], point: impl Fn(usize) -> (usize, u32)) -> Block {
    const MAGNITUDES: [f32; 4] = [8.0, 25.0, 43.0, 0.0];
    let mut out = [0.0; 32];
    for (i, out) in out.as_chunks_mut::<8>().0.iter_mut().enumerate() {
        let (index, signs) = point(i);
        let levels = codebook[index].to_le_bytes();
        let magnitudes = std::array::from_fn(|j| MAGNITUDES[usize::from(levels[j % 4] >> (j / 4 * 4) & 3)]);
        *out = with_signs(magnitudes, signs);
    }
    out
}

/// 8 points of 4 values, the signs of each in 4 bits.
#[inline(always)]
fn quads(codebook: &[u32], point: impl Fn(usize) -> (usize, u32)) -> Block {
    let mut out = [0.0; 32];
    for (i, out) in out.as_chunks_mut::<4>().0.iter_mut().enumerate() {
        let (index, signs) = point(i);
        *out = with_signs(codebook[index].to_le_bytes().map(f32::from), signs);
    }
    out
}

/// 1/4 of d times (1/2 + scale), for two scales in a byte.
#[inline(always)]
fn quarter_scales(d: f32, both: u8) -> [(f32, f32); 2] {
    [both & 15, both >> 4].map(|scale| (d * (f32::from(scale) + 0.5) * 0.25, 0.0))
}

#[inline(always)]
fn word(bytes: [u8; 4]) -> u32 {
    u32::from_le_bytes(bytes)
}

/// IQ2_XXS: d, for each block of 32 4 indices of a byte, then a word: 4 times 7 signs, a scale.
pub(crate) struct Iq2Xxs;
impl Format for Iq2Xxs {
    const INFO: Info =
        info(&[Source { dtype: DType::IQ2_XXS, scales: BlockScales::Halves(&[0]) }], &[Section::each_256(2)], &codebooks::IQ2_XXS);
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<66>().0.iter().enumerate() {
            for (b, quants) in block[2..].as_chunks::<8>().0.iter().enumerate() {
                out.put_quants(0, 8 * i + b, quants);
            }
            out.put_scale(0, i, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let [indices @ .., s0, s1, s2, s3] = *row.quants::<8>(0, block);
        let signs = word([s0, s1, s2, s3]);
        octets(&codebooks::IQ2_XXS, |i| (usize::from(indices[i]), eight_signs(signs >> (7 * i))))
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let scale = row.quants::<8>(0, block)[7] >> 4;
        whole(row.half(0, block / 8) * (f32::from(scale) + 0.5) * 0.25, 0.0)
    }
}

/// IQ2_XS: d, 32 times 16 bits (an index of 9, 7 signs), 8 bytes with the scales of 16 columns each.
pub(crate) struct Iq2Xs;
impl Format for Iq2Xs {
    const INFO: Info = info(
        &[Source { dtype: DType::IQ2_XS, scales: BlockScales::Halves(&[0]) }],
        &[Section::each_block(1), Section::each_256(2)],
        &codebooks::IQ2_XS,
    );
    const SCALED: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<74>().0.iter().enumerate() {
            for (b, quants) in block[2..66].as_chunks::<8>().0.iter().enumerate() {
                out.put_quants(0, 8 * i + b, quants);
            }
            out.put_scale(0, i, field::<8>(block, 66));
            out.put_scale(1, i, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let points = row.quants::<8>(0, block).as_chunks::<2>().0;
        octets(&codebooks::IQ2_XS, |i| {
            let point = u32::from(u16::from_le_bytes(points[i]));
            (point as usize & 511, eight_signs(point >> 9))
        })
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        quarter_scales(row.half(1, block / 8), row.entry::<1>(0, block)[0])
    }
}

/// IQ2_S: d, 32 bytes of lower bits of indices, 32 of signs, 8 of upper 2 bits, 8 with the scales of 16 columns each.
pub(crate) struct Iq2S;
impl Format for Iq2S {
    const INFO: Info = info(
        &[Source { dtype: DType::IQ2_S, scales: BlockScales::Halves(&[0]) }],
        &[Section::each_block(2), Section::each_256(2)],
        &codebooks::IQ2_S,
    );
    const SCALED: bool = true;
    const HALVES: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<82>().0.iter().enumerate() {
            for b in 0..8 {
                let (indices, signs): (&[u8; 4], &[u8; 4]) = (field(block, 2 + 4 * b), field(block, 34 + 4 * b));
                out.put_quants(0, 8 * i + b, &std::array::from_fn::<u8, 8, _>(|j| if j < 4 { indices[j] } else { signs[j - 4] }));
                out.put_scale(0, 8 * i + b, &[block[66 + b], block[74 + b]]);
            }
            out.put_scale(1, i, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let quants = row.quants::<8>(0, block);
        let upper = row.entry::<2>(0, block)[0];
        octets(&codebooks::IQ2_S, |i| (usize::from(quants[i]) | usize::from(upper >> (2 * i) & 3) << 8, u32::from(quants[4 + i])))
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        quarter_scales(row.half(1, block / 8), row.entry::<2>(0, block)[1])
    }
}

/// IQ3_XXS: d, 64 indices of a byte, for each block of 32 a word: 4 times 7 signs, a scale.
pub(crate) struct Iq3Xxs;
impl Format for Iq3Xxs {
    const INFO: Info = info(
        &[Source { dtype: DType::IQ3_XXS, scales: BlockScales::Halves(&[0]) }],
        &[Section::each_block(4), Section::each_256(2)],
        &codebooks::IQ3_XXS,
    );
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<98>().0.iter().enumerate() {
            for b in 0..8 {
                out.put_quants(0, 8 * i + b, field::<8>(block, 2 + 8 * b));
                out.put_scale(0, 8 * i + b, field::<4>(block, 66 + 4 * b));
            }
            out.put_scale(1, i, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let (indices, signs) = (row.quants::<8>(0, block), word(*row.entry(0, block)));
        quads(&codebooks::IQ3_XXS, |i| (usize::from(indices[i]), eight_signs(signs >> (i / 2 * 7)) >> (i % 2 * 4)))
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let scale = word(*row.entry(0, block)) >> 28;
        whole(row.half(1, block / 8) * (scale as f32 + 0.5) * 0.5, 0.0)
    }
}

/// IQ3_S: d, 64 bytes of lower bits of indices, 8 bytes of upper bits, 32 of signs, 4 with the scales of two blocks of 32 each.
pub(crate) struct Iq3S;
impl Format for Iq3S {
    const INFO: Info = info(
        &[Source { dtype: DType::IQ3_S, scales: BlockScales::Halves(&[0]) }],
        &[Section::each_block(4), Section::each_block(1), Section::each_256(4), Section::each_256(2)],
        &codebooks::IQ3_S,
    );
    const SCALED: bool = true;

    fn repack(_: DType, row: &[u8], out: &mut RowOut<'_>) {
        for (i, block) in row.as_chunks::<110>().0.iter().enumerate() {
            for b in 0..8 {
                out.put_quants(0, 8 * i + b, field::<8>(block, 2 + 8 * b));
                out.put_scale(0, 8 * i + b, field::<4>(block, 74 + 4 * b));
            }
            out.put_scale(1, i, field::<8>(block, 66));
            out.put_scale(2, i, field::<4>(block, 106));
            out.put_scale(3, i, field::<2>(block, 0));
        }
    }

    #[inline(always)]
    fn values(row: &Row<'_>, block: usize) -> Block {
        let (indices, signs) = (row.quants::<8>(0, block), word(*row.entry(0, block)));
        let [upper] = *row.entry(1, block);
        quads(&codebooks::IQ3_S, |i| (usize::from(indices[i]) | usize::from(upper >> i & 1) << 8, signs >> (4 * i)))
    }

    #[inline(always)]
    fn scale(row: &Row<'_>, block: usize) -> [(f32, f32); 2] {
        let b = block % 8;
        let scale = row.entry::<4>(2, block / 8)[b / 2] >> (b % 2 * 4) & 15;
        whole(row.half(3, block / 8) * f32::from(1 + 2 * scale), 0.0)
    }
}
