//! Cases of the kernels that choose tokens.

use bytemuck::Zeroable;
use parhelion_shaders::{
    grid, logits_process, sample,
    shared::{Row, Sampler},
};

use super::{Bound, Case, Operand, Rng};
use crate::ops::sample::{CHUNK, IN_PROMPT, process, processed_bytes};

/// Logits, and how a token is to be chosen for each of their rows.
#[derive(Debug, Clone)]
pub struct SamplingSetup {
    /// What distinguishes the case.
    pub label: String,
    /// Tokens.
    pub vocab: u32,
    /// One an output.
    pub samplers: Vec<Sampler>,
    /// `[outputs, vocab rounded up to a multiple of 4]`.
    pub logits: Vec<f32>,
    /// `[outputs, vocab]`: the counts of each output's sequence.
    pub counts: Vec<u32>,
}

/// A sampler that takes the most likely token.
pub const GREEDY: Sampler = Sampler {
    temperature: 0.0,
    top_k: 0,
    top_p: 1.0,
    min_p: 0.0,
    repetition: 1.0,
    frequency: 0.0,
    presence: 0.0,
    seed_lo: 0,
    seed_hi: 0,
    step: 0,
    _pad0: 0,
    _pad1: 0,
};

impl SamplingSetup {
    /// Random logits up to 10; a tenth of the tokens is in the prompt, another tenth was generated.
    pub fn random(label: &str, vocab: u32, samplers: Vec<Sampler>, seed: u64) -> Self {
        let mut rng = Rng::new(seed);
        let logits = rng.floats(samplers.len() * stride(vocab) as usize, 10.0);
        let mut count = || match rng.below(20) {
            0 | 1 => IN_PROMPT,
            2 => IN_PROMPT + 1 + rng.below(3),
            3 => 1 + rng.below(3),
            _ => 0,
        };
        let counts = (0..samplers.len() * vocab as usize).map(|_| count()).collect();
        Self { label: label.to_owned(), vocab, samplers, logits, counts }
    }

    /// The same logits for every output, and nothing in any prompt.
    pub fn repeated(label: &str, logits: &[f32], samplers: Vec<Sampler>) -> Self {
        let (vocab, outputs) = (logits.len() as u32, samplers.len());
        let mut padded = logits.to_vec();
        padded.resize(stride(vocab) as usize, f32::NAN);
        Self { label: label.to_owned(), vocab, samplers, logits: padded.repeat(outputs), counts: vec![0; outputs * logits.len()] }
    }

    fn outputs(&self) -> u32 {
        self.samplers.len() as u32
    }

    fn chunks(&self) -> u32 {
        self.vocab.div_ceil(CHUNK)
    }

    /// The last row of each output's sequence. Sequences are numbered against the order of the outputs.
    fn rows(&self) -> Vec<Row> {
        let outputs = self.outputs();
        let row = |output: u32| Row { sequence: outputs - 1 - output, slot: 7 * output, end: 7 * output + 1, ..Row::zeroed() };
        (0..outputs).map(row).collect()
    }

    /// Counts in the order of the sequences.
    fn counts(&self) -> Vec<u32> {
        self.counts.chunks_exact(self.vocab as usize).rev().flatten().copied().collect()
    }

    fn process_params(&self) -> logits_process::Params {
        let (vocab, outputs) = (self.vocab, self.outputs());
        logits_process::Params { vocab, stride_fours: stride(vocab) / 4, chunks: self.chunks(), outputs }
    }

    fn processed_len(&self) -> usize {
        processed_bytes(self.vocab, self.outputs()) as usize / 4
    }

    /// `logits_process`.
    pub fn process(&self) -> Case {
        let len = self.processed_len();
        let [x, y] = grid(self.chunks());
        Case {
            label: format!("{}, {} tokens, {} outputs", self.label, self.vocab, self.outputs()),
            reason: "exponentials up to 1 are right to a few 1e-7 each and summed 256 at a time; penalties take a division and a product",
            call: logits_process::call(
                logits_process::Constants::default(),
                self.process_params(),
                logits_process::Bindings {
                    logits: Operand::new(&self.logits),
                    rows: Operand::new(&self.rows()),
                    samplers: Operand::new(&self.samplers),
                    counts: Operand::new(&self.counts()),
                    processed: Operand::output(1, len, len, Bound::Within { absolute: 1e-6, relative: 1e-5 }),
                },
                [x, y, self.outputs()],
            ),
        }
    }

    /// `sample`, of logits that the twin processed.
    pub fn sample(&self) -> Case {
        let (rows, counts) = (self.rows(), self.counts());
        let mut processed = vec![0.0; self.processed_len()];
        process(&self.process_params(), &self.logits, &rows, &self.samplers, &counts, &mut processed);
        let params = sample::Params { vocab: self.vocab, stride: stride(self.vocab), chunks: self.chunks(), outputs: self.outputs() };
        Case {
            label: format!("{}, {} tokens, {} outputs", self.label, self.vocab, self.outputs()),
            reason: "tokens are equal; a log-probability is a difference of numbers up to 20 and the logarithm of a sum that is right to 1e-5",
            call: sample::call(
                sample::Constants::default(),
                params,
                sample::Bindings {
                    logits: Operand::new(&self.logits),
                    processed: Operand::new(&processed),
                    samplers: Operand::new(&self.samplers),
                    counts: Operand::new(&counts),
                    rows: Operand::new(&rows),
                    sampled: Operand::output_words(2 * self.samplers.len()).judged(sampled_word),
                },
                [1, 1, self.outputs()],
            ),
        }
    }
}

/// Tokens from one row of logits to the next.
fn stride(vocab: u32) -> u32 {
    vocab.next_multiple_of(4)
}

/// A word of `Sampled`: the token, then its log-probability.
fn sampled_word(index: usize, expected: u32, got: u32) -> (f32, f32) {
    if expected == got {
        return (0.0, 0.0);
    }
    let error = (f32::from_bits(expected) - f32::from_bits(got)).abs();
    if index.is_multiple_of(2) || error.is_nan() { (f32::INFINITY, 0.0) } else { (error, 2e-5) }
}
