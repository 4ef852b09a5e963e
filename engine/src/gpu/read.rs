//! Reading back: copies into staging buffers that are used again and again, and futures of their bytes. Nothing here waits.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
};

use futures_channel::oneshot;

use super::{
    device::{Gpu, reported},
    wait::Outstanding,
};
use crate::exec::{ExecError, LocalFuture};

/// Staging buffers and the reads that use them.
#[derive(Debug)]
pub(super) struct Reader {
    free: Vec<wgpu::Buffer>,
    returned: mpsc::Receiver<Returned>,
    give_back: mpsc::Sender<Returned>,
    outstanding: Outstanding,
}

impl Default for Reader {
    fn default() -> Self {
        let (give_back, returned) = mpsc::channel();
        Self { free: Vec::new(), returned, give_back, outstanding: Outstanding::default() }
    }
}

/// What becomes of a kept staging buffer after a read.
#[derive(Debug)]
enum Returned {
    /// It is free.
    Free(wgpu::Buffer),
    /// It could not be made or mapped and is gone: its bytes.
    Gone(u64),
}

/// Staging buffers are made in powers of two from this size, so that reads of like sizes share them.
const SMALLEST_STAGING: u64 = 256;
/// Staging buffers up to this size are kept for the next read; larger ones are for rare reads such as saving a session.
const LARGEST_KEPT: u64 = 4 << 20;

impl Reader {
    /// Takes back the buffers of reads that ended, and says how many bytes of them are gone.
    pub(super) fn collect(&mut self) -> u64 {
        let mut gone = 0;
        for returned in self.returned.try_iter() {
            match returned {
                Returned::Free(buffer) => self.free.push(buffer),
                Returned::Gone(bytes) => gone += bytes,
            }
        }
        gone
    }

    /// Finds out what staging memory a read of `size` bytes has to allocate.
    pub(super) fn missing(&mut self, size: u64) -> Missing {
        match staging_size(size) {
            size if self.free.iter().any(|buffer| buffer.size() == size) => Missing::Nothing,
            size if size <= LARGEST_KEPT => Missing::Kept(size),
            size => Missing::Transient(size),
        }
    }

    /// Copies a range of `source` after all that was submitted, `before` among it if there is something, and gives a future of its
    /// bytes. `allocated` is for the error.
    pub(super) fn read(
        &mut self,
        gpu: &Gpu,
        source: &wgpu::Buffer,
        range: Range<u64>,
        before: Option<wgpu::CommandBuffer>,
        allocated: u64,
    ) -> LocalFuture<'static, Result<Vec<u8>, ExecError>> {
        let size = range.end - range.start;
        let free = self.free.iter().position(|buffer| buffer.size() == staging_size(size)).map(|at| self.free.swap_remove(at));
        let answered = Arc::<AtomicBool>::default();
        let (answer, mapped) = oneshot::channel();
        let ((buffer, index), failure) = gpu.scoped(|device| {
            let buffer = free.unwrap_or_else(|| make_staging(device, size));
            let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("read") });
            encoder.copy_buffer_to_buffer(source, range.start, &buffer, 0, size);
            let index = gpu.queue.submit(before.into_iter().chain([encoder.finish()]));
            let answered = Arc::clone(&answered);
            buffer.map_async(wgpu::MapMode::Read, ..size, move |result| {
                answered.store(true, Ordering::Release);
                // The receiver is gone when the read's future was dropped: then nobody wants to know.
                let _ = answer.send(result);
            });
            (buffer, index)
        });
        self.outstanding.push(index, answered);
        let mut staging = Staging { buffer, mapped: true, give_back: self.give_back.clone() };
        let health = Arc::clone(&gpu.health);
        Box::pin(async move {
            let failure = failure.await;
            let mapped = if failure.is_none() { mapped.await.unwrap_or(Err(wgpu::BufferAsyncError)) } else { Err(wgpu::BufferAsyncError) };
            staging.mapped = mapped.is_ok();
            health.check()?;
            if let Some(error) = failure {
                return Err(reported(&error, "staging buffer", size, allocated));
            }
            let failed = |reason: String| ExecError::Device { reason: format!("a read failed: {reason}") };
            mapped.map_err(|error| failed(error.to_string()))?;
            let bytes = staging.buffer.get_mapped_range(..size).map_err(|error| failed(error.to_string()))?.to_vec();
            Ok(bytes)
        })
    }

    /// Gives back staging memory that no read uses, and says how much it was.
    pub(super) fn trim(&mut self) -> u64 {
        self.free.iter().for_each(wgpu::Buffer::destroy);
        self.free.drain(..).map(|buffer| buffer.size()).sum()
    }

    /// What is under way.
    pub(super) fn outstanding(&self) -> Outstanding {
        self.outstanding.clone()
    }

    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn waiter(&self, gpu: &Gpu) -> super::Waiter {
        super::Waiter::new(gpu, self.outstanding.clone())
    }
}

/// Staging memory that a read has to allocate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Missing {
    /// None: there is a buffer for it.
    Nothing,
    /// Bytes that stay allocated for later reads.
    Kept(u64),
    /// Bytes that go with the read.
    Transient(u64),
}

/// A staging buffer that is mapped or about to be. It goes back to the reader when the read's future ends or is dropped.
struct Staging {
    buffer: wgpu::Buffer,
    mapped: bool,
    give_back: mpsc::Sender<Returned>,
}

impl Drop for Staging {
    fn drop(&mut self) {
        if self.mapped {
            self.buffer.unmap();
        }
        if self.buffer.size() <= LARGEST_KEPT {
            let returned = if self.mapped { Returned::Free(self.buffer.clone()) } else { Returned::Gone(self.buffer.size()) };
            // The executor is gone when this fails, and its buffers with it.
            let _ = self.give_back.send(returned);
        }
    }
}

fn staging_size(size: u64) -> u64 {
    if size > LARGEST_KEPT { size } else { size.max(SMALLEST_STAGING).next_power_of_two() }
}

fn make_staging(device: &wgpu::Device, size: u64) -> wgpu::Buffer {
    device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("staging"),
        size: staging_size(size),
        usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
        mapped_at_creation: false,
    })
}
