//! Layout of the KV cache: pages of [`PAGE`] entries, each page a tile for every head. `shared/kv_f16.wgsl`, `shared/kv_f32.wgsl` and
//! `shared/kv_q8_0.wgsl` say where a pair of elements lies in a tile; this is the same for the plan and the scalar twins.

use half::f16;
use parhelion_shaders::{Kernel, axes::Kv};

use super::twin::f16_to_f32;

/// Entries of a page.
pub const PAGE: u32 = 64;

/// Words of a tile: one head of one page, keys or values. `head_dim` is even.
pub fn tile_words(format: Kv, head_dim: u32) -> u64 {
    let (page, pairs) = (u64::from(PAGE), u64::from(head_dim / 2));
    match format {
        Kv::F16 => page * pairs + page,
        Kv::F32 => 2 * page * pairs,
        Kv::Q8_0 => page * (pairs.div_ceil(2) + pairs.div_ceil(Q8_PAIRS as u64)),
    }
}

/// Pairs of elements that share a scale in [`Kv::Q8_0`].
const Q8_PAIRS: usize = 16;

/// Bytes of the keys, or of the values, of one layer with room for `pages` pages.
pub fn layer_bytes(format: Kv, heads: u32, head_dim: u32, pages: u32) -> u64 {
    4 * tile_words(format, head_dim) * u64::from(heads) * u64::from(pages)
}

/// The cache format that a kernel variant was compiled for.
///
/// # Errors
/// For a kernel that has nothing to do with the cache.
pub(crate) fn format_of(kernel: &Kernel) -> Result<Kv, String> {
    Kv::of(kernel).ok_or_else(|| format!("{} has no KV format", kernel.variant))
}

/// The scale of an f16 entry from the largest magnitude in it. Magnitudes near the bottom of f32 count as zero, so that
/// dividing by the scale stays exact enough.
pub(crate) fn entry_scale(largest: f32) -> f32 {
    if largest > 1e-30 { largest } else { 1.0 }
}

/// Where the elements of one head of a layer's cache lie, for twins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KvLayout<'a> {
    pub format: Kv,
    pub pairs: usize,
    pub heads: usize,
    pub pages: &'a [u32],
    pub pages_per_sequence: usize,
}

/// Which half of the cache: they are laid out differently within a tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Half {
    Keys,
    Values,
}

impl KvLayout<'_> {
    const ENTRIES: usize = PAGE as usize;

    /// Entries that the page table has room for, of each sequence.
    pub(crate) fn capacity(&self) -> u32 {
        self.pages_per_sequence as u32 * PAGE
    }

    /// First word of the tile that holds `entry` of a sequence.
    pub(crate) fn tile(&self, sequence: u32, entry: u32, head: usize) -> usize {
        let page = self.pages[sequence as usize * self.pages_per_sequence + (entry / PAGE) as usize] as usize;
        (page * self.heads + head) * tile_words(self.format, 2 * self.pairs as u32) as usize
    }

    /// Pairs that share a scale; as many as there are where nothing has one.
    fn scale_pairs(&self) -> usize {
        if self.format == Kv::Q8_0 { Q8_PAIRS } else { self.pairs }
    }

    /// Word of the scale of a pair of an entry in its tile; none where entries have no scales.
    fn scale_word(&self, pair: usize, entry: usize) -> Option<usize> {
        match self.format {
            Kv::F32 => None,
            Kv::F16 => Some(self.pairs * Self::ENTRIES + entry),
            Kv::Q8_0 => Some((self.pairs.div_ceil(2) + pair / Q8_PAIRS) * Self::ENTRIES + entry),
        }
    }

    /// Word of one pair of an entry in its tile: of its component `c` in f32, of both components in f16, of two pairs in 8 bits.
    fn word(&self, half: Half, pair: usize, entry: usize, c: usize) -> usize {
        match (self.format, half) {
            (Kv::F16, Half::Keys) => pair * Self::ENTRIES + entry,
            (Kv::F16, Half::Values) => entry * self.pairs + pair,
            (Kv::Q8_0, Half::Keys) => pair / 2 * Self::ENTRIES + entry,
            (Kv::Q8_0, Half::Values) => entry * self.pairs.div_ceil(2) + pair / 2,
            (Kv::F32, Half::Keys) => (c * self.pairs + pair) * Self::ENTRIES + entry,
            (Kv::F32, Half::Values) => (entry * self.pairs + pair) * 2 + c,
        }
    }

    /// Stores the head `values` as an entry of the tile at `tile`.
    pub(crate) fn store(&self, cache: &mut [u32], half: Half, tile: usize, entry: usize, values: &[f32]) {
        let words = &mut cache[tile..];
        for (block, values) in values.chunks(2 * self.scale_pairs()).enumerate() {
            let first = block * self.scale_pairs();
            let mut scale = 1.0;
            if let Some(word) = self.scale_word(first, entry) {
                scale = entry_scale(values.iter().fold(0.0, |most: f32, v| most.max(v.abs())));
                words[word] = scale.to_bits();
            }
            match self.format {
                Kv::F32 => {
                    for (i, v) in values.iter().enumerate() {
                        words[self.word(half, first + i / 2, entry, i % 2)] = v.to_bits();
                    }
                }
                Kv::F16 => {
                    for (i, v) in values.chunks_exact(2).enumerate() {
                        let [x, y] = [v[0] / scale, v[1] / scale].map(|v| u32::from(f16::from_f32(v).to_bits()));
                        words[self.word(half, first + i, entry, 0)] = x | y << 16;
                    }
                }
                Kv::Q8_0 => {
                    for (i, v) in values.chunks(4).enumerate() {
                        let levels = v.iter().enumerate().fold(0, |word, (at, v)| word | snorm8(v / scale) << (8 * at));
                        words[self.word(half, first + 2 * i, entry, 0)] = levels;
                    }
                }
            }
        }
    }

    /// Loads entries `begin..end` of the tile at `tile`, one after the other.
    pub(crate) fn load(&self, cache: &[u32], half: Half, tile: usize, begin: usize, end: usize, into: &mut Vec<f32>) {
        let words = &cache[tile..];
        into.clear();
        for entry in begin..end {
            for first in (0..self.pairs).step_by(self.scale_pairs().max(1)) {
                let scale = self.scale_word(first, entry).map_or(1.0, |word| f32::from_bits(words[word]));
                into.extend((first..self.pairs.min(first + self.scale_pairs())).flat_map(|pair| {
                    let word = words[self.word(half, pair, entry, 0)];
                    match self.format {
                        Kv::F16 => [f16_to_f32(word & 0xffff) * scale, f16_to_f32(word >> 16) * scale],
                        Kv::F32 => [f32::from_bits(word), f32::from_bits(words[self.word(half, pair, entry, 1)])],
                        Kv::Q8_0 => {
                            let of = |byte: usize| f32::from((word >> (8 * byte)) as u8 as i8).max(-127.0) / 127.0 * scale;
                            [of(pair % 2 * 2), of(pair % 2 * 2 + 1)]
                        }
                    }
                }));
            }
        }
    }
}

/// A number from -1 to 1 as the byte of `pack4x8snorm`, in the lower 8 bits.
fn snorm8(value: f32) -> u32 {
    let level = (127.0 * value.clamp(-1.0, 1.0) + 0.5).floor() as i32;
    level as u32 & 0xff
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded() {
        for (format, tolerance) in [(Kv::F16, 1.0 / 2048.0), (Kv::F32, 0.0), (Kv::Q8_0, 0.501 / 127.0)] {
            for (half, pairs) in [(Half::Keys, 3), (Half::Values, 3), (Half::Keys, 21), (Half::Values, 21)] {
                let pages = [2, 0];
                let layout = KvLayout { format, pairs, heads: 2, pages: &pages, pages_per_sequence: 2 };
                let mut cache = vec![0; 3 * 2 * tile_words(format, 2 * pairs as u32) as usize];
                // a second block of 32 elements is so much smaller that the scale of the first would leave nothing of it
                let size = |i: usize| if i < 32 { 1e6 } else { 1.0 };
                let values: Vec<f32> = (0..2 * pairs).map(|i| size(i) * ((i * 7 % 6) as f32 - 2.5)).collect();
                let tile = layout.tile(0, 70, 1);
                layout.store(&mut cache, half, tile, 6, &values);
                let mut loaded = Vec::new();
                layout.load(&cache, half, tile, 6, 7, &mut loaded);
                let own = |i: usize| if format == Kv::Q8_0 { size(i) } else { 1e6 };
                let close = |i: usize| (values[i] - loaded[i]).abs() <= tolerance * 2.5 * own(i);
                assert!(loaded.len() == values.len() && (0..values.len()).all(close), "{format:?} {half:?}: {loaded:?}");
                // entries and heads beside it are as they were
                layout.load(&cache, half, tile, 5, 6, &mut loaded);
                assert!(loaded.iter().all(|&v| v == 0.0), "{format:?} {half:?}: {loaded:?}");
            }
        }
    }
}
