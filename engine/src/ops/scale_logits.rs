//! What some models do to their logits: a factor (Granite), a cap that they approach (Gemma 2, 2408.00118).

use parhelion_shaders::scale_logits as kernel;

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::Shape,
};

#[derive(Debug)]
struct ScaleLogits {
    scale: f32,
    cap: Option<f32>,
}

impl Graph {
    /// Multiplies logits by `scale` in place; with a cap, `cap * tanh(scale * logit / cap)`.
    pub fn scale_logits(&self, logits: ValueId, scale: f32, cap: Option<f32>) {
        self.push_effect(ScaleLogits { scale, cap }, "", &[logits]);
    }
}

impl Operator for ScaleLogits {
    fn name(&self) -> &'static str {
        "scale_logits"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [_] if self.cap.is_none_or(|cap| cap > 0.0) => Ok(None),
            [_] => Err(format!("a cap of {:?}: it must be over 0", self.cap)),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let x = recorder.input(0);
        let constants = kernel::Constants { capped: self.cap.is_some(), ..Default::default() };
        let fours = u64::from(x.rows) * u64::from(x.stride / 4);
        let fours = u32::try_from(fours).map_err(|_| format!("{fours} groups of logits are too many for a dispatch"))?;
        recorder.dispatch(kernel::call(
            constants,
            kernel::Params { fours, scale: self.scale, cap: self.cap.unwrap_or(1.0) },
            kernel::Bindings { x: x.slice, reads: std::marker::PhantomData },
            grid(u64::from(fours), constants.wg)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `scale_logits`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, capped) = (kernel::params(args.call), kernel::constants(args.call).capped);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    for x in twin::view_mut::<f32>(b.x)?.iter_mut().take(4 * p.fours as usize) {
        let scaled = p.scale * *x;
        *x = if capped { p.cap * (scaled / p.cap).tanh() } else { scaled };
    }
    Ok(())
}
