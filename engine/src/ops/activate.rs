//! Activations of feed-forward blocks, plain or as the gate of another factor (Shazeer 2020).

use parhelion_shaders::activate as kernel;

use super::{Operator, TwinArgs, experts::each, grid, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::Shape,
};

/// What [`Activation::ClampedSwish`] multiplies its argument with under the exponential.
pub const SWISH_SLOPE: f32 = 1.702;
/// What it keeps its arguments under.
pub const SWISH_LIMIT: f32 = 7.0;

/// A function of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// v / (1 + exp(-v)).
    Silu,
    /// v (1 + tanh(sqrt(2 / pi) (v + 0.044715 v^3))) / 2.
    GeluTanh,
    /// v (1 + erf(v / sqrt(2))) / 2.
    GeluErf,
    /// max(v, 0)^2.
    ReluSquared,
    /// c / (1 + exp(-1.702 c)) with c = min(v, 7); the other factor is kept within 7 of zero, and 1 is added to it (gpt-oss).
    ClampedSwish,
}

impl Activation {
    /// All of them.
    pub const ALL: &[Self] = &[Self::Silu, Self::GeluTanh, Self::GeluErf, Self::ReluSquared, Self::ClampedSwish];

    /// What the kernel calls it.
    pub(crate) fn code(self) -> u32 {
        match self {
            Self::Silu => 0,
            Self::GeluTanh => 1,
            Self::GeluErf => 2,
            Self::ReluSquared => 3,
            Self::ClampedSwish => 4,
        }
    }

    /// The activation that a call of the kernel has.
    pub(crate) fn of_code(code: u32) -> Option<Self> {
        Self::ALL.iter().copied().find(|activation| activation.code() == code)
    }

    /// The function, as the kernel computes it.
    pub(super) fn of(self, v: f32) -> f32 {
        match self {
            Self::Silu => logistic_share(v, v),
            Self::GeluTanh => {
                let c = v.clamp(-30.0, 30.0);
                logistic_share(v, 1.595_769_2 * (c + 0.044715 * c * c * c))
            }
            Self::GeluErf => {
                let beyond = beyond(v.abs().min(30.0));
                v * if v >= 0.0 { 1.0 - beyond } else { beyond }
            }
            Self::ReluSquared => v.max(0.0) * v.max(0.0),
            Self::ClampedSwish => {
                let c = v.min(SWISH_LIMIT);
                logistic_share(c, SWISH_SLOPE * c)
            }
        }
    }

    /// What the function of one number is multiplied with, from the other one.
    fn factor(self, v: f32) -> f32 {
        match self {
            Self::ClampedSwish => v.clamp(-SWISH_LIMIT, SWISH_LIMIT) + 1.0,
            _ => v,
        }
    }
}

#[derive(Debug)]
struct Activate {
    activation: Activation,
    gated: bool,
    /// Where a row has the inputs of several experts: how many, and the columns of a result.
    experts: Option<(u32, u32)>,
}

impl Graph {
    /// `f(gate) * up`, the gate being the first half of the columns: `[_, 2n] -> [_, n]`.
    pub fn gated(&self, gate_up: ValueId, activation: Activation) -> ValueId {
        self.push(Activate { activation, gated: true, experts: None }, "", &[gate_up])
    }

    /// The same for each of `used` experts of a token, as [`Graph::experts`] gives them, with `n` columns of results.
    pub fn gated_experts(&self, gate_up: ValueId, (used, n): (u32, u32), activation: Activation) -> ValueId {
        self.push(Activate { activation, gated: true, experts: Some((used, n)) }, "", &[gate_up])
    }

    /// `f(x)` element by element: the shape of `x`.
    pub fn activated(&self, x: ValueId, activation: Activation) -> ValueId {
        self.push(Activate { activation, gated: false, experts: None }, "", &[x])
    }
}

impl Operator for Activate {
    fn name(&self) -> &'static str {
        "activate"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match (inputs, self.experts) {
            ([x], Some((used, n))) => match (each(used, n.saturating_mul(2)), each(used, n)) {
                (Some(cols), Some(results)) if x.cols == cols && n > 0 => Ok(Some(Shape { rows: x.rows, cols: results })),
                _ => Err(format!("the input is {x} where {used} experts have gates and factors of {n} columns")),
            },
            ([x], None) if !self.gated => Ok(Some(*x)),
            ([x], None) if x.cols % 2 == 0 && x.cols > 0 => Ok(Some(Shape { rows: x.rows, cols: x.cols / 2 })),
            ([x], None) => Err(format!("the input is {x}: gate and up need the same number of columns")),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (mut x, mut y) = (recorder.input(0), recorder.output()?);
        if let Some((used, n)) = self.experts {
            (x, y) = (x.of_experts(used, 2 * n), y.of_experts(used, n));
        }
        let constants = kernel::Constants { activation: self.activation.code(), gated: self.gated, ..Default::default() };
        recorder.dispatch(kernel::call(
            constants,
            kernel::Params { rows: y.rows, n: y.cols, x_stride: x.stride, y_stride: y.stride },
            kernel::Bindings { x: x.slice, y: y.slice },
            grid(u64::from(y.rows) * u64::from(y.cols), constants.wg)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `activate`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, constants) = (kernel::params(args.call), kernel::constants(args.call));
    let activation = Activation::of_code(constants.activation).ok_or_else(|| format!("activation {}", constants.activation))?;
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, y) = (twin::view::<f32>(b.x)?, twin::view_mut::<f32>(b.y)?);
    let (n, stride) = (p.n as usize, p.x_stride as usize);
    let rows = y.chunks_mut(p.y_stride as usize).take(p.rows as usize).collect();
    twin::for_each_part(args.parallel, rows, &|row, y| {
        let x = &x[row * stride..];
        y.iter_mut().zip(&x[..n]).for_each(|(y, v)| *y = activation.of(*v));
        if constants.gated {
            y.iter_mut().zip(&x[n..2 * n]).for_each(|(y, up)| *y *= activation.factor(*up));
        }
    });
    Ok(())
}

/// v / (1 + exp(-t)), whose exponential cannot overflow.
fn logistic_share(v: f32, t: f32) -> f32 {
    let e = (-t.abs()).exp();
    v * if t >= 0.0 { 1.0 } else { e } / (1.0 + e)
}

/// The normal distribution's share past `v`, which is not negative: half of erfc(v / sqrt(2)), by the kernel's fit.
fn beyond(v: f32) -> f32 {
    const FIT: [f32; 10] = [
        -1.265_512_2,
        1.000_023_7,
        0.374_091_96,
        0.096_784_18,
        -0.186_288_06,
        0.278_868_07,
        -1.135_204,
        1.488_515_9,
        -0.822_152_2,
        0.170_872_77,
    ];
    let z = v * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.5 * z);
    let fit = FIT.iter().rev().fold(0.0, |sum, factor| sum * t + factor);
    0.5 * t * (fit - z * z).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn activations_have_their_published_values() {
        let values = [-6.0, -2.5, -1.0, -0.1, 0.0, 0.3, 1.0, 4.0];
        for (activation, expected) in [(Activation::GeluErf, GELU_ERF), (Activation::GeluTanh, GELU_TANH), (Activation::Silu, SILU)] {
            for (v, expected) in values.into_iter().zip(expected) {
                let got = f64::from(activation.of(v));
                assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "{activation:?}({v}) is {got}, not {expected}");
            }
        }
        for (v, expected) in values.into_iter().zip(CLAMPED_SWISH) {
            let got = f64::from(Activation::ClampedSwish.of(v));
            assert!((got - expected).abs() <= 1e-6 * expected.abs().max(1e-3), "the clamped swish of {v} is {got}, not {expected}");
        }
        assert_eq!(Activation::ClampedSwish.of(9.0), Activation::ClampedSwish.of(7.0));
        assert_eq!([-9.0, -0.5, 3.0, 8.0].map(|v| Activation::ClampedSwish.factor(v)), [-6.0, 0.5, 4.0, 8.0]);
        assert_eq!([-3.0, 0.5, 2.0].map(|v| Activation::ReluSquared.of(v)), [0.0, 0.25, 4.0]);
    }

    // Of torch.nn.functional in f64.
    const GELU_ERF: [f64; 8] = [-5.91952587e-09, -0.015524163, -0.15865525, -0.046017216, 0.0, 0.18537343, 0.84134475, 3.9998733];
    const GELU_TANH: [f64; 8] = [-8.43964898e-11, -0.015084266, -0.15880801, -0.046017249, 0.0, 0.18537092, 0.84119199, 3.9999298];
    const SILU: [f64; 8] = [-0.014835739, -0.18964545, -0.26894142, -0.047502081, 0.0, 0.17233276, 0.73105858, 3.9280552];
    const CLAMPED_SWISH: [f64; 8] = [-0.00022035355, -0.034986165, -0.15420423, -0.045755242, 0.0, 0.18748414, 0.84579577, 3.9955853];
}
