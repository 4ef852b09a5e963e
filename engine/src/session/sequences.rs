//! Sequences and the pages of KV cache that they hold.

use crate::ops::kv::PAGE;

/// Names a sequence of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceId(pub(crate) u32);

/// One sequence: the tokens whose keys and values are in the cache, and the pages that hold them.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sequence {
    pub tokens: Vec<u32>,
    pub pages: Vec<u32>,
}

/// All sequences of a session and the pages that are free.
#[derive(Debug)]
pub(crate) struct Sequences {
    slots: Vec<Option<Sequence>>,
    free: Vec<u32>,
}

impl Sequences {
    /// Room for `sequences` sequences over `pages` pages.
    pub(super) fn new(sequences: u32, pages: u32) -> Self {
        Self { slots: vec![None; sequences as usize], free: (0..pages).rev().collect() }
    }

    /// A new, empty sequence; none if all are in use.
    pub(super) fn open(&mut self) -> Option<SequenceId> {
        let at = self.slots.iter().position(Option::is_none)?;
        self.slots[at] = Some(Sequence::default());
        Some(SequenceId(at as u32))
    }

    /// Ends a sequence and frees its pages.
    pub(super) fn close(&mut self, id: SequenceId) {
        if let Some(sequence) = self.slots.get_mut(id.0 as usize).and_then(Option::take) {
            self.free.extend(sequence.pages);
        }
    }

    /// A sequence that is open.
    pub(super) fn get(&self, id: SequenceId) -> Option<&Sequence> {
        self.slots.get(id.0 as usize)?.as_ref()
    }

    /// The tokens of a sequence, to append to.
    pub(super) fn tokens(&mut self, id: SequenceId) -> Option<&mut Vec<u32>> {
        Some(&mut self.slots.get_mut(id.0 as usize)?.as_mut()?.tokens)
    }

    /// Makes sure that a sequence has pages for `len` entries. Returns whether its page table changed; none if the sequence
    /// is closed or the pages are used up.
    pub(super) fn reserve(&mut self, id: SequenceId, len: usize) -> Option<bool> {
        let sequence = self.slots.get_mut(id.0 as usize)?.as_mut()?;
        let wanted = len.div_ceil(PAGE as usize);
        let more = wanted.saturating_sub(sequence.pages.len());
        if more > self.free.len() {
            return None;
        }
        sequence.pages.extend(self.free.drain(self.free.len() - more..).rev());
        Some(more > 0)
    }

    /// Cuts a sequence back to its first `len` entries and frees the pages past them.
    pub(super) fn truncate(&mut self, id: SequenceId, len: usize) {
        if let Some(sequence) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) {
            sequence.tokens.truncate(len);
            let keep = sequence.tokens.len().div_ceil(PAGE as usize).min(sequence.pages.len());
            self.free.extend(sequence.pages.drain(keep..).rev());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_and_go() {
        let mut all = Sequences::new(2, 4);
        let a = all.open().unwrap();
        let b = all.open().unwrap();
        assert!(all.open().is_none());
        assert_eq!(all.reserve(a, 65), Some(true));
        assert_eq!(all.reserve(a, 128), Some(false));
        assert_eq!(all.reserve(b, 129), None, "three pages where two are left");
        assert_eq!(all.reserve(b, 128), Some(true));
        assert_eq!(all.get(a).unwrap().pages, [0, 1]);
        all.tokens(a).unwrap().extend(0..100);
        all.truncate(a, 64);
        assert_eq!(all.get(a).unwrap().pages, [0]);
        assert_eq!(all.reserve(b, 129), Some(true));
        assert_eq!(all.get(b).unwrap().pages, [2, 3, 1]);
        all.close(a);
        assert!(all.get(a).is_none());
    }
}
