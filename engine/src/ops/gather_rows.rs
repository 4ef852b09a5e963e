//! Gather of rows: the rows of a step whose logits are wanted.

use parhelion_shaders::gather_rows as kernel;

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::{Rows, Shape},
};

#[derive(Debug)]
struct GatherOutputs;

impl Graph {
    /// The rows of `x` that outputs come from: `[Step, n] -> [Outputs, n]`.
    pub fn gather_outputs(&self, x: ValueId) -> ValueId {
        self.push(GatherOutputs, "", &[x])
    }
}

impl Operator for GatherOutputs {
    fn name(&self) -> &'static str {
        "gather_outputs"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [Shape { rows: Rows::Step, cols }] => Ok(Some(Shape { rows: Rows::Outputs, cols: *cols })),
            [x] => Err(format!("the input is {x} where a row a token is needed")),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y, index) = (recorder.input(0), recorder.output()?, recorder.step().output_index);
        let constants = kernel::Constants::default();
        recorder.dispatch(kernel::call(
            constants,
            kernel::Params { count: y.rows, rows: x.rows, stride: x.stride },
            kernel::Bindings { x: x.slice, index, y: y.slice },
            grid(u64::from(y.rows) * u64::from(y.stride / 4), constants.wg)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `gather_rows`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let stride = p.stride as usize;
    for (y, index) in b.y.chunks_mut(stride).zip(b.index).take(p.count as usize) {
        let row = (*index).min(p.rows - 1) as usize;
        y.copy_from_slice(&b.x[row * stride..][..stride]);
    }
    Ok(())
}
