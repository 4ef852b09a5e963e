//! Runs recordings on the CPU with the kernels' scalar twins.

use std::collections::{HashMap, HashSet};

use parhelion_shaders::Access;

use crate::{
    buffers::{Buffers, Ledger, check_sizes},
    exec::{DeviceInfo, DeviceLimits, ExecError, Executor, LocalFuture, MemoryReport, Parallel, PreparedId, Switches},
    ops::{TWINS, Twin, TwinArgs, TwinSlice},
    pieces::{self, Fill, Pieces},
    recording::{BufferDesc, BufferId, BufferSlice, Recording, Step},
};

/// Runs recordings with the scalar twins. `submit` computes before it returns; threads are those that the host lends.
pub struct CpuExecutor {
    info: DeviceInfo,
    parallel: Box<dyn Parallel + Send>,
    buffers: Buffers<Vec<u32>>,
    ledger: Ledger,
    prepared: HashMap<PreparedId, Prepared>,
    next_prepared: u32,
}

impl std::fmt::Debug for CpuExecutor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CpuExecutor").field("info", &self.info).finish_non_exhaustive()
    }
}

/// A valid recording with the twin of each step.
struct Prepared {
    steps: Vec<(Step, Twin)>,
    buffers: HashSet<BufferId>,
}

/// Twins index words with 32 bits, as kernels do, and a buffer must fit the address space.
const MAX_BUFFER: u64 = if usize::BITS > 32 { u32::MAX as u64 & !0xff } else { (isize::MAX as u64) & !0xff };

impl CpuExecutor {
    /// An executor that runs loops on the threads of `parallel` ([`crate::exec::Serial`] where there are none).
    pub fn new(parallel: Box<dyn Parallel + Send>) -> Self {
        let limits = DeviceLimits { max_binding: MAX_BUFFER, max_buffer: MAX_BUFFER, ..DeviceLimits::FLOOR };
        let info = DeviceInfo {
            name: format!("CPU, {} threads", parallel.threads()),
            backend: "scalar".into(),
            driver: String::new(),
            software: false,
            switches: Switches::default(),
            limits,
            steps_in_flight: 1,
        };
        Self { info, parallel, buffers: Buffers::default(), ledger: Ledger::default(), prepared: HashMap::new(), next_prepared: 0 }
    }

    fn allocate_all(&mut self, descs: &[BufferDesc]) -> Result<Vec<BufferId>, ExecError> {
        check_sizes(descs, &self.info.limits)?;
        let mut made = Vec::with_capacity(descs.len());
        for desc in descs {
            made.push(zeroed_words(desc.size).ok_or_else(|| ExecError::OutOfMemory {
                label: desc.label.clone(),
                size: desc.size,
                allocated: self.ledger.total(),
            })?);
        }
        let mut ids = Vec::with_capacity(descs.len());
        for (words, desc) in made.into_iter().zip(descs) {
            ids.push(self.buffers.insert(desc.clone(), words)?);
            self.ledger.add(desc.usage, desc.size);
        }
        Ok(ids)
    }

    fn prepare_recording(&mut self, recording: &Recording) -> Result<PreparedId, ExecError> {
        recording.validate(|id| self.buffers.size_of(id))?;
        let mut steps = Vec::with_capacity(recording.steps.len());
        for step in &recording.steps {
            let kernel = step.call.kernel;
            let twin = TWINS.iter().find(|(name, _)| *name == kernel.name).map(|(_, twin)| *twin);
            let reason = || "the kernel has no scalar twin: it runs on GPUs only".to_owned();
            let twin = twin.ok_or_else(|| ExecError::Pipeline { kernel: kernel.variant, reason: reason() })?;
            steps.push((step.clone(), twin));
        }
        let buffers = steps.iter().flat_map(|(step, _)| step.call.bindings.iter().map(|(_, slice)| slice.buffer)).collect();
        let id = PreparedId(self.next_prepared);
        let next = self.next_prepared.checked_add(1);
        self.next_prepared = next.ok_or_else(|| ExecError::Device { reason: "recording ids are used up: load the model again".into() })?;
        self.prepared.insert(id, Prepared { steps, buffers });
        Ok(id)
    }

    fn bytes(&self, slice: BufferSlice) -> Result<Vec<u8>, ExecError> {
        let words = &self.buffers.range(slice.buffer, slice.offset, slice.size)?.data;
        Ok(bytemuck::cast_slice(&words[word_range(slice)]).to_vec())
    }
}

impl Executor for CpuExecutor {
    fn device(&self) -> &DeviceInfo {
        &self.info
    }

    fn allocate<'a>(&'a mut self, buffers: &'a [BufferDesc]) -> LocalFuture<'a, Result<Vec<BufferId>, ExecError>> {
        Box::pin(std::future::ready(self.allocate_all(buffers)))
    }

    fn release(&mut self, buffers: &[BufferId]) {
        for &id in buffers {
            self.prepared.retain(|_, prepared| !prepared.buffers.contains(&id));
            if let Some(entry) = self.buffers.remove(id) {
                self.ledger.sub(entry.desc.usage, entry.desc.size);
            }
        }
    }

    fn write(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<(), ExecError> {
        let size = bytes.len() as u64;
        self.buffers.range(buffer, offset, size)?;
        let words = &mut self.buffers.get_mut(buffer)?.data;
        bytemuck::cast_slice_mut(&mut words[word_range(BufferSlice { buffer, offset, size })]).copy_from_slice(bytes);
        Ok(())
    }

    fn write_pieces(&mut self, targets: &[Pieces], fill: &Fill<'_>) -> Result<(), ExecError> {
        let ids: HashSet<BufferId> = targets.iter().map(|target| target.slice.buffer).collect();
        if ids.len() < targets.len() {
            return pieces::write_in_turn(self, targets, fill);
        }
        let mut taken = Vec::with_capacity(targets.len());
        for Pieces { slice, .. } in targets {
            self.buffers.range(slice.buffer, slice.offset, slice.size)?;
            taken.push((*slice, std::mem::take(&mut self.buffers.get_mut(slice.buffer)?.data)));
        }
        let places = taken.iter_mut().map(|(slice, words)| bytemuck::cast_slice_mut(&mut words[word_range(*slice)])).collect();
        let written = pieces::write_side_by_side(
            &*self.parallel,
            targets,
            places,
            <[u8]>::split_at_mut,
            |place, bytes| place.copy_from_slice(bytes),
            fill,
        );
        for (slice, words) in taken {
            self.buffers.get_mut(slice.buffer)?.data = words;
        }
        written
    }

    fn prepare<'a>(&'a mut self, recording: &'a Recording) -> LocalFuture<'a, Result<PreparedId, ExecError>> {
        Box::pin(std::future::ready(self.prepare_recording(recording)))
    }

    fn forget(&mut self, prepared: PreparedId) {
        self.prepared.remove(&prepared);
    }

    fn submit(&mut self, prepared: PreparedId) -> Result<(), ExecError> {
        let found = self.prepared.get(&prepared).ok_or(ExecError::Unknown { what: "recording", id: prepared.0 })?;
        for (step, twin) in &found.steps {
            run(step, *twin, &mut self.buffers, &*self.parallel)?;
        }
        Ok(())
    }

    fn read(&mut self, slice: BufferSlice) -> LocalFuture<'static, Result<Vec<u8>, ExecError>> {
        Box::pin(std::future::ready(self.bytes(slice)))
    }

    fn memory(&self) -> MemoryReport {
        self.ledger.report()
    }
}

/// Runs one step. Written buffers are taken out of the table for as long, so that nothing else refers to them.
fn run(step: &Step, twin: Twin, buffers: &mut Buffers<Vec<u32>>, parallel: &dyn Parallel) -> Result<(), ExecError> {
    let call = &step.call;
    let written = |slot: u32| call.kernel.bindings.iter().any(|info| info.slot == slot && info.access == Access::ReadWrite);
    let mut taken = Vec::new();
    for &(slot, slice) in call.bindings.iter().filter(|(slot, _)| written(*slot)) {
        taken.push((slot, slice, std::mem::take(&mut buffers.get_mut(slice.buffer)?.data)));
    }
    let outcome = bind_reads(step, &written, buffers).and_then(|mut bindings| {
        bindings.extend(taken.iter_mut().map(|(slot, slice, words)| (*slot, TwinSlice::Write(&mut words[word_range(*slice)]))));
        twin(&TwinArgs::new(call, bindings, parallel)).map_err(|reason| invalid(step, reason))
    });
    for (_, slice, words) in taken {
        buffers.get_mut(slice.buffer)?.data = words;
    }
    outcome
}

fn bind_reads<'a>(
    step: &Step,
    written: &impl Fn(u32) -> bool,
    buffers: &'a Buffers<Vec<u32>>,
) -> Result<Vec<(u32, TwinSlice<'a>)>, ExecError> {
    let reads = step.call.bindings.iter().filter(|(slot, _)| !written(*slot));
    reads.map(|&(slot, slice)| Ok((slot, TwinSlice::Read(&buffers.get(slice.buffer)?.data[word_range(slice)])))).collect()
}

fn invalid(step: &Step, reason: String) -> ExecError {
    ExecError::InvalidCall { step: step.label.clone(), kernel: step.call.kernel.variant, reason }
}

/// The words of a range that was checked to lie inside its buffer.
fn word_range(slice: BufferSlice) -> std::ops::Range<usize> {
    let first = (slice.offset / 4) as usize;
    first..first + (slice.size / 4) as usize
}

/// `size` bytes of zero words; none if there is no memory for them.
fn zeroed_words(size: u64) -> Option<Vec<u32>> {
    let count = usize::try_from(size / 4).ok()?;
    let mut words = Vec::new();
    words.try_reserve_exact(count).ok()?;
    words.resize(count, 0);
    Some(words)
}
