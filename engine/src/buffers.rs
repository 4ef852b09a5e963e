//! The table of an executor's buffers and the account of their bytes: what the GPU and the CPU executor keep alike.

use std::collections::{BTreeMap, HashMap};

use crate::{
    exec::{DeviceLimits, ExecError, MemoryReport},
    recording::{BufferDesc, BufferId, BufferUse},
};

/// Bytes allocated by use, and the most there ever were.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    now: BTreeMap<BufferUse, u64>,
    peak: u64,
}

impl Ledger {
    /// Books `bytes` as allocated.
    pub(crate) fn add(&mut self, usage: BufferUse, bytes: u64) {
        *self.now.entry(usage).or_default() += bytes;
        self.peak = self.peak.max(self.total());
    }

    /// Books `bytes` that will be given back without further notice: they count for the peak.
    pub(crate) fn add_for_a_moment(&mut self, bytes: u64) {
        self.peak = self.peak.max(self.total() + bytes);
    }

    /// Books `bytes` as given back.
    pub(crate) fn sub(&mut self, usage: BufferUse, bytes: u64) {
        if let Some(now) = self.now.get_mut(&usage) {
            *now = now.saturating_sub(bytes);
        }
    }

    /// All bytes allocated now.
    pub(crate) fn total(&self) -> u64 {
        self.now.values().sum()
    }

    /// The account as hosts see it.
    pub(crate) fn report(&self) -> MemoryReport {
        MemoryReport { now: self.now.iter().map(|(usage, bytes)| (*usage, *bytes)).collect(), peak: self.peak }
    }
}

/// A buffer and what it was asked for as.
#[derive(Debug)]
pub(crate) struct Entry<T> {
    pub(crate) desc: BufferDesc,
    pub(crate) data: T,
}

/// Buffers by id. Ids are never used again, so that a stale one is found out.
#[derive(Debug)]
pub(crate) struct Buffers<T> {
    entries: HashMap<BufferId, Entry<T>>,
    next: u32,
}

impl<T> Default for Buffers<T> {
    fn default() -> Self {
        Self { entries: HashMap::new(), next: 0 }
    }
}

impl<T> Buffers<T> {
    /// Takes a buffer in under a new id.
    pub(crate) fn insert(&mut self, desc: BufferDesc, data: T) -> Result<BufferId, ExecError> {
        let id = BufferId(self.next);
        let next = self.next.checked_add(1);
        self.next = next.ok_or_else(|| ExecError::Device { reason: "buffer ids are used up: load the model again".into() })?;
        self.entries.insert(id, Entry { desc, data });
        Ok(id)
    }

    /// The buffer named `id`.
    pub(crate) fn get(&self, id: BufferId) -> Result<&Entry<T>, ExecError> {
        self.entries.get(&id).ok_or(unknown(id))
    }

    /// The buffer named `id`, to change.
    pub(crate) fn get_mut(&mut self, id: BufferId) -> Result<&mut Entry<T>, ExecError> {
        self.entries.get_mut(&id).ok_or(unknown(id))
    }

    /// Takes a buffer out; none if it is gone already.
    pub(crate) fn remove(&mut self, id: BufferId) -> Option<Entry<T>> {
        self.entries.remove(&id)
    }

    /// The size in bytes of a buffer that exists.
    pub(crate) fn size_of(&self, id: BufferId) -> Option<u64> {
        self.entries.get(&id).map(|entry| entry.desc.size)
    }

    /// Checks that `offset..offset + len` is a range of whole words of `id`, and gives the buffer.
    pub(crate) fn range(&self, id: BufferId, offset: u64, len: u64) -> Result<&Entry<T>, ExecError> {
        let entry = self.get(id)?;
        let inside = offset.checked_add(len).is_some_and(|end| end <= entry.desc.size);
        if inside && offset.is_multiple_of(4) && len.is_multiple_of(4) {
            return Ok(entry);
        }
        Err(ExecError::OutOfRange { label: entry.desc.label.clone(), offset, len, size: entry.desc.size })
    }
}

fn unknown(id: BufferId) -> ExecError {
    ExecError::Unknown { what: "buffer", id: id.0 }
}

/// Checks sizes against the limits before anything is allocated.
///
/// # Errors
/// [`ExecError::OutOfRange`] for sizes that are zero or no multiple of 4, [`ExecError::OverLimit`].
pub(crate) fn check_sizes(buffers: &[BufferDesc], limits: &DeviceLimits) -> Result<(), ExecError> {
    for desc in buffers {
        if desc.size == 0 || !desc.size.is_multiple_of(4) {
            return Err(ExecError::OutOfRange { label: desc.label.clone(), offset: 0, len: desc.size, size: desc.size });
        }
        if desc.size > limits.max_buffer {
            return Err(ExecError::OverLimit { label: desc.label.clone(), size: desc.size, limit: limits.max_buffer });
        }
    }
    Ok(())
}
