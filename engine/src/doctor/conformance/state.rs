//! The kernels that keep recurrent state: sequences that begin, go on and take one row each, runs shorter and longer than the state.

use parhelion_shaders::{
    axes::Reduce, delta_net as delta_kernel, drop_gates as drop_kernel, gate_heads as gate_kernel, short_conv as conv_kernel,
};

use super::Listed;
use crate::{
    doctor::state::{
        Before::{Nothing, OtherSlot, SameSlot},
        Convolution, GateDropping, HeadGating, Recurrence, Runs,
    },
    ops::{
        delta_net::{Decay, DeltaShape, HeadOrder},
        short_conv::ConvShape,
    },
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

/// `delta_net`: keys of one vector and of the most there are, values that are no whole tile of columns, both orders of heads.
pub fn delta_net() -> Vec<Listed> {
    let shape = |[key_heads, value_heads, key_dim, value_dim]: [u32; 4], tiled| {
        let (order, decay) = if tiled { (HeadOrder::Tiled, Decay::Negative) } else { (HeadOrder::Grouped, Decay::Logarithm) };
        DeltaShape { key_heads, value_heads, key_dim, value_dim, order, decay }
    };
    let mut cases = Vec::new();
    let mut list = |case: Recurrence| cases.push(Listed::new(delta_kernel::kernel(), move || case.case()));
    const HEADS: [[u32; 4]; 5] = [[1, 1, 4, 1], [2, 6, 20, 33], [2, 4, 128, 128], [1, 3, 256, 70], [3, 3, 64, 129]];
    for (i, runs) in STEPS.into_iter().enumerate() {
        for tiled in [false, true] {
            list(Recurrence { shape: shape(HEADS[i % 5], tiled), runs, magnitude: 1.0 });
        }
    }
    for magnitude in [1e-18, 1e12] {
        list(Recurrence { shape: shape([2, 4, 32, 16], true), runs: STEPS[4], magnitude });
    }
    cases
}

/// `gate_heads` with every reduction, with and without the norm.
pub fn gate_heads() -> Vec<Listed> {
    let mut cases = Vec::new();
    for &reduce in Reduce::ALL {
        for normed in [false, true] {
            let mut list = |case: HeadGating| cases.push(Listed::new(gate_kernel::kernel(reduce), move || case.case()));
            let plain = HeadGating { reduce, rows: 3, heads: [4, 128], normed, magnitude: 1.0 };
            let shapes = [(1, [1, 1]), (1, [16, 256]), (7, [3, 33]), (2, [5, 300])];
            shapes.into_iter().for_each(|(rows, heads)| list(HeadGating { rows, heads, ..plain }));
            [1e15, 1e-15].into_iter().for_each(|magnitude| list(HeadGating { magnitude, ..plain }));
        }
    }
    cases
}

/// `drop_gates`.
pub fn drop_gates() -> Vec<Listed> {
    let shapes = [(1, [1, 2], 0), (3, [4, 16], 64), (5, [3, 7], 5), (2, [16, 256], 1024)];
    let list = |(rows, heads, others)| Listed::new(drop_kernel::kernel(), move || GateDropping { rows, heads, others }.case());
    shapes.into_iter().map(list).collect()
}
