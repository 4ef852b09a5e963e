//! The choice of experts for each token.

use std::cmp::Ordering;

use parhelion_shaders::route as kernel;

use super::{Operator, TwinArgs, experts::Chosen, grid, twin};
use crate::{
    graph::{Graph, ValueId, WeightId},
    recorder::Recorder,
    shape::Shape,
};

/// The most experts that a layer may have: what the kernel keeps of them fits 12 KiB of workgroup memory.
pub const MAX_EXPERTS: u32 = 1024;
/// The most experts of a token.
pub const MAX_USED: u32 = 64;

/// What a router makes of its logits.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Routing {
    /// Experts of a token.
    pub used: u32,
    /// What logits become.
    pub score: Score,
    /// Whether the weights of a token's experts are divided by their sum and what is added to that; else they are scores.
    pub renormalise: Option<f32>,
    /// Multiplies the weights.
    pub scale: f32,
}

/// What logits of a router become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Score {
    /// Their softmax over all experts. Renormalised, it is the softmax over the experts that are chosen.
    Softmax,
    /// 1 / (1 + exp(-v)).
    Sigmoid,
}

#[derive(Debug)]
struct Route {
    routing: Routing,
    experts: u32,
    bias: Option<WeightId>,
}

impl Graph {
    /// The experts of each token by the logits of a router: those with the largest scores, each score plus its entry of `bias` where
    /// there is one. A weight is made of the score alone. `[_, experts] -> [_, 2 * used]`: numbers as u32, then weights.
    pub fn route(&self, logits: ValueId, routing: Routing, bias: Option<&'static str>) -> Chosen {
        let experts = self.cols(logits);
        let bias = bias.map(|name| self.vector(name, experts));
        let value = self.push(Route { routing, experts, bias }, "", &[logits]);
        Chosen { value, experts, used: routing.used }
    }
}

impl Operator for Route {
    fn name(&self) -> &'static str {
        "route"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        let used = self.routing.used;
        match inputs {
            [x] if x.cols != self.experts || x.cols > MAX_EXPERTS => Err(format!("the input is {x}: at most {MAX_EXPERTS} experts")),
            [_] if used == 0 || used > MAX_USED.min(self.experts) => {
                Err(format!("{used} of {} experts are to be chosen: 1 to {}", self.experts, MAX_USED.min(self.experts)))
            }
            [x] => Ok(Some(Shape { rows: x.rows, cols: 2 * used })),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (x, y, routing) = (recorder.input(0), recorder.output()?, self.routing);
        let bias = self.bias.map(|bias| recorder.vector(bias));
        let constants = kernel::Constants {
            experts: self.experts,
            used: routing.used,
            sigmoid: routing.score == Score::Sigmoid,
            biased: bias.is_some(),
            renormalise: routing.renormalise.is_some(),
            ..Default::default()
        };
        recorder.dispatch_each(
            u64::from(self.experts) * u64::from(self.experts),
            kernel::call(
                constants,
                kernel::Params {
                    rows: y.rows,
                    x_stride: x.stride,
                    chosen_stride: y.stride,
                    scale: routing.scale,
                    floor: routing.renormalise.unwrap_or(0.0),
                },
                kernel::Bindings { logits: x.slice, bias: bias.unwrap_or(x.slice), chosen: y.slice },
                grid(u64::from(y.rows), 1)?,
            ),
        );
        Ok(())
    }
}

/// The scalar twin of `route`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let (p, constants) = (kernel::params(args.call), kernel::constants(args.call));
    let b = kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (logits, bias) = (twin::view::<f32>(b.logits)?, twin::view::<f32>(b.bias)?);
    let (experts, used) = (constants.experts as usize, constants.used as usize);
    if used > experts || constants.biased && bias.len() < experts {
        return Err(format!("{used} of {experts} experts, biases for {}", bias.len()));
    }
    for row in 0..p.rows as usize {
        let logits = logits.get(row * p.x_stride as usize..).and_then(|row| row.get(..experts));
        let chosen = b.chosen.get_mut(row * p.chosen_stride as usize..).and_then(|row| row.get_mut(..2 * used));
        let (Some(logits), Some(chosen)) = (logits, chosen) else { return Err(format!("row {row} of {} is not there", p.rows)) };
        let shares = shares(logits, constants.sigmoid);
        let whole = if constants.sigmoid { 1.0 } else { shares.iter().fold(0.0, |sum, share| sum + share) };
        let key = |i: usize| if constants.biased { shares[i] / whole + bias[i] } else { logits[i] };
        let keys: Vec<f32> = (0..experts).map(key).collect();
        let picked = picked(&keys, used);
        let sum = || picked.iter().fold(p.floor, |sum, &i| sum + shares[i]);
        let divisor = if constants.renormalise { sum() } else { whole };
        for (s, &i) in picked.iter().enumerate() {
            chosen[s] = i as u32;
            chosen[used + s] = (shares[i] / divisor * p.scale).to_bits();
        }
    }
    Ok(())
}

/// Softmax without its denominator, or sigmoids.
fn shares(logits: &[f32], sigmoid: bool) -> Vec<f32> {
    if sigmoid {
        let share = |v: f32| {
            let e = (-v.abs()).exp();
            if v >= 0.0 { 1.0 / (1.0 + e) } else { e / (1.0 + e) }
        };
        return logits.iter().map(|&v| share(v)).collect();
    }
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().map(|v| (v - most).exp()).collect()
}

/// The `used` experts with the largest keys, of equal ones those of lower numbers first, each by the number of those before it.
fn picked(keys: &[f32], used: usize) -> Vec<usize> {
    let mut picked: Vec<usize> = (0..used).collect();
    for (i, &own) in keys.iter().enumerate() {
        // a key that is not a number is neither larger nor smaller
        let is_before = |(j, other): &(usize, &f32)| match other.partial_cmp(&&own) {
            Some(Ordering::Greater) => true,
            Some(Ordering::Less) => false,
            _ => *j < i,
        };
        let before = keys.iter().enumerate().filter(is_before).count();
        if before < used {
            picked[before] = i;
        }
    }
    picked
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_ties_go_to_lower_numbers() {
        assert_eq!(picked(&[0.5, 2.0, -1.0, 2.0, 0.5], 3), [1, 3, 0]);
        assert_eq!(picked(&[1.0; 4], 4), [0, 1, 2, 3]);
    }

    #[test]
    fn keys_that_are_no_numbers_choose_experts_that_are_there() {
        let nan = f32::NAN;
        for keys in [[nan; 4], [nan, 1.0, 2.0, 3.0], [3.0, nan, nan, 1.0], [2.0, nan, 1.0, 3.0]] {
            assert!(picked(&keys, 3).iter().all(|&i| i < 4), "{keys:?}");
        }
    }

    #[test]
    fn softmax_of_the_chosen_is_the_renormalised_softmax_of_all() {
        let shares = shares(&[1.0, 3.0, 2.0, -4.0], false);
        let (first, second) = (f64::from(shares[1]), f64::from(shares[2]));
        let expected = 1.0 / (1.0 + (-1.0_f64).exp());
        assert!((first / (first + second) - expected).abs() < 1e-7);
    }
}
