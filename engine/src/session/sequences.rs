//! Sequences, the pages of KV cache that they hold, and where their recurrent state lies.

use parhelion_shaders::shared::Run;

use crate::ops::{
    kv::PAGE,
    state::{EMPTY, SLOTS},
};

/// Names a sequence of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SequenceId(pub(crate) u32);

/// One sequence: the tokens whose keys and values are in the cache, the pages that hold them, and its recurrent state.
#[derive(Debug, Default, Clone)]
pub(crate) struct Sequence {
    pub tokens: Vec<u32>,
    pub pages: Vec<u32>,
    pub state: State,
    /// Entries that were written since the sequence was empty, those of steps that were dropped included.
    written: usize,
    /// Entries with which it was restored: of those, layers with a window have what the next row sees.
    restored: usize,
}

/// Layers with a window, which keep the last entries of a sequence in a ring.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ring {
    /// Entries that a row sees, its own the last of them.
    pub window: usize,
    /// Entries that there is room for, in whole pages.
    pub entries: usize,
}

impl Ring {
    /// Whether the sequence can go on after `len` entries: all that its next row sees are kept.
    fn holds(self, len: usize, sequence: &Sequence) -> bool {
        let page = PAGE as usize;
        let seen_from = |len: usize| (len + 1).saturating_sub(self.window);
        let kept_from = sequence.written.next_multiple_of(page).saturating_sub(self.entries);
        seen_from(len) >= kept_from.max(seen_from(sequence.restored) / page * page)
    }
}

/// Which of a sequence's slots holds the state after how many tokens.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct State {
    /// The slot that the next step reads.
    pub live: u32,
    /// Tokens that its state stands for.
    pub tokens: usize,
    /// Tokens that the other slot stands for; 0 where it holds nothing.
    pub kept: usize,
}

impl State {
    /// The latest state that stands for `len` tokens or fewer: 0 tokens where there is none.
    fn cut(self, len: usize) -> Self {
        match () {
            () if self.tokens <= len => self,
            () if self.kept <= len && self.kept > 0 => Self { live: SLOTS - 1 - self.live, tokens: self.kept, kept: 0 },
            () => Self::default(),
        }
    }
}

/// All sequences of a session and the pages that are free.
#[derive(Debug)]
pub(crate) struct Sequences {
    slots: Vec<Option<Sequence>>,
    free: Vec<u32>,
    /// Whether the model has recurrent state.
    has_state: bool,
    rings: Vec<Ring>,
}

impl Sequences {
    /// Room for `sequences` sequences over `pages` pages, of a model whose layers with windows keep `rings`.
    pub(super) fn new(sequences: u32, pages: u32, has_state: bool, rings: Vec<Ring>) -> Self {
        Self { slots: vec![None; sequences as usize], free: (0..pages).rev().collect(), has_state, rings }
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
        sequence.written = sequence.written.max(len);
        Some(more > 0)
    }

    /// Cuts a sequence back to its first `len` entries, or to fewer where no slot holds the state after them, or to none where later
    /// entries lie where those were that the next row sees, and frees the pages past them. Returns how many are left.
    pub(super) fn truncate(&mut self, id: SequenceId, len: usize) -> usize {
        let Some(sequence) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) else { return 0 };
        sequence.tokens.truncate(len);
        if self.has_state {
            sequence.state = sequence.state.cut(sequence.tokens.len());
            sequence.tokens.truncate(sequence.state.tokens);
        }
        if !self.rings.iter().all(|ring| ring.holds(sequence.tokens.len(), sequence)) {
            sequence.tokens.clear();
            sequence.state = State::default();
        }
        if sequence.tokens.is_empty() {
            (sequence.written, sequence.restored) = (0, 0);
        }
        let keep = sequence.tokens.len().div_ceil(PAGE as usize).min(sequence.pages.len());
        self.free.extend(sequence.pages.drain(keep..).rev());
        sequence.tokens.len()
    }

    /// Gives an empty sequence the tokens whose cache and state are being written.
    pub(super) fn set(&mut self, id: SequenceId, tokens: &[u32]) {
        if let Some(sequence) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) {
            sequence.tokens = tokens.to_vec();
            sequence.restored = tokens.len();
            sequence.state = State { live: 0, tokens: tokens.len(), kept: 0 };
        }
    }

    /// The slot that holds a sequence's state; none where there is none.
    pub(super) fn state_slot(&self, id: SequenceId) -> Option<u32> {
        let state = self.get(id)?.state;
        (self.has_state && state.tokens > 0).then_some(id.0 * SLOTS + state.live)
    }

    /// Rows of a step that the host writes, for a sequence that has `rows` new tokens: they go from one slot to the other.
    pub(super) fn run(&self, id: SequenceId, first: u32, rows: u32) -> Run {
        let state = self.get(id).map(|sequence| sequence.state).unwrap_or_default();
        let base = id.0 * SLOTS;
        Run { first, rows, read: if state.tokens == 0 { EMPTY } else { base + state.live }, write: base + SLOTS - 1 - state.live }
    }

    /// Row `first` of a step whose rows the step before sampled: one of the sequence, which goes on in its slot.
    pub(super) fn run_on(&self, id: SequenceId, first: u32) -> Run {
        let live = id.0 * SLOTS + self.get(id).map_or(0, |sequence| sequence.state.live);
        Run { first, rows: 1, read: live, write: live }
    }

    /// Books a step over rows that the host wrote as submitted.
    pub(super) fn stepped(&mut self, id: SequenceId) {
        if let Some(sequence) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) {
            let State { live, tokens, .. } = sequence.state;
            sequence.state = State { live: SLOTS - 1 - live, tokens: sequence.tokens.len(), kept: tokens };
        }
    }

    /// Books a step over a sampled row as submitted.
    pub(super) fn stepped_on(&mut self, id: SequenceId) {
        if let Some(sequence) = self.slots.get_mut(id.0 as usize).and_then(Option::as_mut) {
            sequence.state.tokens += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_come_and_go() {
        let mut all = Sequences::new(2, 4, false, Vec::new());
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

    #[test]
    fn sequences_with_windows_are_cut_to_what_is_kept() {
        let mut all = Sequences::new(1, 8, false, vec![Ring { window: 60, entries: 192 }, Ring { window: 100, entries: 256 }]);
        let id = all.open().unwrap();
        let grow = |all: &mut Sequences, to: usize| {
            all.reserve(id, to).unwrap();
            all.tokens(id).unwrap().resize(to, 0);
        };
        grow(&mut all, 192);
        assert_eq!(all.truncate(id, 1), 1, "all entries are kept");
        grow(&mut all, 300);
        assert_eq!(all.truncate(id, 187), 187, "the row after it sees entries from 128 on");
        assert_eq!(all.truncate(id, 186), 0, "page 1 holds entries of page 4");
        grow(&mut all, 20);
        assert_eq!(all.truncate(id, 10), 10, "a sequence that begins anew keeps all");
        all.close(id);
        let id = all.open().unwrap();
        all.reserve(id, 190).unwrap();
        all.set(id, &[0; 190]);
        assert_eq!(all.truncate(id, 190), 190, "what was restored");
        assert_eq!(all.truncate(id, 187), 187, "the row after it sees entries from 128 on in the shorter window");
        assert_eq!(all.truncate(id, 186), 0, "page 1 of that was not restored");
    }

    #[test]
    fn sequences_with_state_are_cut_to_where_a_slot_stands() {
        let mut all = Sequences::new(2, 8, true, Vec::new());
        all.open().unwrap();
        let id = all.open().unwrap();
        let step = |all: &mut Sequences, rows: u32| {
            let run = all.run(id, 0, rows);
            all.tokens(id).unwrap().extend(0..rows);
            all.stepped(id);
            [run.read, run.write]
        };
        assert_eq!(step(&mut all, 10), [EMPTY, 3]);
        assert_eq!(step(&mut all, 5), [3, 2]);
        assert_eq!(all.truncate(id, 15), 15, "nothing is cut");
        assert_eq!(all.truncate(id, 12), 10, "to before the last step");
        assert_eq!(step(&mut all, 3), [3, 2], "what was cut off is overwritten");
        assert_eq!(all.run_on(id, 4), Run { first: 4, rows: 1, read: 2, write: 2 });
        for _ in 0..3 {
            all.stepped_on(id);
        }
        all.tokens(id).unwrap().extend([7, 8, 9]);
        assert_eq!(all.truncate(id, 16), 16);
        all.stepped_on(id);
        assert_eq!(all.truncate(id, 15), 10, "the slot stands for tokens past the end");
        assert_eq!(all.truncate(id, 9), 0, "no slot stands for so few");
        assert_eq!(step(&mut all, 2), [EMPTY, 3]);
        all.close(id);
        let id = all.open().unwrap();
        assert_eq!(all.run(id, 0, 1).read, EMPTY, "a new sequence begins with nothing");
    }
}
