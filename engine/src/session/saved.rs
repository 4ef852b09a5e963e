//! Sequences as bytes: saved, restored into another session of the same model, and forked. What is saved are the tokens, their pages of
//! KV cache that the next token sees and the recurrent state after them, as they lie on the device, so that a restored sequence goes on
//! with the same bits.
//!
//! Numbers are little-endian: [`MAGIC`], the version, the model's identity, that of the plan's formats, the number of tokens (each 8 bytes),
//! the tokens (4 bytes each), the cache and the state in the order of the plan's buffers, and a checksum of all before it (8 bytes).

use std::ops::Range;

use parhelion_loader::Checkpoint;

use super::{EngineError, SequenceId, Session, closed, sequences::Sequence, step::NO_TOKEN};
use crate::{
    plan::{KvGroup, Plan},
    recording::BufferSlice,
};

const MAGIC: [u8; 8] = *b"phSEQNCE";
const VERSION: u64 = 1;
/// Magic, version, model, plan, number of tokens.
const HEADER: usize = 5 * 8;
const CHECKSUM: usize = 8;

/// Why a saved sequence cannot be restored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Other bytes than those of a sequence.
    #[error("these {got} bytes are no saved sequence")]
    Foreign {
        /// How many there are.
        got: usize,
    },
    /// Saved by a version with another format.
    #[error("the sequence was saved in version {got} of the format and this program knows version {known}: give its tokens again instead")]
    Version {
        /// The version it has.
        got: u64,
        /// The one that is known.
        known: u64,
    },
    /// Saved from another model.
    #[error("the sequence was saved from another model: load that one, or give the tokens again")]
    Model,
    /// Saved with other formats of cache or weights.
    #[error(
        "the sequence was saved with another cache format, quantisation or scaling of positions: load the model with the same options, or \
         give the tokens again"
    )]
    Formats,
    /// More tokens than the context holds.
    #[error("the saved sequence has {tokens} tokens and the context holds {context}: load the model with a larger context")]
    TooLong {
        /// Tokens of the sequence.
        tokens: u64,
        /// Tokens the context holds.
        context: u32,
    },
    /// Fewer or more bytes than were saved, or others.
    #[error("the saved sequence is damaged ({what}): save it again, or give its tokens again")]
    Damaged {
        /// What is wrong.
        what: String,
    },
}

/// FNV-1a of 64 bits over words of 8 bytes: it tells what was mixed up or damaged, not what was forged.
#[derive(Debug, Clone, Copy)]
struct Fnv(u64);

impl Fnv {
    const NEW: Self = Self(0xcbf2_9ce4_8422_2325);

    fn word(self, word: u64) -> Self {
        let mixed = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3);
        Self(mixed ^ mixed >> 29) // else the upper bytes of words would reach no lower ones
    }

    fn bytes(self, bytes: &[u8]) -> Self {
        let whole = bytes.chunks(8).fold(self, |hash, chunk| {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            hash.word(u64::from_le_bytes(word))
        });
        whole.word(bytes.len() as u64)
    }
}

/// What tells a model from others: the names, types and shapes of its tensors, and a sample of some of their values.
pub(super) async fn identity(checkpoint: &Checkpoint) -> Result<u64, EngineError> {
    const SAMPLED: usize = 16;
    const BYTES: u64 = 64;
    let tensors: Vec<_> = checkpoint.tensors().collect();
    let mut hash = Fnv::NEW.bytes(checkpoint.architecture()?.as_bytes());
    for info in &tensors {
        hash = hash.bytes(info.name.as_bytes()).bytes(info.dtype.name().as_bytes());
        hash = info.shape.iter().fold(hash, |hash, dim| hash.word(*dim));
    }
    for info in tensors.iter().step_by(tensors.len().div_ceil(SAMPLED).max(1)) {
        let row = info.row_bytes().max(1);
        let middle = info.len / row / 2;
        let bytes = checkpoint.read_rows(info, middle, 1).await?;
        hash = hash.bytes(&bytes[..bytes.len().min(BYTES as usize)]);
    }
    Ok(hash.0)
}

/// What decides how the cache is stored and what was computed into it, beside the model.
fn formats(plan: &Plan) -> u64 {
    // Tables of positions are longer for longer contexts, and begin alike unless their frequencies differ.
    const TABLE: usize = 8 << 10;
    let mut hash = Fnv::NEW.bytes(plan.options().kv.name().as_bytes());
    for part in plan.weights().iter().flat_map(|weight| &weight.parts) {
        hash = hash.bytes(part.format.name().as_bytes());
    }
    for table in &plan.model().tables {
        hash = hash.bytes(&table.bytes[..table.bytes.len().min(TABLE)]);
    }
    hash.0
}

/// A saved sequence's parts.
struct Saved {
    tokens: Vec<u32>,
    /// Where cache and state lie in the bytes.
    contents: Range<usize>,
}

impl Session {
    /// The sequence as bytes, for [`Session::restore`]: as many as its pages of KV cache and its recurrent state take on the device. They
    /// tell what was said, and pages are saved whole: the last may still hold entries of a sequence that had it before. Keep them as
    /// private as the session's conversations.
    ///
    /// # Errors
    /// [`EngineError::Sequence`] if it was closed, or the device's.
    pub async fn save(&mut self, sequence: SequenceId) -> Result<Vec<u8>, EngineError> {
        let tokens = self.cached_tokens(sequence)?.to_vec();
        let mut out = MAGIC.to_vec();
        let header = [VERSION, self.identity, formats(&self.plan), tokens.len() as u64];
        out.extend(header.iter().flat_map(|word| word.to_le_bytes()));
        out.extend(tokens.iter().flat_map(|token| token.to_le_bytes()));
        for ranges in self.contents(sequence)? {
            self.read_ranges(&ranges, &mut out).await?;
        }
        let checksum = Fnv::NEW.bytes(&out).0;
        out.extend(checksum.to_le_bytes());
        Ok(out)
    }

    /// Opens a sequence that goes on where the saved one stood, bit for bit.
    ///
    /// # Errors
    /// [`EngineError::Restore`] for bytes that are no save of this model with these formats, or damaged;
    /// [`EngineError::Sequence`] if there is no room for another sequence; or the device's.
    pub async fn restore(&mut self, saved: &[u8]) -> Result<SequenceId, EngineError> {
        let Saved { tokens, contents } = self.parse(saved)?;
        self.open_with(&tokens, |session, sequence| {
            let mut rest = &saved[contents];
            for ranges in session.contents(sequence)? {
                rest = session.write_ranges(&ranges, rest)?;
            }
            Ok(())
        })
    }

    /// Opens a sequence with the tokens of another, which each go on for themselves. The copy passes through the host's memory, one
    /// layer at a time.
    ///
    /// # Errors
    /// [`EngineError::Sequence`] if the sequence was closed or there is no room for another one; or the device's.
    pub async fn fork(&mut self, sequence: SequenceId) -> Result<SequenceId, EngineError> {
        let tokens = self.cached_tokens(sequence)?.to_vec();
        let from = self.contents(sequence)?;
        let fork = self.open_with(&tokens, |_, _| Ok(()))?;
        let copied = self.copy(&from, fork).await;
        if copied.is_err() {
            self.close_sequence(fork);
        }
        copied.map(|()| fork)
    }

    async fn copy(&mut self, from: &[Vec<BufferSlice>], to: SequenceId) -> Result<(), EngineError> {
        let mut bytes = Vec::new();
        for (from, to) in from.iter().zip(self.contents(to)?) {
            bytes.clear();
            self.read_ranges(from, &mut bytes).await?;
            self.write_ranges(&to, &bytes)?;
        }
        Ok(())
    }

    /// Opens a sequence of `tokens` whose cache and state `fill` writes; closes it again if that fails.
    fn open_with(
        &mut self,
        tokens: &[u32],
        fill: impl FnOnce(&mut Self, SequenceId) -> Result<(), EngineError>,
    ) -> Result<SequenceId, EngineError> {
        let sequence = self.open_sequence()?;
        let filled = self.reserve(sequence, tokens.len()).and_then(|()| {
            self.sequences.set(sequence, tokens);
            fill(self, sequence)
        });
        if filled.is_err() {
            self.close_sequence(sequence);
        }
        filled.map(|()| sequence)
    }

    /// Where the cache and the state of a sequence lie: for each buffer its ranges, in the order of the tokens.
    fn contents(&self, sequence: SequenceId) -> Result<Vec<Vec<BufferSlice>>, EngineError> {
        let Sequence { tokens, pages, .. } = self.sequences.get(sequence).ok_or_else(closed)?;
        let layer = |(buffer, page, group): (BufferSlice, u64, &KvGroup)| {
            let logical = group.seen_pages(tokens.len() as u32);
            let physical: Vec<u32> = match group.window {
                Some(_) => logical.map(|page| group.in_ring(sequence.0, page)).collect(),
                None => pages.iter().take(logical.len()).copied().collect(),
            };
            ranges_of(&physical, buffer, page)
        };
        let mut out: Vec<Vec<BufferSlice>> = self.plan.cache(&self.buffers).map(layer).collect();
        if let Some(slot) = self.sequences.state_slot(sequence) {
            let slots = u64::from(self.plan.state_slots());
            out.extend(self.buffers.states.iter().map(|state| {
                let size = state.size / slots;
                vec![BufferSlice { offset: state.offset + u64::from(slot) * size, size, ..*state }]
            }));
        }
        Ok(out)
    }

    async fn read_ranges(&mut self, ranges: &[BufferSlice], into: &mut Vec<u8>) -> Result<(), EngineError> {
        let reads: Vec<_> = ranges.iter().map(|range| self.executor.read(*range)).collect();
        for read in reads {
            into.extend(read.await?);
        }
        Ok(())
    }

    /// Writes as many of the first of `bytes` as the ranges hold, and returns the others.
    fn write_ranges<'b>(&mut self, ranges: &[BufferSlice], mut bytes: &'b [u8]) -> Result<&'b [u8], EngineError> {
        for range in ranges {
            let here;
            let cut = || RestoreError::Damaged { what: "it ends early".into() };
            (here, bytes) = bytes.split_at_checked(range.size as usize).ok_or_else(cut)?;
            self.executor.write(range.buffer, range.offset, here)?;
        }
        Ok(bytes)
    }

    /// Checks a save, whatever bytes it is, before anything is allocated for it.
    fn parse(&self, saved: &[u8]) -> Result<Saved, RestoreError> {
        let word = |i: usize| saved.get(8 * i..8 * i + 8).map(|b| b.iter().rev().fold(0_u64, |word, b| word << 8 | u64::from(*b)));
        let (Some(version), Some(model), Some(plan), Some(count)) = (word(1), word(2), word(3), word(4)) else {
            return Err(RestoreError::Foreign { got: saved.len() });
        };
        let context = self.plan.options().bounds.context;
        match () {
            () if !saved.starts_with(&MAGIC) => return Err(RestoreError::Foreign { got: saved.len() }),
            () if version != VERSION => return Err(RestoreError::Version { got: version, known: VERSION }),
            () if model != self.identity => return Err(RestoreError::Model),
            () if plan != formats(&self.plan) => return Err(RestoreError::Formats),
            () if count > u64::from(context) => return Err(RestoreError::TooLong { tokens: count, context }),
            () => {}
        }
        let tokens_end = HEADER + 4 * count as usize;
        let expected = (tokens_end + CHECKSUM) as u64 + self.plan.saved_bytes(count as u32);
        if saved.len() as u64 != expected {
            return Err(RestoreError::Damaged { what: format!("it has {} bytes where {expected} are needed", saved.len()) });
        }
        let contents = tokens_end..saved.len() - CHECKSUM;
        let (body, checksum) = saved.split_at(contents.end);
        if checksum != Fnv::NEW.bytes(body).0.to_le_bytes() {
            return Err(RestoreError::Damaged { what: "its checksum is another".into() });
        }
        let tokens = body[HEADER..tokens_end].chunks_exact(4).map(|b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]));
        let tokens: Vec<u32> = tokens.collect();
        match tokens.iter().find(|&&token| token >= self.plan.vocab() && token != NO_TOKEN) {
            Some(token) => Err(RestoreError::Damaged { what: format!("token {token} is not in the vocabulary") }),
            None => Ok(Saved { tokens, contents }),
        }
    }
}

/// The ranges of a buffer that hold these pages, neighbours joined.
fn ranges_of(pages: &[u32], buffer: BufferSlice, page: u64) -> Vec<BufferSlice> {
    let runs = pages.chunk_by(|a, b| a + 1 == *b);
    runs.map(|run| BufferSlice { offset: buffer.offset + u64::from(run[0]) * page, size: page * run.len() as u64, ..buffer }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recording::BufferId;

    #[test]
    fn neighbouring_pages_are_one_range() {
        let buffer = BufferSlice::whole(BufferId(3), 800);
        let ranges = ranges_of(&[2, 3, 4, 1, 7], buffer, 100);
        let ranges: Vec<_> = ranges.iter().map(|range| (range.offset, range.size)).collect();
        assert_eq!(ranges, [(200, 300), (100, 100), (700, 100)]);
    }

    #[test]
    fn checksums_tell_every_changed_bit_and_every_length() {
        let bytes: Vec<u8> = (0..37).collect();
        let expected = Fnv::NEW.bytes(&bytes).0;
        for bit in 0..8 * bytes.len() {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert_ne!(Fnv::NEW.bytes(&changed).0, expected, "bit {bit}");
        }
        assert_ne!(Fnv::NEW.bytes(&[0; 9]).0, Fnv::NEW.bytes(&[0; 10]).0);
    }
}
