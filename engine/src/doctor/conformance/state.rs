//! The kernels that keep recurrent state: sequences that begin, go on and take one row each, runs shorter and longer than the state.

use parhelion_shaders::short_conv as conv_kernel;

use super::Listed;
use crate::{
    doctor::state::{
        Before::{Nothing, OtherSlot, SameSlot},
        Convolution, Runs,
    },
    ops::short_conv::ConvShape,
};

/// Steps of one sequence and of several.
const STEPS: [Runs; 7] = [
    &[(1, Nothing)],
    &[(1, SameSlot)],
    &[(1, OtherSlot)],
    &[(2, OtherSlot)],
    &[(1, Nothing), (3, OtherSlot), (1, SameSlot), (7, Nothing), (16, OtherSlot)],
    &[(33, Nothing)],
    &[(1, SameSlot), (1, SameSlot), (1, OtherSlot), (1, Nothing)],
];

/// `short_conv`, gated and not.
pub fn short_conv() -> Vec<Listed> {
    let mut cases = Vec::new();
    for gated in [true, false] {
        let mut list = |case: Convolution| cases.push(Listed::new(conv_kernel::kernel(), move || case.case()));
        for (i, runs) in STEPS.into_iter().enumerate() {
            let (channels, taps) = ([1, 33, 128, 2050][i % 4], [3, 4, 2, 16][i % 4]);
            list(Convolution { shape: ConvShape { channels, taps, gated }, runs, magnitude: 1.0 });
        }
        for magnitude in [1e-18, 1e12] {
            list(Convolution { shape: ConvShape { channels: 40, taps: 3, gated }, runs: STEPS[4], magnitude });
        }
    }
    cases
}
