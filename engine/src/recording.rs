//! A recording is the work of one step as plain data: a list of kernel calls over ranges of buffers. `gpu` encodes it,
//! `cpu` runs it with the kernels' scalar twins, and both give the same answer.

use parhelion_shaders::{Access, Call};

use crate::exec::ExecError;

/// Names a buffer of an executor. Ids are given by [`crate::exec::Executor::allocate`] and never used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BufferId(pub u32);

/// Offsets of bound ranges are multiples of this many bytes: WebGPU's floor for storage and uniform bindings.
pub const BINDING_ALIGNMENT: u64 = 256;

/// A range of a buffer, in bytes. `offset` is a multiple of [`BINDING_ALIGNMENT`], `size` of 4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BufferSlice {
    /// The buffer.
    pub buffer: BufferId,
    /// First byte.
    pub offset: u64,
    /// Length in bytes.
    pub size: u64,
}

impl BufferSlice {
    /// The whole of a buffer of `size` bytes.
    pub fn whole(buffer: BufferId, size: u64) -> Self {
        Self { buffer, offset: 0, size }
    }

    /// The first `size` bytes of this range.
    pub fn head(self, size: u64) -> Self {
        debug_assert!(size <= self.size, "{size} bytes of a range of {}", self.size);
        Self { size, ..self }
    }
}

/// What a buffer is for. Accounting and error messages go by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BufferUse {
    /// Model weights: written once, read by kernels.
    Weights,
    /// What outlives a step: KV cache, token counts, page tables.
    State,
    /// Intermediate values of a step, shared by values that are never alive together.
    Scratch,
    /// What the host writes before a step or reads after it.
    Io,
}

/// A buffer to allocate. New buffers are zero.
#[derive(Debug, Clone)]
pub struct BufferDesc {
    /// What error messages call it: a tensor's name, `layer 3 keys`.
    pub label: String,
    /// Bytes, a multiple of 4 and over 0.
    pub size: u64,
    /// What it is for.
    pub usage: BufferUse,
}

/// A call with the name of the operator that made it: `layer 3: attn.q`.
#[derive(Debug, Clone)]
pub struct Step {
    /// What profiles and errors call the dispatch.
    pub label: String,
    /// The dispatch.
    pub call: Call<BufferSlice>,
    /// How much there is to do, in units that dispatches of one kernel share: multiplications, elements, workgroups. Devices learn
    /// from it how long a dispatch takes; 0 where it is not known.
    pub work: u64,
}

/// The work of one step, in order.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// Dispatches in order. Each sees all that the ones before it wrote.
    pub steps: Vec<Step>,
}

impl Recording {
    /// Checks every call against its kernel and the buffers' sizes (`size_of` gives none for an unknown id), so that
    /// executors can rely on it: the parameters' size, each slot bound once, offsets aligned, ranges inside their
    /// buffers, no buffer both read and written by one call, and grids within the limits.
    ///
    /// # Errors
    /// [`ExecError::InvalidCall`] names the step and what is wrong with it.
    pub fn validate(&self, size_of: impl Fn(BufferId) -> Option<u64>) -> Result<(), ExecError> {
        for step in &self.steps {
            validate_call(&step.call, &size_of).map_err(|reason| ExecError::InvalidCall {
                step: step.label.clone(),
                kernel: step.call.kernel.variant,
                reason,
            })?;
        }
        Ok(())
    }
}

fn validate_call(call: &Call<BufferSlice>, size_of: &impl Fn(BufferId) -> Option<u64>) -> Result<(), String> {
    let kernel = call.kernel;
    if call.params.len() != kernel.params_size as usize {
        return Err(format!("{} bytes of parameters where the kernel has {}", call.params.len(), kernel.params_size));
    }
    if call.grid.iter().any(|&n| n == 0 || n > parhelion_shaders::MAX_GROUPS) {
        return Err(format!("grid {:?} has a dimension outside 1..={}", call.grid, parhelion_shaders::MAX_GROUPS));
    }
    if let Some((name, _)) = call.constants.iter().find(|(name, _)| kernel.constants.iter().all(|constant| constant.name != *name)) {
        return Err(format!("the kernel has no override `{name}`"));
    }
    let storage = || kernel.bindings.iter().filter(|b| b.access != Access::Uniform);
    if call.bindings.len() != storage().count() {
        return Err(format!("{} bindings where the kernel has {}", call.bindings.len(), storage().count()));
    }
    let mut bound: Vec<(BufferId, Access)> = Vec::with_capacity(call.bindings.len());
    for info in storage() {
        let Some((_, slice)) = call.bindings.iter().find(|(slot, _)| *slot == info.slot) else {
            return Err(format!("nothing bound to `{}`", info.name));
        };
        let size = size_of(slice.buffer).ok_or_else(|| format!("`{}` is bound to a buffer that does not exist", info.name))?;
        let end = slice.offset.checked_add(slice.size);
        if slice.offset % BINDING_ALIGNMENT != 0 || slice.size % 4 != 0 || slice.size == 0 || end.is_none_or(|end| end > size) {
            return Err(format!("`{}` is bound to bytes {}+{} of a buffer of {size}", info.name, slice.offset, slice.size));
        }
        if bound.iter().any(|(id, access)| *id == slice.buffer && (*access == Access::ReadWrite || info.access == Access::ReadWrite)) {
            return Err(format!("`{}` shares its buffer with another binding and one of them is written", info.name));
        }
        bound.push((slice.buffer, info.access));
    }
    Ok(())
}
