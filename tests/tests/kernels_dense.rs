//! The dense kernels against their twins: every weight format, reduction and tile over many shapes.

use parhelion::{
    doctor::{
        Case,
        dense::{Embedding, Gate, Gathering, Normalisation, Product, Scales},
    },
    exec::DeviceInfo,
};
use parhelion_shaders::axes::{Delta, Reduce, Tile, Weight};
use parhelion_tests::harness::{check, configurations};

/// Rows of x, rows and columns of the matrix: one of each, whole blocks and tiles, and none of them whole.
const FEW: [[u32; 3]; 8] = [[1, 1, 1], [1, 1, 32], [1, 5, 33], [2, 7, 31], [1, 130, 576], [4, 33, 100], [1, 3, 4096], [3, 65, 2080]];
const MANY: [[u32; 3]; 7] = [[5, 1, 1], [5, 3, 31], [33, 65, 33], [64, 64, 64], [100, 130, 576], [6, 70, 2080], [1, 33, 96]];

/// More workgroups than one dimension of a grid can have.
const BEYOND_A_DIMENSION: u32 = 65_537;

/// Lanes that are a multiple of every subgroup of the device, and rows of weights for them.
fn lane_choices(device: &DeviceInfo) -> [(u32, u32); 4] {
    let least = device.limits.subgroup_max.max(8);
    [(least, 1), (least.max(32), 2), (64, 4), (128, 1)]
}

fn products(shapes: &[[u32; 3]], format: Weight) -> impl Iterator<Item = Product> {
    shapes
        .iter()
        .enumerate()
        .map(move |(i, &[x_rows, rows, cols])| Product { y_offset: [0, 7, 32][i % 3], ..Product::new(format, x_rows, rows, cols) })
}

/// Magnitudes near the ends of f32: nothing on the way may overflow or be lost.
fn extreme(format: Weight, x_rows: u32) -> impl Iterator<Item = Product> {
    [1e30, 1e-30].into_iter().map(move |magnitude| Product { magnitude, ..Product::new(format, x_rows, 37, 200) })
}

fn matvec_cases(device: &DeviceInfo, format: Weight) -> Vec<Case> {
    let mut cases = Vec::new();
    for &reduce in Reduce::ALL {
        for (i, product) in products(&FEW, format).chain(extreme(format, 2)).enumerate() {
            let (lanes, rows) = lane_choices(device)[i % 4];
            cases.push(product.matvec(reduce, lanes, rows));
        }
        let product = Product::new(format, 1, 70, 320);
        cases.extend(lane_choices(device).map(|(lanes, rows)| product.matvec(reduce, lanes, rows)));
        cases.push(Product::new(format, 1, BEYOND_A_DIMENSION, 32).matvec(reduce, 128, 1));
    }
    cases
}

fn matmul_cases(format: Weight) -> Vec<Case> {
    let mut cases = Vec::new();
    for &tile in Tile::ALL {
        for product in products(&MANY, format).chain(extreme(format, 9)) {
            cases.extend([32, 64].map(|size| product.matmul(tile, size)));
        }
        cases.push(Product::new(format, 5, BEYOND_A_DIMENSION, 32).matmul(tile, 64));
        cases.push(Product::new(format, BEYOND_A_DIMENSION, 5, 32).matmul(tile, 32));
        cases.push(Product::new(format, 16, 4, 70).matmul(tile, 4));
    }
    cases
}

macro_rules! for_each_format {
    ($($name:ident: $format:ident),*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn matvec() {
                check(|device| matvec_cases(device, Weight::$format));
            }

            #[test]
            fn matmul() {
                check(|_| matmul_cases(Weight::$format));
            }

            #[test]
            fn embed() {
                check(|_| embed_cases(Weight::$format));
            }
        }
    )* };
}

for_each_format!(f32_weights: F32, f16_weights: F16, bf16_weights: Bf16, q8_0_weights: Q8_0, q4_0_weights: Q4_0, q4_1_weights: Q4_1);

fn embed_cases(format: Weight) -> Vec<Case> {
    let shapes = [(1, 1, 1), (5, 33, 8), (50, 576, 17), (40, 31, 100), (3, 96, BEYOND_A_DIMENSION)];
    let first_tokens = [0, 1000, u32::MAX - 60];
    let mut cases = Vec::new();
    for scales in [Scales::Moderate, Scales::Any] {
        for (i, (tokens, cols, rows)) in shapes.into_iter().enumerate() {
            cases.push(Embedding { format, first_token: first_tokens[i % 3], tokens, cols, rows, scales }.case());
        }
    }
    cases
}

#[test]
fn rms_norm() {
    check(|_| {
        let mut cases = Vec::new();
        for &reduce in Reduce::ALL {
            for &delta in Delta::ALL {
                let shapes = [(1, 1), (3, 3), (2, 511), (5, 576), (2, 4097), (BEYOND_A_DIMENSION, 9)];
                let plain = Normalisation { delta, reduce, rows: 4, cols: 130, magnitude: 1.0 };
                cases.extend(shapes.map(|(rows, cols)| Normalisation { rows, cols, ..plain }.case()));
                // Up to where the sum of squares is still a number, and down to where only eps is left.
                cases.extend([1e17, 100.0, 1e-4, 1e-22].map(|magnitude| Normalisation { magnitude, ..plain }.case()));
            }
        }
        cases
    });
}

#[test]
fn swiglu() {
    check(|_| {
        let shapes = [(1, 1), (3, 2), (7, 33), (2, 1536), (BEYOND_A_DIMENSION, 129)];
        let mut cases: Vec<Case> = shapes.map(|(rows, cols)| Gate { rows, cols, magnitude: 8.0 }.case()).into();
        // Where the exponential leaves f32, at either end.
        cases.extend([1e-20, 200.0, 1e15].map(|magnitude| Gate { rows: 4, cols: 100, magnitude }.case()));
        cases
    });
}

#[test]
fn gather_rows() {
    check(|_| {
        let shapes = [(1, 1, 1), (9, 4, 33), (100, 7, 576), (70_000, BEYOND_A_DIMENSION, 5)];
        shapes.map(|(rows, count, cols)| Gathering { rows, count, cols }.case())
    });
}

/// What `linear` relies on when it chooses a tile for speed alone.
#[test]
fn the_size_of_tiles_does_not_change_results() {
    for configuration in configurations() {
        for &format in Weight::ALL {
            let product = Product::new(format, 70, 90, 300);
            let outcomes = [32, 64].map(|size| {
                let case = product.matmul(Tile::F32, size);
                configuration.waiter.block_on(case.run(&mut *configuration.gpu(), &configuration.device)).unwrap()
            });
            assert_eq!(outcomes[0], outcomes[1], "{}: {}", configuration.name, format.name());
        }
    }
}
