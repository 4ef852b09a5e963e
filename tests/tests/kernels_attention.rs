//! Rotary embedding with KV write, and attention, against their twins: head sizes, groups of queries, lengths around pages and
//! splits, several sequences, windows, both cache formats, large magnitudes.

#![allow(clippy::expect_used, reason = "tests report failures by panicking")]

use parhelion::{
    doctor::{Case, attention::AttentionSetup},
    exec::{DeviceInfo, Switches},
    ops::{
        attention::AttentionShape,
        rope_table::{Pairing, RopeConfig, RopeTable},
    },
};
use parhelion_shaders::axes::{Kv, Reduce};
use parhelion_tests::harness::check;

const FORMATS: [Kv; 2] = [Kv::F16, Kv::F32];
const HEAD_SIZES: [u32; 5] = [64, 80, 96, 128, 256];
/// Around a page (64), a split (128), and long.
const LENGTHS: [u32; 7] = [1, 63, 64, 65, 128, 129, 4097];
/// Query heads and KV heads: groups of 1, 3, 8, 9 (two chunks of 5 and 4), 32 (four chunks of 8).
const HEADS: [[u32; 2]; 6] = [[2, 2], [9, 3], [3, 1], [8, 1], [9, 1], [32, 1]];

/// Every head size with every length, then every grouping of queries, then odd head sizes.
fn shapes(rows: u32) -> Vec<AttentionSetup> {
    let mut setups = Vec::new();
    for format in FORMATS {
        for (i, head_dim) in HEAD_SIZES.into_iter().enumerate() {
            let [q_heads, kv_heads] = HEADS[i % 3];
            setups.extend(LENGTHS.map(|entries| AttentionSetup::new(format, [q_heads, kv_heads, head_dim], entries, rows.min(entries))));
        }
        setups.extend(HEADS.map(|[q_heads, kv_heads]| AttentionSetup::new(format, [q_heads, kv_heads, 64], 150, rows)));
        setups.extend([2, 66, 254].map(|head_dim| AttentionSetup::new(format, [6, 2, head_dim], 200, rows)));
    }
    setups
}

/// Sequences of unequal length, with rows of their own, and windows.
fn mixtures() -> Vec<AttentionSetup> {
    let mut setups = Vec::new();
    for format in FORMATS {
        let base = AttentionSetup::new(format, [9, 3, 64], 1, 1);
        let many = vec![(1, 1), (63, 1), (300, 3), (64, 1), (129, 2)];
        setups.push(AttentionSetup { sequences: many.clone(), ..base.clone() });
        for window in [1, 64, 100, 256] {
            let shape = AttentionShape { window: Some(window), ..base.shape };
            setups.push(AttentionSetup { shape, sequences: many.clone(), ..base.clone() });
            setups.push(AttentionSetup { shape, sequences: vec![(1000, 5)], ..base.clone() });
        }
        setups.push(AttentionSetup { begin: 130, sequences: many, ..base.clone() });
        // Values past f16's largest number live through the scale of their entry, and so do tiny ones.
        setups.push(AttentionSetup { magnitude: 1e7, sequences: vec![(200, 4)], ..base.clone() });
        setups.push(AttentionSetup { magnitude: 1e-9, sequences: vec![(200, 4)], ..base });
    }
    setups
}

/// All setups where no switch is on; a few elsewhere, since these kernels are the same with every switch.
fn chosen(device: &DeviceInfo, setups: &[AttentionSetup], case: fn(&AttentionSetup) -> Case) -> Vec<Case> {
    let step = if device.switches == Switches::default() { 1 } else { 9 };
    setups.iter().step_by(step).map(case).collect()
}

#[test]
fn decode() {
    let setups = [shapes(1), mixtures()].concat();
    check(|device| chosen(device, &setups, AttentionSetup::decode));
}

#[test]
fn merge() {
    let setups = [shapes(1), mixtures()].concat();
    check(|device| chosen(device, &setups, AttentionSetup::merge));
}

#[test]
fn prefill() {
    let setups = [shapes(19), mixtures()].concat();
    check(|device| chosen(device, &setups, AttentionSetup::prefill));
}

#[test]
fn prefill_of_sequences_that_share_tiles() {
    let base = |format| AttentionSetup::new(format, [4, 2, 64], 1, 1);
    let sequences = [vec![(70, 70), (5, 5), (1, 1), (90, 30)], vec![(1, 1); 40], vec![(200, 200)]];
    let setups = FORMATS.map(|format| sequences.clone().map(|sequences| AttentionSetup { sequences, ..base(format) }));
    check(|device| chosen(device, setups.as_flattened(), AttentionSetup::prefill));
}

#[test]
fn rope_and_kv_write() {
    let mut cases = Vec::new();
    for (format, reduce) in FORMATS.iter().flat_map(|&format| [Reduce::Tree, Reduce::Subgroup].map(|reduce| (format, reduce))) {
        for pairing in [Pairing::Half, Pairing::Interleaved] {
            for (head_dim, rotated) in [(64, 64), (80, 80), (96, 24), (128, 128), (256, 64), (256, 256), (2, 2), (34, 0)] {
                let axes = (0..rotated / 2).map(|pair| (pair % 3) as u8).collect();
                let config = RopeConfig { axes, ..RopeConfig::new(1e4, rotated, pairing) };
                let table = RopeTable::new(&config, 4100).expect("a valid embedding");
                let setup = AttentionSetup::new(format, [9, 3, head_dim], 1, 1);
                let sequences = vec![(1, 1), (300, 3), (64, 2), (4097, 1)];
                for magnitude in [1.0, 1e7] {
                    cases.push(AttentionSetup { sequences: sequences.clone(), magnitude, ..setup.clone() }.rope(reduce, &table));
                }
            }
        }
    }
    check(|_: &DeviceInfo| cases.clone());
}
