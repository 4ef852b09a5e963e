//! Random weights in the engine's layout.

use half::{bf16, f16};
use parhelion_shaders::axes::Weight;

use super::{BLOCK, Operand, Planes, Rng};

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
    quants: Vec<u32>,
    scales: Vec<u32>,
}

impl WeightData {
    /// A matrix of `rows` x `cols` random weights. Columns that fill the last block are random too, where a loader would leave
    /// zeros: kernels must not depend on them.
    pub fn new(rng: &mut Rng, format: Weight, rows: u32, cols: u32, scales: Scales) -> Self {
        let blocks = cols.div_ceil(BLOCK as u32);
        let count = (rows * blocks) as usize;
        let halves = |low: u16, high: u16| u32::from(low) | u32::from(high) << 16;
        let quants = match format {
            Weight::F32 => rng.floats(count * BLOCK, 1.0).into_iter().map(f32::to_bits).collect(),
            Weight::F16 => {
                // Without subnormals, which a device may read as zero.
                let mut half = || match f16::from_f32(rng.float(1.0)) {
                    value if value.is_normal() => value.to_bits(),
                    _ => 0,
                };
                (0..count * BLOCK / 2).map(|_| halves(half(), half())).collect()
            }
            Weight::Bf16 => {
                let mut half = || bf16::from_f32(rng.float(1.0)).to_bits();
                (0..count * BLOCK / 2).map(|_| halves(half(), half())).collect()
            }
            Weight::Q8_0 => rng.words(count * BLOCK / 4),
            Weight::Q4_0 | Weight::Q4_1 => rng.words(count * BLOCK / 8),
        };
        let words = match format {
            Weight::F32 | Weight::F16 | Weight::Bf16 => 0,
            Weight::Q8_0 | Weight::Q4_0 => count.div_ceil(2),
            Weight::Q4_1 => count,
        };
        let mut scale = || match scales {
            Scales::Moderate => f16::from_f32(rng.float(0.25)).to_bits(),
            // Exponents 0..=30 of either sign, the largest number among them.
            Scales::Any => match rng.below(0x7c01) as u16 {
                0x7c00 => f16::MAX.to_bits(),
                bits => bits | (rng.below(2) as u16) << 15,
            },
        };
        let scales = (0..words).map(|_| halves(scale(), scale())).collect();
        Self { format, rows, blocks, quants, scales }
    }

    /// The plane of quants.
    pub fn quants(&self) -> Operand {
        Operand::new(&self.quants)
    }

    /// The plane of scales, for formats that have one.
    pub fn scales(&self) -> Option<Operand> {
        (!self.scales.is_empty()).then(|| Operand::new(&self.scales))
    }

    /// For each column of a row how large the terms are that its weight is made of: |q d| + |m|.
    pub(super) fn magnitudes(&self, row: usize) -> Vec<f64> {
        let minima = self.scale_pairs(row).map(|(_, m)| m);
        self.weights(row).zip(minima).map(|(w, m)| (w - m).abs() + m.abs()).collect()
    }

    /// For each column of a row what its weight loses if subnormal scales are read as zero.
    pub(super) fn flushed(&self, row: usize) -> Vec<f64> {
        let subnormal = |v: f64| if v.abs() < f64::from(f16::MIN_POSITIVE.to_f32()) { v.abs() } else { 0.0 };
        let scales = self.scale_pairs(row);
        self.weights(row).zip(scales).map(|(w, (d, m))| if subnormal(d) > 0.0 { (w - m).abs() } else { 0.0 } + subnormal(m)).collect()
    }

    fn weights(&self, row: usize) -> impl Iterator<Item = f64> {
        let planes = Planes::new(self.format, self.rows, self.blocks, &self.quants, Some(&self.scales)).ok();
        let block = move |block| planes.map_or([f32::NAN; BLOCK], |planes| planes.block(row, block));
        let blocks: Vec<_> = (0..self.blocks as usize).map(block).collect();
        blocks.into_iter().flatten().map(f64::from)
    }

    /// Scale and minimum of each column.
    fn scale_pairs(&self, row: usize) -> impl Iterator<Item = (f64, f64)> {
        let half = |word: u32, high: bool| f64::from(f16::from_bits((word >> if high { 16 } else { 0 }) as u16).to_f32());
        let pair = |block: usize| {
            let i = row * self.blocks as usize + block;
            match self.format {
                Weight::F32 | Weight::F16 | Weight::Bf16 => (1.0, 0.0),
                Weight::Q8_0 | Weight::Q4_0 => (half(self.scales[i / 2], i % 2 == 1), 0.0),
                Weight::Q4_1 => (half(self.scales[i], false), half(self.scales[i], true)),
            }
        };
        let pairs: Vec<_> = (0..self.blocks as usize).flat_map(|block| [pair(block); BLOCK]).collect();
        pairs.into_iter()
    }
}
