//! RMSNorm of queries and keys as a whole, in place, before they are cut into heads (OLMo 2, 2501.00656).

use parhelion_shaders::rms_norm_columns as kernel;

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::Shape,
};

#[derive(Debug)]
struct RmsNormColumns {
    weight: WeightId,
    split: u32,
    end: u32,
    eps: f32,
}

impl Graph {
    /// Normalises the first columns of `x` in place, and the columns after them for themselves: `ranges` are two weights and their
    /// lengths.
    pub fn rms_norm_columns(&self, x: ValueId, ranges: [(&'static str, u32); 2], eps: f32) {
        let [(name, split), (_, rest)] = ranges;
        let weight = self.joined_vector(&ranges);
        self.push_effect(RmsNormColumns { weight, split, end: split.saturating_add(rest), eps }, name, &[x]);
    }
}

impl Operator for RmsNormColumns {
    fn name(&self) -> &'static str {
        "rms_norm_columns"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [x] if self.split > 0 && self.split < self.end && self.end <= x.cols => Ok(None),
            [x] => Err(format!("columns 0..{0} and {0}..{1} of {x}", self.split, self.end)),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let x = recorder.input(0);
        let [groups_x, groups_y, _] = grid(u64::from(x.rows), 1)?;
        recorder.dispatch(kernel::call(
            recorder.reduce(),
            kernel::Constants::default(),
            kernel::Params { rows: x.rows, split: self.split, end: self.end, stride: x.stride, eps: self.eps },
            kernel::Bindings { x: x.slice, w: recorder.vector(self.weight) },
            [groups_x, groups_y, 2],
        ));
        Ok(())
    }
}

/// The scalar twin of `rms_norm_columns`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, w) = (twin::view_mut::<f32>(b.x)?, twin::view::<f32>(b.w)?);
    let (split, end) = (p.split as usize, p.end as usize);
    for row in x.chunks_mut(p.stride as usize).take(p.rows as usize) {
        let (first, second) = row[..end].split_at_mut(split);
        normalise(first, &w[..split], p.eps);
        normalise(second, &w[split..end], p.eps);
    }
    Ok(())
}

fn normalise(x: &mut [f32], w: &[f32], eps: f32) {
    let squares: f64 = x.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    let scale = (1.0 / (squares / x.len() as f64 + f64::from(eps)).sqrt()) as f32;
    x.iter_mut().zip(w).for_each(|(x, w)| *x = *x * scale * w);
}
