//! Products with the experts that a router chose, of which alone weights are read.
//!
//! The matrices of a layer's experts are one weight: tensor by tensor (gates, then what they multiply), expert by expert. A row of
//! results is one of a token's experts, and a token's rows lie side by side in one row of the value: [`each`] says how.

use parhelion_shaders::mix_experts as kernel;

use super::{
    Operator, TwinArgs, grid,
    linear::{ChosenRows, record_matvec},
    twin,
};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::{Recorder, Tensor},
    shape::Shape,
};

/// What a router chose for each token.
#[derive(Debug, Clone, Copy)]
pub struct Chosen {
    /// Numbers of experts and their weights, `[_, 2 * used]`.
    pub value: ValueId,
    /// Experts that there are.
    pub experts: u32,
    /// Experts of a token.
    pub used: u32,
}

/// Columns of a value that has `cols` columns for each of `used` experts, each expert's from a multiple of 4 on.
pub(super) fn each(used: u32, cols: u32) -> Option<u32> {
    cols.checked_next_multiple_of(4)?.checked_mul(used)
}

impl Tensor {
    /// The same with a row for each of `used` experts of a token, of `cols` columns.
    pub(super) fn of_experts(self, used: u32, cols: u32) -> Self {
        Self { rows: self.rows * used, cols, stride: cols.next_multiple_of(4), ..self }
    }
}

#[derive(Debug)]
struct Experts {
    weight: WeightId,
    chosen: Chosen,
    /// Rows of an expert in each tensor; none where tensors differ in it, or there are none.
    expert_rows: Option<u32>,
    /// Rows of an expert in all tensors.
    outputs: u32,
    cols: u32,
    bias: Option<WeightId>,
}

impl Graph {
    /// `x` times the transposes of the matrices of each token's experts: the rows of `tensors` (names and rows of an expert) in order,
    /// plus their biases where there are any. `x` has a row for each token, or, where an operator of this kind made it, one for each
    /// expert: `[_, cols]` or `[_, used * cols] -> [_, used * rows]`.
    pub fn experts(&self, x: (ValueId, u32), chosen: &Chosen, tensors: &[(&'static str, u32)], biases: &[&'static str]) -> ValueId {
        let (x, cols) = x;
        let expert_rows = tensors.first().map(|(_, rows)| *rows).filter(|first| tensors.iter().all(|(_, rows)| rows == first));
        let outputs = tensors.iter().fold(0, |sum: u32, (_, rows)| sum.saturating_add(*rows));
        let detail = tensors.iter().map(|(name, _)| *name).collect::<Vec<_>>().join("+");
        let parts: Vec<_> = biases.iter().zip(tensors).map(|(&name, &(_, rows))| (name, rows)).collect();
        let bias = (!biases.is_empty()).then(|| self.expert_vectors(&parts, chosen.experts));
        let weight = self.expert_matrices(tensors, cols, chosen.experts);
        self.push(Experts { weight, chosen: *chosen, expert_rows, outputs, cols, bias }, &detail, &[x, chosen.value])
    }

    /// What each token's experts gave, `[_, used * cols]`, times their weights and added up: `[_, cols]`.
    pub fn mix_experts(&self, x: ValueId, cols: u32, chosen: &Chosen) -> ValueId {
        self.push(Mix { used: chosen.used, cols }, "", &[x, chosen.value])
    }
}

impl Experts {
    /// How many rows of results are made of a row of `x`; none where `x` does not fit.
    fn x_each(&self, x: u32) -> Option<u32> {
        match x {
            cols if cols == self.cols => Some(self.chosen.used),
            cols if Some(cols) == each(self.chosen.used, self.cols) => Some(1),
            _ => None,
        }
    }
}

impl Operator for Experts {
    fn name(&self) -> &'static str {
        "experts"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let Chosen { experts, used, .. } = self.chosen;
        let rows = self.expert_rows.filter(|&rows| rows > 0).ok_or("the tensors of an expert differ in their rows, or have none")?;
        let all = u64::from(self.outputs) * u64::from(experts);
        if all == 0 || all > i32::MAX as u64 || used == 0 || used > experts {
            return Err(format!("{used} of {experts} experts of {rows} rows"));
        }
        match inputs {
            [x, chosen] if self.cols > 0 && self.x_each(x.cols).is_some() && chosen.cols == 2 * used => {
                let cols = each(used, self.outputs).ok_or("more columns than 2^32")?;
                Ok(Some(Shape { rows: x.rows, cols }))
            }
            [x, chosen] => Err(format!("the inputs are {x} and {chosen}, where {used} experts of {} columns are chosen", self.cols)),
            _ => Err(format!("{} inputs where two are needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, chosen, y) = (recorder.input(0), recorder.input(1), recorder.output()?);
        let Chosen { experts, used, .. } = self.chosen;
        let x_each = self.x_each(x.cols).ok_or("x does not fit")?;
        let x = if x_each == 1 { x.of_experts(used, self.cols) } else { x };
        let y = y.of_experts(used, self.outputs);
        let most = parhelion_shaders::MAX_GROUPS;
        if y.rows > most {
            return Err(format!("{} experts for the tokens of a step, and a dispatch takes {most}: make steps smaller", y.rows));
        }
        let expert_rows = self.expert_rows.unwrap_or(1);
        let rows = ChosenRows { chosen, used, x_each, expert_rows, tensor_rows: expert_rows * experts };
        let bias = self.bias.map(|bias| recorder.vector(bias));
        for part in recorder.weight(self.weight).to_vec() {
            record_matvec(recorder, x, y, (part, bias), Some(rows))?;
        }
        Ok(())
    }
}

#[derive(Debug)]
struct Mix {
    used: u32,
    cols: u32,
}

impl Operator for Mix {
    fn name(&self) -> &'static str {
        "mix_experts"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [x, chosen] if Some(x.cols) == each(self.used, self.cols) && self.cols > 0 && chosen.cols == 2 * self.used => {
                Ok(Some(Shape { rows: x.rows, cols: self.cols }))
            }
            [x, chosen] => Err(format!("the inputs are {x} and {chosen}, where {} experts give {} columns each", self.used, self.cols)),
            _ => Err(format!("{} inputs where two are needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, chosen, y) = (recorder.input(0), recorder.input(1), recorder.output()?);
        let constants = kernel::Constants::default();
        recorder.dispatch_each(
            u64::from(constants.wg) * u64::from(self.used),
            kernel::call(
                constants,
                kernel::Params {
                    rows: y.rows,
                    n: y.cols,
                    used: self.used,
                    x_each: y.cols.next_multiple_of(4),
                    x_stride: x.stride,
                    chosen_stride: chosen.stride,
                    y_stride: y.stride,
                },
                kernel::Bindings { x: x.slice, chosen: chosen.slice, y: y.slice },
                grid(u64::from(y.rows) * u64::from(y.cols), constants.wg)?,
            ),
        );
        Ok(())
    }
}

/// The scalar twin of `mix_experts`.
pub(super) fn mix_twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, y) = (twin::view::<f32>(b.x)?, twin::view_mut::<f32>(b.y)?);
    let (n, used) = (p.n as usize, p.used as usize);
    for row in 0..p.rows as usize {
        let y = y.get_mut(row * p.y_stride as usize..).and_then(|y| y.get_mut(..n));
        let weights = b.chosen.get(row * p.chosen_stride as usize + used..).and_then(|weights| weights.get(..used));
        let (Some(y), Some(weights)) = (y, weights) else { return Err(format!("row {row} of {} is not there", p.rows)) };
        y.fill(0.0);
        for (s, weight) in weights.iter().enumerate() {
            let from = row * p.x_stride as usize + s * p.x_each as usize;
            let x = x.get(from..).and_then(|x| x.get(..n)).ok_or_else(|| format!("expert {s} of row {row} is not there"))?;
            y.iter_mut().zip(x).for_each(|(y, x)| *y += f32::from_bits(*weight) * x);
        }
    }
    Ok(())
}
