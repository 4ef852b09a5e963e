//! Cases of LayerNorm and of means over sequences.

use parhelion_shaders::{
    axes::{Delta, Reduce},
    grid, layer_norm, mean_rows,
    shared::Row,
};

use super::{
    super::{Bound, Case, Operand, Rng},
    ROUNDING, padded_rows,
};

/// LayerNorm of random rows.
#[derive(Debug, Clone, Copy)]
pub struct Centring {
    /// Whether something is added first.
    pub delta: Delta,
    /// How sums are made.
    pub reduce: Reduce,
    /// Rows.
    pub rows: u32,
    /// Columns.
    pub cols: u32,
    /// Largest deviation in x.
    pub magnitude: f32,
    /// What the deviations lie around, in units of the largest.
    pub offset: f32,
}

impl Centring {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { delta, reduce, rows, cols, magnitude, offset } = *self;
        let mut rng = Rng::new(u64::from(cols));
        let stride = cols.next_multiple_of(4);
        let mut random = |rows, magnitude| padded_rows(&mut rng, rows, cols, stride, magnitude);
        let (mut x, added, w, b) = (random(rows, magnitude), random(rows, magnitude), random(1, 2.0), random(1, 1.0));
        x.iter_mut().for_each(|x| *x += offset * magnitude);
        let (columns, row) = (cols as usize, stride as usize);
        let constants = layer_norm::Constants::default();
        // A sum is as exact as its deepest chain of additions is short; an error of the mean is one of every deviation. Deviations are
        // divided by their root mean square, about half of the largest, or, of one or two columns, by as little as the root of eps:
        // then what is left of a mean's error is as large as the deviations.
        let depth = f64::from(cols) / f64::from(4 * constants.wg) + 16.0;
        let size = 2.0 + f64::from(offset.abs());
        let least = f64::from(magnitude) * if cols > 2 { 0.1 } else { 0.0 };
        let relative = 2.0 * depth * ROUNDING * size * f64::from(magnitude) / least.max(EPS.sqrt());
        // y is at most sqrt(cols) times the weight, 2, and the bias, 1
        let largest = 2.0 * f64::from(cols).sqrt() + 1.0;
        let bound = Bound::absolute((largest.min(8.0) * relative + 40.0 * ROUNDING * largest) as f32);
        let [groups_x, groups_y] = grid(rows);
        let call = layer_norm::call(
            delta,
            reduce,
            constants,
            layer_norm::Params { rows, cols, stride, eps: EPS as f32, delta_scale: 1.0 },
            layer_norm::Bindings {
                x: Operand::new(&x).floats(columns, row, Bound::EXACT),
                delta: (delta == Delta::Add).then(|| Operand::new(&added)),
                w: Operand::new(&w),
                b: Operand::new(&b),
                y: Operand::output(rows as usize, columns, row, bound),
            },
            [groups_x, groups_y, 1],
        );
        let label = format!("{rows} rows of {cols}, deviations to {magnitude:e} from {offset} times that");
        Case { label, reason: "a mean, a sum of squares of deviations from it, an inverse root, two products", call }
    }
}

/// Added to the mean of squares.
const EPS: f64 = 1e-5;

/// Means of the rows of whole sequences.
#[derive(Debug, Clone)]
pub struct Pooling {
    /// Rows of each sequence.
    pub sequences: Vec<u32>,
    /// Columns.
    pub cols: u32,
}

impl Pooling {
    /// The case.
    pub fn case(&self) -> Case {
        let Self { ref sequences, cols } = *self;
        let stride = cols.next_multiple_of(4);
        let row = |sequence: usize, slot, end| Row { token: 0, sequence: sequence as u32, slot, begin: 0, end, position: [slot; 3] };
        let step: Vec<Row> = (0..).zip(sequences).flat_map(|(i, &len)| (0..len).map(move |slot| row(i, slot, len))).collect();
        let mut last = 0;
        let index: Vec<u32> = sequences
            .iter()
            .map(|len| {
                last += len;
                last - 1
            })
            .collect();
        let (rows, count) = (step.len() as u32, sequences.len() as u32);
        let x = padded_rows(&mut Rng::new(u64::from(cols)), rows, cols, stride, 1.0);
        let longest = f64::from(sequences.iter().copied().max().unwrap_or(1));
        let constants = mean_rows::Constants::default();
        let [groups_x, groups_y] = grid((count * (stride / 4)).div_ceil(constants.wg));
        let bound = Bound::absolute(((longest + 4.0) * ROUNDING) as f32);
        let call = mean_rows::call(
            constants,
            mean_rows::Params { count, rows, stride },
            mean_rows::Bindings {
                rows: Operand::new(&step),
                index: Operand::new(&index),
                x: Operand::new(&x),
                y: Operand::output(count as usize, cols as usize, stride as usize, bound),
            },
            [groups_x, groups_y, 1],
        );
        let label = format!("{count} sequences of up to {longest} rows of {cols}");
        Case { label, reason: "a sum with one rounding a row, a quotient", call }
    }
}
