//! Frequencies against the formulas that they are published with.

use super::*;

fn close(got: f64, expected: f64) -> bool {
    (got - expected).abs() <= 1e-12 * expected.abs()
}

/// Expected values: the formulas of transformers' modeling_rope_utils.py, evaluated in double precision.
fn check(config: &RopeConfig, expected: &[(usize, f64)]) {
    let got = inverse_frequencies(config, 1).unwrap();
    for &(pair, value) in expected {
        assert!(close(got[pair], value), "pair {pair}: {} for {value}", got[pair]);
    }
}

#[test]
fn llama3_scaling() {
    let scaling = RopeScaling::Llama3 { factor: 8.0, low_freq_factor: 1.0, high_freq_factor: 4.0, original_context: 8192.0 };
    let config = RopeConfig { scaling, ..RopeConfig::new(500_000.0, 128, Pairing::Half) };
    let expected = [
        (0, 1.0),
        (1, 0.814_617_233_856_544_7),
        (20, 0.016_560_440_080_994_446),
        (28, 0.003_211_445_994_752_591),
        (29, 0.002_166_570_763_503_359),
        (32, 0.000_524_846_160_992_954_7),
        (35, 9.556_212_353_964_683e-5),
        (63, 3.068_925_988_914_511e-7),
    ];
    check(&config, &expected);
    assert_eq!(attention_factor(&config.scaling), 1.0);
}

#[test]
fn yarn_scaling() {
    let yarn = |factor, original_context, truncate| RopeScaling::Yarn {
        factor,
        original_context,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate,
        attention_factor: None,
    };
    let config = RopeConfig { scaling: yarn(4.0, 32768.0, true), ..RopeConfig::new(1e6, 128, Pairing::Half) };
    let expected = [
        (10, 0.115_478_198_468_945_82),
        (24, 0.005_375_321_490_790_102),
        (30, 0.001_064_360_981_247_002),
        (36, 0.000_179_841_155_873_954_2),
        (63, 3.102_344_401_879_299e-7),
    ];
    check(&config, &expected);
    assert!(close(attention_factor(&config.scaling), 1.138_629_436_111_989));
    let config = RopeConfig { scaling: yarn(32.0, 4096.0, false), ..RopeConfig::new(150_000.0, 64, Pairing::Half) };
    check(&config, &[(8, 0.050_813_274_815_461_475), (10, 0.019_335_001_126_540_36), (16, 0.000_456_483_919_223_240_86)]);
    assert!(close(attention_factor(&config.scaling), 1.346_573_590_279_972_7));
}

#[test]
fn linear_and_own_factors_divide() {
    let plain = inverse_frequencies(&RopeConfig::new(1e4, 8, Pairing::Half), 1).unwrap();
    assert!(plain.iter().zip([1.0, 0.1, 0.01, 0.001]).all(|(&f, expected)| close(f, expected)), "{plain:?}");
    let with = |scaling| inverse_frequencies(&RopeConfig { scaling, ..RopeConfig::new(1e4, 8, Pairing::Half) }, 1).unwrap();
    let linear = with(RopeScaling::Linear { factor: 4.0 });
    assert!(linear.iter().zip(&plain).all(|(f, p)| close(*f, p / 4.0)), "{linear:?}");
    let own = with(RopeScaling::Factors { factors: vec![1.0, 2.0, 4.0, 0.5], attention_factor: 1.0 });
    assert!(own.iter().zip([1.0, 0.05, 0.0025, 0.002]).all(|(&f, expected)| close(f, expected)), "{own:?}");
}

/// Expected values: the formula of transformers, as above.
const DYNAMIC: [(usize, f64); 3] = [(1, 0.7042693252165533), (16, 0.0036628603951234535), (31, 1.905030617376177e-05)];

#[test]
fn dynamic_scaling_follows_the_planned_context() {
    let scaling = RopeScaling::Dynamic { factor: 2.0, original_context: 4096.0 };
    let config = RopeConfig { scaling, ..RopeConfig::new(1e4, 64, Pairing::Half) };
    let at = |context| inverse_frequencies(&config, context).unwrap();
    let plain = inverse_frequencies(&RopeConfig::new(1e4, 64, Pairing::Half), 1).unwrap();
    assert_eq!((at(100), at(4096)), (plain.clone(), plain));
    let long = at(16384);
    for (pair, value) in DYNAMIC {
        assert!(close(long[pair], value), "pair {pair}: {} for {value}", long[pair]);
    }
}

#[test]
fn longrope_chooses_its_factors_by_the_planned_context() {
    let (short, long) = (vec![1.0, 1.0, 2.0, 4.0], vec![1.0, 2.0, 8.0, 16.0]);
    let scaling = RopeScaling::LongRope { short, long, original_context: 4096.0, attention_factor: 1.19 };
    assert_eq!(attention_factor(&scaling), 1.19);
    let config = RopeConfig { scaling, ..RopeConfig::new(1e4, 8, Pairing::Half) };
    let matches = |context: u32, expected: [f64; 4]| {
        let got = inverse_frequencies(&config, context).unwrap();
        assert!(got.iter().zip(expected).all(|(&f, expected)| close(f, expected)), "{context}: {got:?}");
    };
    matches(4096, [1.0, 0.1, 0.005, 0.000_25]);
    matches(4097, [1.0, 0.05, 0.001_25, 0.000_062_5]);
}

#[test]
fn proportional_pairs_turn_or_stand_still() {
    let scaling = RopeScaling::Proportional { turning: 2, factor: 2.0 };
    let got = inverse_frequencies(&RopeConfig { scaling, ..RopeConfig::new(1e4, 8, Pairing::Half) }, 1).unwrap();
    assert!(got.iter().zip([0.5, 0.05, 0.0, 0.0]).all(|(&f, expected)| close(f, expected)), "{got:?}");
}

#[test]
fn settings_outside_their_formulas_are_refused() {
    let refused = |config: &RopeConfig, field| {
        let error = inverse_frequencies(config, 1).unwrap_err();
        assert_eq!(error.field, field, "{error}");
    };
    let plain = RopeConfig::new(1e4, 8, Pairing::Half);
    refused(&RopeConfig { theta: f64::NAN, ..plain.clone() }, "theta");
    refused(&RopeConfig { dims: 7, ..plain.clone() }, "rotated elements");
    refused(&RopeConfig { axes: vec![0, 1, 2, 3], ..plain.clone() }, "axes");
    refused(&RopeConfig { scaling: RopeScaling::Linear { factor: 0.0 }, ..plain.clone() }, "factor");
    let factors = |factors: &[f32]| RopeScaling::Factors { factors: factors.to_vec(), attention_factor: 1.0 };
    let longrope =
        |long: &[f32]| RopeScaling::LongRope { short: vec![1.0; 4], long: long.to_vec(), original_context: 8.0, attention_factor: 1.0 };
    refused(&RopeConfig { scaling: longrope(&[1.0; 5]), ..plain.clone() }, "number of frequency factors");
    refused(&RopeConfig { scaling: longrope(&[1.0, f32::NAN, 1.0, 1.0]), ..plain.clone() }, "frequency factor");
    let dynamic = RopeScaling::Dynamic { factor: 2.0, original_context: 8.0 };
    refused(&RopeConfig { scaling: dynamic, dims: 2, ..plain.clone() }, "rotated elements");
    refused(&RopeConfig { scaling: RopeScaling::Proportional { turning: 5, factor: 1.0 }, ..plain.clone() }, "turning pairs");
    refused(&RopeConfig { scaling: factors(&[1.0; 3]), ..plain.clone() }, "number of frequency factors");
    refused(&RopeConfig { scaling: factors(&[1.0, 0.0, 1.0, 1.0]), ..plain.clone() }, "frequency factor");
}
