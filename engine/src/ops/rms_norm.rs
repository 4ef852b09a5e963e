//! RMSNorm, with the addition of a block's output to the residual stream before it (Zhang and Sennrich 2019).

use parhelion_shaders::{axes::Delta, rms_norm as kernel};

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::Shape,
};

#[derive(Debug)]
struct RmsNorm {
    weight: WeightId,
    eps: f32,
    delta_scale: f32,
}

impl Graph {
    /// `x * w / sqrt(mean(x^2) + eps)` row by row with the weight `name`: the shape of `x`.
    pub fn rms_norm(&self, x: ValueId, name: &'static str, eps: f32) -> ValueId {
        self.add_rms_norm(x, None, name, eps)
    }

    /// Adds `delta`, if there is one, to `x` in place and normalises the sum.
    pub fn add_rms_norm(&self, x: ValueId, delta: Option<ValueId>, name: &'static str, eps: f32) -> ValueId {
        self.add_scaled_rms_norm(x, delta, 1.0, name, eps)
    }

    /// The same with `delta_scale` times `delta`.
    pub fn add_scaled_rms_norm(&self, x: ValueId, delta: Option<ValueId>, delta_scale: f32, name: &'static str, eps: f32) -> ValueId {
        let weight = self.vector(name, self.shape(x).cols);
        let inputs: Vec<ValueId> = [x].into_iter().chain(delta).collect();
        self.push(RmsNorm { weight, eps, delta_scale }, name, &inputs)
    }
}

impl Operator for RmsNorm {
    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [x] => Ok(Some(*x)),
            [x, delta] if x == delta => Ok(Some(*x)),
            [x, delta] => Err(format!("{delta} is added to {x}: they must be alike")),
            _ => Err(format!("{} inputs where one or two are needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y) = (recorder.input(0), recorder.output()?);
        let delta = recorder.inputs.get(1).map(|delta| delta.slice);
        recorder.dispatch(kernel::call(
            if delta.is_some() { Delta::Add } else { Delta::None },
            recorder.reduce(),
            kernel::Constants::default(),
            kernel::Params { rows: x.rows, cols: x.cols, stride: x.stride, eps: self.eps, delta_scale: self.delta_scale },
            kernel::Bindings { x: x.slice, delta, w: recorder.vector(self.weight), y: y.slice },
            grid(u64::from(x.rows), 1)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `rms_norm`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, w, y) = (twin::view_mut::<f32>(b.x)?, twin::view::<f32>(b.w)?, twin::view_mut::<f32>(b.y)?);
    let delta = b.delta.map(twin::view::<f32>).transpose()?;
    let (cols, stride) = (p.cols as usize, p.stride as usize);
    for (row, (x, y)) in x.chunks_mut(stride).zip(y.chunks_mut(stride)).take(p.rows as usize).enumerate() {
        if let Some(delta) = delta {
            x.iter_mut().zip(&delta[row * stride..]).for_each(|(x, delta)| *x += p.delta_scale * delta);
        }
        let squares: f64 = x[..cols].iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let scale = (1.0 / (squares / cols as f64 + f64::from(p.eps)).sqrt()) as f32;
        for ((y, x), w) in y[..cols].iter_mut().zip(x).zip(w) {
            *y = *x * scale * w;
        }
    }
    Ok(())
}
