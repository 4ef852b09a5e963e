//! The scalar twins around the KV cache against plain formulas in f64.

use std::future::Future;

use parhelion_shaders::axes::Reduce;

use super::{rope::EPS, *};
use crate::{
    cpu::CpuExecutor,
    doctor::Outcome,
    exec::{Executor, Serial},
    ops::rope_table::{Pairing, RopeConfig, RopeTable, inverse_frequencies},
};

fn run(case: &Case) -> Outcome {
    let mut executor = CpuExecutor::new(Box::new(Serial));
    let device = executor.device().clone();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::pin!(case.run(&mut executor, &device)).poll(&mut context) {
        std::task::Poll::Ready(outcome) => outcome.unwrap(),
        std::task::Poll::Pending => panic!("the CPU executor computes at once"),
    }
}

fn floats(outcome: &Outcome, name: &str) -> Vec<f32> {
    bytemuck::cast_slice(outcome.words(name).unwrap()).to_vec()
}

/// Softmax attention of every row and query head, from the stored heads.
fn expected(setup: &AttentionSetup) -> Vec<Vec<f64>> {
    let AttentionShape { q_heads, kv_heads, head_dim, window, both_sides, softcap, .. } = setup.shape;
    let (step, dim, sinks) = (setup.filled(), head_dim as usize, setup.sinks());
    let capped = |score: f64| softcap.map_or(score, |cap| f64::from(cap) * (score / f64::from(cap)).tanh());
    let before = |sequence: u32| setup.sequences[..sequence as usize].iter().map(|(entries, _)| entries).sum::<u32>();
    let mut all = Vec::new();
    for (row, qkv) in step.rows.iter().zip(step.qkv.chunks_exact(step.stride as usize)) {
        let own = row.slot + 1;
        let first = row.begin.max(own.saturating_sub(window.unwrap_or(u32::MAX)));
        let last = window.filter(|_| both_sides).map_or(row.end, |window| row.end.min(own + window - 1));
        for (head, query) in qkv.chunks_exact(dim).take(q_heads as usize).enumerate() {
            let kv_head = head / (q_heads / kv_heads) as usize;
            let stored = |entry: u32| &step.stored[(before(row.sequence) + entry) as usize * kv_heads as usize + kv_head];
            let dot = |key: &[f32]| query.iter().zip(key).map(|(&q, &k)| f64::from(q) * f64::from(k)).sum::<f64>();
            let score = |entry: u32| capped(dot(&stored(entry)[0]) / f64::from(head_dim).sqrt());
            let weights: Vec<f64> = (first..last).map(|entry| score(entry).exp()).collect();
            let sink = sinks.as_ref().map_or(0.0, |sinks| f64::from(sinks[head]).exp());
            let total = sink + weights.iter().sum::<f64>();
            let mut output = vec![0.0; dim];
            for (entry, weight) in (first..last).zip(&weights) {
                let share = weight / total;
                output.iter_mut().zip(&stored(entry)[1]).for_each(|(sum, &v)| *sum += share * f64::from(v));
            }
            all.push(output);
        }
    }
    all
}

fn assert_close(got: &[f32], setup: &AttentionSetup) {
    let dim = setup.shape.head_dim as usize;
    let tolerance = match setup.format {
        Kv::F16 => 2e-3, // keys are right to 2^-12 of their largest, and a score sums head_dim of their errors
        Kv::F32 => 1e-5,
        Kv::Q8_0 => 3e-2, // keys are right to 1 / 254 of their largest
    };
    let rows = got.chunks_exact(setup.output_stride() as usize).flat_map(|row| row.chunks_exact(dim).take(setup.shape.q_heads as usize));
    let expected = expected(setup);
    assert_eq!(rows.clone().count(), expected.len());
    for (i, (got, expected)) in rows.zip(expected).enumerate() {
        for (&got, expected) in got.iter().zip(expected) {
            let error = (f64::from(got) - expected).abs();
            assert!(error <= tolerance * f64::from(setup.magnitude), "{}: head {i}: {got} for {expected}", setup.label());
        }
    }
}

fn setups() -> Vec<AttentionSetup> {
    let mut setups = Vec::new();
    for format in [Kv::F16, Kv::F32, Kv::Q8_0] {
        let base = AttentionSetup { sequences: vec![(70, 3), (1, 1), (300, 2)], ..AttentionSetup::new(format, [6, 2, 10], 1, 1) };
        let windowed = AttentionShape { window: Some(100), ..base.shape };
        setups.push(AttentionSetup { shape: windowed, ..base.clone() });
        setups.push(AttentionSetup { shape: AttentionShape { softcap: Some(0.7), ..base.shape }, ..base.clone() });
        setups.push(AttentionSetup { shape: AttentionShape { sinks: Some("sinks"), ..base.shape }, ..base.clone() });
        setups.push(AttentionSetup { shape: AttentionShape { softcap: Some(2.0), sinks: Some("sinks"), ..windowed }, ..base.clone() });
        setups.push(AttentionSetup { whole: true, ..base.clone() });
        let around = AttentionShape { window: Some(20), both_sides: true, ..base.shape };
        let sequences = vec![(70, 70), (1, 1), (200, 9)];
        setups.push(AttentionSetup { whole: true, shape: around, sequences, ..base.clone() });
        setups.push(AttentionSetup { begin: 65, magnitude: 1e6, ..base.clone() });
        setups.push(base);
    }
    setups
}

#[test]
fn prefill_is_softmax_attention() {
    for setup in setups() {
        assert_close(&floats(&run(&setup.prefill()), "y"), &setup);
    }
}

#[test]
fn decode_and_merge_are_softmax_attention() {
    for setup in setups() {
        let parts = run(&setup.decode());
        let mut merge = setup.merge();
        let slot = merge.call.kernel.bindings.iter().find(|info| info.name == "parts").unwrap().slot;
        merge.call.bindings.retain(|(bound, _)| *bound != slot);
        merge.call.bindings.push((slot, Operand::new(parts.words("parts").unwrap())));
        assert_close(&floats(&run(&merge), "y"), &setup);
    }
}

/// Element `i` of a head after rotation by `position`, from the formula.
fn rotated(head: &[f32], i: usize, position: f64, config: &RopeConfig) -> f64 {
    let (dims, half) = (config.dims as usize, config.dims as usize / 2);
    if i >= dims {
        return f64::from(head[i]);
    }
    let (pair, partner, first) = match config.pairing {
        Pairing::Half => (i % half, (i + half) % dims, i < half),
        Pairing::Interleaved => (i / 2, i ^ 1, i.is_multiple_of(2)),
    };
    let (sin, cos) = (position * inverse_frequencies(config, 400).unwrap()[pair]).sin_cos();
    let (own, other) = (f64::from(head[i]), f64::from(head[partner]));
    if first { own * cos - other * sin } else { own * cos + other * sin }
}

/// A head divided by its root mean square, times a weight.
fn normalised(head: &[f32], weight: Option<&[f32]>) -> Vec<f32> {
    let squares: f64 = head.iter().map(|&x| f64::from(x) * f64::from(x)).sum();
    let root = (squares / head.len() as f64 + f64::from(EPS)).sqrt();
    let weight = |i: usize| weight.map_or(1.0, |weight| f64::from(weight[i]));
    head.iter().enumerate().map(|(i, &x)| (f64::from(x) / root * weight(i)) as f32).collect()
}

/// Compares queries, stored keys and stored values of a case of heads of 16 elements with the formulas.
fn rope_follows_the_formulas(setup: &AttentionSetup, norms: Norms, config: &RopeConfig) {
    let table = RopeTable::new(config, 400).unwrap();
    let (step, outcome) = (setup.rope_step(norms), run(&setup.rope(Reduce::Tree, norms, &table)));
    let (qkv, keys, values) = (floats(&outcome, "qkv"), floats(&outcome, "k_cache"), floats(&outcome, "v_cache"));
    let [q_norm, k_norm] = setup.norm_weights();
    let (stride, dim, pairs) = (step.stride as usize, 16, 8);
    for (i, row) in step.rows.iter().enumerate() {
        let (before, after) = (&step.qkv[i * stride..], &qkv[i * stride..]);
        let page = step.pages[(row.sequence * step.pages_per_sequence + row.slot / 64) as usize] as usize;
        let j = row.slot as usize % 64;
        for (head, projected) in before.chunks_exact(dim).take(8).enumerate() {
            let own = match (head, norms) {
                (..4, Norms::Keys | Norms::Values) => normalised(projected, Some(&q_norm)),
                (4..6, Norms::Keys | Norms::Values) => normalised(projected, Some(&k_norm)),
                (6.., Norms::Values) => normalised(projected, None),
                _ => projected.to_vec(),
            };
            let tile = (page * 2 + head % 2) * 128 * pairs;
            for element in 0..dim {
                let (pair, c) = (element / 2, element % 2);
                let turned = rotated(&own, element, f64::from(row.slot), config);
                let (got, expected) = match head {
                    ..4 => (after[head * dim + element], turned),
                    4..6 => (keys[tile + (c * pairs + pair) * 64 + j], turned),
                    _ => (values[tile + (j * pairs + pair) * 2 + c], f64::from(own[element])),
                };
                let error = (f64::from(got) - expected).abs();
                assert!(error < 3e-6, "{config:?}, {norms:?}, row {i}, head {head}, element {element}: {got} for {expected}");
            }
        }
    }
    let written = keys.iter().filter(|key| !key.is_nan()).count();
    assert_eq!(written, 3 * 2 * dim, "only the rows' own entries are written");
}

#[test]
fn rope_normalises_rotates_and_stores_by_the_formulas() {
    for (norms, magnitude) in [(Norms::None, 1.0), (Norms::Keys, 1.0), (Norms::Keys, 1e-3), (Norms::Values, 1e-3)] {
        let base = AttentionSetup::new(Kv::F32, [4, 2, 16], 1, 1);
        let setup = AttentionSetup { sequences: vec![(300, 2), (65, 1)], magnitude, ..base };
        for pairing in [Pairing::Half, Pairing::Interleaved] {
            rope_follows_the_formulas(&setup, norms, &RopeConfig::new(1e4, 12, pairing));
        }
        rope_follows_the_formulas(&setup, norms, &RopeConfig::new(1e4, 0, Pairing::Half));
    }
}
