//! The weight formats that can be computed with: one table, from which loading, scalar twins, checks and messages take what they
//! know of a format. A format is one implementation of [`Format`] here and one WGSL module (`shaders/wgsl/shared/weight_*.wgsl`);
//! the facts about published blocks are those of ggml, or of the loader where it puts
//! blocks together itself.
//!
//! In the engine's layout a matrix is two planes of rows, every row of a plane of the same size. A row of quants is whole
//! `vec4<u32>`, ordered so that neighbouring lanes, which take neighbouring blocks of 32 columns, read neighbouring memory. A row of
//! scales is sections of whole words; a codebook comes before the first row.

pub(crate) mod affine;
mod codebooks;
pub(crate) mod fives;
pub(crate) mod floats8;
pub(crate) mod fours;
pub(crate) mod grids;
pub(crate) mod iq1;
pub(crate) mod k;
pub(crate) mod k_halves;
pub(crate) mod legacy;
pub(crate) mod pack;
pub(crate) mod plain;
mod row;
pub(crate) mod ternary;

use half::f16;
use parhelion_loader::DType;
use parhelion_shaders::axes::Weight;

pub(crate) use plain::to_f32;
pub(crate) use row::{Row, RowOut, Rows};

/// Columns of a block: the unit that kernels and twins work in. Columns past a matrix's last are zero weights.
pub(crate) const BLOCK: usize = 32;

/// 32 values in a row.
pub(crate) type Block = [f32; BLOCK];

/// Sections that a row of scales has at the most.
const MAX_SECTIONS: usize = 4;

/// What is known of a format without a matrix at hand.
#[derive(Debug)]
pub struct Info {
    /// The published types that it is made from.
    pub sources: &'static [Source],
    /// Bits a weight in the plane of quants.
    pub quant_bits: usize,
    /// The sections of a row of scales, one after another; none for formats without a plane of scales.
    pub sections: &'static [Section],
    /// Words in front of the first row of scales.
    pub codebook: &'static [u32],
}

/// A published type and where its blocks keep their scales.
#[derive(Debug, Clone, Copy)]
pub struct Source {
    /// The type.
    pub dtype: DType,
    /// What makes a random block a valid one.
    pub scales: BlockScales,
}

/// The floating-point fields of a published block: bytes that may not be just anything.
#[derive(Debug, Clone, Copy)]
pub enum BlockScales {
    /// The element itself is a number.
    Plain,
    /// f16 numbers at these bytes.
    Halves(&'static [usize]),
    /// f32 numbers at these bytes.
    Floats(&'static [usize]),
    /// The exponent of a power of two at this byte.
    Exponent(usize),
    /// The upper 4 bits of each of 4 times 16 bits from this byte on, together an f16.
    Pieces(usize),
    /// Any byte is a scale.
    Bytes,
}

/// A part of each row of scales: `bytes` for every `blocks` blocks, then padding to a whole word.
#[derive(Debug, Clone, Copy)]
pub struct Section {
    /// Bytes of an entry.
    pub bytes: usize,
    /// Blocks that share an entry.
    pub blocks: usize,
}

impl Source {
    /// Changes the scales of a published block, each given and returned as the bits of an f16: random bytes become a valid block
    /// when every scale becomes a finite one.
    pub fn map_scales(&self, block: &mut [u8], mut change: impl FnMut(u16) -> u16) {
        match self.scales {
            BlockScales::Plain | BlockScales::Bytes => {}
            BlockScales::Floats(places) => {
                for &at in places {
                    let bits = f16::from_f32(f32::from_le_bytes(*pack::field(block, at))).to_bits();
                    block[at..at + 4].copy_from_slice(&f16::from_bits(change(bits)).to_f32().to_le_bytes());
                }
            }
            BlockScales::Exponent(at) => {
                let bits = f16::from_f32(f32::from_bits(u32::from(block[at]) << 23)).to_bits();
                block[at] = (f16::from_bits(change(bits)).to_f32().to_bits() >> 23) as u8;
            }
            BlockScales::Pieces(at) => {
                let bits = change(iq1::half_of_pieces(pack::field(block, at)));
                iq1::put_pieces(&mut block[at..], bits);
            }
            BlockScales::Halves(places) => {
                for &at in places {
                    let bits = u16::from_le_bytes([block[at], block[at + 1]]);
                    block[at..at + 2].copy_from_slice(&change(bits).to_le_bytes());
                }
            }
        }
    }
}

impl Section {
    const fn each_block(bytes: usize) -> Self {
        Self { bytes, blocks: 1 }
    }

    const fn each_256(bytes: usize) -> Self {
        Self { bytes, blocks: 8 }
    }

    fn words(&self, blocks: u64) -> u64 {
        (blocks.div_ceil(self.blocks as u64) * self.bytes as u64).div_ceil(4)
    }
}

impl Info {
    /// Columns that belong together: rows are a whole number of them.
    pub fn columns(&self) -> usize {
        self.sources.iter().map(|source| source.dtype.block_elems() as usize).fold(BLOCK, usize::max)
    }

    /// Vectors of 16 bytes in a row of quants of `blocks` blocks.
    pub fn vectors(&self, blocks: u64) -> u64 {
        (blocks * self.quant_bits as u64).div_ceil(4)
    }

    /// Words of a row of scales of `blocks` blocks.
    pub fn words(&self, blocks: u64) -> u64 {
        self.sections.iter().map(|section| section.words(blocks)).sum()
    }

    /// The word of a row at which each section begins.
    fn starts(&self, blocks: usize) -> [usize; MAX_SECTIONS] {
        let mut starts = [0; MAX_SECTIONS];
        let mut at = 0;
        for (start, section) in starts.iter_mut().zip(self.sections) {
            *start = at;
            at += section.words(blocks as u64) as usize;
        }
        starts
    }
}

/// A weight format: how rows of published blocks become rows of planes, and what those mean: weight = value * scale + offset.
/// Everything that reads is inlined into loops that are compiled for several instruction sets.
pub(crate) trait Format {
    /// What is known without a matrix.
    const INFO: Info;
    /// Whether values are to be multiplied by a scale.
    const SCALED: bool;
    /// Whether an offset is to be added.
    const OFFSET: bool = false;
    /// Whether the two halves of a block have scales and offsets of their own.
    const HALVES: bool = false;

    /// Writes a row of published blocks of type `dtype` in the engine's layout; `out` is zeroed.
    fn repack(dtype: DType, row: &[u8], out: &mut RowOut<'_>);

    /// The values of a block as floats, exactly.
    fn values(row: &Row<'_>, block: usize) -> Block;

    /// The scale and the offset of each half of a block; of the first alone unless [`Self::HALVES`].
    fn scale(_row: &Row<'_>, _block: usize) -> [(f32, f32); 2] {
        [(1.0, 0.0); 2]
    }
}

/// A scale for the whole block.
#[inline(always)]
fn whole(scale: f32, offset: f32) -> [(f32, f32); 2] {
    [(scale, offset); 2]
}

macro_rules! formats {
    ($d:tt $($weight:ident: $implementation:path),+ $(,)?) => {
        /// `with_format!(format, F => expression)`: the expression with `F` the implementation of a [`Weight`].
        macro_rules! with_format {
            ($d format:expr, $d name:ident => $d body:expr) => {
                match $d format {
                    $(::parhelion_shaders::axes::Weight::$weight => {
                        type $d name = $implementation;
                        $d body
                    })+
                }
            };
        }
        pub(crate) use with_format;
    };
}

formats! { $
    F32: crate::formats::plain::F32,
    F16: crate::formats::plain::F16,
    Bf16: crate::formats::plain::Bf16,
    Q8_0: crate::formats::legacy::Q8_0,
    Q4_0: crate::formats::legacy::Q4_0,
    Q4_1: crate::formats::legacy::Q4_1,
    Q5_0: crate::formats::fives::Q5_0,
    Q5_1: crate::formats::fives::Q5_1,
    Q2K: crate::formats::k_halves::Q2K,
    Q3K: crate::formats::k_halves::Q3K,
    Q4K: crate::formats::k::Q4K,
    Q5K: crate::formats::k::Q5K,
    Q6K: crate::formats::k_halves::Q6K,
    Q8K: crate::formats::k::Q8K,
    Iq4Nl: crate::formats::fours::Iq4Nl,
    Iq4Xs: crate::formats::fours::Iq4Xs,
    Mxfp4: crate::formats::fours::Mxfp4,
    Nvfp4: crate::formats::fours::Nvfp4,
    Tq2_0: crate::formats::ternary::Tq2_0,
    Iq2Xxs: crate::formats::grids::Iq2Xxs,
    Iq2Xs: crate::formats::grids::Iq2Xs,
    Iq2S: crate::formats::grids::Iq2S,
    Iq3Xxs: crate::formats::grids::Iq3Xxs,
    Iq3S: crate::formats::grids::Iq3S,
    Iq1S: crate::formats::iq1::Iq1S,
    Iq1M: crate::formats::iq1::Iq1M,
    Affine4G32: crate::formats::affine::Affine4<1>,
    Affine4G64: crate::formats::affine::Affine4<2>,
    Affine4G128: crate::formats::affine::Affine4<4>,
    Affine8G32: crate::formats::affine::Affine8<1>,
    Affine8G64: crate::formats::affine::Affine8<2>,
    Nf4: crate::formats::fours::Nf4,
    F8E4m3: crate::formats::floats8::E4m3,
    F8E5m2: crate::formats::floats8::E5m2,
}

/// What is known of a format.
pub fn info(format: Weight) -> &'static Info {
    with_format!(format, F => &<F as Format>::INFO)
}

/// The format that matrices of a published type are kept in, if it can be computed with.
pub fn of(dtype: DType) -> Option<Weight> {
    Weight::ALL.iter().copied().find(|&format| info(format).sources.iter().any(|source| source.dtype == dtype))
}

/// Whether a vector (a norm's weights, a bias) can be of this type.
pub fn is_plain(dtype: DType) -> bool {
    of(dtype).is_some_and(|format| info(format).sources.iter().all(|source| matches!(source.scales, BlockScales::Plain)))
}

/// The names of the published types that can be computed with, or of those alone that vectors can have, for messages.
pub fn names(vectors: bool) -> String {
    let sources = Weight::ALL.iter().flat_map(|&format| info(format).sources);
    let usable = sources.map(|source| source.dtype).filter(|&dtype| !vectors || is_plain(dtype));
    usable.map(DType::name).collect::<Vec<_>>().join(", ")
}

/// Appends rows of published blocks of type `dtype`, `blocks` blocks wide, to the planes of `format`. A row that ends inside a block
/// is filled up with zero weights.
pub(crate) fn repack<'a>(
    format: Weight,
    dtype: DType,
    blocks: usize,
    rows: impl Iterator<Item = &'a [u8]>,
    quants: &mut Vec<u8>,
    scales: Option<&mut Vec<u8>>,
) {
    let info = info(format);
    let (vectors, words) = (info.vectors(blocks as u64) as usize, info.words(blocks as u64) as usize);
    let mut none = Vec::new();
    let scales = scales.unwrap_or(&mut none);
    for row in rows {
        let (first_quant, first_scale) = (quants.len(), scales.len());
        quants.resize(first_quant + 16 * vectors, 0);
        scales.resize(first_scale + 4 * words, 0);
        let mut out = RowOut::new(info, blocks, &mut quants[first_quant..], &mut scales[first_scale..]);
        with_format!(format, F => F::repack(dtype, row, &mut out));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_is_found_by_each_of_its_types() {
        for &format in Weight::ALL {
            let info = info(format);
            assert!(!info.sources.is_empty() && info.sections.len() <= MAX_SECTIONS, "{}", format.name());
            for source in info.sources {
                assert_eq!(of(source.dtype), Some(format), "{}", source.dtype);
            }
        }
        assert_eq!(of(DType::I8), None);
    }

    #[test]
    fn planes_take_the_bytes_of_published_blocks() {
        const COLUMNS: u64 = 4096;
        for source in Weight::ALL.iter().flat_map(|&format| info(format).sources) {
            let info = info(of(source.dtype).unwrap());
            let bytes = 16 * info.vectors(COLUMNS / 32) + 4 * info.words(COLUMNS / 32);
            let published = match source.dtype {
                DType::Q8_K => COLUMNS + COLUMNS / 256 * 4, // without sums
                DType::TQ1_0 => DType::TQ2_0.bytes_for(COLUMNS).unwrap(),
                dtype => dtype.bytes_for(COLUMNS).unwrap(),
            };
            assert_eq!(bytes, published, "{}", source.dtype);
        }
    }
}
