//! The gated delta rule: linear attention with a matrix of state a head, which decays and is corrected towards each value (2412.06464).

use parhelion_shaders::{delta_net as kernel, shared::Run};

use super::{Operator, TwinArgs, state::EMPTY, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::{Rows, Shape},
};

/// Elements of a column that an invocation holds.
const OF_A_LANE: u32 = 16;
/// The longest key that a workgroup has room for.
pub const MAX_KEY_DIM: u32 = 256;
/// The longest value.
pub const MAX_VALUE_DIM: u32 = 1024;
/// Added to squared lengths of queries and keys.
const EPS: f32 = 1e-6;

/// What heads there are in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeltaShape {
    /// Heads of queries, and as many of keys.
    pub key_heads: u32,
    /// Heads of values, a multiple of `key_heads`.
    pub value_heads: u32,
    /// Elements of a query or key: a multiple of 4, at most [`MAX_KEY_DIM`].
    pub key_dim: u32,
    /// Elements of a value, at most [`MAX_VALUE_DIM`].
    pub value_dim: u32,
    /// Which value heads belong to a key head.
    pub order: HeadOrder,
    /// How the decay of each head is published.
    pub decay: Decay,
}

/// Which value heads belong to a key head, where there are more of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HeadOrder {
    /// Neighbours.
    Grouped,
    /// Those that are as many apart as there are key heads.
    Tiled,
}

/// How the decay of a head is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decay {
    /// As its logarithm.
    Logarithm,
    /// As a number below 0.
    Negative,
}

impl DeltaShape {
    /// Elements of all values of a row.
    pub fn value_cols(&self) -> u32 {
        self.value_heads.saturating_mul(self.value_dim)
    }

    /// Elements of queries, keys and values of a row.
    pub fn qkv_cols(&self) -> u32 {
        self.key_heads.saturating_mul(self.key_dim).saturating_mul(2).saturating_add(self.value_cols())
    }

    fn state_elems(&self) -> u32 {
        self.value_cols().saturating_mul(self.key_dim)
    }

    fn check(&self) -> Result<(), String> {
        let Self { key_heads, value_heads, key_dim, value_dim, .. } = *self;
        if key_heads == 0 || value_heads == 0 || value_heads % key_heads != 0 {
            return Err(format!("{value_heads} value heads are no multiple of {key_heads} key heads"));
        }
        if key_dim == 0 || key_dim % 4 != 0 || key_dim > MAX_KEY_DIM || value_dim == 0 || value_dim > MAX_VALUE_DIM {
            let most = format!("keys of a multiple of 4 up to {MAX_KEY_DIM} and values up to {MAX_VALUE_DIM} are supported");
            return Err(format!("keys of {key_dim} and values of {value_dim} elements: {most}"));
        }
        if self.state_elems() == u32::MAX || self.qkv_cols() == u32::MAX {
            return Err(format!("a state of {value_heads} heads of {key_dim} x {value_dim}"));
        }
        Ok(())
    }

    /// Constants of the kernel.
    pub(crate) fn constants(&self) -> kernel::Constants {
        kernel::Constants {
            lanes: self.key_dim.div_ceil(OF_A_LANE).next_power_of_two(),
            key_dim: self.key_dim,
            value_dim: self.value_dim,
            tiled: self.order == HeadOrder::Tiled,
            log_decay: self.decay == Decay::Logarithm,
            ..kernel::Constants::default()
        }
    }

    /// Workgroups of a run.
    pub(crate) fn groups(&self) -> u32 {
        let constants = self.constants();
        self.value_heads * self.value_dim.div_ceil(constants.wg / constants.lanes)
    }

    /// Parameters of the kernel for rows of these strides.
    pub(crate) fn params(&self, qkv_stride: u32, (gates_stride, gates_first): (u32, u32), y_stride: u32) -> kernel::Params {
        let Self { key_heads, value_heads, .. } = *self;
        kernel::Params { value_heads, key_heads, qkv_stride, gates_stride, gates_first, y_stride, eps: EPS }
    }
}

#[derive(Debug)]
struct DeltaNet {
    shape: DeltaShape,
    gates_first: u32,
    decay: WeightId,
    dt_bias: WeightId,
    state: u32,
}

impl Graph {
    /// The gated delta rule over the tokens of each sequence: `qkv` has rows of query, key and value heads; from column `gates_first` on
    /// `gates` has a number for each value head that its step size is made of, and as many that its decay is made of:
    /// `[Step, value_heads * value_dim]`. `decay` and `dt_bias` are weights of an element a value head.
    pub fn delta_net(
        &self,
        qkv: ValueId,
        (gates, gates_first): (ValueId, u32),
        [decay, dt_bias]: [&'static str; 2],
        shape: &DeltaShape,
    ) -> ValueId {
        let [decay, dt_bias] = [decay, dt_bias].map(|name| self.vector(name, shape.value_heads));
        let state = self.state(shape.state_elems());
        self.push(DeltaNet { shape: *shape, gates_first, decay, dt_bias, state }, "", &[qkv, gates])
    }
}

impl Operator for DeltaNet {
    fn name(&self) -> &'static str {
        "delta_net"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        self.shape.check()?;
        let (cols, gates_end) = (self.shape.qkv_cols(), u64::from(self.gates_first) + 2 * u64::from(self.shape.value_heads));
        match inputs {
            [qkv, gates]
                if qkv.rows == Rows::Step && gates.rows == Rows::Step && qkv.cols == cols && u64::from(gates.cols) >= gates_end =>
            {
                Ok(Some(Shape { rows: Rows::Step, cols: self.shape.value_cols() }))
            }
            [qkv, gates] => Err(format!("the inputs are {qkv} and {gates} where [rows, {cols}] and {gates_end} columns are needed")),
            _ => Err(format!("{} inputs where two are needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (qkv, gates, y, step) = (recorder.input(0), recorder.input(1), recorder.output()?, recorder.step());
        let DeltaShape { key_dim, value_dim, .. } = self.shape;
        recorder.dispatch_each(
            u64::from(qkv.rows) * u64::from(key_dim) * u64::from(value_dim),
            kernel::call(
                self.shape.constants(),
                self.shape.params(qkv.stride, (gates.stride, self.gates_first), y.stride),
                kernel::Bindings {
                    runs: step.runs,
                    qkv: qkv.slice,
                    gates: gates.slice,
                    decay: recorder.vector(self.decay),
                    dt_bias: recorder.vector(self.dt_bias),
                    state: recorder.state(self.state),
                    y: y.slice,
                },
                [self.shape.groups(), 1, recorder.most_runs()],
            ),
        );
        Ok(())
    }
}

/// The scalar twin of `delta_net`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, constants) = (kernel::params(args.call), kernel::constants(args.call));
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (runs, qkv, gates) = (twin::view::<Run>(b.runs)?, twin::view::<f32>(b.qkv)?, twin::view::<f32>(b.gates)?);
    let (decay, dt_bias) = (twin::view::<f32>(b.decay)?, twin::view::<f32>(b.dt_bias)?);
    let (state, y) = (twin::view_mut::<f32>(b.state)?, twin::view_mut::<f32>(b.y)?);
    let (heads, key_heads) = (p.value_heads as usize, p.key_heads as usize);
    let (key_dim, value_dim) = (constants.key_dim as usize, constants.value_dim as usize);
    let size = key_dim * value_dim;
    for run in runs.iter().take(args.call.grid[2] as usize).filter(|run| run.rows > 0) {
        for head in 0..heads {
            let key_head = if constants.tiled { head % key_heads } else { head / (heads / key_heads) };
            let at = |slot: u32| (slot as usize * heads + head) * size;
            let mut matrix = if run.read == EMPTY { vec![0.0; size] } else { state[at(run.read)..][..size].to_vec() };
            let rate = if constants.log_decay { decay[head].exp() } else { -decay[head] };
            for row in (run.first..run.first + run.rows).map(|row| row as usize) {
                let heads_at = |first: usize, dim: usize| &qkv[row * p.qkv_stride as usize + first..][..dim];
                let q = of_length_1(heads_at(key_head * key_dim, key_dim), p.eps);
                let k = of_length_1(heads_at((key_heads + key_head) * key_dim, key_dim), p.eps);
                let v = heads_at(2 * key_heads * key_dim + head * value_dim, value_dim);
                let gates = &gates[row * p.gates_stride as usize + p.gates_first as usize..];
                let kept = (-rate * softplus(gates[heads + head] + dt_bias[head])).exp();
                let beta = 1.0 / (1.0 + (-gates[head]).exp());
                let y = &mut y[row * p.y_stride as usize + head * value_dim..][..value_dim];
                for ((column, v), y) in matrix.chunks_exact_mut(key_dim).zip(v).zip(y) {
                    column.iter_mut().for_each(|s| *s *= kept);
                    let d = beta * (v - dot(column, &k));
                    column.iter_mut().zip(&k).for_each(|(s, k)| *s += k * d);
                    *y = dot(column, &q) / (key_dim as f32).sqrt();
                }
            }
            state[at(run.write)..][..size].copy_from_slice(&matrix);
        }
    }
    Ok(())
}

fn dot(a: &[f32], b: &[f32]) -> f32 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn of_length_1(x: &[f32], eps: f32) -> Vec<f32> {
    let scale = 1.0 / (dot(x, x) + eps).sqrt();
    x.iter().map(|x| x * scale).collect()
}

fn softplus(v: f32) -> f32 {
    v.max(0.0) + (-v.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_that_the_kernel_cannot_run_are_refused() {
        let shape =
            DeltaShape { key_heads: 16, value_heads: 32, key_dim: 128, value_dim: 128, order: HeadOrder::Grouped, decay: Decay::Logarithm };
        assert_eq!(shape.check(), Ok(()));
        assert!(DeltaShape { key_heads: 0, ..shape }.check().is_err());
        assert!(DeltaShape { value_heads: 33, ..shape }.check().is_err());
        assert!(DeltaShape { key_dim: 126, ..shape }.check().is_err());
        assert!(DeltaShape { key_dim: 260, ..shape }.check().is_err());
        assert!(DeltaShape { value_dim: 0, ..shape }.check().is_err());
        assert!(DeltaShape { value_heads: 1 << 20, ..shape }.check().is_err());
    }

    #[test]
    fn lanes_hold_whole_columns() {
        for key_dim in (4..=MAX_KEY_DIM).step_by(4) {
            let shape =
                DeltaShape { key_heads: 1, value_heads: 1, key_dim, value_dim: 100, order: HeadOrder::Tiled, decay: Decay::Negative };
            let constants = shape.constants();
            assert!(constants.lanes * OF_A_LANE >= key_dim && constants.wg.is_multiple_of(constants.lanes), "{key_dim}");
        }
    }
}
