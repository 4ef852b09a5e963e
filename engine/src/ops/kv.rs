//! Layout of the KV cache: pages of [`PAGE`] entries, each page a tile for every head. `shared/kv_f16.wgsl` and
//! `shared/kv_f32.wgsl` say where a pair of elements lies in a tile; this is the same for the plan and the scalar twins.

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
    }
}

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

    /// Word of one pair of an entry in its tile: of its component `c` in f32, of both components in f16.
    fn word(&self, half: Half, pair: usize, entry: usize, c: usize) -> usize {
        match (self.format, half) {
            (Kv::F16, Half::Keys) => pair * Self::ENTRIES + entry,
            (Kv::F16, Half::Values) => entry * self.pairs + pair,
            (Kv::F32, Half::Keys) => (c * self.pairs + pair) * Self::ENTRIES + entry,
            (Kv::F32, Half::Values) => (entry * self.pairs + pair) * 2 + c,
        }
    }

    /// Stores the head `values` as an entry of the tile at `tile`.
    pub(crate) fn store(&self, cache: &mut [u32], half: Half, tile: usize, entry: usize, values: &[f32]) {
        let words = &mut cache[tile..];
        let largest = values.iter().fold(0.0, |most: f32, v| most.max(v.abs()));
        let scale = entry_scale(largest);
        for (pair, v) in values.chunks_exact(2).enumerate() {
            match self.format {
                Kv::F16 => {
                    let [x, y] = [v[0] / scale, v[1] / scale].map(|v| u32::from(f16::from_f32(v).to_bits()));
                    words[self.word(half, pair, entry, 0)] = x | y << 16;
                }
                Kv::F32 => {
                    words[self.word(half, pair, entry, 0)] = v[0].to_bits();
                    words[self.word(half, pair, entry, 1)] = v[1].to_bits();
                }
            }
        }
        if self.format == Kv::F16 {
            words[self.pairs * Self::ENTRIES + entry] = scale.to_bits();
        }
    }

    /// Loads entries `begin..end` of the tile at `tile`, one after the other.
    pub(crate) fn load(&self, cache: &[u32], half: Half, tile: usize, begin: usize, end: usize, into: &mut Vec<f32>) {
        let words = &cache[tile..];
        into.clear();
        for entry in begin..end {
            let scale = match self.format {
                Kv::F16 => f32::from_bits(words[self.pairs * Self::ENTRIES + entry]),
                Kv::F32 => 1.0,
            };
            into.extend((0..self.pairs).flat_map(|pair| {
                let word = words[self.word(half, pair, entry, 0)];
                match self.format {
                    Kv::F16 => [f16_to_f32(word & 0xffff) * scale, f16_to_f32(word >> 16) * scale],
                    Kv::F32 => [f32::from_bits(word), f32::from_bits(words[self.word(half, pair, entry, 1)])],
                }
            }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_loaded() {
        for (format, tolerance) in [(Kv::F16, 1.0 / 2048.0), (Kv::F32, 0.0)] {
            for half in [Half::Keys, Half::Values] {
                let pages = [2, 0];
                let layout = KvLayout { format, pairs: 3, heads: 2, pages: &pages, pages_per_sequence: 2 };
                let mut cache = vec![0; 3 * 2 * tile_words(format, 6) as usize];
                let values: Vec<f32> = (0..6).map(|i| 1e6 * (i as f32 - 2.5)).collect();
                let tile = layout.tile(0, 70, 1);
                layout.store(&mut cache, half, tile, 6, &values);
                let mut loaded = Vec::new();
                layout.load(&cache, half, tile, 6, 7, &mut loaded);
                let largest = 2.5e6;
                assert!(values.iter().zip(&loaded).all(|(v, l)| (v - l).abs() <= tolerance * largest), "{format:?} {half:?}: {loaded:?}");
            }
        }
    }
}
