//! Writing buffers in pieces that are computed on several threads, straight into the memory that the device copies from.

use std::sync::{Mutex, PoisonError};

use crate::{
    exec::{ExecError, Executor, Parallel},
    recording::BufferSlice,
};

/// A range of a buffer that is written in pieces of equal size, the last of which may be shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pieces {
    /// The range: whole words.
    pub slice: BufferSlice,
    /// Bytes of a piece, over 0.
    pub piece: u64,
}

/// Appends the bytes of piece number `i` of each target to that target's vector.
pub type Fill<'a> = dyn Fn(usize, &mut [Vec<u8>]) + Sync + 'a;

impl Pieces {
    /// How many pieces there are.
    pub fn count(&self) -> usize {
        self.slice.size.div_ceil(self.piece.max(1)) as usize
    }

    /// Bytes of piece `i`.
    fn len(&self, i: usize) -> usize {
        self.slice.size.saturating_sub(i as u64 * self.piece).min(self.piece) as usize
    }
}

/// Computes one piece after another and writes each target as a whole.
pub(crate) fn write_in_turn<E: Executor + ?Sized>(executor: &mut E, targets: &[Pieces], fill: &Fill<'_>) -> Result<(), ExecError> {
    let mut whole = vec![Vec::new(); targets.len()];
    (0..count(targets)).for_each(|i| fill(i, &mut whole));
    for (Pieces { slice, .. }, bytes) in targets.iter().zip(&whole) {
        expect_len(bytes.len(), slice.size as usize)?;
        executor.write(slice.buffer, slice.offset, bytes)?;
    }
    Ok(())
}

/// Computes the pieces on the threads of `parallel`. `places` has the memory of each target; `split` takes that of its first
/// piece off it, and `put` copies a piece's bytes there.
pub(crate) fn write_side_by_side<P: Send>(
    parallel: &dyn Parallel,
    targets: &[Pieces],
    places: Vec<P>,
    split: impl Fn(P, usize) -> (P, P),
    put: impl Fn(&mut P, &[u8]) + Sync,
    fill: &Fill<'_>,
) -> Result<(), ExecError> {
    let count = count(targets);
    let mut pieces: Vec<Vec<P>> = (0..count).map(|_| Vec::with_capacity(targets.len())).collect();
    for (target, mut rest) in targets.iter().zip(places) {
        for (i, piece) in pieces.iter_mut().enumerate() {
            let (first, others) = split(rest, target.len(i));
            piece.push(first);
            rest = others;
        }
    }
    let pieces: Vec<Mutex<Vec<P>>> = pieces.into_iter().map(Mutex::new).collect();
    let failed = Mutex::new(None);
    parallel.for_each(count, &|i| {
        let mut bytes: Vec<Vec<u8>> = targets.iter().map(|target| Vec::with_capacity(target.len(i))).collect();
        fill(i, &mut bytes);
        let mut places = pieces[i].lock().unwrap_or_else(PoisonError::into_inner);
        for ((place, bytes), target) in places.iter_mut().zip(&bytes).zip(targets) {
            match expect_len(bytes.len(), target.len(i)) {
                Ok(()) => put(place, bytes),
                Err(error) => *failed.lock().unwrap_or_else(PoisonError::into_inner) = Some(error),
            }
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
}

fn count(targets: &[Pieces]) -> usize {
    targets.iter().map(Pieces::count).max().unwrap_or(0)
}

fn expect_len(got: usize, expected: usize) -> Result<(), ExecError> {
    if got == expected {
        return Ok(());
    }
    Err(ExecError::Device { reason: format!("{got} bytes were computed for a place of {expected}") })
}
