//! Logits processing and sampling against their twins, and against what the settings promise.

#![allow(clippy::expect_used, reason = "tests report failures by panicking")]

use std::collections::BTreeSet;

use bytemuck::Pod;
use parhelion::{
    cpu::CpuExecutor,
    doctor::{
        Case, Outcome, Rng,
        conformance::sample::{self, samplers},
        sampling::{GREEDY, SamplingSetup},
    },
    exec::Executor,
    ops::sample::IN_PROMPT,
};
use parhelion_shaders::shared::{Row, Sampled, Sampler};
use parhelion_tests::harness::{Threads, check_listed, configurations};
use pollster::block_on;

#[test]
fn processing() {
    check_listed(sample::process);
}

#[test]
fn choosing() {
    check_listed(sample::choose);
}

/// What the twin and the kernel write. The kernels are the same with every switch, so one configuration will do.
fn outcomes(case: &Case) -> Vec<(String, Outcome)> {
    let mut twins = CpuExecutor::new(Box::new(Threads));
    let device = twins.device().clone();
    let mut outcomes = vec![("twin".to_owned(), block_on(case.run(&mut twins, &device)).expect("the twin runs"))];
    if let Some(configuration) = configurations().first() {
        let mut gpu = configuration.gpu();
        let outcome = configuration.waiter.block_on(case.run(&mut *gpu, &configuration.device)).expect("the kernel runs");
        outcomes.push((configuration.name.clone(), outcome));
    }
    outcomes
}

fn written<T: Pod>(outcome: &Outcome, name: &str) -> Vec<T> {
    bytemuck::cast_slice(outcome.words(name).expect("an output")).to_vec()
}

/// The tokens that the twin and the kernel choose.
fn tokens(setup: &SamplingSetup) -> Vec<(String, Vec<u32>)> {
    let tokens = |outcome: &Outcome| written::<Sampled>(outcome, "sampled").iter().map(|sampled| sampled.token).collect();
    outcomes(&setup.sample()).iter().map(|(name, outcome)| (name.clone(), tokens(outcome))).collect()
}

/// Asserts that `allowed` are exactly the tokens that many draws give.
fn assert_support(setup: &SamplingSetup, allowed: &BTreeSet<u32>) {
    for (name, tokens) in tokens(setup) {
        let seen: BTreeSet<u32> = tokens.into_iter().collect();
        assert_eq!(&seen, allowed, "{}: {name}", setup.label);
    }
}

fn draws(count: u32, options: Sampler) -> Vec<Sampler> {
    (0..count).map(|step| Sampler { seed_lo: 77, seed_hi: 5, step, ..options }).collect()
}

#[test]
fn greedy_takes_the_lowest_of_equals() {
    let mut logits = vec![0.0; 1000];
    for token in [999, 412, 700] {
        logits[token] = 3.0;
    }
    assert_support(&SamplingSetup::repeated("ties", &logits, draws(4, GREEDY)), &BTreeSet::from([412]));
}

#[test]
fn filters_keep_what_they_promise() {
    // Ten tokens of interest among very unlikely ones, hot enough that 300 draws miss none of those kept.
    let mut logits = vec![-3.0; 600];
    let interest = [599, 3, 256, 255, 410, 17, 18, 19, 500, 301];
    for (rank, &token) in interest.iter().enumerate() {
        logits[token as usize] = 2.0 - 0.1 * rank as f32;
    }
    let hot = Sampler { temperature: 3.0, ..GREEDY };
    let kept = |count: usize| interest[..count].iter().copied().collect::<BTreeSet<u32>>();
    let check = |label: &str, options: Sampler, allowed: BTreeSet<u32>| {
        assert_support(&SamplingSetup::repeated(label, &logits, draws(300, options)), &allowed);
    };
    for k in [1, 2, 5, 10] {
        check("top-k", Sampler { top_k: k, ..hot }, kept(k as usize));
    }
    // Shares of the probability at temperature 1, from the definition, each well inside a token's own share.
    let mass: Vec<f64> = logits.iter().map(|&v| f64::from(v).exp()).collect();
    let (total, ten) = (mass.iter().sum::<f64>(), interest.map(|token| mass[token as usize]));
    let upto = |count: usize| ten[..count].iter().sum::<f64>();
    for count in [1, 4, 9] {
        let share = (upto(count) - 0.5 * ten[count - 1]) / total;
        check("top-p", Sampler { top_p: share as f32, ..hot }, kept(count));
        let of_those_left = (upto(count) - 0.5 * ten[count - 1]) / upto(10);
        check("top-p of top-k", Sampler { top_k: 10, top_p: of_those_left as f32, ..hot }, kept(count));
        let relative = (-0.1 * (count as f32 - 0.5)).exp();
        check("min-p", Sampler { min_p: relative, ..hot }, kept(count));
    }
    check("min-p after the others", Sampler { top_k: 9, top_p: 0.99, min_p: (-0.35f32).exp(), ..hot }, kept(4));
}

#[test]
fn ties_at_a_cut_go_to_the_lowest_tokens() {
    let logits = vec![1.0; 400];
    let hot = Sampler { temperature: 1.0, ..GREEDY };
    let first = |count: u32| (0..count).collect::<BTreeSet<u32>>();
    let draws = |options| draws(600, options);
    assert_support(&SamplingSetup::repeated("top-k of equals", &logits, draws(Sampler { top_k: 37, ..hot })), &first(37));
    // 0.0499 of 400 equal tokens is the mass of 19.96 of them: 20 are kept.
    assert_support(&SamplingSetup::repeated("top-p of equals", &logits, draws(Sampler { top_p: 0.0499, ..hot })), &first(20));
}

/// Draws from 20 tokens many times and compares the counts with the softmax at that temperature: with 19 degrees of freedom
/// chi-square passes 43.8 once in a thousand fair runs, and the seeds are fixed.
#[test]
fn draws_follow_the_distribution() {
    const DRAWS: u32 = 4096;
    let mut rng = Rng::new(11);
    let logits = rng.floats(20, 2.0);
    for (temperature, seed) in [(0.7, 1), (1.0, 2), (1.5, 3)] {
        let options = Sampler { temperature, seed_lo: seed, ..GREEDY };
        let samplers = (0..DRAWS).map(|step| Sampler { step, ..options }).collect();
        let weights: Vec<f64> = logits.iter().map(|&v| f64::from(v / temperature).exp()).collect();
        let total: f64 = weights.iter().sum();
        for (name, tokens) in tokens(&SamplingSetup::repeated("distribution", &logits, samplers)) {
            let mut counts = [0u32; 20];
            tokens.iter().for_each(|&token| counts[token as usize] += 1);
            let expected = weights.iter().map(|w| w / total * f64::from(DRAWS));
            let chi_square: f64 = counts.iter().zip(expected).map(|(&n, e)| (f64::from(n) - e).powi(2) / e).sum();
            assert!(chi_square < 43.8, "{name}, temperature {temperature}: chi-square {chi_square}, counts {counts:?}");
        }
    }
}

#[test]
fn penalties_follow_their_formulas() {
    let options = Sampler { repetition: 2.0, frequency: 0.5, presence: 0.25, ..GREEDY };
    let mut setup = SamplingSetup::repeated("penalties", &[3.0, -3.0, 3.0, -3.0, 3.0], vec![options]);
    setup.counts = vec![0, IN_PROMPT, IN_PROMPT, 2, IN_PROMPT + 3];
    for (name, outcome) in outcomes(&setup.process()) {
        // After one summary of four numbers. Unseen; in the prompt; the same; generated twice; in the prompt and generated thrice.
        let processed: Vec<f32> = written(&outcome, "processed");
        assert_eq!(processed[4..9], [3.0, -6.0, 1.5, -6.0 - 1.25, 1.5 - 1.75], "{name}");
    }
}

#[test]
fn log_probabilities_are_those_of_the_raw_logits() {
    let setup = SamplingSetup::random("log-probabilities", 5000, samplers(), 9);
    for (name, outcome) in outcomes(&setup.sample()) {
        for (sampled, logits) in written::<Sampled>(&outcome, "sampled").iter().zip(setup.logits.chunks_exact(5000)) {
            let total: f64 = logits.iter().map(|&v| f64::from(v).exp()).sum();
            let expected = f64::from(logits[sampled.token as usize]) - total.ln();
            assert!((f64::from(sampled.logprob) - expected).abs() < 2e-5, "{name}: {sampled:?}, expected {expected}");
        }
    }
}

#[test]
fn the_sequence_is_made_ready_for_its_next_step() {
    let setup = SamplingSetup::random("state", 300, samplers(), 10);
    let outputs = setup.samplers.len();
    for (name, outcome) in outcomes(&setup.sample()) {
        let counts: Vec<u32> = written(&outcome, "counts");
        let rows: Vec<Row> = written(&outcome, "rows");
        let samplers: Vec<Sampler> = written(&outcome, "samplers");
        for (output, sampled) in written::<Sampled>(&outcome, "sampled").iter().enumerate() {
            let (row, slot) = (rows[output], 7 * output as u32 + 1);
            assert_eq!((row.token, row.slot, row.end, row.position), (sampled.token, slot, slot + 1, [1; 3]), "{name}");
            assert_eq!(samplers[output].step, setup.samplers[output].step + 1, "{name}");
            let mut expected = setup.counts[output * 300..][..300].to_vec();
            expected[sampled.token as usize] += 1;
            assert_eq!(counts[(outputs - 1 - output) * 300..][..300], expected, "{name}");
        }
    }
}
