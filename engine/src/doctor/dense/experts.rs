//! Cases of the kernels that choose experts, multiply with them and add them up.

use std::ops::Range;

use parhelion_shaders::{
    axes::{Reduce, Weight},
    grid, matvec, mix_experts, route,
};

use super::{
    super::{Bound, Case, Operand, Rng},
    BLOCK, ROUNDING, Scales, TermSizes, WeightData, padded_rows,
};

/// x times the matrices of chosen experts, with random data.
#[derive(Debug, Clone)]
pub struct ExpertProduct {
    /// Format of the weights.
    pub format: Weight,
    /// Tokens.
    pub tokens: u32,
    /// Experts of a token, and experts.
    pub experts: [u32; 2],
    /// Tensors that make the matrix, and rows of an expert in each.
    pub tensors: [u32; 2],
    /// Columns of the matrix and of x.
    pub cols: u32,
    /// Whether a token's experts see the same row of x.
    pub shared: bool,
    /// The rows of the matrix that are there; none: all.
    pub part: Option<Range<u32>>,
    /// Largest magnitude in x.
    pub magnitude: f32,
    /// Whether a bias is added.
    pub bias: bool,
}

impl ExpertProduct {
    /// One tensor's rows, all there.
    pub fn new(format: Weight, tokens: u32, experts: [u32; 2], rows: u32, cols: u32) -> Self {
        Self { format, tokens, experts, tensors: [1, rows], cols, shared: true, part: None, magnitude: 1.0, bias: false }
    }

    /// The number of a row of an expert in the whole matrix.
    fn row_of(&self, expert: u32, output: u32) -> u32 {
        let rows = self.tensors[1];
        output / rows * self.experts[1] * rows + expert * rows + output % rows
    }

    /// What sums of the same terms in different orders can differ by, for each element of y whose row is there.
    fn bounds(
        &self,
        part: &Range<u32>,
        (x, weights, biases): (&[f32], &WeightData, &[f32]),
        (chosen, chosen_stride): (&[u32], u32),
    ) -> Vec<f32> {
        let &Self { tokens, experts: [used, _], tensors: [tensors, own], cols, shared, bias, .. } = self;
        let (outputs, x_stride) = (tensors * own, cols.next_multiple_of(4));
        let y_stride = outputs.next_multiple_of(4);
        let mut bounds = vec![0.0_f32; (tokens * used * y_stride) as usize];
        for (z, bounds) in (0..tokens * used).zip(bounds.chunks_mut(y_stride as usize)) {
            let expert = chosen[(z / used * chosen_stride + z % used) as usize];
            let x = &x[(if shared { z / used } else { z } * x_stride) as usize..][..cols as usize];
            for (output, bound) in (0..outputs).zip(bounds) {
                let row = self.row_of(expert, output);
                if part.contains(&row) {
                    let w = weights.magnitudes((row - part.start) as usize);
                    let depth = f64::from(cols.div_ceil(BLOCK as u32) + BLOCK as u32 + u32::from(bias));
                    let added = if bias { f64::from(biases[row as usize].abs()) } else { 0.0 };
                    *bound = (2.0 * ROUNDING * (added + depth * TermSizes::new(&w[..cols as usize], x).products)) as f32;
                }
            }
        }
        bounds
    }

    /// The case. `lanes` and `rows` are the constants of the kernel.
    pub fn case(&self, reduce: Reduce, lanes: u32, rows: u32) -> Case {
        let &Self { format, tokens, experts: [used, experts], tensors: [tensors, own], cols, shared, magnitude, bias, .. } = self;
        let (outputs, all) = (tensors * own, tensors * own * experts);
        let part = self.part.clone().unwrap_or(0..all);
        let mut rng = Rng::new(u64::from(cols) << 32 | u64::from(all));
        let x_rows = if shared { tokens } else { tokens * used };
        let (x_stride, y_stride) = (cols.next_multiple_of(4), outputs.next_multiple_of(4));
        let x = padded_rows(&mut rng, x_rows, cols, x_stride, magnitude);
        let weights = WeightData::new(&mut rng, format, part.len() as u32, cols, Scales::Moderate);
        let biases = rng.floats(all as usize, magnitude);
        let (chosen, chosen_stride) = chosen_experts(&mut rng, tokens, [used, experts]);
        let bounds = self.bounds(&part, (&x, &weights, &biases), (&chosen, chosen_stride));
        let constants = matvec::Constants {
            wg: lanes.max(matvec::Constants::default().wg),
            lanes,
            rows,
            ragged: !cols.is_multiple_of(BLOCK as u32) || rows == 1,
            with_bias: bias,
            experts: true,
            ..Default::default()
        };
        let [groups_x, groups_y] = grid(outputs.div_ceil(constants.wg / lanes * rows));
        let call = matvec::call(
            format,
            reduce,
            constants,
            matvec::Params {
                rows: part.len() as u32,
                cols,
                blocks: weights.blocks,
                x_stride,
                y_stride,
                y_offset: part.start,
                outputs,
                used,
                x_each: if shared { used } else { 1 },
                chosen_stride,
                expert_rows: own,
                tensor_rows: own * experts,
            },
            matvec::Bindings {
                x: Operand::new(&x),
                quants: weights.quants(),
                scales: weights.scales(),
                y: Operand::output((tokens * used) as usize, outputs as usize, y_stride as usize, Bound::each(move |i, _| bounds[i])),
                bias: Operand::new(&biases),
                chosen: Operand::new(&chosen),
            },
            [groups_x, groups_y, tokens * used],
        );
        let label = format!(
            "{used} of {experts} experts, {tensors} x {own} x {cols}, rows {part:?}, for {tokens} tokens of magnitude {magnitude:e}, \
             shared: {shared}, bias: {bias}, {lanes} lanes for {rows} rows"
        );
        Case { label, reason: "sums in different orders, one rounding an operation", call }
    }
}

/// Numbers of experts for each token, as the router lays them out, and elements from one token to the next.
fn chosen_experts(rng: &mut Rng, tokens: u32, [used, experts]: [u32; 2]) -> (Vec<u32>, u32) {
    let stride = (2 * used).next_multiple_of(4);
    let mut chosen = vec![f32::NAN.to_bits(); (tokens * stride) as usize];
    for row in chosen.chunks_mut(stride as usize) {
        row[..used as usize].fill_with(|| rng.below(experts));
        row[used as usize..2 * used as usize].fill_with(|| rng.float(1.0).to_bits());
    }
    (chosen, stride)
}

/// The choice of experts by random logits.
#[derive(Debug, Clone, Copy)]
pub struct Routing {
    /// Tokens.
    pub tokens: u32,
    /// Experts of a token, and experts.
    pub experts: [u32; 2],
    /// Whether scores are sigmoids, whether there is a bias, and whether weights are divided by their sum.
    pub sigmoid: bool,
    /// See `sigmoid`.
    pub biased: bool,
    /// See `sigmoid`.
    pub renormalise: bool,
    /// Largest magnitude of logits.
    pub magnitude: f32,
}

impl Routing {
    /// The case. Where there is no bias some logits are equal, so that the rule for ties decides; where there is one, it sets experts
    /// further apart than any rounding of their scores.
    pub fn case(&self) -> Case {
        let &Self { tokens, experts: [used, experts], sigmoid, biased, renormalise, magnitude } = self;
        let mut rng = Rng::new(u64::from(experts) << 32 | u64::from(used));
        let (x_stride, chosen_stride) = (experts.next_multiple_of(4), (2 * used).next_multiple_of(4));
        let mut logits = padded_rows(&mut rng, tokens, experts, x_stride, magnitude);
        for row in logits.chunks_mut(x_stride as usize) {
            let steps = 0.0625 * magnitude;
            row[..experts as usize].iter_mut().for_each(|v| *v = (*v / steps).round() * steps);
        }
        let mut bias: Vec<f32> = (0..experts).map(|i| 2.0 * i as f32).collect();
        (1..experts).rev().for_each(|i| bias.swap(i as usize, rng.below(i + 1) as usize));
        let constants = route::Constants { experts, used, sigmoid, biased, renormalise, ..Default::default() };
        // An exponential of t is good to 3 + 2 |t| units, in a softmax with the subtraction's own; the sums of all shares add a unit each.
        let units = 3.0 + 6.0 * (2.0 * magnitude).min(90.0) + 2.0 * experts as f32 + 8.0;
        let judge = move |index: usize, expected: u32, got: u32| {
            let at = index as u32 % chosen_stride;
            if (used..2 * used).contains(&at) {
                let (expected, got) = (f32::from_bits(expected), f32::from_bits(got));
                return ((expected - got).abs(), expected.abs() * units * f32::EPSILON + 4.0 * f32::MIN_POSITIVE);
            }
            (if expected == got { 0.0 } else { f32::INFINITY }, 0.0)
        };
        let [groups_x, groups_y] = grid(tokens);
        let call = route::call(
            constants,
            route::Params { rows: tokens, x_stride, chosen_stride, scale: 1.5, floor: if renormalise { 1e-6 } else { 0.0 } },
            route::Bindings {
                logits: Operand::new(&logits),
                bias: Operand::new(&bias),
                chosen: Operand::output_words((tokens * chosen_stride) as usize).judged(judge),
            },
            [groups_x, groups_y, 1],
        );
        let label = format!(
            "{used} of {experts} experts for {tokens} tokens, sigmoid: {sigmoid}, biased: {biased}, renormalised: {renormalise}, magnitude \
             {magnitude:e}"
        );
        Case { label, reason: "the same experts; exponentials of 3 + 2 |t| units and sums of them", call }
    }
}

/// A weighted sum of experts' results.
#[derive(Debug, Clone, Copy)]
pub struct Mixture {
    /// Tokens.
    pub tokens: u32,
    /// Experts of a token.
    pub used: u32,
    /// Columns.
    pub cols: u32,
    /// Largest magnitude of results.
    pub magnitude: f32,
}

impl Mixture {
    /// The case.
    pub fn case(&self) -> Case {
        let &Self { tokens, used, cols, magnitude } = self;
        let mut rng = Rng::new(u64::from(cols) << 8 | u64::from(used));
        let x_each = cols.next_multiple_of(4);
        let x = padded_rows(&mut rng, tokens * used, cols, x_each, magnitude);
        let (chosen, chosen_stride) = chosen_experts(&mut rng, tokens, [used, 7]);
        let constants = mix_experts::Constants::default();
        let [groups_x, groups_y] = grid((tokens * cols).div_ceil(constants.wg));
        let depth = 2.0 * f64::from(used) * ROUNDING * f64::from(used);
        let call = mix_experts::call(
            constants,
            mix_experts::Params { rows: tokens, n: cols, used, x_each, x_stride: used * x_each, chosen_stride, y_stride: x_each },
            mix_experts::Bindings {
                x: Operand::new(&x),
                chosen: Operand::new(&chosen),
                y: Operand::output(tokens as usize, cols as usize, x_each as usize, Bound::absolute(depth as f32 * magnitude)),
            },
            [groups_x, groups_y, 1],
        );
        let label = format!("{used} experts of {tokens} tokens, {cols} columns of magnitude {magnitude:e}");
        Case { label, reason: "products may be fused with additions: a rounding of each partial sum", call }
    }
}
