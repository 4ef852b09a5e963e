//! The scalar twins of the attention kernels: for each row and head a softmax over the entries, page by page.

use std::{f32::consts::LOG2_E, ops::Range};

use parhelion_shaders::{attention_decode as decode, attention_merge as merge, attention_prefill as prefill, shared::Row};

use super::{
    TwinArgs,
    kv::{self, Half, KvLayout, PAGE},
    twin,
};

/// The cache of one KV head, and the row that looks at it.
struct Looked<'a> {
    layout: KvLayout<'a>,
    keys: &'a [u32],
    values: &'a [u32],
    sequence: u32,
    head: usize,
    /// The cap of scores, with log2(e) in it, where they have one.
    cap: Option<f32>,
}

/// The softmax of one query so far: the largest score, and the exponentials relative to it times values.
struct Sum {
    largest: f32,
    total: f32,
    values: Vec<f32>,
}

/// Entries that a row attends to: its own bounds within the page table's and a window's (0: none), which has the row's own entry as
/// its last, and those `ahead` of it.
fn span(row: &Row, capacity: u32, window: u32, ahead: u32) -> Range<u32> {
    let own = row.slot + 1;
    let (behind, seen) = if window > 0 { (own.saturating_sub(window), row.end.min(own.saturating_add(ahead))) } else { (0, row.end) };
    let end = seen.min(capacity);
    row.begin.max(behind).min(end)..end
}

impl Looked<'_> {
    /// Attends to `entries` with each of `queries` (whole heads, already scaled).
    fn attend(&self, queries: &[f32], entries: Range<u32>) -> Vec<Sum> {
        let dim = 2 * self.layout.pairs;
        let empty = || Sum { largest: f32::MIN, total: 0.0, values: vec![0.0; dim] };
        let mut sums: Vec<Sum> = queries.chunks_exact(dim).map(|_| empty()).collect();
        let (mut keys, mut values) = (Vec::new(), Vec::new());
        let mut first = entries.start;
        while first < entries.end {
            let last = entries.end.min((first / PAGE + 1) * PAGE);
            let tile = self.layout.tile(self.sequence, first, self.head);
            let (begin, end) = ((first % PAGE) as usize, (first % PAGE + last - first) as usize);
            self.layout.load(self.keys, Half::Keys, tile, begin, end, &mut keys);
            self.layout.load(self.values, Half::Values, tile, begin, end, &mut values);
            for (query, sum) in queries.chunks_exact(dim).zip(&mut sums) {
                let scores = keys.chunks_exact(dim).map(|key| self.capped(dot(query, key))).collect();
                sum.add(scores, &values);
            }
            first = last;
        }
        sums
    }

    /// The score of a product, kept under the cap.
    fn capped(&self, product: f32) -> f32 {
        self.cap.map_or(product, |cap| cap * product.tanh())
    }
}

impl Sum {
    fn add(&mut self, scores: Vec<f32>, values: &[f32]) {
        self.raise(scores.iter().copied().fold(self.largest, f32::max));
        let dim = self.values.len();
        for (score, value) in scores.iter().zip(values.chunks_exact(dim)) {
            let weight = (score - self.largest).exp2();
            self.total += weight;
            self.values.iter_mut().zip(value).for_each(|(sum, v)| *sum += weight * v);
        }
    }

    /// Adds a score that has no value.
    fn add_sink(&mut self, score: f32) {
        self.raise(self.largest.max(score));
        self.total += (score - self.largest).exp2();
    }

    /// Makes what was added so far relative to a larger score.
    fn raise(&mut self, largest: f32) {
        let factor = (self.largest - largest).exp2();
        self.largest = largest;
        self.total *= factor;
        self.values.iter_mut().for_each(|sum| *sum *= factor);
    }
}

/// The dot product in eight sums, which the compiler turns into vector instructions.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0.0f32; 8];
    let (a_eights, b_eights) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = a_eights.remainder().iter().zip(b_eights.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a_eights.zip(b_eights) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f32>() + rest
}

/// The scalar twin of `attention_decode`.
pub(super) fn decode(args: &TwinArgs<'_>) -> Result<(), String> {
    let constants = decode::constants(args.call);
    let decode::Params { stride, kv_heads, group, splits, pages_per_sequence, window, ahead, scale, cap, .. } = decode::params(args.call);
    let decode::Bindings { rows, pages, qkv, k_cache, v_cache, parts } =
        decode::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (rows, qkv, parts) = (twin::view::<Row>(rows)?, twin::view::<f32>(qkv)?, twin::view_mut::<f32>(parts)?);
    let (pairs, heads, group) = (constants.pairs as usize, kv_heads as usize, group as usize);
    let pages_per_sequence = pages_per_sequence as usize;
    let layout = KvLayout { format: kv::format_of(args.call.kernel)?, pairs, heads, pages, pages_per_sequence };
    let (split, part) = (constants.wg, 2 * (pairs + 1));
    let cap = constants.softcap.then_some(cap);
    let head_parts = splits as usize * part;
    let outputs = parts.chunks_mut(group * head_parts).take(args.call.grid[2] as usize * heads).collect();
    twin::for_each_part(args.parallel, outputs, &|i, output| {
        let (row, head) = (&rows[i / heads], i % heads);
        let span = span(row, layout.capacity(), window, ahead);
        let queries = scaled_queries(qkv, i / heads * stride as usize, head, group, 2 * pairs, scale);
        let looked = Looked { layout, keys: k_cache, values: v_cache, sequence: row.sequence, head, cap };
        for s in 0..splits {
            let base = (span.start / split + s) * split;
            let entries = span.start.max(base)..span.end.min(base.saturating_add(split));
            if base >= span.end {
                break;
            }
            for (query, sum) in looked.attend(&queries, entries).into_iter().enumerate() {
                let to = &mut output[query * head_parts + s as usize * part..][..part];
                to[..2 * pairs].copy_from_slice(&sum.values);
                to[2 * pairs..].copy_from_slice(&[sum.largest, sum.total]);
            }
        }
    });
    Ok(())
}

/// The queries of one KV head in a row, scaled.
fn scaled_queries(qkv: &[f32], row: usize, head: usize, group: usize, dim: usize, scale: f32) -> Vec<f32> {
    qkv[row + head * group * dim..][..group * dim].iter().map(|q| q * scale).collect()
}

/// The scalar twin of `attention_merge`.
pub(super) fn merge(args: &TwinArgs<'_>) -> Result<(), String> {
    let merge::Constants { pairs, split, .. } = merge::constants(args.call);
    let merge::Params { stride, q_heads, splits, pages_per_sequence, window, ahead } = merge::params(args.call);
    let merge::Bindings { rows, parts, y, sinks } =
        merge::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (rows, parts, y) = (twin::view::<Row>(rows)?, twin::view::<f32>(parts)?, twin::view_mut::<f32>(y)?);
    let sinks = sinks.map(twin::view::<f32>).transpose()?;
    let (dim, part) = (2 * pairs as usize, 2 * (pairs as usize + 1));
    for (row, y) in y.chunks_mut(stride as usize).take(args.call.grid[2] as usize).enumerate() {
        let span = span(&rows[row], pages_per_sequence * PAGE, window, ahead);
        let count = if span.is_empty() { 0 } else { (span.end.div_ceil(split) - span.start / split).min(splits) };
        for (head, y) in y.chunks_exact_mut(dim).take(q_heads as usize).enumerate() {
            let base = (row * q_heads as usize + head) * splits as usize * part;
            let parts = || parts[base..].chunks_exact(part).take(count as usize);
            let sink = sinks.map(|sinks| sinks[head] * LOG2_E);
            let largest = parts().map(|part| part[dim]).fold(sink.unwrap_or(f32::MIN), f32::max);
            let total: f32 = parts().map(|part| (part[dim] - largest).exp2() * part[dim + 1]).sum();
            let total = total + sink.map_or(0.0, |sink| (sink - largest).exp2());
            y.fill(0.0);
            for part in parts() {
                let factor = (part[dim] - largest).exp2() / total;
                y.iter_mut().zip(part).for_each(|(y, o)| *y += factor * o);
            }
        }
    }
    Ok(())
}

/// The scalar twin of `attention_prefill`.
pub(super) fn prefill(args: &TwinArgs<'_>) -> Result<(), String> {
    let constants = prefill::constants(args.call);
    let prefill::Params { rows: count, stride, y_stride, kv_heads, group, pages_per_sequence, window, ahead, scale, cap } =
        prefill::params(args.call);
    let prefill::Bindings { rows, pages, qkv, k_cache, v_cache, y, sinks } =
        prefill::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (rows, qkv, y) = (twin::view::<Row>(rows)?, twin::view::<f32>(qkv)?, twin::view_mut::<f32>(y)?);
    let (pairs, heads, group) = (constants.pairs as usize, kv_heads as usize, group as usize);
    let dim = 2 * pairs;
    let cap = constants.softcap.then_some(cap);
    let sinks = sinks.map(twin::view::<f32>).transpose()?;
    let pages_per_sequence = pages_per_sequence as usize;
    let layout = KvLayout { format: kv::format_of(args.call.kernel)?, pairs, heads, pages, pages_per_sequence };
    let row_outputs = y.chunks_mut(y_stride as usize).take(count as usize);
    let outputs = row_outputs.flat_map(|row| row.chunks_exact_mut(group * dim).take(heads)).collect();
    twin::for_each_part(args.parallel, outputs, &|i, output| {
        let (row, head) = (&rows[i / heads], i % heads);
        let queries = scaled_queries(qkv, i / heads * stride as usize, head, group, dim, scale);
        let looked = Looked { layout, keys: k_cache, values: v_cache, sequence: row.sequence, head, cap };
        let sums = looked.attend(&queries, span(row, layout.capacity(), window, ahead));
        for (query, (y, mut sum)) in output.chunks_exact_mut(dim).zip(sums).enumerate() {
            if let Some(sinks) = sinks {
                sum.add_sink(sinks[head * group + query] * LOG2_E);
            }
            let total = if sum.total == 0.0 { 1.0 } else { sum.total };
            y.iter_mut().zip(sum.values).for_each(|(y, v)| *y = v / total);
        }
    });
    Ok(())
}
