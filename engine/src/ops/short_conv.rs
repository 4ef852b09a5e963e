//! Short convolutions over the tokens of a sequence, each channel for itself, with a state between steps: gated before and after
//! (2511.23404), or with SiLU after them, as in front of recurrent layers (Gu and Dao 2023).

use parhelion_shaders::{shared::Run, short_conv as kernel};

use super::{Operator, TwinArgs, activate::Activation, grid, state::EMPTY, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::{Rows, Shape},
};

/// The most taps that filters may have.
pub const MAX_TAPS: u32 = 16;

/// What convolution there is in a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConvShape {
    /// Channels.
    pub channels: u32,
    /// Tokens that a filter sees, its own the last of them: 2 to [`MAX_TAPS`].
    pub taps: u32,
    /// Whether rows are `[b | g | v]`, of which `g * conv(b * v)` is made; else SiLU of the convolved first channels.
    pub gated: bool,
}

#[derive(Debug)]
struct ShortConv {
    shape: ConvShape,
    filters: WeightId,
    state: u32,
}

impl Graph {
    /// Convolves each channel of `x` over the tokens of its sequence with the filters `name`: `[Step, n] -> [Step, channels]`.
    pub fn short_conv(&self, x: ValueId, name: &'static str, shape: &ConvShape) -> ValueId {
        let filters = self.filters(name, shape.channels, shape.taps);
        // A product that does not fit is refused by `infer`.
        let state = self.state(shape.channels.saturating_mul(shape.taps.saturating_sub(1)));
        self.push(ShortConv { shape: *shape, filters, state }, name, &[x])
    }
}

impl Operator for ShortConv {
    fn name(&self) -> &'static str {
        "short_conv"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let ConvShape { channels, taps, gated } = self.shape;
        if !(2..=MAX_TAPS).contains(&taps) || channels == 0 || channels > u32::MAX / MAX_TAPS {
            return Err(format!("filters of {taps} taps for {channels} channels"));
        }
        match inputs {
            [Shape { rows: Rows::Step, cols }] if gated && *cols == 3 * channels || !gated && *cols >= channels => {
                Ok(Some(Shape { rows: Rows::Step, cols: channels }))
            }
            [x] => Err(format!("the input is {x} for {channels} channels")),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y, step) = (recorder.input(0), recorder.output()?, recorder.step());
        let ConvShape { channels, taps, gated } = self.shape;
        let constants = kernel::Constants { taps, gated, ..kernel::Constants::default() };
        let [groups_x, groups_y, _] = grid(u64::from(x.rows) * u64::from(channels), constants.wg)?;
        recorder.dispatch(kernel::call(
            constants,
            kernel::Params { channels, x_stride: x.stride, y_stride: y.stride },
            kernel::Bindings {
                runs: step.runs,
                x: x.slice,
                w: recorder.vector(self.filters),
                state: recorder.state(self.state),
                y: y.slice,
            },
            [groups_x, groups_y, recorder.most_runs()],
        ));
        Ok(())
    }
}

/// The scalar twin of `short_conv`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, constants) = (kernel::params(args.call), kernel::constants(args.call));
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (runs, x, w) = (twin::view::<Run>(b.runs)?, twin::view::<f32>(b.x)?, twin::view::<f32>(b.w)?);
    let (state, y) = (twin::view_mut::<f32>(b.state)?, twin::view_mut::<f32>(b.y)?);
    let (channels, taps, stride) = (p.channels as usize, constants.taps as usize, p.x_stride as usize);
    let kept = taps - 1;
    for run in runs.iter().take(args.call.grid[2] as usize).filter(|run| run.rows > 0) {
        let (first, rows) = (run.first as usize, run.rows as usize);
        let convolved = |row: usize, c: usize| {
            let x = &x[(first + row) * stride..];
            if constants.gated { x[c] * x[2 * channels + c] } else { x[c] }
        };
        // The values of the state, then those of the run.
        let mut values = match run.read {
            EMPTY => vec![0.0; kept * channels],
            slot => state[slot as usize * kept * channels..][..kept * channels].to_vec(),
        };
        values.extend((0..rows).flat_map(|row| (0..channels).map(move |c| (row, c))).map(|(row, c)| convolved(row, c)));
        for row in 0..rows {
            for c in 0..channels {
                let products = (0..taps).map(|i| w[c * taps + i] * values[(row + i) * channels + c]);
                let sum = products.fold(0.0, |sum: f32, product| sum + product);
                let gate = x[(first + row) * stride + if constants.gated { channels + c } else { c }];
                let result = if constants.gated { sum * gate } else { Activation::Silu.of(sum) };
                y[(first + row) * p.y_stride as usize + c] = result;
            }
        }
        state[run.write as usize * kept * channels..][..kept * channels].copy_from_slice(&values[rows * channels..]);
    }
    Ok(())
}
