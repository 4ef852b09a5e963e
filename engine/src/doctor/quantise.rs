//! Cases of the quantising kernels. Their results must be the twins' bit by bit: all that decides is integer arithmetic.

use parhelion_shaders::Kernel;

use super::{Case, Operand, Rng};
use crate::{
    formats::{self, BLOCK},
    ops::{
        quantise::{self, Bound, Rows},
        quantise_k,
    },
    quantise::QuantType,
};

/// Rows of f32 that are quantised.
#[derive(Debug, Clone, Copy)]
pub struct Quantisation {
    /// What they become.
    pub to: QuantType,
    /// Rows.
    pub rows: u32,
    /// Blocks of 32 columns a row; for Q4_K a multiple of 8.
    pub blocks: u32,
    /// The row of the planes that the first one becomes.
    pub first_row: u32,
    /// Whether blocks are of every kind that is hard to quantise, or all of them evenly spread values.
    pub hard: bool,
}

impl Quantisation {
    /// The kernel that is used.
    pub fn kernel(&self) -> &'static Kernel {
        match self.to.target() {
            Some(target) => parhelion_shaders::quantise::kernel(target),
            None => parhelion_shaders::quantise_k::kernel(),
        }
    }

    /// The case; none if the rows are too many for a grid.
    pub fn case(&self) -> Option<Case> {
        let Self { to, rows, blocks, first_row, hard } = *self;
        let mut rng = Rng::new(u64::from(rows) << 32 | u64::from(blocks));
        let x_stride = blocks * BLOCK as u32 + 4;
        let mut x = Vec::new();
        for row in 0..rows {
            for block in 0..blocks {
                let kind = if hard { (row * blocks + block) % KINDS.len() as u32 } else { 0 };
                x.extend((0..BLOCK).map(|i| KINDS[kind as usize](&mut rng, i)));
            }
            x.extend([f32::NAN; 4]); // between rows there may be anything
        }
        let info = formats::info(to.format());
        let words = |each: u64| Operand::output_words(((first_row + rows) as u64 * each) as usize);
        let bound = Bound {
            x: Operand::new(&x),
            quants: words(4 * info.vectors(blocks.into())),
            scales: words(info.words(blocks.into())),
            faults: Operand::new(&[0_u32]),
        };
        let shape = Rows { rows, blocks, x_stride, first_row };
        let call = match to.target() {
            Some(target) => quantise::call(target, shape, bound),
            None => quantise_k::call(shape, bound),
        };
        let kind = if hard { "hard" } else { "even" };
        let label = format!("{rows} rows of {blocks} {kind} blocks from row {first_row}");
        Some(Case { label, reason: "integer arithmetic", call: call.ok()? })
    }
}

/// Value `i` of a block, for each kind of block.
const KINDS: &[fn(&mut Rng, usize) -> f32] = &[
    |rng, _| rng.float(1.0),
    // Zeros of both signs.
    |rng, _| f32::from_bits(rng.word() & 1 << 31),
    // Any finite value: exponents all over the range.
    |rng, _| finite(rng.word(), 0, 254),
    // Subnormal numbers alone, and beside the smallest normal ones.
    |rng, _| finite(rng.word(), 0, 0),
    |rng, _| finite(rng.word(), 0, 12),
    // Scales at the ends of f16's range: its subnormal numbers, and past its largest.
    |rng, _| finite(rng.word(), 95, 112),
    |rng, _| finite(rng.word(), 140, 152),
    |rng, _| finite(rng.word(), 245, 254),
    // Halves of whole numbers under a power of two, so that values lie in the middle of two levels.
    |rng, i| if i == 3 { -127.0 } else { rng.below(255) as f32 / 2.0 - 63.5 },
    |rng, i| if i == 5 { 8.0 } else { rng.below(33) as f32 / 2.0 - 8.0 },
    |rng, i| if i == 31 { -16.0 } else { rng.below(65) as f32 / 2.0 - 16.0 },
    // One magnitude, both signs; one value alone; all alike, above and below zero.
    |rng, _| if rng.below(2) == 0 { 0.3 } else { -0.3 },
    |_, i| if i == 9 { 1e-3 } else { 0.0 },
    |_, _| 0.7,
    |_, _| -0.7,
    // Far from zero with little between them, on either side.
    |rng, _| 100.0 + rng.float(0.5),
    |rng, _| -100.0 + rng.float(0.5),
];

/// The bits with their exponent field brought into a range.
fn finite(bits: u32, lowest: u32, highest: u32) -> f32 {
    let field = lowest + (bits >> 23 & 0xff) % (highest - lowest + 1);
    f32::from_bits(bits & 0x807f_ffff | field << 23)
}

/// A small case of every variant.
pub(super) fn small() -> Vec<Case> {
    let small = |&to| Quantisation { to, rows: 3, blocks: 8, first_row: 2, hard: true };
    QuantType::ALL.iter().filter_map(|to| small(to).case()).collect()
}

/// Conformance cases: rows of one block and of many, odd numbers of them, and every kind of block.
pub(super) fn conformance() -> Vec<Case> {
    let mut all = Vec::new();
    for &to in QuantType::ALL {
        let shapes = match to {
            QuantType::Q4_K => [(1, 8, 0), (17, 16, 0), (5, 40, 3)],
            _ => [(1, 1, 0), (17, 17, 0), (40, 18, 3)],
        };
        for (rows, blocks, first_row) in shapes {
            let kinds = [false, true].map(|hard| Quantisation { to, rows, blocks, first_row, hard });
            all.extend(kinds.iter().filter_map(Quantisation::case));
        }
    }
    all
}
