//! Cases of rotary embedding with KV write.

use half::f16;
use parhelion_shaders::{
    Call,
    axes::{Heads, Kv, Reduce},
    rope_kv,
};

use super::{
    super::{Bound, Case, Operand, Rng},
    AttentionSetup, QUERY, Step,
};
use crate::ops::{
    attention::AttentionShape,
    kv::{PAGE, tile_words},
    rope_table::{Pairing, RopeTable},
};

/// Which heads are normalised before they are rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// None.
    None,
    /// Queries and keys.
    Keys,
    /// Values too.
    Values,
}

impl Norms {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::None, Self::Keys, Self::Values];

    /// The choice that a call makes.
    pub fn of<B>(call: &Call<B>) -> Self {
        match Heads::of(call.kernel) {
            Some(Heads::Norm) if rope_kv::constants(call).norm_values => Self::Values,
            Some(Heads::Norm) => Self::Keys,
            _ => Self::None,
        }
    }

    /// The kernel's axis.
    pub fn heads(self) -> Heads {
        if self == Self::None { Heads::Plain } else { Heads::Norm }
    }
}

/// Added to the mean of squares.
pub(super) const EPS: f32 = 1e-6;

impl AttentionSetup {
    /// The step of the case: values, and with `norms` queries and keys, up to `magnitude`.
    pub(super) fn rope_step(&self, norms: Norms) -> Step {
        let AttentionShape { q_heads, kv_heads, head_dim, .. } = self.shape;
        let mut step = self.step();
        let first = if norms == Norms::None { (q_heads + kv_heads) * head_dim } else { 0 };
        for row in step.qkv.chunks_exact_mut(step.stride as usize) {
            row[first as usize..].iter_mut().for_each(|value| *value *= self.magnitude / QUERY);
        }
        step
    }

    /// The weights of the norms of queries and keys.
    pub(super) fn norm_weights(&self) -> [Vec<f32>; 2] {
        let mut rng = Rng::new(self.seed.wrapping_add(3));
        [(); 2].map(|()| (0..self.shape.head_dim).map(|_| 1.0 + rng.float(0.7)).collect())
    }

    /// `rope_kv` into an empty cache.
    pub fn rope(&self, reduce: Reduce, norms: Norms, table: &RopeTable) -> Case {
        let AttentionShape { q_heads, kv_heads, .. } = self.shape;
        let step = self.rope_step(norms);
        let weights = (norms != Norms::None).then(|| self.norm_weights().map(|weight| Operand::new(&weight)));
        let [q_norm, k_norm] = weights.map_or([None, None], |weights| weights.map(Some));
        let (cols, stride) = (self.shape.qkv_cols() as usize, step.stride as usize);
        let error = Self::rope_error(norms);
        let call: Call<Operand> = rope_kv::call(
            self.format,
            norms.heads(),
            reduce,
            rope_kv::Constants {
                pairs: self.shape.pairs(),
                wg: self.shape.rope_workgroup(),
                interleaved: table.pairing == Pairing::Interleaved,
                norm_values: norms == Norms::Values,
                ..Default::default()
            },
            rope_kv::Params {
                stride: step.stride,
                q_heads,
                kv_heads,
                rope_pairs: table.pairs,
                high_rows: table.high_rows,
                pages_per_sequence: step.pages_per_sequence,
                eps: EPS,
                period: table.period,
            },
            rope_kv::Bindings {
                rows: Operand::new(&step.rows),
                pages: Operand::new(&step.pages),
                angles: Operand::new(&table.bytes),
                qkv: Operand::new(&step.qkv).floats(cols, stride, Bound::Within { absolute: error, relative: error }),
                k_cache: self.compared(Operand::new(&step.keys), step.keys.len(), error),
                v_cache: self.compared(Operand::new(&step.values), step.values.len(), error),
                q_norm,
                k_norm,
            },
            [q_heads + 2 * kv_heads, 1, step.rows.len() as u32],
        );
        Case {
            label: format!(
                "{}, {:?} pairs, {} rotated, norms of {norms:?}, queries' factor for {} positions",
                self.label(),
                table.pairing,
                table.pairs,
                table.period
            ),
            reason: "two products and a sum of numbers up to 3 under a rotation made of four products: a few roundings; a norm adds those \
                     of a sum of squares and a root that is right to 2 units; f16 and levels of 8 bits may round to either neighbour",
            call,
        }
    }

    fn rope_error(norms: Norms) -> f32 {
        if norms == Norms::None { 2e-6 } else { 4e-6 }
    }

    /// A cache that is compared by its format.
    fn compared(&self, cache: Operand, words: usize, error: f32) -> Operand {
        let tile = tile_words(self.format, self.shape.head_dim) as usize;
        let pair_words = (PAGE * self.shape.pairs()) as usize;
        match self.format {
            Kv::Q8_0 => {
                let quads = (PAGE * self.shape.pairs().div_ceil(2)) as usize;
                cache.judged(
                    move |index, expected, got| {
                        if index % tile < quads { levels(expected, got) } else { scale(expected, got, error) }
                    },
                )
            }
            Kv::F32 => cache.floats(words, words, Bound::Within { absolute: error, relative: error }),
            Kv::F16 => cache.judged(
                move |index, expected, got| {
                    if index % tile < pair_words { halves(expected, got) } else { scale(expected, got, error) }
                },
            ),
        }
    }
}

/// Two packed f16 that were divided by their scale: one may be the other's neighbour, and what is small against the scale has
/// its absolute error.
fn halves(expected: u32, got: u32) -> (f32, f32) {
    if expected == got {
        return (0.0, 0.0);
    }
    let unpack = |word: u32| [word & 0xffff, word >> 16].map(|half| f16::from_bits(half as u16).to_f32());
    let (expected, got) = (unpack(expected), unpack(got));
    let error = |i: usize| (expected[i] - got[i]).abs();
    let bound = |i: usize| expected[i].abs() / 1024.0 + 4e-6;
    let worst = if error(0) * bound(1) > error(1) * bound(0) { 0 } else { 1 };
    let error = error(worst);
    (if error.is_nan() { f32::INFINITY } else { error }, bound(worst))
}

/// Four packed levels: a quotient near the middle of two may be rounded to either.
fn levels(expected: u32, got: u32) -> (f32, f32) {
    let level = |word: u32, i: u32| (word >> (8 * i)) as u8 as i8;
    let worst = (0..4).map(|i| (i16::from(level(expected, i)) - i16::from(level(got, i))).unsigned_abs()).max();
    (f32::from(worst.unwrap_or_default()), 1.0)
}

/// A scale.
fn scale(expected: u32, got: u32, relative: f32) -> (f32, f32) {
    if expected == got {
        return (0.0, 0.0);
    }
    let (expected, got) = (f32::from_bits(expected), f32::from_bits(got));
    let error = (expected - got).abs();
    (if error.is_nan() { f32::INFINITY } else { error }, relative * expected.abs())
}
