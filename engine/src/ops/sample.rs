//! Sampling: `logits_process` applies penalties and sums up the vocabulary by chunks, `sample` chooses a token for each output
//! and advances its sequence.

use parhelion_shaders::{
    logits_process, sample,
    shared::{Row, Sampled, Sampler},
};

use super::{Operator, TwinArgs, twin};
use crate::{
    graph::{Graph, ValueId},
    recorder::Recorder,
    shape::{Bounds, Rows, Shape},
};

/// Tokens of a chunk.
pub const CHUNK: u32 = 256;
/// Vocabularies are smaller than this: the kernels count tokens in f32 in places.
const MAX_VOCAB: u32 = 1 << 24;
/// Logit of a token that must not be chosen; as in `shared/sampler.wgsl`.
const EXCLUDED: f32 = -3.4e38;
/// Finite logits are clamped to this magnitude; as in `shared/sampler.wgsl`.
const LIMIT: f32 = 1.7e38;
/// Bit of a count that says that the token is in the prompt.
pub const IN_PROMPT: u32 = 1 << 31;

#[derive(Debug)]
struct Sample {
    vocab: u32,
}

impl Graph {
    /// Chooses a token for each row of `logits`, `[Outputs, vocab]`, and makes the rows of the next step.
    pub fn sample(&self, logits: ValueId) {
        let vocab = self.cols(logits);
        self.push_sampling(Sample { vocab }, "", &[logits]);
    }
}

/// Bytes of the summaries and processed logits of `outputs` rows.
pub(crate) fn processed_bytes(vocab: u32, outputs: u32) -> u64 {
    let chunks = u64::from(vocab.div_ceil(CHUNK));
    16 * u64::from(outputs) * chunks * (1 + u64::from(CHUNK / 4))
}

impl Operator for Sample {
    fn name(&self) -> &'static str {
        "sample"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        match inputs {
            [Shape { rows: Rows::Outputs, cols }] if (1..MAX_VOCAB).contains(cols) => Ok(None),
            [other] => Err(format!("the input is {other} where [outputs, 1 to {} tokens] is needed", MAX_VOCAB - 1)),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    fn scratch_bytes(&self, bounds: &Bounds) -> u64 {
        processed_bytes(self.vocab, bounds.outputs.max(1))
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let (logits, step) = (recorder.input(0), recorder.step());
        let (vocab, outputs, chunks) = (self.vocab, logits.rows, self.vocab.div_ceil(CHUNK));
        let processed = recorder.scratch()?.head(processed_bytes(vocab, outputs));
        let [x, y] = parhelion_shaders::grid(chunks);
        recorder.dispatch(logits_process::call(
            logits_process::Constants::default(),
            logits_process::Params { vocab, stride_fours: logits.stride / 4, chunks, outputs },
            logits_process::Bindings {
                logits: logits.slice,
                rows: step.next_rows,
                samplers: step.samplers,
                counts: step.counts,
                processed,
            },
            [x, y, outputs],
        ));
        recorder.dispatch_each(
            chunks.into(),
            sample::call(
                sample::Constants::default(),
                sample::Params { vocab, stride: logits.stride, chunks, outputs },
                sample::Bindings {
                    logits: logits.slice,
                    processed,
                    samplers: step.samplers,
                    counts: step.counts,
                    rows: step.next_rows,
                    sampled: step.sampled,
                },
                [1, 1, outputs],
            ),
        );
        Ok(())
    }
}

/// A logit without NaN and infinities.
fn sane_logit(logit: f32) -> f32 {
    if logit.is_nan() || logit == f32::NEG_INFINITY { EXCLUDED } else { logit.clamp(-LIMIT, LIMIT) }
}

fn penalised(raw: f32, count: u32, options: &Sampler) -> f32 {
    let generated = count & !IN_PROMPT;
    let mut value = raw;
    if count != 0 {
        value = if value > 0.0 { value / options.repetition } else { value * options.repetition };
    }
    if generated > 0 {
        value -= generated as f32 * options.frequency + options.presence;
    }
    // Minus zero becomes zero.
    if raw == EXCLUDED { EXCLUDED } else { sane_logit(value) + 0.0 }
}

/// The scalar twin of `logits_process`.
pub(super) fn process_twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let logits_process::Bindings { logits, rows, samplers, counts, processed } =
        logits_process::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (logits, rows, samplers) = (twin::view(logits)?, twin::view(rows)?, twin::view(samplers)?);
    process(&logits_process::params(args.call), logits, rows, samplers, counts, twin::view_mut(processed)?);
    Ok(())
}

/// Writes the summaries and processed logits of all outputs.
pub(crate) fn process(
    params: &logits_process::Params,
    logits: &[f32],
    rows: &[Row],
    samplers: &[Sampler],
    counts: &[u32],
    processed: &mut [f32],
) {
    let &logits_process::Params { vocab, stride_fours, chunks, outputs } = params;
    let (summaries, values) = processed.split_at_mut(4 * (outputs * chunks) as usize);
    let (vocab, chunk, padded) = (vocab as usize, CHUNK as usize, (chunks * CHUNK) as usize);
    for output in 0..outputs as usize {
        let logits = &logits[output * 4 * stride_fours as usize..][..vocab];
        let counts = &counts[rows[output].sequence as usize * vocab..][..vocab];
        let values = &mut values[output * padded..][..padded];
        values[vocab..].fill(EXCLUDED);
        for ((value, &logit), &count) in values.iter_mut().zip(logits).zip(counts) {
            *value = penalised(sane_logit(logit), count, &samplers[output]);
        }
        let summaries = summaries[4 * output * chunks as usize..].chunks_exact_mut(4);
        for (i, (summary, values)) in summaries.zip(values.chunks_exact(chunk)).enumerate() {
            let raw = || logits[i * chunk..].iter().take(chunk).map(|&logit| sane_logit(logit));
            let raw_max = raw().fold(EXCLUDED, f32::max);
            let raw_sum: f32 = raw().filter(|&v| v != EXCLUDED).map(|v| (v - raw_max).exp()).sum();
            let best = values.iter().copied().fold(EXCLUDED, f32::max);
            let token = i * chunk + values.iter().position(|&v| v == best).unwrap_or(0);
            summary.copy_from_slice(&[raw_max, raw_sum, best, token as f32]);
        }
    }
}

/// The scalar twin of `sample`.
pub(super) fn sample_twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let sample::Params { vocab, stride, chunks, outputs } = sample::params(args.call);
    let sample::Bindings { logits, processed, samplers, counts, rows, sampled } =
        sample::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (logits, processed) = (twin::view::<f32>(logits)?, twin::view::<f32>(processed)?);
    let (samplers, rows) = (twin::view_mut::<Sampler>(samplers)?, twin::view_mut::<Row>(rows)?);
    let sampled = twin::view_mut::<Sampled>(sampled)?;
    let (summaries, values) = processed.split_at(4 * (outputs * chunks) as usize);
    for output in 0..outputs as usize {
        let summaries = || summaries[4 * output * chunks as usize..].chunks_exact(4).take(chunks as usize);
        let raw_max = summaries().map(|s| s[0]).fold(EXCLUDED, f32::max);
        let log_total = raw_max + summaries().map(|s| s[1] * relative(s[0], raw_max)).sum::<f32>().ln();
        let values = &values[output * (chunks * CHUNK) as usize..][..vocab as usize];
        let token = choose(values, &samplers[output]);
        let raw = sane_logit(logits[output * stride as usize + token]);
        sampled[output] = Sampled { token: token as u32, logprob: (raw - log_total).clamp(EXCLUDED, 0.0) };
        samplers[output].step = samplers[output].step.wrapping_add(1);
        let row = &mut rows[output];
        let count = &mut counts[(row.sequence * vocab) as usize + token];
        *count = count.wrapping_add(1);
        row.token = token as u32;
        row.slot += 1;
        row.end += 1;
        row.position.iter_mut().for_each(|axis| *axis += 1);
    }
    Ok(())
}

/// Probability of a logit relative to that of `best`.
fn relative(value: f32, best: f32) -> f32 {
    (value - best).max(-200.0).exp()
}

/// The token that a sampler takes of processed logits: the filters cut a list that is sorted from the most likely token down.
fn choose(values: &[f32], options: &Sampler) -> usize {
    let best_token = (0..values.len()).fold(0, |best, token| if values[token] > values[best] { token } else { best });
    let best = values[best_token];
    if options.temperature <= 0.0 {
        return best_token;
    }
    let by_count = options.top_k > 0 && (options.top_k as usize) < values.len();
    let mut tokens: Vec<usize> = (0..values.len()).collect();
    if by_count || options.top_p < 1.0 {
        tokens.sort_unstable_by(|&a, &b| values[b].total_cmp(&values[a]).then(a.cmp(&b)));
    }
    if by_count {
        tokens.truncate(options.top_k as usize);
    }
    if options.top_p < 1.0 {
        tokens.truncate(likeliest(&tokens, values, best, options.top_p));
    }
    let floor = if options.min_p > 0.0 { best + options.min_p.max(1e-30).ln() } else { EXCLUDED };
    let allowed = tokens.into_iter().filter(|&token| values[token] >= floor && values[token] != EXCLUDED);
    let temperature = options.temperature.max(1e-6);
    let scored = allowed.map(|token| {
        let bits = hash4([token as u32, options.step, options.seed_lo, options.seed_hi])[3];
        (token, (values[token] - best).max(-1e30) / temperature + gumbel(bits))
    });
    let better = |a: (usize, f32), b: (usize, f32)| if b.1 > a.1 || b.1 == a.1 && b.0 < a.0 { b } else { a };
    scored.reduce(better).map_or(best_token, |(token, _)| token)
}

/// How many of the sorted `tokens` it takes to reach a share of their probability, which is counted in units of 2^-31.
fn likeliest(tokens: &[usize], values: &[f32], best: f32, share: f32) -> usize {
    let unit = (1u32 << 31) as f32 / tokens.iter().map(|&token| relative(values[token], best)).sum::<f32>();
    let mass = |&token: &usize| (relative(values[token], best) * unit) as u32;
    let total: u32 = tokens.iter().map(mass).fold(0, u32::wrapping_add);
    let goal = ((share * total as f32).ceil() as u32).clamp(1, total.max(1));
    let mut sum = 0u32;
    let reached = tokens.iter().position(|token| {
        sum = sum.saturating_add(mass(token));
        sum >= goal
    });
    reached.map_or(tokens.len(), |last| last + 1)
}

/// pcg4d; as in `shared/random.wgsl`.
fn hash4(counters: [u32; 4]) -> [u32; 4] {
    let mut v = counters.map(|c| c.wrapping_mul(1_664_525).wrapping_add(1_013_904_223));
    let mix = |v: &mut [u32; 4]| {
        for (to, a, b) in [(0, 1, 3), (1, 2, 0), (2, 0, 1), (3, 1, 2)] {
            v[to] = v[to].wrapping_add(v[a].wrapping_mul(v[b]));
        }
    };
    mix(&mut v);
    v = v.map(|c| c ^ (c >> 16));
    mix(&mut v);
    v
}

/// A sample of the standard Gumbel distribution; as in `shared/random.wgsl`.
fn gumbel(bits: u32) -> f32 {
    let u = ((bits as f32 + 0.5) * 2.0f32.powi(-32)).min(1.0 - f32::EPSILON / 2.0);
    let exponential = if u < 0.004 { u * (1.0 + u * (0.5 + u / 3.0)) } else { -(1.0 - u).ln() };
    -exponential.ln()
}
