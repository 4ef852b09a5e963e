//! SwiGLU: the gated unit of Llama's feed-forward blocks (Shazeer 2020).

use parhelion_shaders::swiglu as kernel;

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::Shape,
};

#[derive(Debug)]
struct Swiglu;

impl Graph {
    /// `silu(gate) * up`, the gate being the first half of the columns: `[_, 2n] -> [_, n]`.
    pub fn swiglu(&self, gate_up: ValueId) -> ValueId {
        self.push(Swiglu, "", &[gate_up])
    }
}

impl Operator for Swiglu {
    fn name(&self) -> &'static str {
        "swiglu"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [x] if x.cols % 2 == 0 && x.cols > 0 => Ok(Some(Shape { rows: x.rows, cols: x.cols / 2 })),
            [x] => Err(format!("the input is {x}: gate and up need the same number of columns")),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y) = (recorder.input(0), recorder.output()?);
        let constants = kernel::Constants::default();
        recorder.dispatch(kernel::call(
            constants,
            kernel::Params { rows: y.rows, n: y.cols, x_stride: x.stride, y_stride: y.stride },
            kernel::Bindings { gate_up: x.slice, y: y.slice },
            grid(u64::from(y.rows) * u64::from(y.cols), constants.wg)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `swiglu`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, y) = (twin::view::<f32>(b.gate_up)?, twin::view_mut::<f32>(b.y)?);
    let (n, stride) = (p.n as usize, p.x_stride as usize);
    let rows = y.chunks_mut(p.y_stride as usize).take(p.rows as usize).collect();
    twin::for_each_part(args.parallel, rows, &|row, y| {
        let (gate, up) = x[row * stride..][..2 * n].split_at(n);
        for ((y, gate), up) in y.iter_mut().zip(gate).zip(up) {
            *y = silu(*gate) * up;
        }
    });
    Ok(())
}

/// v / (1 + exp(-v)), whose exponential cannot overflow.
fn silu(v: f32) -> f32 {
    let e = (-v.abs()).exp();
    v * if v >= 0.0 { 1.0 } else { e } / (1.0 + e)
}
