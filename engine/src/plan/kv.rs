//! How much of the KV cache layers keep. Layers whose rows see equally far back are a group with a page table of its own: that of layers
//! without a window is filled as sequences grow, those of windows are rings, in which a page that no row sees any more holds a later one.

use std::ops::Range;

use super::{Buffers, Plan};
use crate::{
    graph::{KvDecl, Output},
    ops::kv::{PAGE, layer_bytes},
    recording::BufferSlice,
    shape::Bounds,
};

/// Layers that keep equally much of their KV cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvGroup {
    /// Entries that a row sees, its own the last of them; none: all before it.
    pub window: Option<u32>,
    /// Layers with a cache of their own.
    pub layers: u32,
    /// Pages of [`PAGE`] entries that each layer keeps of a sequence.
    pub pages: u32,
    /// Bytes of the keys and values of all its layers and all sequences.
    pub bytes: u64,
}

impl KvGroup {
    /// The groups of a model's layers: that without a window, which may have no layers, then the others as they come. `bytes` gives what a
    /// layer's keys and values take with so many pages.
    pub(super) fn all(layers: &[KvDecl], bounds: &Bounds, bytes: impl Fn(&KvDecl, u32) -> u64) -> Vec<Self> {
        let new = |window| Self { window, layers: 0, pages: kept_pages(window, bounds), bytes: 0 };
        let mut groups = vec![new(None)];
        for layer in layers {
            let at = groups.iter().position(|group| group.window == layer.window).unwrap_or(groups.len());
            if at == groups.len() {
                groups.push(new(layer.window));
            }
            groups[at].layers += 1;
            groups[at].bytes += bytes(layer, groups[at].pages * bounds.sequences);
        }
        groups
    }

    /// Entries of a sequence that there is room for.
    pub fn entries(&self) -> u32 {
        self.pages * PAGE
    }

    /// Logical pages of what the row after so many `tokens` sees of them.
    pub(crate) fn seen_pages(&self, tokens: u32) -> Range<u32> {
        let end = tokens.div_ceil(PAGE);
        let first = self.window.map_or(0, |window| tokens.saturating_add(1).saturating_sub(window) / PAGE);
        first.min(end)..end
    }

    /// The page of a window's ring that holds a logical page of a sequence.
    pub(crate) fn in_ring(&self, sequence: u32, logical: u32) -> u32 {
        sequence * self.pages + logical % self.pages
    }

    /// The page table in which the logical pages of each sequence go round a ring of its own, if need be. A window's stays like that.
    pub fn ring(&self, bounds: &Bounds) -> Vec<u32> {
        let logical = bounds.context.div_ceil(PAGE);
        (0..bounds.sequences).flat_map(|sequence| (0..logical).map(move |page| self.in_ring(sequence, page))).collect()
    }
}

impl Plan {
    /// How much of the KV cache layers keep: first those that keep all of it, then those with windows.
    pub fn kv_groups(&self) -> &[KvGroup] {
        &self.kv_groups
    }

    /// The place of a layer among the groups.
    pub(super) fn group_of(&self, layer: &KvDecl) -> usize {
        self.kv_groups.iter().position(|group| group.window == layer.window).unwrap_or_default()
    }

    /// Bytes of the keys (or values) of one layer.
    pub(super) fn kv_bytes(&self, layer: &KvDecl) -> u64 {
        let pages = layer.window.map_or(self.pages(), |_| self.kv_groups[self.group_of(layer)].pages * self.options.bounds.sequences);
        layer_bytes(self.options.kv, layer.heads, layer.head_dim, pages)
    }

    /// Bytes that the next token sees of the cache and the state of a sequence of so many tokens.
    pub(crate) fn saved_bytes(&self, tokens: u32) -> u64 {
        let cache = |layer: &KvDecl| 2 * self.page_bytes(layer) * self.kv_groups[self.group_of(layer)].seen_pages(tokens).len() as u64;
        let state: u64 = self.model.states.iter().map(|state| 4 * u64::from(state.elems)).sum();
        self.model.kv.iter().map(cache).sum::<u64>() + if tokens > 0 { state } else { 0 }
    }

    /// Bytes of a page of the keys (or values) of a layer.
    fn page_bytes(&self, layer: &KvDecl) -> u64 {
        layer_bytes(self.options.kv, layer.heads, layer.head_dim, 1)
    }

    /// The buffers of the KV cache, keys and values of each layer, with the bytes of a page and what the layer keeps.
    pub(crate) fn cache<'a>(&'a self, buffers: &'a Buffers) -> impl Iterator<Item = (BufferSlice, u64, &'a KvGroup)> {
        let layers = self.model.kv.iter().zip(&buffers.kv);
        layers.flat_map(|(layer, buffers)| {
            let (page, group) = (self.page_bytes(layer), &self.kv_groups[self.group_of(layer)]);
            [buffers.keys, buffers.values].map(|buffer| (buffer, page, group))
        })
    }
}

/// Pages of KV cache that there are at the most, of a layer that keeps all of it. Of texts that steps hold whole there are only as many
/// entries as rows.
pub(super) fn most_pages(gives: Output, bounds: &Bounds) -> u32 {
    let all = bounds.context.div_ceil(PAGE) * bounds.sequences;
    match gives {
        Output::Logits => all,
        Output::Embeddings => all.min(bounds.rows / PAGE + bounds.sequences),
    }
}

/// Pages of a sequence that are kept for rows that see `window` entries. A step writes all its rows before the first of them looks back,
/// and an entry may lie anywhere in its page. A page's worth of rows is kept behind in any case, so that steps submitted ahead can be
/// dropped.
fn kept_pages(window: Option<u32>, bounds: &Bounds) -> u32 {
    let all = bounds.context.div_ceil(PAGE);
    let kept = |window: u32| window.saturating_add(bounds.rows.max(PAGE)).div_ceil(PAGE).saturating_add(1);
    window.map_or(all, |window| kept(window).min(all))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { rows: 16, outputs: 1, context: 1000, sequences: 2 };

    #[test]
    fn layers_with_equal_windows_share_a_ring() {
        let layer = |window| KvDecl { heads: 1, head_dim: 2, window };
        let layers = [layer(Some(100)), layer(None), layer(Some(100)), layer(Some(5000))];
        let groups = KvGroup::all(&layers, &BOUNDS, |_, pages| pages.into());
        let kept: Vec<_> = groups.iter().map(|group| (group.window, group.layers, group.pages, group.bytes)).collect();
        assert_eq!(kept, [(None, 1, 16, 32), (Some(100), 2, 4, 16), (Some(5000), 1, 16, 32)]);
        let ring = groups[1].ring(&BOUNDS);
        assert_eq!(ring.len(), 32);
        assert_eq!(ring[..6], [0, 1, 2, 3, 0, 1]);
        assert_eq!(ring[16..22], [4, 5, 6, 7, 4, 5]);
    }

    #[test]
    fn pages_that_the_next_row_sees() {
        let group = |window| KvGroup { window, layers: 1, pages: 4, bytes: 0 };
        assert_eq!([0, 1, 64, 65].map(|tokens| group(None).seen_pages(tokens)), [0..0, 0..1, 0..1, 0..2]);
        // row 127 sees 64 to 127, row 128 65 to 128
        assert_eq!([0, 63, 64, 127, 128, 200].map(|tokens| group(Some(64)).seen_pages(tokens)), [0..0, 0..1, 0..1, 1..2, 1..2, 2..4]);
        assert_eq!(group(Some(1)).seen_pages(128), 2..2, "its own alone");
    }

    /// Whatever row a step begins with, the pages of its rows and of all that they see are different pages of the ring.
    #[test]
    fn a_step_and_what_it_sees_fit_in_the_ring() {
        for (window, rows) in [(1, 1), (1, 64), (63, 7), (64, 64), (65, 65), (128, 16), (129, 200)] {
            let bounds = Bounds { rows, context: 1 << 16, ..BOUNDS };
            let pages = kept_pages(Some(window), &bounds);
            for first in 0..500_u32 {
                let seen = (first + 1).saturating_sub(window) / PAGE;
                assert!((first + rows - 1) / PAGE - seen < pages, "window {window}, rows {rows}, first {first}");
            }
        }
    }
}
