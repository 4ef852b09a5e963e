//! A recording made ready for the GPU: pipelines, bind groups and one uniform buffer with the parameters of every call.

use std::{collections::HashSet, ops::Range};

use parhelion_shaders::Call;

use super::{
    device::{Gpu, reported},
    pace::{Load, Pace, Slot, add},
    pipeline::{Pipeline, Pipelines},
};
use crate::{
    buffers::Buffers,
    exec::ExecError,
    recording::{BINDING_ALIGNMENT, BufferId, BufferSlice, Recording},
};

/// What `submit` replays.
#[derive(Debug)]
pub(super) struct Prepared {
    dispatches: Vec<Dispatch>,
    /// The kernel of each dispatch and what it has to do.
    work: Vec<(Slot, u64)>,
    /// All of it, by kernel.
    load: Load,
    /// Parameters of every call; held for its size, the bind groups keep it alive.
    params: Option<wgpu::Buffer>,
    buffers: HashSet<BufferId>,
}

#[derive(Debug)]
struct Dispatch {
    label: String,
    pipeline: wgpu::ComputePipeline,
    bind_group: wgpu::BindGroup,
    grid: [u32; 3],
}

impl Prepared {
    /// Makes a valid recording ready. `allocated` bytes are there already, for the error.
    ///
    /// # Errors
    /// [`ExecError::InvalidCall`] for a binding over the device's limit, [`ExecError::Pipeline`], [`ExecError::OutOfMemory`].
    pub(super) async fn new(
        gpu: &Gpu,
        pipelines: &mut Pipelines,
        pace: &mut Pace,
        buffers: &Buffers<wgpu::Buffer>,
        recording: &Recording,
        allocated: u64,
    ) -> Result<Self, ExecError> {
        check_limits(gpu, recording)?;
        #[cfg(target_arch = "wasm32")]
        if gpu.compile_ahead {
            pipelines.compile_ahead(gpu, recording.steps.iter().map(|step| &step.call)).await;
        }
        let work: Vec<_> = recording.steps.iter().map(|step| (pace.slot(step.call.kernel.variant), step.work)).collect();
        let mut load = Load::new();
        add(&mut load, &work);
        let mut ready = Vec::with_capacity(recording.steps.len());
        for step in &recording.steps {
            ready.push(pipelines.get(gpu, &step.call).await?);
        }
        let Some(params) = Params::of(gpu, recording) else {
            return Ok(Self { dispatches: Vec::new(), work, load, params: None, buffers: HashSet::new() });
        };
        let size = params.bytes.len() as u64;
        let (made, failure) = gpu.scoped(|device| {
            let uniform = device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("params"),
                size,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            });
            gpu.queue.write_buffer(&uniform, 0, &params.bytes);
            let groups = recording.steps.iter().zip(&ready).zip(&params.offsets).map(|((step, pipeline), &offset)| {
                let params = wgpu::BufferBinding {
                    buffer: &uniform,
                    offset,
                    size: step.call.params.len().try_into().ok().and_then(std::num::NonZeroU64::new),
                };
                bind_group(device, &step.call, pipeline, params, buffers)
            });
            let groups = groups.collect::<Result<Vec<_>, _>>();
            groups.map(|groups| (uniform, groups))
        });
        if let Some(error) = failure.await {
            return Err(reported(&error, "kernel parameters", size, allocated));
        }
        let (uniform, groups) = made?;
        let dispatches = recording.steps.iter().zip(ready).zip(groups).map(|((step, pipeline), bind_group)| Dispatch {
            label: step.label.clone(),
            pipeline: pipeline.compute,
            bind_group,
            grid: step.call.grid,
        });
        Ok(Self {
            dispatches: dispatches.collect(),
            work,
            load,
            params: Some(uniform),
            buffers: recording.steps.iter().flat_map(|step| step.call.bindings.iter().map(|(_, slice)| slice.buffer)).collect(),
        })
    }

    /// Bytes of device memory the parameters take.
    pub(super) fn params_bytes(&self) -> u64 {
        self.params.as_ref().map_or(0, wgpu::Buffer::size)
    }

    /// Whether a call is bound to the buffer.
    pub(super) fn uses(&self, buffer: BufferId) -> bool {
        self.buffers.contains(&buffer)
    }

    /// Names of the dispatches in order.
    pub(super) fn labels(&self) -> impl Iterator<Item = &str> {
        self.dispatches.iter().map(|dispatch| dispatch.label.as_str())
    }

    /// The kernel of each dispatch and what it has to do.
    pub(super) fn work(&self) -> &[(Slot, u64)] {
        &self.work
    }

    /// What the recording has to do, by kernel.
    pub(super) fn load(&self) -> &Load {
        &self.load
    }

    /// What some of its dispatches have to do.
    pub(super) fn load_of(&self, range: Range<usize>) -> Load {
        if range.len() == self.work.len() {
            return self.load.clone();
        }
        let mut load = Load::new();
        add(&mut load, &self.work[range]);
        load
    }

    /// Encodes some of the dispatches into a pass: wgpu orders those that depend on each other.
    pub(super) fn encode(&self, range: Range<usize>, pass: &mut wgpu::ComputePass<'_>) {
        let mut current = None;
        for dispatch in &self.dispatches[range] {
            if current != Some(&dispatch.pipeline) {
                pass.set_pipeline(&dispatch.pipeline);
                current = Some(&dispatch.pipeline);
            }
            dispatch.run(pass);
        }
    }

    /// Encodes dispatch `index` alone.
    pub(super) fn encode_one(&self, index: usize, pass: &mut wgpu::ComputePass<'_>) {
        if let Some(dispatch) = self.dispatches.get(index) {
            pass.set_pipeline(&dispatch.pipeline);
            dispatch.run(pass);
        }
    }
}

impl Dispatch {
    fn run(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_bind_group(0, &self.bind_group, &[]);
        let [x, y, z] = self.grid;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// The parameters of all calls, each at an offset that a uniform binding may have.
struct Params {
    bytes: Vec<u8>,
    offsets: Vec<u64>,
}

impl Params {
    /// None for a recording without calls.
    fn of(gpu: &Gpu, recording: &Recording) -> Option<Self> {
        let alignment = BINDING_ALIGNMENT.max(gpu.limits.min_uniform_buffer_offset_alignment.into());
        let alignment = usize::try_from(alignment).ok()?;
        let mut params = Self { bytes: Vec::new(), offsets: Vec::with_capacity(recording.steps.len()) };
        for step in &recording.steps {
            params.offsets.push(params.bytes.len() as u64);
            params.bytes.extend_from_slice(&step.call.params);
            params.bytes.resize(params.bytes.len().next_multiple_of(alignment), 0);
        }
        (!params.bytes.is_empty()).then_some(params)
    }
}

/// Checks what the device's limits allow. wgpu looks at a workgroup's default size only, so that the value of the override is
/// checked here.
fn check_limits(gpu: &Gpu, recording: &Recording) -> Result<(), ExecError> {
    let limits = &gpu.info.limits;
    for step in &recording.steps {
        let bound = step.call.bindings.iter().map(|(slot, slice)| (slot, slice.size));
        let reason = if let Some((slot, size)) = bound.clone().find(|(_, size)| *size > limits.max_binding) {
            format!("slot {slot} binds {size} bytes and the device allows {}: split the tensor by rows", limits.max_binding)
        } else if let Some(size) = workgroup_size(&step.call).filter(|size| !(1.0..=f64::from(limits.max_invocations)).contains(size)) {
            format!("a workgroup of {size} invocations where the device allows 1 to {}", limits.max_invocations)
        } else {
            continue;
        };
        return Err(ExecError::InvalidCall { step: step.label.clone(), kernel: step.call.kernel.variant, reason });
    }
    Ok(())
}

/// The value of the override that sizes a kernel's workgroup.
fn workgroup_size<B>(call: &Call<B>) -> Option<f64> {
    const NAME: &str = "WG";
    let given = call.constants.iter().rev().find(|(name, _)| *name == NAME).map(|(_, value)| *value);
    given.or_else(|| call.kernel.constants.iter().find(|constant| constant.name == NAME).map(|constant| constant.default))
}

fn bind_group(
    device: &wgpu::Device,
    call: &Call<BufferSlice>,
    pipeline: &Pipeline,
    params: wgpu::BufferBinding<'_>,
    buffers: &Buffers<wgpu::Buffer>,
) -> Result<wgpu::BindGroup, ExecError> {
    let mut entries = vec![wgpu::BindGroupEntry { binding: 0, resource: wgpu::BindingResource::Buffer(params) }];
    for (slot, slice) in &call.bindings {
        entries.push(wgpu::BindGroupEntry {
            binding: *slot,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: &buffers.get(slice.buffer)?.data,
                offset: slice.offset,
                size: std::num::NonZeroU64::new(slice.size),
            }),
        });
    }
    Ok(device.create_bind_group(&wgpu::BindGroupDescriptor {
        label: Some(call.kernel.variant),
        layout: &pipeline.layout,
        entries: &entries,
    }))
}
