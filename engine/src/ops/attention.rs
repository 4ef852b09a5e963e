//! Attention of the rows of a step over the KV cache of their sequences. Few rows go through `attention_decode`, which splits
//! the cache among workgroups, and `attention_merge`; many rows through `attention_prefill`, which takes them in tiles.

use std::f64::consts::LOG2_E;

use parhelion_shaders::{attention_decode as decode, attention_merge as merge, attention_prefill as prefill, axes::Sinks};

use super::{Operator, kv::PAGE};
use crate::{
    graph::{Graph, KvDecl, ValueId, WeightId},
    recorder::Recorder,
    recording::BufferSlice,
    shape::{Bounds, Head, Rows, Shape, StepShape},
};

/// What attention there is in a layer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AttentionShape {
    /// Query heads, a multiple of `kv_heads`.
    pub q_heads: u32,
    /// Key and value heads.
    pub kv_heads: u32,
    /// Elements of a head: even, at most [`MAX_HEAD_DIM`].
    pub head_dim: u32,
    /// Entries that a row sees, its own the last of them; none: all before it.
    pub window: Option<u32>,
    /// Rows see what follows them as far as what they follow: a window goes as far ahead of a row as behind it. What is past the
    /// end that the step gives a row stays out of sight.
    pub both_sides: bool,
    /// Multiplies the scores; none: 1 / sqrt(head_dim).
    pub scale: Option<f32>,
    /// Keeps scores under this: `cap * tanh(score / cap)`; none: they stay as they are.
    pub softcap: Option<f32>,
    /// Name of the weight that has one more score for each query head, without a value: attention sinks.
    pub sinks: Option<&'static str>,
}

/// The largest head that the kernels have room for in workgroup memory at WebGPU's floor limits.
pub const MAX_HEAD_DIM: u32 = 512;
/// Heads of more elements have larger workgroups, and fewer queries in each.
const LARGE_HEAD: u32 = 256;
/// Steps with more rows of one sequence than this go through `attention_prefill`.
pub(crate) const DECODE_ROWS: u32 = 8;
/// Bytes of `attention_decode`'s partial results: a step that would need more goes through `attention_prefill`.
const MAX_PARTS_BYTES: u64 = 64 << 20;

impl AttentionShape {
    /// Attention to all entries before a row, with plain scores.
    pub const fn new(q_heads: u32, kv_heads: u32, head_dim: u32) -> Self {
        Self { q_heads, kv_heads, head_dim, window: None, both_sides: false, scale: None, softcap: None, sinks: None }
    }

    /// Columns of a row of query, key and value heads.
    pub fn qkv_cols(&self) -> u64 {
        (u64::from(self.q_heads) + 2 * u64::from(self.kv_heads)) * u64::from(self.head_dim)
    }

    /// Checks the shape and that the only input holds rows of query, key and value heads.
    pub(super) fn check(&self, inputs: &[Shape]) -> Result<(), String> {
        let Self { q_heads, kv_heads, head_dim, window, softcap, .. } = *self;
        if kv_heads == 0 || q_heads == 0 || q_heads % kv_heads != 0 {
            return Err(format!("{q_heads} query heads are no multiple of {kv_heads} KV heads"));
        }
        if head_dim == 0 || head_dim % 2 != 0 || head_dim > MAX_HEAD_DIM {
            return Err(format!("heads of {head_dim} elements: an even number up to {MAX_HEAD_DIM} is supported"));
        }
        if window == Some(0) {
            return Err("a window of 0 entries".into());
        }
        if let Some(cap) = softcap.filter(|cap| !(cap.is_finite() && *cap > 0.0)) {
            return Err(format!("scores with a cap of {cap}: it must be over 0"));
        }
        match inputs {
            [Shape { rows: Rows::Step, cols }] if u64::from(*cols) == self.qkv_cols() => Ok(()),
            [other] => Err(format!("the input is {other} where [rows, {}] is needed", self.qkv_cols())),
            _ => Err(format!("{} inputs where one is needed", inputs.len())),
        }
    }

    /// What a layer's cache holds: where rows see both sides, all that the step holds.
    pub(crate) fn kept(&self) -> KvDecl {
        KvDecl { heads: self.kv_heads, head_dim: self.head_dim, window: self.window.filter(|_| !self.both_sides) }
    }

    /// Half of head_dim.
    pub(crate) fn pairs(&self) -> u32 {
        self.head_dim / 2
    }

    /// Query heads of one KV head.
    pub(crate) fn group(&self) -> u32 {
        self.q_heads / self.kv_heads
    }

    /// Invocations of a workgroup of `attention_decode`, and KV entries of a split.
    pub(crate) fn split(&self) -> u32 {
        if self.head_dim > LARGE_HEAD { 256 } else { 128 }
    }

    /// Workgroups of `attention_decode` that share a KV head's queries, and the queries of each.
    pub(crate) fn query_chunks(&self) -> (u32, u32) {
        let most = if self.head_dim > LARGE_HEAD { 4 } else { 8 };
        let chunks = self.group().div_ceil(most);
        (chunks, self.group().div_ceil(chunks))
    }

    /// Invocations of a workgroup of `rope_kv`: one a pair, and a power of two.
    pub(crate) fn rope_workgroup(&self) -> u32 {
        self.pairs().next_power_of_two().max(32)
    }

    /// What kernels are told of the window: its entries up to a row's own (0: all), and those past it.
    pub(crate) fn window_params(&self) -> (u32, u32) {
        let window = self.window.unwrap_or(0);
        // no context is so long, and sums with it fit
        const MOST: u32 = 1 << 30;
        (window, if self.both_sides { window.saturating_sub(1).min(MOST) } else { 0 })
    }

    /// The most entries that a row sees where a window bounds them.
    pub(crate) fn most_seen(&self) -> Option<u32> {
        let (window, ahead) = self.window_params();
        self.window.map(|_| window.saturating_add(ahead))
    }

    /// Splits that a row can need when no row attends to entries at or past `kv_len`.
    pub(crate) fn splits(&self, kv_len: u32) -> u32 {
        let whole = kv_len.max(1).div_ceil(self.split());
        // A window that begins inside a split touches one more.
        self.most_seen().map_or(whole, |seen| whole.min(seen.div_ceil(self.split()).saturating_add(1)))
    }

    /// Bytes of the partial results of `rows` rows.
    fn parts_bytes(&self, rows: u32, kv_len: u32) -> u64 {
        let parts = u64::from(rows) * u64::from(self.q_heads) * u64::from(self.splits(kv_len));
        parts * u64::from(self.pairs() + 1) * 8
    }

    /// What queries are multiplied by, and the cap of the scores (0: none): scores come out with log2(e) in them, so that kernels can use
    /// powers of 2.
    pub(crate) fn score_scale(&self) -> (f32, f32) {
        let scale = self.scale.map_or_else(|| 1.0 / f64::from(self.head_dim).sqrt(), f64::from);
        match self.softcap {
            None => ((scale * LOG2_E) as f32, 0.0),
            Some(cap) => ((scale / f64::from(cap)) as f32, (f64::from(cap) * LOG2_E) as f32),
        }
    }

    /// Constants of `attention_decode`.
    pub(crate) fn decode_constants(&self) -> decode::Constants {
        decode::Constants { wg: self.split(), pairs: self.pairs(), queries: self.query_chunks().1, softcap: self.softcap.is_some() }
    }

    /// Constants of `attention_merge`.
    pub(crate) fn merge_constants(&self) -> merge::Constants {
        merge::Constants { wg: self.split(), pairs: self.pairs(), split: self.split() }
    }

    /// Constants of `attention_prefill`: tiles by the size of a head, so that they fit in workgroup memory at the floor limits and all
    /// invocations share the sums.
    pub(crate) fn prefill_constants(&self) -> prefill::Constants {
        let (wg, tile, value_fours) = match self.pairs() {
            0..=32 => (2 * PAGE, 16, 1),
            33..=64 => (2 * PAGE, 16, 2),
            65..=128 => (2 * PAGE, 8, 2),
            _ => (4 * PAGE, 4, 1),
        };
        prefill::Constants { wg, pairs: self.pairs(), tile, value_fours, softcap: self.softcap.is_some() }
    }

    /// The axis of kernels that have the sinks.
    pub(crate) fn sinks_axis(&self) -> Sinks {
        if self.sinks.is_some() { Sinks::Heads } else { Sinks::None }
    }
}

#[derive(Debug)]
struct Attention {
    shape: AttentionShape,
    layer: u32,
    kept: Option<KvDecl>,
    sinks: Option<WeightId>,
}

impl Graph {
    /// Attention of each row of `qkv` over the cache of `layer`, which `rope_kv` has written: `[Step, q_heads * head_dim]`.
    pub fn attention(&self, qkv: ValueId, shape: &AttentionShape, layer: u32) -> ValueId {
        let sinks = shape.sinks.map(|name| self.vector(name, shape.q_heads));
        self.push(Attention { shape: *shape, layer, kept: self.kv_decl(layer), sinks }, "", &[qkv])
    }
}

impl Operator for Attention {
    fn name(&self) -> &'static str {
        "attention"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        self.shape.check(inputs)?;
        let AttentionShape { kv_heads, head_dim, window, .. } = self.shape;
        let kept = self.kept.ok_or_else(|| format!("there is no KV cache of layer {}", self.layer))?;
        if kept != self.shape.kept() {
            return Err(format!("{kv_heads} heads of {head_dim} with a window of {window:?} over a cache of {kept:?}"));
        }
        Ok(Some(Shape { rows: Rows::Step, cols: self.shape.q_heads * self.shape.head_dim }))
    }

    fn scratch_bytes(&self, bounds: &Bounds) -> u64 {
        let rows = bounds.sequences.min(bounds.outputs).max(DECODE_ROWS).min(bounds.rows);
        self.shape.parts_bytes(rows, bounds.context).clamp(8, MAX_PARTS_BYTES)
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let scratch = recorder.scratch()?;
        let parts = self.shape.parts_bytes(recorder.shape.rows, recorder.shape.kv_len);
        let fits = parts <= scratch.size && parts <= recorder.limits.max_binding;
        if fits && splits_pay(&recorder.shape) { self.record_decode(recorder, scratch.head(parts)) } else { self.record_prefill(recorder) }
    }
}

/// Whether rows share little of the cache: they are few, or each is of another sequence.
fn splits_pay(step: &StepShape) -> bool {
    step.rows <= DECODE_ROWS || step.head == Head::Sample && step.rows == step.outputs
}

impl Attention {
    fn record_decode(&self, recorder: &mut Recorder<'_>, parts: BufferSlice) -> Result<(), String> {
        let AttentionShape { q_heads, kv_heads, .. } = self.shape;
        let (window, ahead) = self.shape.window_params();
        let (qkv, step, cache, output) = (recorder.input(0), recorder.step(), recorder.kv(self.layer), recorder.output()?);
        let (chunks, _) = self.shape.query_chunks();
        let (scale, cap) = self.shape.score_scale();
        let splits = self.shape.splits(recorder.shape.kv_len);
        recorder.dispatch(decode::call(
            cache.format,
            self.shape.decode_constants(),
            decode::Params {
                stride: qkv.stride,
                q_heads,
                kv_heads,
                group: self.shape.group(),
                splits,
                pages_per_sequence: step.pages_per_sequence,
                window,
                ahead,
                scale,
                cap,
            },
            decode::Bindings { rows: step.rows, pages: cache.pages, qkv: qkv.slice, k_cache: cache.keys, v_cache: cache.values, parts },
            [kv_heads * chunks, splits, qkv.rows],
        ));
        recorder.dispatch_each(
            splits.into(),
            merge::call(
                self.shape.sinks_axis(),
                self.shape.merge_constants(),
                merge::Params { stride: output.stride, q_heads, splits, pages_per_sequence: step.pages_per_sequence, window, ahead },
                merge::Bindings { rows: step.rows, parts, y: output.slice, sinks: self.sinks.map(|sinks| recorder.vector(sinks)) },
                [q_heads, 1, qkv.rows],
            ),
        );
        Ok(())
    }

    fn record_prefill(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let AttentionShape { q_heads, kv_heads, .. } = self.shape;
        let (window, ahead) = self.shape.window_params();
        let (qkv, step, cache, output) = (recorder.input(0), recorder.step(), recorder.kv(self.layer), recorder.output()?);
        let constants = self.shape.prefill_constants();
        let (scale, cap) = self.shape.score_scale();
        let kv_len = recorder.shape.kv_len;
        let entries = self.shape.most_seen().map_or(kv_len, |seen| kv_len.min(seen.saturating_add(qkv.rows)));
        recorder.dispatch_each(
            entries.into(),
            prefill::call(
                cache.format,
                self.shape.sinks_axis(),
                constants,
                prefill::Params {
                    rows: qkv.rows,
                    stride: qkv.stride,
                    y_stride: output.stride,
                    kv_heads,
                    group: self.shape.group(),
                    pages_per_sequence: step.pages_per_sequence,
                    window,
                    ahead,
                    scale,
                    cap,
                },
                prefill::Bindings {
                    rows: step.rows,
                    pages: cache.pages,
                    qkv: qkv.slice,
                    k_cache: cache.keys,
                    v_cache: cache.values,
                    y: output.slice,
                    sinks: self.sinks.map(|sinks| recorder.vector(sinks)),
                },
                [q_heads, qkv.rows.div_ceil(constants.tile), 1],
            ),
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::shape::RowSource;

    const SHAPE: AttentionShape = AttentionShape::new(9, 3, 64);

    fn refusal(shape: AttentionShape, cols: u32) -> String {
        shape.check(&[Shape { rows: Rows::Step, cols }]).unwrap_err()
    }

    #[test]
    fn shapes_that_the_kernels_cannot_run_are_refused() {
        assert_eq!(SHAPE.check(&[Shape { rows: Rows::Step, cols: 960 }]), Ok(()));
        assert!(refusal(SHAPE, 959).contains("[rows, 960]"));
        assert!(refusal(AttentionShape { kv_heads: 2, ..SHAPE }, 960).contains("no multiple"));
        assert!(refusal(AttentionShape { kv_heads: 0, ..SHAPE }, 960).contains("no multiple"));
        assert!(refusal(AttentionShape { head_dim: 63, ..SHAPE }, 945).contains("even number up to 512"));
        assert!(refusal(AttentionShape { head_dim: 514, ..SHAPE }, 7710).contains("even number up to 512"));
        assert!(refusal(AttentionShape { softcap: Some(0.0), ..SHAPE }, 960).contains("cap of 0"));
        assert!(refusal(AttentionShape { softcap: Some(f32::NAN), ..SHAPE }, 960).contains("cap of NaN"));
        assert!(refusal(AttentionShape { window: Some(0), ..SHAPE }, 960).contains("window"));
        let huge = AttentionShape { q_heads: u32::MAX, kv_heads: u32::MAX, ..SHAPE };
        assert!(refusal(huge, 960).contains("is needed"));
    }

    #[test]
    fn splits_cover_what_a_row_can_attend_to() {
        assert_eq!([1, 128, 129, 4097].map(|len| SHAPE.splits(len)), [1, 1, 2, 33]);
        let windowed = AttentionShape { window: Some(130), ..SHAPE };
        // Entries 127..257 touch three splits.
        assert_eq!([1, 129, 257, 100_000].map(|len| windowed.splits(len)), [1, 2, 3, 3]);
    }

    #[test]
    fn queries_of_a_kv_head_are_shared_out_evenly() {
        let chunks = |q_heads| AttentionShape { q_heads, kv_heads: 1, ..SHAPE }.query_chunks();
        assert_eq!([1, 3, 8, 9, 32].map(chunks), [(1, 1), (1, 3), (1, 8), (2, 5), (4, 8)]);
        let large = |q_heads| AttentionShape::new(q_heads, 1, 512).query_chunks();
        assert_eq!([1, 4, 8, 9].map(large), [(1, 1), (1, 4), (2, 4), (3, 3)]);
    }

    #[test]
    fn splits_pay_for_few_rows_or_many_sequences() {
        let step = |rows, outputs, head| StepShape { rows, outputs, kv_len: 512, head, source: RowSource::Host };
        assert!(splits_pay(&step(8, 1, Head::Logits)));
        assert!(!splits_pay(&step(9, 9, Head::Logits)));
        assert!(!splits_pay(&step(512, 1, Head::Sample)));
        assert!(splits_pay(&step(64, 64, Head::Sample)));
    }
}
