//! Cases of the kernels that keep recurrent state of sequences.

use parhelion_shaders::{grid, shared::Run, short_conv};

use super::{
    Bound, Case, Operand, Rng,
    dense::{ROUNDING, padded_rows},
};
use crate::ops::{
    short_conv::ConvShape,
    state::{EMPTY, SLOTS},
};

/// Where the state before a run lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Before {
    /// The sequence begins with the run.
    Nothing,
    /// In another slot than the state after it.
    OtherSlot,
    /// In the same slot: for runs of one row.
    SameSlot,
}

/// The runs of a step: rows of each, and where the state before them lies.
pub type Runs = &'static [(u32, Before)];

/// Runs for kernels to read, with one at the end that the step does not have.
fn of_runs(runs: Runs) -> Vec<Run> {
    let mut first = 0;
    let run = |(&(rows, before), base): (&(u32, Before), u32)| {
        first += rows;
        let (read, write) = match before {
            Before::Nothing => (EMPTY, base + 1),
            Before::OtherSlot => (base + 1, base),
            Before::SameSlot => (base, base),
        };
        Run { first: first - rows, rows, read, write }
    };
    let absent = Run { first: 0, rows: 0, read: EMPTY, write: EMPTY };
    runs.iter().zip((0..).step_by(SLOTS as usize)).map(run).chain([absent]).collect()
}

fn rows_of(runs: Runs) -> u32 {
    runs.iter().map(|(rows, _)| rows).sum()
}

/// A short convolution of random rows.
#[derive(Debug, Clone, Copy)]
pub struct Convolution {
    /// Channels, taps, gates.
    pub shape: ConvShape,
    /// The step.
    pub runs: Runs,
    /// Largest magnitude in x and in the state.
    pub magnitude: f32,
}

impl Convolution {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { shape: ConvShape { channels, taps, gated }, runs, magnitude } = *self;
        let (rows, width, kept) = (rows_of(runs), channels as usize, taps as usize - 1);
        let x_cols = if gated { 3 * channels } else { channels + 5 };
        let (x_stride, y_stride) = (x_cols.next_multiple_of(4), channels.next_multiple_of(4));
        let mut rng = Rng::new(u64::from(channels) << 8 | u64::from(taps));
        let x = padded_rows(&mut rng, rows, x_cols, x_stride, magnitude);
        let w = rng.floats(width * taps as usize, 1.0);
        let state = rng.floats(SLOTS as usize * runs.len() * kept * width, magnitude);
        let largest = if gated { magnitude * magnitude } else { magnitude };
        // A sum of products, each rounded twice, is off by its number of terms in units of their sizes. The gate passes that on; SiLU
        // at most 1.1 times, and adds the 3 + 2 |t| units of an exponential.
        let sum = f64::from(taps) * f64::from(largest.max(magnitude)) * (2.0 * f64::from(taps) + 6.0) * ROUNDING;
        let bound = if gated {
            Bound::absolute((sum * f64::from(magnitude)) as f32 + f32::MIN_POSITIVE)
        } else {
            Bound::each(move |_, y| {
                let exponential = y.abs() * (19.0 + 2.0 * y.abs().min(100.0)) * f32::EPSILON;
                // where the exponential is under f32's normal numbers, so is what is left of the sum but for its size
                1.1 * sum as f32 + exponential + f32::MIN_POSITIVE * (1.0 + taps as f32 * magnitude)
            })
        };
        let constants = short_conv::Constants { taps, gated, ..Default::default() };
        let runs = of_runs(runs);
        let [groups_x, groups_y] = grid((rows * channels).div_ceil(constants.wg));
        let call = short_conv::call(
            constants,
            short_conv::Params { channels, x_stride, y_stride },
            short_conv::Bindings {
                runs: Operand::new(&runs),
                x: Operand::new(&x),
                w: Operand::new(&w),
                // A product is rounded once and may be flushed.
                state: Operand::new(&state).floats(width, width, Bound::absolute(f32::MIN_POSITIVE)),
                y: Operand::output(rows as usize, width, y_stride as usize, bound),
            },
            [groups_x, groups_y, runs.len() as u32],
        );
        let label = format!("{channels} channels, {taps} taps, gated: {gated}, runs {:?}, magnitude {magnitude:e}", self.runs);
        Case { label, reason: "a sum of products, and an exponential of 3 + 2 |t| units", call }
    }
}

/// A run that begins a sequence, one that goes on, one of a sampled row.
const MIXED: Runs = &[(5, Before::Nothing), (2, Before::OtherSlot), (1, Before::SameSlot)];

/// A small convolution.
pub(crate) fn small_convolution(taps: u32, gated: bool) -> Case {
    Convolution { shape: ConvShape { channels: 70, taps, gated }, runs: MIXED, magnitude: 2.0 }.case()
}

/// Small cases of every kernel.
pub fn small() -> Vec<Case> {
    vec![small_convolution(3, true), small_convolution(4, false)]
}
