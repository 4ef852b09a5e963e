//! Rotary embedding with KV write, and attention: head sizes, groups of queries, lengths around pages and splits, several
//! sequences, windows, both cache formats, large magnitudes.

use std::rc::Rc;

use parhelion_shaders::{
    Kernel, attention_decode, attention_merge, attention_prefill,
    axes::{Kv, Reduce, Sinks},
    rope_kv,
};

use super::Listed;
use crate::{
    doctor::{
        Case,
        attention::{AttentionSetup, Norms},
    },
    exec::{DeviceInfo, Switches},
    ops::{
        attention::AttentionShape,
        rope_table::{Pairing, RopeConfig, RopeTable, Temperature},
    },
};

const FORMATS: [Kv; 3] = [Kv::F16, Kv::F32, Kv::Q8_0];
const HEAD_SIZES: [u32; 6] = [64, 80, 96, 128, 256, 512];
/// Around a page (64), a split (128), and long.
const LENGTHS: [u32; 7] = [1, 63, 64, 65, 128, 129, LONG];
const LONG: u32 = 4097;
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
        setups.extend([2, 66, 254, 258, 510].map(|head_dim| AttentionSetup::new(format, [6, 2, head_dim], 200, rows)));
    }
    setups
}

/// Caps of scores, far under them and far over; sinks; both with a window, and in heads with tiles of their own.
fn scored(base: &AttentionSetup, sequences: &[(u32, u32)]) -> Vec<AttentionSetup> {
    let with = |[q_heads, kv_heads, head_dim]: [u32; 3], softcap, sinks: bool, window| {
        let sinks = sinks.then_some("sinks");
        let shape = AttentionShape { softcap, sinks, window, ..AttentionShape::new(q_heads, kv_heads, head_dim) };
        AttentionSetup { shape, sequences: sequences.to_vec(), ..base.clone() }
    };
    vec![
        with([9, 3, 64], Some(0.5), false, None),
        with([9, 3, 64], Some(50.0), false, Some(100)),
        with([9, 3, 64], None, true, None),
        with([9, 3, 64], None, true, Some(3)),
        with([8, 1, 64], Some(1.0), true, Some(70)),
        with([5, 5, 128], Some(1.0), true, None),
        with([6, 2, 256], Some(1.0), true, None),
        with([9, 1, 512], Some(1.0), true, Some(129)),
    ]
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
        setups.push(AttentionSetup { begin: 130, sequences: many.clone(), ..base.clone() });
        setups.extend(scored(&base, &many));
        setups.push(AttentionSetup { whole: true, sequences: vec![(20, 20), (130, 130), (1, 1), (70, 5)], ..base.clone() });
        // windows on both sides, shorter and longer than what there is
        setups.extend([1, 3, 65, 200].map(|window| AttentionSetup {
            shape: AttentionShape { window: Some(window), both_sides: true, ..base.shape },
            whole: true,
            sequences: vec![(20, 20), (230, 230), (1, 1), (70, 5)],
            ..base.clone()
        }));
        // Values past f16's largest number live through the scale of their entry, and so do tiny ones.
        setups.push(AttentionSetup { magnitude: 1e7, sequences: vec![(200, 4)], ..base.clone() });
        setups.push(AttentionSetup { magnitude: 1e-9, sequences: vec![(200, 4)], ..base });
    }
    setups
}

/// All setups where no switch is on; a few elsewhere, since these kernels are the same with every switch, some with sinks among them.
fn listed(
    device: &DeviceInfo,
    setups: Vec<AttentionSetup>,
    kernel: fn(Kv, Sinks) -> &'static Kernel,
    case: fn(&AttentionSetup) -> Case,
) -> Vec<Listed> {
    let step = if device.switches == Switches::default() { 1 } else { 9 };
    let large = |setup: &AttentionSetup| setup.sequences.iter().any(|(entries, _)| *entries == LONG);
    let list = |setup: AttentionSetup| {
        let large = large(&setup);
        Listed::new(kernel(setup.format, setup.shape.sinks_axis()), move || case(&setup)).large(large)
    };
    let chosen = |(i, setup): &(usize, AttentionSetup)| i % step == 0 || setup.shape.sinks.is_some() && setup.shape.window.is_some();
    setups.into_iter().enumerate().filter(chosen).map(|(_, setup)| list(setup)).collect()
}

/// `attention_decode`.
pub fn decode(device: &DeviceInfo) -> Vec<Listed> {
    listed(device, [shapes(1), mixtures()].concat(), |format, _| attention_decode::kernel(format), AttentionSetup::decode)
}

/// `attention_merge`, which has no cache and so no format.
pub fn merge(device: &DeviceInfo) -> Vec<Listed> {
    listed(device, [shapes(1), mixtures()].concat(), |_, sinks| attention_merge::kernel(sinks), AttentionSetup::merge)
}

/// `attention_prefill`.
pub fn prefill(device: &DeviceInfo) -> Vec<Listed> {
    listed(device, [shapes(19), mixtures()].concat(), attention_prefill::kernel, AttentionSetup::prefill)
}

/// `attention_prefill` where tiles hold rows of several sequences.
pub fn prefill_of_shared_tiles(device: &DeviceInfo) -> Vec<Listed> {
    let base = |format| AttentionSetup::new(format, [4, 2, 64], 1, 1);
    let sequences = [vec![(70, 70), (5, 5), (1, 1), (90, 30)], vec![(1, 1); 40], vec![(200, 200)]];
    let setups = FORMATS.map(|format| sequences.clone().map(|sequences| AttentionSetup { sequences, ..base(format) }));
    listed(device, setups.into_iter().flatten().collect(), attention_prefill::kernel, AttentionSetup::prefill)
}

/// `rope_kv` with both pairings, every reduction, rotations of a part of the head and of none of it, and norms of heads.
pub fn rope() -> Vec<Listed> {
    let mut cases = Vec::new();
    for pairing in [Pairing::Half, Pairing::Interleaved] {
        for (head_dim, rotated) in [(64, 64), (80, 80), (96, 24), (128, 128), (256, 64), (256, 256), (512, 512), (2, 2), (34, 0)] {
            let axes = (0..rotated / 2).map(|pair| (pair % 3) as u8).collect();
            // Up to 4096 the factor becomes 1.42: errors stay under their bounds, which are for numbers up to 3.
            let temperature = (head_dim == 96).then_some(Temperature { beta: 0.1, period: 60 });
            let config = RopeConfig { axes, temperature, ..RopeConfig::new(1e4, rotated, pairing) };
            let Ok(table) = RopeTable::new(&config, 4100) else { continue };
            let table = Rc::new(table);
            for (format, reduce) in FORMATS.into_iter().flat_map(|format| Reduce::ALL.iter().map(move |&reduce| (format, reduce))) {
                cases.extend(rope_of(format, reduce, head_dim, &table));
            }
        }
    }
    cases
}

/// Heads of one size and one table, with every norm.
fn rope_of(format: Kv, reduce: Reduce, head_dim: u32, table: &Rc<RopeTable>) -> Vec<Listed> {
    let list = |norms: Norms, magnitude: f32| {
        let sequences = vec![(1, 1), (300, 3), (64, 2), (LONG, 1)];
        let setup = AttentionSetup { sequences, magnitude, ..AttentionSetup::new(format, [9, 3, head_dim], 1, 1) };
        let table = Rc::clone(table);
        let listed = Listed::new(rope_kv::kernel(format, norms.heads(), reduce), move || setup.rope(reduce, norms, &table));
        listed.large(head_dim >= 256) // tens of megabytes of cache
    };
    // Squares of 1e-3 are as large as what is added to their mean.
    let magnitudes = if reduce == Reduce::Tree { [1.0, 1e-3, 1e7] } else { [1e7, 1.0, 1e-3] };
    Norms::ALL.into_iter().zip(magnitudes).map(|(norms, magnitude)| list(norms, magnitude)).collect()
}
