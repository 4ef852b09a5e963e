//! The dense kernels against their twins: every weight format, reduction and tile over many shapes.

use parhelion::doctor::{conformance::dense, dense::Product};
use parhelion_shaders::axes::{Tile, Weight};
use parhelion_tests::harness::{check_listed, configurations};

macro_rules! for_each_format {
    ($($name:ident: $format:ident),* $(,)?) => {
        $(
            mod $name {
                use super::*;

                #[test]
                fn matvec() {
                    check_listed(|device| dense::matvec(device, Weight::$format));
                }

                #[test]
                fn experts() {
                    check_listed(|device| dense::experts(device, Weight::$format));
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
        )*

        #[test]
        fn no_format_is_left_out() {
            assert_eq!([$(Weight::$format),*].len(), Weight::ALL.len());
        }
    };
}

for_each_format! {
    f32_weights: F32,
    f16_weights: F16,
    bf16_weights: Bf16,
    q8_0_weights: Q8_0,
    q4_0_weights: Q4_0,
    q4_1_weights: Q4_1,
    q5_0_weights: Q5_0,
    q5_1_weights: Q5_1,
    q2_k_weights: Q2K,
    q3_k_weights: Q3K,
    q4_k_weights: Q4K,
    q5_k_weights: Q5K,
    q6_k_weights: Q6K,
    q8_k_weights: Q8K,
    iq4_nl_weights: Iq4Nl,
    iq4_xs_weights: Iq4Xs,
    mxfp4_weights: Mxfp4,
    nvfp4_weights: Nvfp4,
    tq2_0_weights: Tq2_0,
    iq2_xxs_weights: Iq2Xxs,
    iq2_xs_weights: Iq2Xs,
    iq2_s_weights: Iq2S,
    iq3_xxs_weights: Iq3Xxs,
    iq3_s_weights: Iq3S,
    iq1_s_weights: Iq1S,
    iq1_m_weights: Iq1M,
    affine4_g32_weights: Affine4G32,
    affine4_g64_weights: Affine4G64,
    affine4_g128_weights: Affine4G128,
    affine8_g32_weights: Affine8G32,
    affine8_g64_weights: Affine8G64,
    nf4_weights: Nf4,
    f8_e4m3_weights: F8E4m3,
    f8_e5m2_weights: F8E5m2,
}

#[test]
fn route() {
    check_listed(|_| dense::route());
}

#[test]
fn mix_experts() {
    check_listed(|_| dense::mix_experts());
}

#[test]
fn add_embedding() {
    check_listed(|_| dense::add_embedding());
}

#[test]
fn layer_norm() {
    check_listed(|_| dense::layer_norm());
}

#[test]
fn mean_rows() {
    check_listed(|_| dense::mean_rows());
}

#[test]
fn rms_norm() {
    check_listed(|_| dense::rms_norm());
}

#[test]
fn rms_norm_columns() {
    check_listed(|_| dense::rms_norm_columns());
}

#[test]
fn activate() {
    check_listed(|_| dense::activate());
}

#[test]
fn add() {
    check_listed(|_| dense::add());
}

#[test]
fn scale_logits() {
    check_listed(|_| dense::scale_logits());
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
