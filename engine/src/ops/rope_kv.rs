//! RoPE with KV write: rotates queries in place and keys into the cache, and stores values.

use std::ops::Range;

use parhelion_shaders::{rope_kv as kernel, shared::Row};

use super::{
    Operator, TwinArgs,
    attention::AttentionShape,
    kv::{self, Half, KvLayout},
    rope_table::{Pairing, RopeTable},
    twin,
};
use crate::{
    graph::{Graph, TableId, ValueId},
    recorder::Recorder,
    shape::Shape,
};

/// Positions that a row of the table's second part stands for.
const LOW_ROWS: u32 = 256;

#[derive(Debug)]
struct RopeKv {
    shape: AttentionShape,
    layer: u32,
    table: TableId,
    pairs: u32,
    high_rows: u32,
    pairing: Pairing,
}

impl Graph {
    /// Rotates the queries of `qkv` (rows of query, key and value heads) in place, and writes rotated keys and values to the
    /// cache of a new layer, whose number it returns.
    pub fn rope_kv(&self, qkv: ValueId, shape: &AttentionShape, table: &RopeTable) -> u32 {
        let layer = self.kv_layer(shape.kv_heads, shape.head_dim);
        let RopeTable { pairs, high_rows, pairing, ref bytes } = *table;
        let table = self.table("rope", bytes.clone());
        self.push_effect(RopeKv { shape: *shape, layer, table, pairs, high_rows, pairing }, "", &[qkv]);
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
        recorder.dispatch(kernel::call(
            cache.format,
            recorder.reduce(),
            kernel::Constants {
                pairs: self.shape.pairs(),
                wg: self.shape.rope_workgroup(),
                interleaved: self.pairing == Pairing::Interleaved,
                ..kernel::Constants::default()
            },
            kernel::Params {
                stride: qkv.stride,
                q_heads,
                kv_heads,
                rope_pairs: self.pairs,
                high_rows: self.high_rows,
                pages_per_sequence: step.pages_per_sequence,
            },
            kernel::Bindings {
                rows: step.rows,
                pages: step.pages,
                angles: recorder.table(self.table),
                qkv: qkv.slice,
                k_cache: cache.keys,
                v_cache: cache.values,
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
}

/// The scalar twin of `rope_kv`.
pub(super) fn twin(args: &TwinArgs<'_>) -> Result<(), String> {
    let constants = kernel::constants(args.call);
    let params = kernel::params(args.call);
    let kernel::Bindings { rows, pages, angles, qkv, k_cache, v_cache } =
        kernel::Bindings::collect(|slot| args.read(slot), |slot| args.write(slot)).ok_or_else(twin::unbound)?;
    let (rows, qkv) = (twin::view::<Row>(rows)?, twin::view_mut::<f32>(qkv)?);
    let call = Call { params, interleaved: constants.interleaved, angles: twin::view(angles)? };
    let (pairs, heads) = (constants.pairs as usize, params.kv_heads as usize);
    let format = kv::format_of(args.call.kernel)?;
    let layout = KvLayout { format, pairs, heads, pages, pages_per_sequence: params.pages_per_sequence as usize };
    let (head_dim, q_heads) = (2 * pairs, params.q_heads as usize);
    let head_at = |head: usize| -> Range<usize> { head * head_dim..(head + 1) * head_dim };
    for (row, floats) in rows.iter().zip(qkv.chunks_mut(params.stride as usize)).take(args.call.grid[2] as usize) {
        (0..q_heads).for_each(|head| call.rotate(&mut floats[head_at(head)], row));
        if row.slot >= layout.capacity() {
            continue;
        }
        let entry = (row.slot % kv::PAGE) as usize;
        for head in 0..heads {
            let tile = layout.tile(row.sequence, row.slot, head);
            let mut key = floats[head_at(q_heads + head)].to_vec();
            call.rotate(&mut key, row);
            layout.store(k_cache, Half::Keys, tile, entry, &key);
            layout.store(v_cache, Half::Values, tile, entry, &floats[head_at(q_heads + heads + head)]);
        }
    }
    Ok(())
}

impl Call<'_> {
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
