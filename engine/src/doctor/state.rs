//! Cases of the kernels that keep recurrent state of sequences.

use parhelion_shaders::{axes::Reduce, delta_net, drop_gates, gate_heads, grid, shared::Run, short_conv};

use super::{
    Bound, Case, Operand, Rng,
    dense::{ROUNDING, padded_rows},
};
use crate::ops::{
    delta_net::{Decay, DeltaShape, HeadOrder},
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

/// The gated delta rule over random rows.
#[derive(Debug, Clone, Copy)]
pub struct Recurrence {
    /// Heads.
    pub shape: DeltaShape,
    /// The step.
    pub runs: Runs,
    /// Largest magnitude of queries, keys, values and in the state.
    pub magnitude: f32,
}

impl Recurrence {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { shape, runs, magnitude } = *self;
        let DeltaShape { value_heads, key_dim, value_dim, decay, .. } = shape;
        let (rows, cols, y_cols) = (rows_of(runs), shape.qkv_cols(), shape.value_cols());
        let (qkv_stride, y_stride, gates_first) = (cols.next_multiple_of(4), y_cols.next_multiple_of(4), 3);
        let gates_cols = gates_first + 2 * value_heads;
        let gates_stride = gates_cols.next_multiple_of(4);
        let mut rng = Rng::new(u64::from(cols) << 8 | u64::from(rows));
        let qkv = padded_rows(&mut rng, rows, cols, qkv_stride, magnitude);
        let gates = padded_rows(&mut rng, rows, gates_cols, gates_stride, 4.0);
        let rates = rng.floats(value_heads as usize, 2.0);
        let rates: Vec<f32> = if decay == Decay::Logarithm { rates } else { rates.iter().map(|rate| -rate.exp()).collect() };
        let dt_bias = rng.floats(value_heads as usize, 2.0);
        let state = rng.floats(SLOTS as usize * runs.len() * (y_cols * key_dim) as usize, magnitude);
        // Columns of a state grow by their value at the most in a row, since what a key of length 1 replaces is taken out. A row is off by
        // sums over a key, and some tens of units of exponentials, roots and products, of such a column; later rows only shrink that.
        let longest = runs.iter().map(|(rows, _)| f64::from(*rows)).fold(1.0, f64::max);
        let column = f64::from(magnitude) * (f64::from(key_dim).sqrt() + longest);
        let error = (longest + 1.0) * (f64::from(key_dim) / 4.0 + 64.0) * 2.0 * ROUNDING * column;
        let y_error = error / f64::from(key_dim).sqrt();
        let key_width = key_dim as usize;
        let runs = of_runs(runs);
        let call = delta_net::call(
            shape.constants(),
            shape.params(qkv_stride, (gates_stride, gates_first), y_stride),
            delta_net::Bindings {
                runs: Operand::new(&runs),
                qkv: Operand::new(&qkv),
                gates: Operand::new(&gates),
                decay: Operand::new(&rates),
                dt_bias: Operand::new(&dt_bias),
                state: Operand::new(&state).floats(key_width, key_width, Bound::absolute(error as f32)),
                y: Operand::output(rows as usize, y_cols as usize, y_stride as usize, Bound::absolute(y_error as f32)),
            },
            [shape.groups(), 1, runs.len() as u32],
        );
        let label = format!("{value_heads} heads of {key_dim} x {value_dim}, {shape:?}, runs {:?}, magnitude {magnitude:e}", self.runs);
        Case { label, reason: "sums over a key in every row, which the rows after it shrink", call }
    }
}

/// Gates of random heads.
#[derive(Debug, Clone, Copy)]
pub struct HeadGating {
    /// How sums are made.
    pub reduce: Reduce,
    /// Rows.
    pub rows: u32,
    /// Heads, elements of each.
    pub heads: [u32; 2],
    /// Whether heads are normalised and gated by SiLU.
    pub normed: bool,
    /// Largest magnitude in x.
    pub magnitude: f32,
}

impl HeadGating {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { reduce, rows, heads: [heads, head_dim], normed, magnitude } = *self;
        const GATES: f32 = 8.0;
        let (cols, step, first) = (heads * head_dim, 2 * head_dim, 3);
        let (x_stride, gates_cols) = (cols.next_multiple_of(4), first + heads * step);
        let gates_stride = gates_cols.next_multiple_of(4);
        let mut rng = Rng::new(u64::from(cols));
        let x = padded_rows(&mut rng, rows, cols, x_stride, magnitude);
        let gates = padded_rows(&mut rng, rows, gates_cols, gates_stride, GATES);
        let w = rng.floats(head_dim as usize, 2.0);
        let constants = gate_heads::Constants { normed, silu: normed, ..Default::default() };
        // A sum of squares and its root, an exponential of 3 + 2 |t| units, two divisions and some products.
        let depth = f64::from(head_dim) / f64::from(constants.wg) + 16.0;
        let units = 2.0 * depth + 48.0 + 4.0 * f64::from(GATES);
        let [groups_x, groups_y] = grid(rows * heads);
        let call = gate_heads::call(
            reduce,
            constants,
            gate_heads::Params {
                items: rows * heads,
                heads,
                head_dim,
                x_stride,
                gates_stride,
                gates_first: first,
                gates_step: step,
                eps: 1e-5,
            },
            gate_heads::Bindings {
                x: Operand::new(&x).floats(cols as usize, x_stride as usize, Bound::relative((units * ROUNDING) as f32, f32::MIN_POSITIVE)),
                gates: Operand::new(&gates),
                w: Operand::new(&w),
            },
            [groups_x, groups_y, 1],
        );
        let label = format!("{rows} rows of {heads} heads of {head_dim}, normed: {normed}, magnitude {magnitude:e}");
        Case { label, reason: "a sum of squares, an inverse root, an exponential", call }
    }
}

/// Rows whose first heads each have a gate behind them.
#[derive(Debug, Clone, Copy)]
pub struct GateDropping {
    /// Rows.
    pub rows: u32,
    /// Gated heads, elements of each.
    pub heads: [u32; 2],
    /// Columns after them.
    pub others: u32,
}

impl GateDropping {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { rows, heads: [heads, head_dim], others } = *self;
        let (gated, cols) = (heads * head_dim, heads * head_dim + others);
        let (x_stride, y_stride) = ((cols + gated).next_multiple_of(4), cols.next_multiple_of(4));
        let x = padded_rows(&mut Rng::new(u64::from(cols)), rows, cols + gated, x_stride, 1.0);
        let constants = drop_gates::Constants::default();
        let [groups_x, groups_y] = grid((rows * cols).div_ceil(constants.wg));
        let call = drop_gates::call(
            constants,
            drop_gates::Params { rows, cols, gated, head_dim, x_stride, y_stride },
            drop_gates::Bindings { x: Operand::new(&x), y: Operand::output(rows as usize, cols as usize, y_stride as usize, Bound::EXACT) },
            [groups_x, groups_y, 1],
        );
        Case { label: format!("{rows} rows of {heads} heads of {head_dim} and {others} columns"), reason: "a copy", call }
    }
}

/// A small recurrence of heads of these sizes.
pub(crate) fn small_recurrence([key_dim, value_dim]: [u32; 2], order: HeadOrder, decay: Decay) -> Case {
    let shape = DeltaShape { key_heads: 2, value_heads: 4, key_dim, value_dim, order, decay };
    Recurrence { shape, runs: MIXED, magnitude: 2.0 }.case()
}

/// A small gating.
pub(crate) fn small_gating(reduce: Reduce, normed: bool) -> Case {
    HeadGating { reduce, rows: 3, heads: [5, 70], normed, magnitude: 2.0 }.case()
}

/// A small copy.
pub(crate) fn small_dropping() -> Case {
    GateDropping { rows: 3, heads: [3, 10], others: 7 }.case()
}

/// A small convolution.
pub(crate) fn small_convolution(taps: u32, gated: bool) -> Case {
    Convolution { shape: ConvShape { channels: 70, taps, gated }, runs: MIXED, magnitude: 2.0 }.case()
}

/// Small cases of every kernel.
pub fn small() -> Vec<Case> {
    let mut cases = vec![
        small_convolution(3, true),
        small_convolution(4, false),
        small_recurrence([128, 128], HeadOrder::Grouped, Decay::Logarithm),
        small_recurrence([36, 20], HeadOrder::Tiled, Decay::Negative),
        small_dropping(),
    ];
    cases.extend(Reduce::ALL.iter().flat_map(|&reduce| [true, false].map(|normed| small_gating(reduce, normed))));
    cases
}
