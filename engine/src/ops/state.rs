//! Recurrent state: what layers keep of a sequence beside its KV cache. It is of one size however long the sequence is, and stands for
//! all tokens up to one: it cannot be cut back to an earlier one.
//!
//! Each sequence has [`SLOTS`] slots in the buffer of each state. A step over rows that the host wrote reads one and writes the other, so
//! that a sequence can go back to before its last such step; steps over sampled rows, one of each sequence, go on in their slot. Which
//! slots these are is data that steps read: [`parhelion_shaders::shared::Run`].

/// Slots of a sequence.
pub const SLOTS: u32 = 2;
/// The slot of a sequence that has no tokens yet: all zeros.
pub const EMPTY: u32 = u32::MAX;
