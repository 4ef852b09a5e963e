//! LayerNorm, with the addition of a block's output to the residual stream before it (Ba, Kiros and Hinton 2016).

use parhelion_shaders::{axes::Delta, layer_norm as kernel};

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::Shape,
};

#[derive(Debug)]
struct LayerNorm {
    weight: WeightId,
    bias: WeightId,
    eps: f32,
}

impl Graph {
    /// Adds `delta`, if there is one, to `x` in place; then `(x - m) * w / sqrt(mean((x - m)^2) + eps) + b`, m being the mean, row by row
    /// with the weight and the bias that `names` has: the shape of `x`.
    pub fn add_layer_norm(&self, x: ValueId, delta: Option<ValueId>, names: [&'static str; 2], eps: f32) -> ValueId {
        let [weight, bias] = names.map(|name| self.vector(name, self.shape(x).cols));
        let inputs: Vec<ValueId> = [x].into_iter().chain(delta).collect();
        self.push(LayerNorm { weight, bias, eps }, names[0], &inputs)
    }
}

impl Operator for LayerNorm {
    fn name(&self) -> &'static str {
        "layer_norm"
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
            kernel::Params { rows: x.rows, cols: x.cols, stride: x.stride, eps: self.eps, delta_scale: 1.0 },
            kernel::Bindings { x: x.slice, delta, w: recorder.vector(self.weight), b: recorder.vector(self.bias), y: y.slice },
            grid(u64::from(x.rows), 1)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `layer_norm`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, w, bias) = (twin::view_mut::<f32>(b.x)?, twin::view::<f32>(b.w)?, twin::view::<f32>(b.b)?);
    let y = twin::view_mut::<f32>(b.y)?;
    let delta = b.delta.map(twin::view::<f32>).transpose()?;
    let (cols, stride) = (p.cols as usize, p.stride as usize);
    for (row, (x, y)) in x.chunks_mut(stride).zip(y.chunks_mut(stride)).take(p.rows as usize).enumerate() {
        if let Some(delta) = delta {
            x.iter_mut().zip(&delta[row * stride..]).for_each(|(x, delta)| *x += p.delta_scale * delta);
        }
        let x = &x[..cols];
        let mean = x.iter().copied().map(f64::from).sum::<f64>() / cols as f64;
        let squares: f64 = x.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum();
        let scale = 1.0 / (squares / cols as f64 + f64::from(p.eps)).sqrt();
        for ((y, x), (w, bias)) in y.iter_mut().zip(x).zip(w.iter().zip(bias)) {
            *y = ((f64::from(*x) - mean) * scale) as f32 * w + bias;
        }
    }
    Ok(())
}
