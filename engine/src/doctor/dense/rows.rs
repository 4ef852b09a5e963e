//! Cases of the kernels that work on rows of activations alone.

use parhelion_shaders::{
    Call, activate, add,
    axes::{Delta, Reduce},
    gather_rows, grid, rms_norm, rms_norm_columns, scale_logits,
};

use super::{
    super::{Bound, Case, Operand, Rng},
    ROUNDING, padded_rows,
};
use crate::ops::activate::Activation;

/// RMSNorm of random rows.
#[derive(Debug, Clone, Copy)]
pub struct Normalisation {
    /// Whether something is added first.
    pub delta: Delta,
    /// How sums are made.
    pub reduce: Reduce,
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// Largest magnitude in x.
    pub magnitude: f32,
    /// What is added is multiplied by this.
    pub delta_scale: f32,
}

impl Normalisation {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { delta, reduce, rows, cols, magnitude, delta_scale } = *self;
        let mut rng = Rng::new(u64::from(cols));
        let stride = cols.next_multiple_of(4);
        let mut random = |rows, magnitude| padded_rows(&mut rng, rows, cols, stride, magnitude);
        let (x, added, w) = (random(rows, magnitude), random(rows, magnitude), random(1, 2.0));
        let (columns, row) = (cols as usize, stride as usize);
        let constants = rms_norm::Constants::default();
        // Squares are positive: their sum is as exact as its deepest chain of additions is short, and its root halves that.
        // An inverse square root may be 2 units off (Vulkan), a division 2.5, a product half a unit.
        let depth = f64::from(cols) / f64::from(4 * constants.wg) + 16.0;
        let bound = Bound::relative(((depth + 12.0) * 2.0 * ROUNDING) as f32, f32::MIN_POSITIVE);
        // A factor of 1 adds exactly; others may be fused with the addition, which moves the sum by a unit, and the result with it.
        let (sum, bound) = match delta_scale {
            1.0 => (Bound::EXACT, bound),
            _ => (Bound::relative((4.0 * ROUNDING) as f32, magnitude * (1.0 + delta_scale.abs())), Bound::relative(1e-5, 1.0)),
        };
        let [groups_x, groups_y] = grid(rows);
        let call = rms_norm::call(
            delta,
            reduce,
            constants,
            rms_norm::Params { rows, cols, stride, eps: 1e-5, delta_scale },
            rms_norm::Bindings {
                x: Operand::new(&x).floats(columns, row, sum),
                delta: (delta == Delta::Add).then(|| Operand::new(&added)),
                w: Operand::new(&w),
                y: Operand::output(rows as usize, columns, row, bound),
            },
            [groups_x, groups_y, 1],
        );
        Case {
            label: format!("{rows} rows of {cols}, magnitude {magnitude:e}"),
            reason: "a sum of squares, an inverse root, two products",
            call,
        }
    }
}

/// An activation of random rows.
#[derive(Debug, Clone, Copy)]
pub struct Gate {
    /// The function.
    pub activation: Activation,
    /// Whether there is another factor.
    pub gated: bool,
    /// Rows.
    pub rows: u32,
    /// Columns of the result.
    pub cols: u32,
    /// Largest magnitude of gates and of what they multiply.
    pub magnitude: f32,
}

impl Gate {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { activation, gated, rows, cols, magnitude } = *self;
        let x_cols = if gated { 2 * cols } else { cols };
        let (x_stride, y_stride) = (x_cols.next_multiple_of(4), cols.next_multiple_of(4));
        let x = padded_rows(&mut Rng::new(u64::from(cols)), rows, x_cols, x_stride, magnitude);
        let (columns, from, to) = (cols as usize, x_stride as usize, y_stride as usize);
        let inputs = x.clone();
        // WGSL allows exp(t) 3 + 2 |t| units, and a result under f32's normal numbers may be flushed. Where t is itself computed, each
        // of its roundings moves the result by as many units again.
        let bound = move |index: usize, expected: f32| {
            let at = index / to * from + index % to;
            let (gate, up) = (inputs[at], if gated { inputs[at + columns] } else { 1.0 });
            let v = gate.abs().min(30.0);
            let exponent = match activation {
                Activation::Silu => 2.0 * gate.abs().min(100.0),
                Activation::GeluTanh => 8.0 * (1.6 * v + 0.08 * v * v * v).min(100.0),
                Activation::GeluErf => 6.0 * (0.5 * v * v + 2.0).min(100.0),
                Activation::ReluSquared => 0.0,
                Activation::ClampedSwish => 4.0 * (1.702 * gate.abs()).min(100.0),
            };
            expected.abs() * (3.0 + exponent + 16.0) * f32::EPSILON + 2.0 * f32::MIN_POSITIVE * (1.0 + (gate * up).abs())
        };
        let constants = activate::Constants { activation: activation.code(), gated, ..Default::default() };
        let [groups_x, groups_y] = grid((rows * cols).div_ceil(constants.wg));
        let call = activate::call(
            constants,
            activate::Params { rows, n: cols, x_stride, y_stride },
            activate::Bindings { x: Operand::new(&x), y: Operand::output(rows as usize, columns, to, Bound::each(bound)) },
            [groups_x, groups_y, 1],
        );
        let label = format!("{activation:?}, gated: {gated}, {rows} rows of {cols}, magnitude {magnitude:e}");
        Case { label, reason: "an exponential of 3 + 2 |t| units", call }
    }
}

/// A gather of random rows.
#[derive(Debug, Clone, Copy)]
pub struct Gathering {
    /// Rows to choose from.
    pub rows: u32,
    /// Rows chosen; one of them past the last, which must read the last.
    pub count: u32,
    /// Columns.
    pub cols: u32,
}

impl Gathering {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { rows, count, cols } = *self;
        let mut rng = Rng::new(u64::from(cols));
        let stride = cols.next_multiple_of(4);
        let x = padded_rows(&mut rng, rows, cols, stride, 1.0);
        let mut index: Vec<u32> = (0..count).map(|_| rng.below(rows)).collect();
        index[count as usize / 2] = rows;
        let constants = gather_rows::Constants::default();
        let [groups_x, groups_y] = grid((count * (stride / 4)).div_ceil(constants.wg));
        let call: Call<Operand> = gather_rows::call(
            constants,
            gather_rows::Params { count, rows, stride },
            gather_rows::Bindings {
                x: Operand::new(&x),
                index: Operand::new(&index),
                y: Operand::output(count as usize, cols as usize, stride as usize, Bound::EXACT),
            },
            [groups_x, groups_y, 1],
        );
        Case { label: format!("{count} of {rows} rows of {cols}"), reason: "a copy", call }
    }
}

/// RMSNorm of two ranges of the columns of random rows.
#[derive(Debug, Clone, Copy)]
pub struct RangeNormalisation {
    /// How sums are made.
    pub reduce: Reduce,
    /// Rows.
    pub rows: u32,
    /// Columns of each range; as many as the second has follow, which must stay as they are.
    pub ranges: [u32; 2],
    /// Largest magnitude in x.
    pub magnitude: f32,
}

impl RangeNormalisation {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { reduce, rows, ranges: [split, rest], magnitude } = *self;
        let (end, cols) = (split + rest, split + 2 * rest);
        let stride = cols.next_multiple_of(4);
        let mut rng = Rng::new(u64::from(cols));
        let x = padded_rows(&mut rng, rows, cols, stride, magnitude);
        let w = rng.floats(end as usize, 2.0);
        let constants = rms_norm_columns::Constants::default();
        // As for rms_norm, with chains of single elements.
        let depth = f64::from(split.max(rest)) / f64::from(constants.wg) + 16.0;
        let bound = Bound::relative(((depth + 12.0) * 2.0 * ROUNDING) as f32, f32::MIN_POSITIVE);
        let [groups_x, groups_y] = grid(rows);
        let call = rms_norm_columns::call(
            reduce,
            constants,
            rms_norm_columns::Params { rows, split, end, stride, eps: 1e-5 },
            rms_norm_columns::Bindings { x: Operand::new(&x).floats(cols as usize, stride as usize, bound), w: Operand::new(&w) },
            [groups_x, groups_y, 2],
        );
        let label = format!("{rows} rows of {split} and {rest} of {cols}, magnitude {magnitude:e}");
        Case { label, reason: "a sum of squares, an inverse root, two products", call }
    }
}

/// Random rows added to others.
#[derive(Debug, Clone, Copy)]
pub struct Addition {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// What is added is multiplied by this.
    pub scale: f32,
}

impl Addition {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { rows, cols, scale } = *self;
        let stride = cols.next_multiple_of(4);
        let mut rng = Rng::new(u64::from(cols));
        let [x, delta] = [(); 2].map(|()| padded_rows(&mut rng, rows, cols, stride, 1.0));
        let bound = if scale == 1.0 { Bound::EXACT } else { Bound::absolute((4.0 * ROUNDING) as f32 * (1.0 + scale.abs())) };
        let constants = add::Constants::default();
        let fours = rows * (stride / 4);
        let [groups_x, groups_y] = grid(fours.div_ceil(constants.wg));
        let call = add::call(
            constants,
            add::Params { fours, scale },
            add::Bindings { x: Operand::new(&x).floats(cols as usize, stride as usize, bound), delta: Operand::new(&delta) },
            [groups_x, groups_y, 1],
        );
        Case { label: format!("{rows} rows of {cols}, times {scale}"), reason: "a product and a sum, fused or not", call }
    }
}

/// Random logits scaled, and bent below a cap.
#[derive(Debug, Clone, Copy)]
pub struct LogitScaling {
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// The factor.
    pub scale: f32,
    /// The cap.
    pub cap: Option<f32>,
    /// Largest magnitude of logits.
    pub magnitude: f32,
}

impl LogitScaling {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { rows, cols, scale, cap, magnitude } = *self;
        let stride = cols.next_multiple_of(4);
        let x = padded_rows(&mut Rng::new(u64::from(cols)), rows, cols, stride, magnitude);
        // An exponential of at most 1 is off by under 16 units of 1 where it counts, and the division's 2.5 units come on top.
        let bound = cap.map_or(Bound::EXACT, |cap| Bound::absolute(48.0 * ROUNDING as f32 * cap));
        let constants = scale_logits::Constants { capped: cap.is_some(), ..Default::default() };
        let fours = rows * (stride / 4);
        let [groups_x, groups_y] = grid(fours.div_ceil(constants.wg));
        let call = scale_logits::call(
            constants,
            scale_logits::Params { fours, scale, cap: cap.unwrap_or(1.0) },
            scale_logits::Bindings { x: Operand::new(&x).floats(cols as usize, stride as usize, bound), reads: std::marker::PhantomData },
            [groups_x, groups_y, 1],
        );
        Case {
            label: format!("{rows} rows of {cols}, times {scale}, cap {cap:?}, magnitude {magnitude:e}"),
            reason: "an exponential",
            call,
        }
    }
}
