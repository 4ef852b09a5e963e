//! Runs recordings on a GPU through wgpu: the only code that names it.

mod adapter;
mod device;
mod pace;
mod pipeline;
mod prepared;
mod profile;
mod read;
mod submit;
mod wait;
#[cfg(target_arch = "wasm32")]
mod web;

use std::{collections::HashMap, time::Duration};

pub use adapter::{AdapterKind, AdapterSummary, Adapters};
pub use device::{DeviceHandle, GpuOptions};
pub use profile::Timings;
#[cfg(not(target_arch = "wasm32"))]
pub use wait::Waiter;

use self::{
    device::{Gpu, reported},
    pipeline::Pipelines,
    prepared::Prepared,
    read::{Missing, Reader},
    submit::{Held, Submitter},
};
use crate::{
    buffers::{Buffers, Ledger, check_sizes},
    exec::{DeviceInfo, DispatchTime, ExecError, Executor, LocalFuture, MemoryReport, PreparedId, SharedParallel},
    pieces::{self, Fill, Pieces},
    recording::{BufferDesc, BufferId, BufferSlice, BufferUse, Recording},
};

/// Runs recordings on a GPU.
#[derive(Debug)]
pub struct GpuExecutor {
    gpu: Gpu,
    buffers: Buffers<wgpu::Buffer>,
    ledger: Ledger,
    memory_limit: Option<u64>,
    pipelines: Pipelines,
    prepared: HashMap<PreparedId, Prepared>,
    next_prepared: u32,
    reader: Reader,
    submitter: Submitter,
    /// Bytes written since the last submission.
    unsubmitted: u64,
    parallel: SharedParallel,
}

/// The most bytes that one `write_buffer` stages. Larger writes go in pieces.
const WRITE_CHUNK: usize = 16 << 20;
/// Bytes that are written before a submission of their own sends them off: they lie in staging memory until then.
const WRITE_BACKLOG: u64 = 64 << 20;

impl GpuExecutor {
    /// Opens adapter number `index` of `adapters`.
    ///
    /// # Errors
    /// [`ExecError::NoDevice`], [`ExecError::MissingFeature`].
    pub async fn open(adapters: &Adapters, index: usize, options: &GpuOptions) -> Result<Self, ExecError> {
        let reader = Reader::default();
        Ok(Self {
            gpu: Gpu::open(adapters, index, options).await?,
            buffers: Buffers::default(),
            ledger: Ledger::default(),
            memory_limit: options.memory_limit,
            pipelines: Pipelines::default(),
            prepared: HashMap::new(),
            next_prepared: 0,
            submitter: Submitter::new(options.clock.clone(), reader.outstanding()),
            reader,
            unsubmitted: 0,
            parallel: options.parallel.clone(),
        })
    }

    /// What a native host waits for reads with.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn waiter(&self) -> Waiter {
        self.reader.waiter(&self.gpu)
    }

    /// What destroys and watches the device while the executor is in use elsewhere.
    pub fn handle(&self) -> DeviceHandle {
        self.gpu.handle()
    }

    /// Runs a prepared recording with each dispatch timed on the device: label and nanoseconds of each, in order.
    ///
    /// # Errors
    /// [`ExecError::MissingFeature`] unless the device was opened with timestamps; what `submit` and `read` give.
    pub fn profile(&mut self, prepared: PreparedId) -> LocalFuture<'static, Timings> {
        self.submitter.flush(&self.gpu);
        let run = self.gpu.health.check().and_then(|()| find(&self.prepared, prepared));
        match run.and_then(|prepared| profile::run(&self.gpu, &mut self.reader, prepared, self.ledger.total())) {
            Ok(timed) => timed,
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    /// Books bytes that wait in staging memory, and sends them off when they are many.
    fn staged(&mut self, bytes: u64) {
        self.unsubmitted += bytes;
        if self.unsubmitted > WRITE_BACKLOG {
            self.gpu.queue.submit([]);
            self.unsubmitted = 0;
        }
    }

    fn check_memory(&self, label: &str, size: u64) -> Result<(), ExecError> {
        let allocated = self.ledger.total();
        if self.memory_limit.is_some_and(|limit| allocated.saturating_add(size) > limit) {
            return Err(ExecError::OutOfMemory { label: label.to_owned(), size, allocated });
        }
        Ok(())
    }

    async fn allocate_all(&mut self, descs: &[BufferDesc]) -> Result<Vec<BufferId>, ExecError> {
        self.gpu.health.check()?;
        check_sizes(descs, &self.gpu.info.limits)?;
        let sum = descs.iter().fold(0, |sum: u64, desc| sum.saturating_add(desc.size));
        self.check_memory(descs.first().map_or("", |desc| &desc.label), sum)?;
        let made: Vec<_> = descs.iter().map(|desc| self.gpu.scoped(|device| make_buffer(device, desc))).collect();
        let mut buffers = Vec::with_capacity(descs.len());
        let mut failed = None;
        for ((buffer, failure), desc) in made.into_iter().zip(descs) {
            buffers.push(buffer);
            failed = failed.or(failure.await.map(|error| (error, desc)));
        }
        if let Some((error, desc)) = failed {
            buffers.iter().for_each(wgpu::Buffer::destroy);
            self.gpu.health.check()?;
            return Err(reported(&error, &desc.label, desc.size, self.ledger.total()));
        }
        let mut ids = Vec::with_capacity(descs.len());
        for (buffer, desc) in buffers.into_iter().zip(descs) {
            ids.push(self.buffers.insert(desc.clone(), buffer)?);
            self.ledger.add(desc.usage, desc.size);
        }
        Ok(ids)
    }

    async fn prepare_recording(&mut self, recording: &Recording) -> Result<PreparedId, ExecError> {
        self.gpu.health.check()?;
        recording.validate(|id| self.buffers.size_of(id))?;
        let prepared =
            Prepared::new(&self.gpu, &mut self.pipelines, self.submitter.pace(), &self.buffers, recording, self.ledger.total()).await?;
        let id = PreparedId(self.next_prepared);
        let next = self.next_prepared.checked_add(1);
        self.next_prepared = next.ok_or_else(|| ExecError::Device { reason: "recording ids are used up: load the model again".into() })?;
        self.ledger.add(BufferUse::Io, prepared.params_bytes());
        self.prepared.insert(id, prepared);
        Ok(id)
    }
}

impl Executor for GpuExecutor {
    fn device(&self) -> &DeviceInfo {
        &self.gpu.info
    }

    fn allocate<'a>(&'a mut self, buffers: &'a [BufferDesc]) -> LocalFuture<'a, Result<Vec<BufferId>, ExecError>> {
        Box::pin(self.allocate_all(buffers))
    }

    fn release(&mut self, buffers: &[BufferId]) {
        self.submitter.flush(&self.gpu);
        for &id in buffers {
            let stale: Vec<_> = self.prepared.iter().filter(|(_, prepared)| prepared.uses(id)).map(|(stale, _)| *stale).collect();
            stale.into_iter().for_each(|stale| self.forget(stale));
            if let Some(entry) = self.buffers.remove(id) {
                self.ledger.sub(entry.desc.usage, entry.desc.size);
                entry.data.destroy();
            }
        }
        let (gone, free) = (self.reader.collect(), self.reader.trim());
        self.ledger.sub(BufferUse::Io, gone + free);
    }

    fn write(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<(), ExecError> {
        self.gpu.health.check()?;
        let target = self.buffers.range(buffer, offset, bytes.len() as u64)?.data.clone();
        self.submitter.flush(&self.gpu);
        let mut at = offset;
        for chunk in bytes.chunks(WRITE_CHUNK) {
            self.gpu.queue.write_buffer(&target, at, chunk);
            at += chunk.len() as u64;
            self.staged(chunk.len() as u64);
        }
        self.gpu.health.check()
    }

    fn write_pieces(&mut self, targets: &[Pieces], fill: &Fill<'_>) -> Result<(), ExecError> {
        self.gpu.health.check()?;
        let mut views = Vec::with_capacity(targets.len());
        for Pieces { slice, .. } in targets {
            let entry = self.buffers.range(slice.buffer, slice.offset, slice.size)?;
            let size = wgpu::BufferSize::new(slice.size);
            let view = size.and_then(|size| self.gpu.queue.write_buffer_with(&entry.data, slice.offset, size));
            views.push(view.ok_or_else(|| ExecError::Device { reason: format!("no memory to stage {} bytes in", slice.size) })?);
        }
        self.submitter.flush(&self.gpu);
        let places = views.iter_mut().map(|view| Staging(view.slice(..))).collect();
        pieces::write_side_by_side(&self.parallel, targets, places, Staging::split_at, Staging::copy_from, fill)?;
        drop(views);
        self.staged(targets.iter().map(|target| target.slice.size).sum());
        self.gpu.health.check()
    }

    fn prepare<'a>(&'a mut self, recording: &'a Recording) -> LocalFuture<'a, Result<PreparedId, ExecError>> {
        Box::pin(self.prepare_recording(recording))
    }

    fn forget(&mut self, prepared: PreparedId) {
        if let Some(prepared) = self.prepared.remove(&prepared) {
            self.ledger.sub(BufferUse::Io, prepared.params_bytes());
        }
    }

    fn submit(&mut self, prepared: PreparedId) -> Result<(), ExecError> {
        self.gpu.health.check()?;
        let prepared = find(&self.prepared, prepared)?;
        self.submitter.submit(&self.gpu, prepared);
        self.unsubmitted = 0;
        self.gpu.health.check()
    }

    fn read(&mut self, slice: BufferSlice) -> LocalFuture<'static, Result<Vec<u8>, ExecError>> {
        let source = match self.gpu.health.check().and_then(|()| self.buffers.range(slice.buffer, slice.offset, slice.size)) {
            Ok(entry) if slice.size > 0 => &entry.data,
            Ok(_) => return Box::pin(std::future::ready(Ok(Vec::new()))),
            Err(error) => return Box::pin(std::future::ready(Err(error))),
        };
        self.ledger.sub(BufferUse::Io, self.reader.collect());
        let missing = self.reader.missing(slice.size);
        match missing {
            Missing::Nothing => {}
            Missing::Kept(bytes) => self.ledger.add(BufferUse::Io, bytes),
            Missing::Transient(bytes) => self.ledger.add_for_a_moment(bytes),
        }
        if missing != Missing::Nothing {
            self.submitter.flush(&self.gpu); // a copy into memory that there is not must not take the step with it
        }
        self.unsubmitted = 0;
        let (held, now) = self.submitter.take();
        let (commands, load) = held.map(Held::split).unzip();
        let range = slice.offset..slice.offset + slice.size;
        let read = self.reader.read(&self.gpu, source, range, commands, self.ledger.total());
        if let Some(load) = load {
            self.submitter.measure(&self.gpu, load, now);
        }
        read
    }

    fn memory(&self) -> MemoryReport {
        self.ledger.report()
    }

    fn longest_submit(&mut self) -> Option<Duration> {
        self.submitter.longest()
    }

    fn dispatch_time(&mut self, recording: &Recording) -> DispatchTime {
        self.submitter.slowest(recording)
    }
}

fn find(prepared: &HashMap<PreparedId, Prepared>, id: PreparedId) -> Result<&Prepared, ExecError> {
    prepared.get(&id).ok_or(ExecError::Unknown { what: "recording", id: id.0 })
}

/// Memory that the device copies from, or a part of it.
struct Staging<'a>(wgpu::WriteOnly<'a, [u8]>);

// SAFETY: like `&mut [u8]`, it is the only way to the bytes it points to; wgpu says `Send` of sized elements alone.
#[allow(unsafe_code, reason = "see the SAFETY line")]
unsafe impl Send for Staging<'_> {}

impl Staging<'_> {
    fn split_at(self, at: usize) -> (Self, Self) {
        let (first, rest) = self.0.split_at(at);
        (Self(first), Self(rest))
    }

    fn copy_from(&mut self, bytes: &[u8]) {
        self.0.copy_from_slice(bytes);
    }
}

fn make_buffer(device: &wgpu::Device, desc: &BufferDesc) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some(&desc.label),
        size: desc.size,
        usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
