//! Logits processing and sampling: every filter alone and together, over vocabularies of all sizes and logits of all kinds.

use parhelion_shaders::{Kernel, logits_process, sample, shared::Sampler};

use super::Listed;
use crate::{
    doctor::{
        Case, Rng,
        sampling::{GREEDY, SamplingSetup},
    },
    exec::{DeviceInfo, Switches},
};

/// One token, one chunk (256) more or less, a usual one, and a large one that ends inside a chunk and a vec4.
const VOCABS: [u32; 7] = [1, 2, 255, 256, 257, 49152, LARGE];
const LARGE: u32 = 262_145;

fn sampler(seed: u32) -> Sampler {
    Sampler { temperature: 0.8, seed_lo: seed, seed_hi: !seed, step: seed % 7, ..GREEDY }
}

/// Every filter alone and together, at ordinary and extreme settings.
pub fn samplers() -> Vec<Sampler> {
    let settings = [
        GREEDY,
        sampler(1),
        Sampler { top_k: 1, ..sampler(2) },
        Sampler { top_k: 40, ..sampler(3) },
        Sampler { top_k: 1000, ..sampler(4) },
        Sampler { top_p: 0.0, ..sampler(5) },
        Sampler { top_p: 0.9, ..sampler(6) },
        Sampler { min_p: 0.05, ..sampler(7) },
        Sampler { min_p: 1.0, ..sampler(8) },
        Sampler { top_k: 40, top_p: 0.95, min_p: 0.05, ..sampler(9) },
        Sampler { top_k: 300, top_p: 0.5, ..sampler(10) },
        Sampler { temperature: 1e-9, ..sampler(11) },
        Sampler { temperature: 100.0, top_k: 50, ..sampler(12) },
        Sampler { repetition: 1.3, frequency: 0.7, presence: -0.4, ..sampler(13) },
        Sampler { repetition: 1.3, frequency: 0.7, presence: 0.4, ..GREEDY },
    ];
    settings.to_vec()
}

/// A setup that is made when it is run.
type Make = fn(usize) -> SamplingSetup;

fn random_setup(index: usize) -> SamplingSetup {
    let vocab = VOCABS[index];
    // Large vocabularies take their time on software devices: every third sampler has each filter once.
    let samplers = samplers().into_iter().step_by(if vocab == LARGE { 3 } else { 1 }).collect();
    SamplingSetup::random("random logits", vocab, samplers, vocab.into())
}

/// Gives the logit of token `i` from a random one.
type Change = fn(usize, f32) -> f32;

/// NaN and infinities, alone and everywhere; equal logits; zeros of both signs; magnitudes to the edge of f32.
const STRANGE: [(&str, Change); 10] = [
    ("a NaN in three", |i, v| if i.is_multiple_of(3) { f32::NAN } else { v }),
    ("minus infinity but for two", |i, v| if i == 300 || i == 301 { v } else { f32::NEG_INFINITY }),
    ("nothing but NaN", |_, _| f32::NAN),
    ("nothing but minus infinity", |_, _| f32::NEG_INFINITY),
    ("one infinity", |i, v| if i == 513 { f32::INFINITY } else { v }),
    ("all equal", |_, _| 1.5),
    ("zeros of both signs", |i, _| if i.is_multiple_of(2) { -0.0 } else { 0.0 }),
    ("two values", |i, _| if i % 5 == 4 { 2.0 } else { 1.0 }),
    ("huge", |_, v| v * 6e37),
    ("tiny", |_, v| v * 1e-38),
];

fn strange_setup(index: usize) -> SamplingSetup {
    let (label, change) = STRANGE[index];
    let logits: Vec<f32> = Rng::new(3).floats(700, 5.0).into_iter().enumerate().map(|(i, v)| change(i, v)).collect();
    SamplingSetup::repeated(label, &logits, samplers())
}

/// All setups where no switch is on; a few elsewhere, since these kernels are the same with every switch.
fn listed(device: &DeviceInfo, kernel: &'static Kernel, case: fn(&SamplingSetup) -> Case) -> Vec<Listed> {
    let step = if device.switches == Switches::default() { 1 } else { 5 };
    let random = (0..VOCABS.len()).map(|i| (random_setup as Make, i, VOCABS[i] == LARGE));
    let strange = (0..STRANGE.len()).map(|i| (strange_setup as Make, i, false));
    let list = |(make, i, large): (Make, usize, bool)| Listed::new(kernel, move || case(&make(i))).large(large);
    random.chain(strange).step_by(step).map(list).collect()
}

/// `logits_process`.
pub fn process(device: &DeviceInfo) -> Vec<Listed> {
    listed(device, logits_process::kernel(), SamplingSetup::process)
}

/// `sample`.
pub fn choose(device: &DeviceInfo) -> Vec<Listed> {
    listed(device, sample::kernel(), SamplingSetup::sample)
}
