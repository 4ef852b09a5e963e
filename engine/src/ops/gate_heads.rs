//! Gates of whole heads: outputs of attention times the logistic function of a gate (2505.06708), or normalised and times its SiLU.

use parhelion_shaders::{drop_gates, gate_heads as kernel};

use super::{Operator, TwinArgs, activate::Activation, attention::AttentionShape, grid, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::Shape,
};

/// Where the gates of heads lie among the columns of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gates {
    /// Heads.
    pub heads: u32,
    /// Elements of a head.
    pub head_dim: u32,
    /// Column of the first head's gate.
    pub first: u32,
    /// Columns from one head's gate to the next's.
    pub step: u32,
}

/// What becomes of heads and their gates.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Gating {
    /// Heads are multiplied by the logistic function of their gates.
    Sigmoid,
    /// Heads are normalised, each by itself with the weight of this name, and multiplied by SiLU of their gates.
    NormSilu {
        /// Name of the weight: `head_dim` elements.
        norm: &'static str,
        /// Added to the mean of squares.
        eps: f32,
    },
}

#[derive(Debug)]
struct GateHeads {
    gates: Gates,
    norm: Option<(WeightId, f32)>,
}

#[derive(Debug)]
struct DropGates {
    shape: AttentionShape,
}

impl Graph {
    /// Gates the heads of `x` (`[_, heads * head_dim]`) in place by columns of `by`.
    pub fn gate_heads(&self, x: ValueId, by: ValueId, gates: Gates, gating: Gating) {
        let norm = match gating {
            Gating::Sigmoid => None,
            Gating::NormSilu { norm, eps } => Some((self.vector(norm, gates.head_dim), eps)),
        };
        self.push_effect(GateHeads { gates, norm }, "", &[x, by]);
    }

    /// Rows of query, key and value heads from those in which each query head is followed by its gate.
    pub fn without_gates(&self, x: ValueId, shape: &AttentionShape) -> ValueId {
        self.push(DropGates { shape: *shape }, "", &[x])
    }
}

impl Operator for GateHeads {
    fn name(&self) -> &'static str {
        "gate_heads"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let Gates { heads, head_dim, first, step } = self.gates;
        let cols = u64::from(heads) * u64::from(head_dim);
        let end = u64::from(first) + u64::from(heads.saturating_sub(1)) * u64::from(step) + u64::from(head_dim);
        match inputs {
            [x, by] if x.rows == by.rows && u64::from(x.cols) == cols && cols > 0 && u64::from(by.cols) >= end => Ok(None),
            [x, by] => Err(format!("{heads} heads of {head_dim} in {x}, their gates up to column {end} of {by}")),
            _ => Err(format!("{} inputs where two are needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, by) = (recorder.input(0), recorder.input(1));
        let Gates { heads, head_dim, first, step } = self.gates;
        let items = x.rows.checked_mul(heads).ok_or("too many heads for a dispatch")?;
        let normed = self.norm.is_some();
        recorder.dispatch(kernel::call(
            recorder.reduce(),
            kernel::Constants { normed, silu: normed, ..kernel::Constants::default() },
            kernel::Params {
                items,
                heads,
                head_dim,
                x_stride: x.stride,
                gates_stride: by.stride,
                gates_first: first,
                gates_step: step,
                eps: self.norm.map_or(0.0, |(_, eps)| eps),
            },
            kernel::Bindings { x: x.slice, gates: by.slice, w: self.norm.map_or(by.slice, |(weight, _)| recorder.vector(weight)) },
            grid(u64::from(items), 1)?,
        ));
        Ok(())
    }
}

impl Operator for DropGates {
    fn name(&self) -> &'static str {
        "without_gates"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let (cols, gates) = (self.shape.qkv_cols(), u64::from(self.shape.q_heads) * u64::from(self.shape.head_dim));
        match inputs {
            [x] if u64::from(x.cols) == cols + gates && gates > 0 => Ok(Some(Shape { rows: x.rows, cols: cols as u32 })),
            [x] => Err(format!("the input is {x} where [rows, {}] is needed", cols + gates)),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y) = (recorder.input(0), recorder.output()?);
        let AttentionShape { q_heads, head_dim, .. } = self.shape;
        let constants = drop_gates::Constants::default();
        recorder.dispatch(drop_gates::call(
            constants,
            drop_gates::Params { rows: y.rows, cols: y.cols, gated: q_heads * head_dim, head_dim, x_stride: x.stride, y_stride: y.stride },
            drop_gates::Bindings { x: x.slice, y: y.slice },
            grid(u64::from(y.rows) * u64::from(y.cols), constants.wg)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `gate_heads`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, constants) = (kernel::params(args.call), kernel::constants(args.call));
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, gates, w) = (twin::view_mut::<f32>(b.x)?, twin::view::<f32>(b.gates)?, twin::view::<f32>(b.w)?);
    let (heads, dim) = (p.heads as usize, p.head_dim as usize);
    for item in 0..p.items as usize {
        let (row, head) = (item / heads, item % heads);
        let x = &mut x[row * p.x_stride as usize + head * dim..][..dim];
        let gates = &gates[row * p.gates_stride as usize + p.gates_first as usize + head * p.gates_step as usize..];
        if constants.normed {
            let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
            let scale = (1.0 / (squares / dim as f64 + f64::from(p.eps)).sqrt()) as f32;
            x.iter_mut().zip(w).for_each(|(x, w)| *x *= scale * w);
        }
        for (x, &gate) in x.iter_mut().zip(gates) {
            *x *= if constants.silu { Activation::Silu.of(gate) } else { 1.0 / (1.0 + (-gate).exp()) };
        }
    }
    Ok(())
}

/// The scalar twin of `drop_gates`.
pub(super) fn drop_gates_twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = drop_gates::params(args.call);
    let b = drop_gates::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (gated, dim) = (p.gated as usize, p.head_dim as usize);
    for (y, x) in b.y.chunks_mut(p.y_stride as usize).zip(b.x.chunks(p.x_stride as usize)).take(p.rows as usize) {
        let source = |i: usize| if i < gated { i + i / dim * dim } else { i + gated };
        y[..p.cols as usize].iter_mut().enumerate().for_each(|(i, y)| *y = x[source(i)]);
    }
    Ok(())
}
