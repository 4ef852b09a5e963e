//! Times each dispatch of a prepared recording on the device: a pass of its own for each, with a timestamp at both ends.

use super::{device::Gpu, device::reported, prepared::Prepared, read::Reader};
use crate::exec::{ExecError, LocalFuture};

/// Label and nanoseconds of each dispatch, in order.
pub type Timings = Result<Vec<(String, f64)>, ExecError>;

/// Dispatches a query set has room for: WebGPU allows 4096 queries, and each takes two.
const DISPATCHES_PER_SET: usize = 2048;
/// Bytes of one timestamp.
const TICK_BYTES: u64 = 8;

/// Submits the recording, timed.
///
/// # Errors
/// [`ExecError::MissingFeature`] where the device was not opened with timestamps.
pub(super) fn run(gpu: &Gpu, reader: &mut Reader, prepared: &Prepared, allocated: u64) -> Result<LocalFuture<'static, Timings>, ExecError> {
    if !gpu.timestamps {
        return Err(ExecError::MissingFeature { device: gpu.info.name.clone(), feature: "timestamp queries" });
    }
    let labels: Vec<String> = prepared.labels().map(str::to_owned).collect();
    let period = f64::from(gpu.queue.get_timestamp_period());
    let mut reads = Vec::new();
    for first in (0..labels.len()).step_by(DISPATCHES_PER_SET) {
        let count = DISPATCHES_PER_SET.min(labels.len() - first);
        let size = 2 * TICK_BYTES * count as u64;
        let (ticks, failure) = gpu.scoped(|device| encode(gpu, device, prepared, first, count, size));
        reads.push((failure, reader.read(gpu, &ticks, 0..size, None, allocated)));
    }
    Ok(Box::pin(async move {
        let mut times = Vec::with_capacity(labels.len());
        for (failure, read) in reads {
            if let Some(error) = failure.await {
                return Err(reported(&error, "timestamps", 0, allocated));
            }
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&read.await?);
            times.extend(ticks.chunks_exact(2).map(|pass| pass[1].saturating_sub(pass[0]) as f64 * period));
        }
        Ok(labels.into_iter().zip(times).collect())
    }))
}

/// Submits `count` dispatches from number `first` on and resolves their timestamps into the buffer that is given back.
fn encode(gpu: &Gpu, device: &wgpu::Device, prepared: &Prepared, first: usize, count: usize, size: u64) -> wgpu::Buffer {
    let queries = 2 * count as u32;
    let set = device.create_query_set(&wgpu::QuerySetDescriptor { label: Some("profile"), ty: wgpu::QueryType::Timestamp, count: queries });
    let ticks = device.create_buffer(&wgpu::BufferDescriptor {
        label: Some("profile"),
        size,
        usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
        mapped_at_creation: false,
    });
    let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor { label: Some("profile") });
    for (index, query) in (first..first + count).zip((0..queries).step_by(2)) {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("profile"),
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &set,
                beginning_of_pass_write_index: Some(query),
                end_of_pass_write_index: Some(query + 1),
            }),
        });
        prepared.encode_one(index, &mut pass);
    }
    encoder.resolve_query_set(&set, 0..queries, &ticks, 0);
    gpu.queue.submit([encoder.finish()]);
    ticks
}
