//! RoPE with KV write: rotates queries in place and keys into the cache, and stores values. Heads may be normalised before.

use std::ops::Range;

use parhelion_shaders::{axes::Heads, rope_kv as kernel, shared::Row};

use super::{
    Operator, TwinArgs,
    attention::AttentionShape,
    kv::{self, Half, KvLayout},
    rope_table::{Pairing, RopeTable},
    twin,
};
use crate::{
    graph::{Graph, TableId, ValueId, WeightId},
    recorder::Recorder,
    shape::Shape,
};

/// Positions that a row of the table's second part stands for.
const LOW_ROWS: u32 = 256;

/// What becomes of projected heads before they are attended with and to.
#[derive(Debug, Clone, Copy, Default)]
pub struct HeadSetup<'a> {
    /// RMSNorm of each head by itself; none: heads stay as they are projected.
    pub norm: Option<HeadNorm>,
    /// The rotary embedding; none: a layer without one.
    pub rope: Option<&'a RopeTable>,
}

/// RMSNorm of each head by itself, before it is rotated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct HeadNorm {
    /// Name of the weight of query heads: `head_dim` elements.
    pub q: &'static str,
    /// Name of the weight of key heads: `head_dim` elements.
    pub k: &'static str,
    /// Added to the mean of squares.
    pub eps: f32,
    /// Whether value heads are normalised too, without a weight.
    pub values: bool,
}

impl HeadNorm {
    /// The norm of queries and keys with the weights `q` and `k`.
    pub fn new(q: &'static str, k: &'static str, eps: f32) -> Self {
        Self { q, k, eps, values: false }
    }
}

impl<'a> From<&'a RopeTable> for HeadSetup<'a> {
    /// Heads that are rotated and no more.
    fn from(table: &'a RopeTable) -> Self {
        Self { norm: None, rope: Some(table) }
    }
}

/// [`HeadNorm`] with its weights declared.
#[derive(Debug)]
struct Norm {
    q: WeightId,
    k: WeightId,
    eps: f32,
    values: bool,
}

#[derive(Debug)]
struct RopeKv {
    shape: AttentionShape,
    layer: u32,
    table: TableId,
    pairs: u32,
    high_rows: u32,
    pairing: Pairing,
    /// Positions whose queries have the same factor; 0 where queries have none.
    period: u32,
    norm: Option<Norm>,
}

impl Graph {
    /// Normalises and rotates the queries of `qkv` (rows of query, key and value heads) in place as `heads` says, and writes keys, treated
    /// likewise, and values to the cache of a new layer, whose number it returns. A [`RopeTable`] alone is a setup too.
    pub fn rope_kv<'a>(&self, qkv: ValueId, shape: &AttentionShape, heads: impl Into<HeadSetup<'a>>) -> u32 {
        let HeadSetup { norm, rope } = heads.into();
        let layer = if shape.both_sides { self.passing_kv_layer(shape.kept()) } else { self.kv_layer(shape.kept()) };
        let none = RopeTable::none();
        let RopeTable { pairs, high_rows, pairing, period, ref bytes } = *rope.unwrap_or(&none);
        let table = self.table("rope", bytes.clone());
        let norm = norm.map(|HeadNorm { q, k, eps, values }| Norm {
            q: self.vector(q, shape.head_dim),
            k: self.vector(k, shape.head_dim),
            eps,
            values,
        });
        self.push_effect(RopeKv { shape: *shape, layer, table, pairs, high_rows, pairing, period, norm }, "", &[qkv]);
        layer
    }
}

impl Operator for RopeKv {
    fn name(&self) -> &'static str {
        "rope_kv"
    }

    fn infer(&self, inputs: &[Shape]) -> Result<Option<Shape>, String> {
        self.shape.check(inputs)?;
        if self.pairs > self.shape.head_dim / 2 {
            return Err(format!("{} rotated elements in heads of {}", 2 * self.pairs, self.shape.head_dim));
        }
        Ok(None)
    }

    fn record(&self, recorder: &mut Recorder<'_>) -> Result<(), String> {
        let AttentionShape { q_heads, kv_heads, .. } = self.shape;
        let (qkv, step, cache) = (recorder.input(0), recorder.step(), recorder.kv(self.layer));
        let norm = self.norm.as_ref();
        recorder.dispatch(kernel::call(
            cache.format,
            if norm.is_some() { Heads::Norm } else { Heads::Plain },
            recorder.reduce(),
            kernel::Constants {
                pairs: self.shape.pairs(),
                wg: self.shape.rope_workgroup(),
                interleaved: self.pairing == Pairing::Interleaved,
                norm_values: norm.is_some_and(|norm| norm.values),
                ..kernel::Constants::default()
            },
            kernel::Params {
                stride: qkv.stride,
                q_heads,
                kv_heads,
                rope_pairs: self.pairs,
                high_rows: self.high_rows,
                pages_per_sequence: step.pages_per_sequence,
                eps: norm.map_or(0.0, |norm| norm.eps),
                period: self.period,
            },
            kernel::Bindings {
                rows: step.rows,
                pages: cache.pages,
                angles: recorder.table(self.table),
                qkv: qkv.slice,
                k_cache: cache.keys,
                v_cache: cache.values,
                q_norm: norm.map(|norm| recorder.vector(norm.q)),
                k_norm: norm.map(|norm| recorder.vector(norm.k)),
            },
            [q_heads + 2 * kv_heads, 1, qkv.rows],
        ));
        Ok(())
    }
}

/// What the twin takes from a call.
struct Call<'a> {
    params: kernel::Params,
    interleaved: bool,
    angles: &'a [[f32; 2]],
    norms: Option<[&'a [f32]; 2]>,
    norm_values: bool,
}

/// The scalar twin of `rope_kv`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let constants = kernel::constants(args.call);
    let params = kernel::params(args.call);
    let kernel::Bindings { rows, pages, angles, qkv, k_cache, v_cache, q_norm, k_norm } =
        kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (rows, qkv) = (twin::view::<Row>(rows)?, twin::view_mut::<f32>(qkv)?);
    let norms = match (q_norm, k_norm) {
        (Some(q), Some(k)) => Some([twin::view(q)?, twin::view(k)?]),
        _ => None,
    };
    let call = Call { params, interleaved: constants.interleaved, angles: twin::view(angles)?, norms, norm_values: constants.norm_values };
    let (pairs, heads) = (constants.pairs as usize, params.kv_heads as usize);
    let format = kv::format_of(args.call.kernel)?;
    let layout = KvLayout { format, pairs, heads, pages, pages_per_sequence: params.pages_per_sequence as usize };
    let (head_dim, q_heads) = (2 * pairs, params.q_heads as usize);
    let head_at = |head: usize| -> Range<usize> { head * head_dim..(head + 1) * head_dim };
    for (row, floats) in rows.iter().zip(qkv.chunks_mut(params.stride as usize)).take(args.call.grid[2] as usize) {
        (0..q_heads).for_each(|head| call.query(&mut floats[head_at(head)], row));
        if row.slot >= layout.capacity() {
            continue;
        }
        let entry = (row.slot % kv::PAGE) as usize;
        for head in 0..heads {
            let tile = layout.tile(row.sequence, row.slot, head);
            let key = call.key(&floats[head_at(q_heads + head)], row);
            layout.store(k_cache, Half::Keys, tile, entry, &key);
            let value = call.value(&floats[head_at(q_heads + heads + head)]);
            layout.store(v_cache, Half::Values, tile, entry, &value);
        }
    }
    Ok(())
}

impl Call<'_> {
    /// A query head as it is attended with, in place.
    fn query(&self, head: &mut [f32], row: &Row) {
        if let Some([weight, _]) = self.norms {
            self.normalise(head, Some(weight));
        }
        self.rotate(head, row);
        let factor = self.temperature(row);
        head.iter_mut().for_each(|x| *x *= factor);
    }

    /// What a row's queries are multiplied by.
    fn temperature(&self, row: &Row) -> f32 {
        let kernel::Params { rope_pairs, high_rows, period, .. } = self.params;
        if period == 0 {
            return 1.0;
        }
        let number = row.position[0].min(high_rows * LOW_ROWS - 1) / period;
        self.angles[((1 + LOW_ROWS + high_rows) * rope_pairs + number) as usize][0]
    }

    /// A key head as it is stored.
    fn key(&self, head: &[f32], row: &Row) -> Vec<f32> {
        let mut key = head.to_vec();
        if let Some([_, weight]) = self.norms {
            self.normalise(&mut key, Some(weight));
        }
        self.rotate(&mut key, row);
        key
    }

    /// A value head as it is stored.
    fn value(&self, head: &[f32]) -> Vec<f32> {
        let mut value = head.to_vec();
        if self.norm_values && self.norms.is_some() {
            self.normalise(&mut value, None);
        }
        value
    }

    /// Divides a head by its root mean square, and multiplies it by the weight.
    fn normalise(&self, head: &mut [f32], weight: Option<&[f32]>) {
        let squares: f64 = head.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
        let scale = (1.0 / (squares / head.len() as f64 + f64::from(self.params.eps)).sqrt()) as f32;
        head.iter_mut().for_each(|x| *x *= scale);
        head.iter_mut().zip(weight.unwrap_or_default()).for_each(|(x, w)| *x *= w);
    }

    /// Rotates a head to a row's position.
    fn rotate(&self, head: &mut [f32], row: &Row) {
        let pairs = self.params.rope_pairs as usize;
        for i in 0..pairs {
            let (a, b) = if self.interleaved { (2 * i, 2 * i + 1) } else { (i, i + pairs) };
            let (cos, sin) = self.rotation(i, row);
            let (x, y) = (head[a], head[b]);
            head[a] = x * cos - y * sin;
            head[b] = y * cos + x * sin;
        }
    }

    /// cos and sin of a pair: those of the position's low part times those of its high part, as complex numbers.
    fn rotation(&self, pair: usize, row: &Row) -> (f32, f32) {
        let pairs = self.params.rope_pairs as usize;
        let axis = (self.angles[pair][0] as usize).min(2);
        let position = row.position[axis];
        let high = (position / LOW_ROWS).min(self.params.high_rows - 1);
        let [a_cos, a_sin] = self.angles[(1 + position % LOW_ROWS) as usize * pairs + pair];
        let [b_cos, b_sin] = self.angles[(1 + LOW_ROWS + high) as usize * pairs + pair];
        (a_cos * b_cos - a_sin * b_sin, a_sin * b_cos + a_cos * b_sin)
    }
}
