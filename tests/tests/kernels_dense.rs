//! The dense kernels against their twins: every weight format, reduction and tile over many shapes.

use parhelion::doctor::{conformance::dense, dense::Product};
use parhelion_shaders::axes::{Tile, Weight};
use parhelion_tests::harness::{check_listed, configurations};

macro_rules! for_each_format {
    ($($name:ident: $format:ident),*) => { $(
        mod $name {
            use super::*;

            #[test]
            fn matvec() {
                check_listed(|device| dense::matvec(device, Weight::$format));
            }

            #[test]
            fn matmul() {
                check_listed(|_| dense::matmul(Weight::$format));
            }

            #[test]
            fn embed() {
                check_listed(|_| dense::embed(Weight::$format));
            }
        }
    )* };
}

for_each_format!(f32_weights: F32, f16_weights: F16, bf16_weights: Bf16, q8_0_weights: Q8_0, q4_0_weights: Q4_0, q4_1_weights: Q4_1);

#[test]
fn rms_norm() {
    check_listed(|_| dense::rms_norm());
}

#[test]
fn swiglu() {
    check_listed(|_| dense::swiglu());
}

#[test]
fn gather_rows() {
    check_listed(|_| dense::gather_rows());
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
