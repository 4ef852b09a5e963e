//! The loop that both kinds of byte-pair encoding share: merge the best pair of neighbours until there is none.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A token of a word, and the bytes of the word that it stands for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Piece {
    /// `None` where no token has this text.
    pub(super) id: Option<u32>,
    pub(super) start: usize,
    pub(super) end: usize,
}

/// Merges `pieces` in place of a word: of all neighbours the pair of the greatest priority, of several the leftmost,
/// again and again. `merged` gives a pair's priority and the token that it becomes. Takes n log n steps.
pub(super) fn merge<P: Ord + Copy>(pieces: &mut Vec<Piece>, merged: impl Fn(&Piece, &Piece) -> Option<(P, u32)>) {
    const NONE: usize = usize::MAX;
    let count = pieces.len();
    let mut next: Vec<usize> = (1..=count).map(|at| if at < count { at } else { NONE }).collect();
    let mut previous: Vec<usize> = (0..count).map(|at| at.checked_sub(1).unwrap_or(NONE)).collect();
    // The bytes that a pair spans tell whether it is still what it was when it was queued.
    let span = |pieces: &[Piece], left: usize, right: usize| (pieces[left].start, pieces[left].end, pieces[right].end);
    let mut queue = BinaryHeap::new();
    let queue_pair = |queue: &mut BinaryHeap<_>, pieces: &[Piece], left: usize, right: usize| {
        if let Some((priority, id)) = merged(&pieces[left], &pieces[right]) {
            queue.push((priority, Reverse(left), right, id, span(pieces, left, right)));
        }
    };
    for right in 1..count {
        queue_pair(&mut queue, pieces, right - 1, right);
    }
    while let Some((_, Reverse(left), right, id, spanned)) = queue.pop() {
        if next[left] != right || span(pieces, left, right) != spanned {
            continue;
        }
        pieces[left] = Piece { id: Some(id), start: pieces[left].start, end: pieces[right].end };
        // `right` is out of the list: nothing points to it, and what it points to is never followed again.
        let after = next[right];
        next[left] = after;
        next[right] = NONE;
        if after != NONE {
            previous[after] = left;
            queue_pair(&mut queue, pieces, left, after);
        }
        if previous[left] != NONE {
            queue_pair(&mut queue, pieces, previous[left], left);
        }
    }
    let mut at = if count == 0 { NONE } else { 0 };
    let mut kept = 0;
    while at != NONE {
        pieces[kept] = pieces[at];
        kept += 1;
        at = next[at];
    }
    pieces.truncate(kept);
}
