//! Random weights in the engine's layout.

use half::{bf16, f16};
use parhelion_loader::DType;
use parhelion_shaders::axes::Weight;

use super::{BLOCK, Operand, Planes, Rng};
use crate::formats::{self, Info, Source};

/// Scales of the blocks of a quantised matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scales {
    /// Of either sign, as large as those of published models and somewhat larger.
    Moderate,
    /// Every finite f16: zeros, subnormals, the largest.
    Any,
}

/// A random matrix: its planes and what its weights are.
#[derive(Debug, Clone)]
pub struct WeightData {
    format: Weight,
    rows: u32,
    /// Blocks of a row.
    pub blocks: u32,
    planes: [Vec<u32>; 2],
    /// The planes as a device may read them that takes subnormal scales for zero.
    flushed: [Vec<u32>; 2],
}

impl WeightData {
    /// A matrix of `rows` x `cols` random weights, made as published blocks. Columns that fill the last block are random too, where
    /// a loader would leave zeros: kernels must not depend on them.
    pub fn new(rng: &mut Rng, format: Weight, rows: u32, cols: u32, scales: Scales) -> Self {
        let info = formats::info(format);
        let blocks = cols.next_multiple_of(info.columns() as u32) / BLOCK as u32;
        let mut published: Vec<_> = (0..rows).map(|row| published_row(rng, info, row, blocks, scales)).collect();
        let planes = planes(format, blocks, &published);
        for (source, row) in &mut published {
            for block in row.chunks_mut(source.dtype.block_bytes() as usize) {
                source.map_scales(block, |bits| if f16::from_bits(bits).is_normal() { bits } else { 0 });
            }
        }
        let flushed = self::planes(format, blocks, &published);
        Self { format, rows, blocks, planes, flushed }
    }

    /// The planes of quants and of scales, the second empty for formats without.
    pub fn planes(&self) -> &[Vec<u32>; 2] {
        &self.planes
    }

    /// The plane of quants.
    pub fn quants(&self) -> Operand {
        Operand::new(&self.planes[0])
    }

    /// The plane of scales, for formats that have one.
    pub fn scales(&self) -> Option<Operand> {
        (!self.planes[1].is_empty()).then(|| Operand::new(&self.planes[1]))
    }

    /// For each column of a row how large the terms are that its weight is made of: |q d| + |m|.
    pub(crate) fn magnitudes(&self, row: usize) -> Vec<f64> {
        let weights = values(self.view(&self.planes), row, self.blocks);
        weights.map(|(w, m)| (w - m).abs() + m.abs()).collect()
    }

    /// For each column of a row what its weight loses if subnormal scales are read as zero.
    pub(super) fn flushed(&self, row: usize) -> Vec<f64> {
        let flushed = values(self.view(&self.flushed), row, self.blocks);
        let weights = values(self.view(&self.planes), row, self.blocks);
        weights.zip(flushed).map(|((w, _), (flushed, _))| (w - flushed).abs()).collect()
    }

    fn view<'a>(&self, [quants, scales]: &'a [Vec<u32>; 2]) -> Option<Planes<'a>> {
        Planes::new(self.format, self.rows, self.blocks, quants, Some(scales)).ok()
    }
}

/// Weight and offset of each column of a row.
fn values(planes: Option<Planes<'_>>, row: usize, blocks: u32) -> impl Iterator<Item = (f64, f64)> {
    let block = move |block| match &planes {
        Some(planes) => (planes.block(row, block), planes.scale(row, block)),
        None => ([f32::NAN; BLOCK], [(f32::NAN, f32::NAN); 2]),
    };
    let pairs = move |(weights, scales): ([f32; BLOCK], [(f32, f32); 2])| {
        (0..BLOCK).map(move |i| (f64::from(weights[i]), f64::from(scales[i / (BLOCK / 2)].1)))
    };
    (0..blocks as usize).map(block).flat_map(pairs)
}

fn planes(format: Weight, blocks: u32, published: &[(Source, Vec<u8>)]) -> [Vec<u32>; 2] {
    let codebook = bytemuck::cast_slice(formats::info(format).codebook);
    let (mut quants, mut scales) = (Vec::new(), codebook.to_vec());
    for (source, row) in published {
        formats::repack(format, source.dtype, blocks as usize, [&row[..]].into_iter(), &mut quants, Some(&mut scales));
    }
    [quants, scales].map(|plane| bytemuck::pod_collect_to_vec(&plane))
}

/// A row of random published blocks; rows take turns with the types that the format is made from.
fn published_row(rng: &mut Rng, info: &Info, row: u32, blocks: u32, scales: Scales) -> (Source, Vec<u8>) {
    let source = info.sources[row as usize % info.sources.len()];
    let (elems, bytes) = (source.dtype.block_elems() as usize, source.dtype.block_bytes() as usize);
    let count = blocks as usize * BLOCK / elems;
    let row = match source.dtype {
        DType::F32 => bytemuck::cast_slice(&rng.floats(count, 1.0)).to_vec(),
        // Without subnormals, which a device may read as zero.
        DType::F16 => (0..count)
            .map(|_| f16::from_f32(rng.float(1.0)))
            .flat_map(|v| if v.is_normal() { v } else { f16::ZERO }.to_le_bytes())
            .collect(),
        DType::BF16 => (0..count).flat_map(|_| bf16::from_f32(rng.float(1.0)).to_le_bytes()).collect(),
        _ => {
            let words = rng.words((count * bytes).div_ceil(4));
            let mut row = bytemuck::cast_slice(&words)[..count * bytes].to_vec();
            row.chunks_mut(bytes).for_each(|block| source.map_scales(block, |_| scale(rng, scales)));
            row
        }
    };
    (source, row)
}

/// A finite f16.
fn scale(rng: &mut Rng, scales: Scales) -> u16 {
    match scales {
        Scales::Moderate => f16::from_f32(rng.float(0.25)).to_bits(),
        // Exponents 0..=30 of either sign, the largest number among them.
        Scales::Any => match rng.below(0x7c01) as u16 {
            0x7c00 => f16::MAX.to_bits(),
            bits => bits | (rng.below(2) as u16) << 15,
        },
    }
}
