//! Addition to the residual stream, for blocks that are normalised after they have run.

use parhelion_shaders::add as kernel;

use super::{Operator, TwinArgs, grid, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::Shape,
};

#[derive(Debug)]
struct Add {
    scale: f32,
}

impl Graph {
    /// Adds `scale` times `delta` to `x` in place.
    pub fn add_scaled(&self, x: ValueId, delta: ValueId, scale: f32) {
        self.push_effect(Add { scale }, "", &[x, delta]);
    }
}

impl Operator for Add {
    fn name(&self) -> &'static str {
        "add"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [x, delta] if x == delta => Ok(None),
            [x, delta] => Err(format!("{delta} is added to {x}: they must be alike")),
            _ => Err(format!("{} inputs where two are needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, delta) = (recorder.input(0), recorder.input(1));
        let constants = kernel::Constants::default();
        let fours = x.rows * (x.stride / 4);
        recorder.dispatch(kernel::call(
            constants,
            kernel::Params { fours, scale: self.scale },
            kernel::Bindings { x: x.slice, delta: delta.slice },
            grid(u64::from(fours), constants.wg)?,
        ));
        Ok(())
    }
}

/// The scalar twin of `add`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let p = kernel::params(args.call);
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (x, delta) = (twin::view_mut::<f32>(b.x)?, twin::view::<f32>(b.delta)?);
    x.iter_mut().zip(delta).take(4 * p.fours as usize).for_each(|(x, delta)| *x += p.scale * delta);
    Ok(())
}
