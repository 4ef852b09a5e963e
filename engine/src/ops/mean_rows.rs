//! The mean of the rows of a sequence, for steps that hold all of it: mean pooling (Reimers and Gurevych 2019).

use parhelion_shaders::{mean_rows as kernel, shared::Row};

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::{Rows, Shape},
};

#[derive(Debug)]
struct MeanRows;

impl Graph {
    /// For each output the mean of all rows of its sequence up to the row that the output comes from, which the step must hold:
    /// `[Step, n] -> [Outputs, n]`.
    pub fn mean_of_sequences(&self, x: ValueId) -> ValueId {
        self.push(MeanRows, "", &[x])
    }
}

impl Operator for MeanRows {
    fn name(&self) -> &'static str {
        "mean_of_sequences"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [Shape { rows: Rows::Step, cols }] => Ok(Some(Shape { rows: Rows::Outputs, cols: *cols })),
            [x] => Err(format!("the input is {x} where a row a token is needed")),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y, step) = (recorder.input(0), recorder.output()?, recorder.step());
        let constants = kernel::Constants::default();
        recorder.dispatch_each(
            u64::from(x.rows.div_ceil(y.rows.max(1))),
            kernel::call(
                constants,
                kernel::Params { count: y.rows, rows: x.rows, stride: x.stride },
                kernel::Bindings { rows: step.rows, index: step.output_index, x: x.slice, y: y.slice },
                grid(u64::from(y.rows) * u64::from(y.stride / 4), constants.wg)?,
            ),
        );
        Ok(())
    }
}

/// The scalar twin of `mean_rows`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (rows, x, y) = (twin::view::<Row>(b.rows)?, twin::view::<f32>(b.x)?, twin::view_mut::<f32>(b.y)?);
    let stride = p.stride as usize;
    for (y, index) in y.chunks_mut(stride).zip(b.index).take(p.count as usize) {
        let last = (*index).min(p.rows - 1) as usize;
        let count = (rows[last].slot as usize).min(last) + 1;
        let rows = &x[(last + 1 - count) * stride..(last + 1) * stride];
        for (column, y) in y.iter_mut().enumerate() {
            let sum: f64 = rows.chunks_exact(stride).map(|row| f64::from(row[column])).sum();
            *y = (sum / count as f64) as f32;
        }
    }
    Ok(())
}
