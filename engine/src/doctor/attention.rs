//! Cases of the kernels around the KV cache: attention, and in `rope` rotary embedding with KV write.

use parhelion_shaders::{attention_decode, attention_merge, attention_prefill, axes::Kv, shared::Row};

use super::{Bound, Case, Operand, Rng};
use crate::ops::{
    attention::AttentionShape,
    kv::{Half, KvLayout, PAGE, tile_words},
};

mod rope;

pub use rope::Norms;

/// A step over random data: heads, KV format, and what the sequences have.
#[derive(Debug, Clone)]
pub struct AttentionSetup {
    /// Heads.
    pub shape: AttentionShape,
    /// Format of the cache.
    pub format: Kv,
    /// For each sequence its entries at the end of the step, and how many of the last are rows of the step.
    pub sequences: Vec<(u32, u32)>,
    /// First entry that rows attend to.
    pub begin: u32,
    /// Whether rows attend to the whole of their sequence, as in encoders, rather than to what is before them.
    pub whole: bool,
    /// Largest magnitude of values.
    pub magnitude: f32,
    /// Makes the data.
    pub seed: u64,
}

/// What kernels bind.
struct Step {
    rows: Vec<Row>,
    pages: Vec<u32>,
    pages_per_sequence: u32,
    stride: u32,
    qkv: Vec<f32>,
    keys: Vec<u32>,
    values: Vec<u32>,
    /// The heads of keys and values as they were stored: by sequence, entry and head.
    stored: Vec<[Vec<f32>; 2]>,
}

/// Queries are up to this large and keys up to 1, so that scaled scores have a standard deviation of about 1, as in models.
const QUERY: f32 = 3.0;

impl AttentionSetup {
    /// One sequence that ends with `rows` rows, causal and without a window.
    pub fn new(format: Kv, [q_heads, kv_heads, head_dim]: [u32; 3], entries: u32, rows: u32) -> Self {
        Self {
            shape: AttentionShape::new(q_heads, kv_heads, head_dim),
            format,
            sequences: vec![(entries, rows)],
            begin: 0,
            whole: false,
            magnitude: 1.0,
            seed: 1,
        }
    }

    fn label(&self) -> String {
        let Self { shape, sequences, begin, magnitude, .. } = self;
        let AttentionShape { q_heads, kv_heads, head_dim, window, both_sides, softcap, sinks, .. } = shape;
        let sinks = if sinks.is_some() { ", sinks" } else { "" };
        let whole = if self.whole { ", all of it seen" } else { "" };
        format!(
            "{q_heads}:{kv_heads} heads of {head_dim}, sequences (entries, rows) {sequences:?} from {begin}{whole}, window {window:?}, of \
             both sides {both_sides}, cap {softcap:?}{sinks}, values to {magnitude:e}"
        )
    }

    /// The longest span of entries of a row.
    fn longest(&self) -> u32 {
        let longest = self.sequences.iter().map(|(entries, _)| *entries).max().unwrap_or(0);
        self.shape.most_seen().map_or(longest, |seen| longest.min(seen))
    }

    /// Pages in random order; those that no sequence owns, and entries past a sequence's end, hold NaN.
    fn step(&self) -> Step {
        let AttentionShape { kv_heads, head_dim, .. } = self.shape;
        let mut rng = Rng::new(self.seed);
        let owned: u32 = self.sequences.iter().map(|(entries, _)| entries.div_ceil(PAGE)).sum();
        let pages_per_sequence = self.sequences.iter().map(|(entries, _)| entries.div_ceil(PAGE)).max().unwrap_or(0) + 1;
        let mut free: Vec<u32> = (0..owned).collect();
        let mut pages = vec![owned; self.sequences.len() * pages_per_sequence as usize];
        for (sequence, (entries, _)) in self.sequences.iter().enumerate() {
            for logical in 0..entries.div_ceil(PAGE) as usize {
                let chosen = rng.below(free.len() as u32) as usize;
                pages[sequence * pages_per_sequence as usize + logical] = free.swap_remove(chosen);
            }
        }
        let poison = match self.format {
            Kv::F16 => 0x7e00_7e00,
            // of 8 bits it is the scales
            Kv::F32 | Kv::Q8_0 => 0x7fc0_0000,
        };
        let words = (owned + 1) as usize * kv_heads as usize * tile_words(self.format, head_dim) as usize;
        let rows = self.rows();
        let (cols, stride) = (self.shape.qkv_cols() as u32, self.shape.qkv_cols().next_multiple_of(4) as u32);
        let mut qkv = vec![f32::NAN; rows.len() * stride as usize];
        for row in qkv.chunks_exact_mut(stride as usize) {
            row[..cols as usize].fill_with(|| rng.float(QUERY));
        }
        Step { rows, pages, pages_per_sequence, stride, qkv, keys: vec![poison; words], values: vec![poison; words], stored: Vec::new() }
    }

    fn rows(&self) -> Vec<Row> {
        let row = |sequence: usize, slot: u32, entries: u32| Row {
            token: 0,
            sequence: sequence as u32,
            slot,
            begin: self.begin.min(slot),
            end: if self.whole { entries } else { slot + 1 },
            position: [slot, slot + 1, slot + 2],
        };
        let sequences = self.sequences.iter().enumerate();
        sequences.flat_map(|(i, &(entries, rows))| (entries - rows..entries).map(move |slot| row(i, slot, entries))).collect()
    }

    /// The step with every entry of every sequence in the cache.
    fn filled(&self) -> Step {
        let mut step = self.step();
        let mut rng = Rng::new(self.seed.wrapping_add(1));
        let (heads, dim) = (self.shape.kv_heads as usize, self.shape.head_dim as usize);
        let layout = KvLayout {
            format: self.format,
            pairs: dim / 2,
            heads,
            pages: &step.pages,
            pages_per_sequence: step.pages_per_sequence as usize,
        };
        for (sequence, &(entries, _)) in self.sequences.iter().enumerate() {
            for (entry, head) in (0..entries).flat_map(|entry| (0..heads).map(move |head| (entry, head))) {
                let tile = layout.tile(sequence as u32, entry, head);
                let (key, value) = (rng.floats(dim, 1.0), rng.floats(dim, self.magnitude));
                layout.store(&mut step.keys, Half::Keys, tile, (entry % PAGE) as usize, &key);
                layout.store(&mut step.values, Half::Values, tile, (entry % PAGE) as usize, &value);
                step.stored.push([key, value]);
            }
        }
        step
    }

    /// Splits that a row needs at the most.
    fn splits(&self) -> u32 {
        self.shape.splits(self.sequences.iter().map(|(entries, _)| *entries).max().unwrap_or(1))
    }

    /// A score for the sink of each query head, where they have one.
    fn sinks(&self) -> Option<Vec<f32>> {
        let mut rng = Rng::new(self.seed.wrapping_add(4));
        self.shape.sinks.map(|_| rng.floats(self.shape.q_heads as usize, 2.0))
    }

    /// The error of scores and, relatively, of their exponentials: that of a product and of the tangent times the cap.
    fn score_error(&self) -> f32 {
        1e-5 + self.shape.softcap.map_or(0.0, |cap| 1e-6 * cap)
    }

    /// `attention_decode`.
    pub fn decode(&self) -> Case {
        let AttentionShape { q_heads, kv_heads, .. } = self.shape;
        let (window, ahead) = self.shape.window_params();
        let (step, splits, pairs, group) = (self.filled(), self.splits(), self.shape.pairs(), self.shape.group());
        let ((chunks, _), (scale, cap)) = (self.shape.query_chunks(), self.shape.score_scale());
        let part = 2 * (pairs as usize + 1);
        let parts = step.rows.len() * (q_heads * splits) as usize * part;
        let (error, most) = (self.score_error(), self.shape.split() as f32 * self.magnitude);
        let bound = Bound::each(move |index, expected| match index % part {
            m if m == part - 2 => error,
            l if l == part - 1 => error * expected,
            _ => error * most,
        });
        Case {
            label: self.label(),
            reason: "scores are sums of head_dim products up to 3, right to a few 1e-6, and exp2 to about as much: 1e-5 of the largest \
                     score and of sums of up to 128 or 256 weights up to 1; a cap multiplies the error of tanh",
            call: attention_decode::call(
                self.format,
                self.shape.decode_constants(),
                attention_decode::Params {
                    stride: step.stride,
                    q_heads,
                    kv_heads,
                    group,
                    splits,
                    pages_per_sequence: step.pages_per_sequence,
                    window,
                    ahead,
                    scale,
                    cap,
                },
                attention_decode::Bindings {
                    rows: Operand::new(&step.rows),
                    pages: Operand::new(&step.pages),
                    qkv: Operand::new(&step.qkv),
                    k_cache: Operand::new(&step.keys),
                    v_cache: Operand::new(&step.values),
                    parts: Operand::output(1, parts, parts, bound),
                },
                [kv_heads * chunks, splits, step.rows.len() as u32],
            ),
        }
    }

    /// `attention_merge` of random parts.
    pub fn merge(&self) -> Case {
        let q_heads = self.shape.q_heads;
        let (window, ahead) = self.shape.window_params();
        let (step, splits, pairs) = (self.step(), self.splits(), self.shape.pairs());
        let mut rng = Rng::new(self.seed.wrapping_add(2));
        let mut parts = Vec::new();
        for _ in 0..step.rows.len() * (q_heads * splits) as usize {
            let total = 65.0 + rng.float(63.0);
            parts.extend(rng.floats(2 * pairs as usize, self.magnitude * total));
            parts.extend([rng.float(10.0), total]);
        }
        let stride = self.output_stride();
        Case {
            label: self.label(),
            reason: "a quotient of sums over splits: 1e-5 of the largest value is a hundred roundings",
            call: attention_merge::call(
                self.shape.sinks_axis(),
                self.shape.merge_constants(),
                attention_merge::Params { stride, q_heads, splits, pages_per_sequence: step.pages_per_sequence, window, ahead },
                attention_merge::Bindings {
                    rows: Operand::new(&step.rows),
                    parts: Operand::new(&parts),
                    y: self.output(step.rows.len(), Bound::absolute(1e-5 * self.magnitude)),
                    sinks: self.sinks().map(|sinks| Operand::new(&sinks)),
                },
                [q_heads, 1, step.rows.len() as u32],
            ),
        }
    }

    /// `attention_prefill`.
    pub fn prefill(&self) -> Case {
        let AttentionShape { q_heads, kv_heads, .. } = self.shape;
        let (window, ahead) = self.shape.window_params();
        let step = self.filled();
        let (constants, (scale, cap)) = (self.shape.prefill_constants(), self.shape.score_scale());
        let rows = step.rows.len() as u32;
        let error = self.magnitude * (self.score_error() + 3e-7 * (self.longest() as f32).sqrt());
        Case {
            label: self.label(),
            reason: "a mean of values under weights that are right to a few 1e-6, summed with one rounding an entry",
            call: attention_prefill::call(
                self.format,
                self.shape.sinks_axis(),
                constants,
                attention_prefill::Params {
                    rows,
                    stride: step.stride,
                    y_stride: self.output_stride(),
                    kv_heads,
                    group: self.shape.group(),
                    pages_per_sequence: step.pages_per_sequence,
                    window,
                    ahead,
                    scale,
                    cap,
                },
                attention_prefill::Bindings {
                    rows: Operand::new(&step.rows),
                    pages: Operand::new(&step.pages),
                    qkv: Operand::new(&step.qkv),
                    k_cache: Operand::new(&step.keys),
                    v_cache: Operand::new(&step.values),
                    y: self.output(step.rows.len(), Bound::absolute(error)),
                    sinks: self.sinks().map(|sinks| Operand::new(&sinks)),
                },
                [q_heads, rows.div_ceil(constants.tile), 1],
            ),
        }
    }

    fn output_stride(&self) -> u32 {
        (self.shape.q_heads * self.shape.head_dim).next_multiple_of(4)
    }

    fn output(&self, rows: usize, bound: Bound) -> Operand {
        Operand::output(rows, (self.shape.q_heads * self.shape.head_dim) as usize, self.output_stride() as usize, bound)
    }
}

#[cfg(test)]
#[path = "attention_tests.rs"]
mod tests;
