//! Compute pipelines, made once for each kernel variant and set of constants and kept for every recording.

use std::{collections::HashMap, num::NonZeroU64};

use parhelion_shaders::{Access, Call, Kernel};

use super::device::{Gpu, explain};
use crate::exec::ExecError;

/// A pipeline and the layout of its one bind group.
#[derive(Debug, Clone)]
pub(super) struct Pipeline {
    pub(super) compute: wgpu::ComputePipeline,
    pub(super) layout: wgpu::BindGroupLayout,
}

/// What tells pipelines apart: the variant, and the value of each of its overrides as bits.
type Key = (&'static str, Vec<u64>);

/// Shader modules by variant and pipelines by variant and constants.
#[derive(Debug, Default)]
pub(super) struct Pipelines {
    modules: HashMap<&'static str, Module>,
    pipelines: HashMap<Key, Pipeline>,
    /// Pipelines that the browser compiled ahead; held so that it keeps them.
    #[cfg(target_arch = "wasm32")]
    ahead: Vec<wasm_bindgen::JsValue>,
}

/// What all pipelines of a variant share.
#[derive(Debug, Clone)]
struct Module {
    shader: wgpu::ShaderModule,
    bindings: wgpu::BindGroupLayout,
    layout: wgpu::PipelineLayout,
}

impl Pipelines {
    /// Compiles side by side what `calls` need and is not here yet. Only browsers can; elsewhere each is made when it is got.
    #[cfg(target_arch = "wasm32")]
    pub(super) async fn compile_ahead<'a, B: 'a>(&mut self, gpu: &Gpu, calls: impl Iterator<Item = &'a Call<B>>) {
        let mut seen = std::collections::HashSet::new();
        let missing: Vec<_> = calls
            .filter(|call| gpu.info.switches.allow(call.kernel.needs))
            .filter(|call| !self.pipelines.contains_key(&key(call)) && seen.insert(key(call)))
            .map(|call| super::web::Job { kernel: call.kernel, constants: &call.constants })
            .collect();
        self.ahead.extend(super::web::compile(&gpu.device, &missing).await);
    }

    /// The pipeline of `call`, made if it is the first of its kind.
    ///
    /// # Errors
    /// [`ExecError::Pipeline`], [`ExecError::MissingFeature`].
    pub(super) async fn get<B>(&mut self, gpu: &Gpu, call: &Call<B>) -> Result<Pipeline, ExecError> {
        let key = key(call);
        if let Some(pipeline) = self.pipelines.get(&key) {
            return Ok(pipeline.clone());
        }
        check_needs(gpu, call.kernel)?;
        let module = self.module(gpu, call.kernel).await?;
        let (compute, failure) = gpu.scoped(|device| {
            device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
                label: Some(call.kernel.variant),
                layout: Some(&module.layout),
                module: &module.shader,
                entry_point: Some("main"),
                compilation_options: wgpu::PipelineCompilationOptions {
                    constants: &call.constants,
                    // Kernels write workgroup memory before they read it.
                    zero_initialize_workgroup_memory: gpu.checked,
                },
                cache: None,
            })
        });
        refuse(call.kernel, failure.await)?;
        let pipeline = Pipeline { compute, layout: module.bindings };
        self.pipelines.insert(key, pipeline.clone());
        Ok(pipeline)
    }

    async fn module(&mut self, gpu: &Gpu, kernel: &'static Kernel) -> Result<Module, ExecError> {
        if let Some(module) = self.modules.get(kernel.variant) {
            return Ok(module.clone());
        }
        let (module, failure) = gpu.scoped(|device| make_module(device, kernel, gpu.checked));
        refuse(kernel, failure.await)?;
        self.modules.insert(kernel.variant, module.clone());
        Ok(module)
    }
}

fn key<B>(call: &Call<B>) -> Key {
    (call.kernel.variant, constant_bits(call))
}

/// The value of each override of the kernel in its own order: the default where the call gives none. The last one wins, as
/// it does in wgpu.
fn constant_bits<B>(call: &Call<B>) -> Vec<u64> {
    let given = |name: &str| call.constants.iter().rev().find(|(given, _)| *given == name).map(|(_, value)| *value);
    call.kernel.constants.iter().map(|constant| given(constant.name).unwrap_or(constant.default).to_bits()).collect()
}

fn check_needs(gpu: &Gpu, kernel: &'static Kernel) -> Result<(), ExecError> {
    let feature = match () {
        () if kernel.needs.subgroups && !gpu.info.switches.subgroups => "subgroup operations",
        () if kernel.needs.f16 && !gpu.info.switches.f16 => "16-bit floats in shaders",
        () => return Ok(()),
    };
    Err(ExecError::MissingFeature { device: gpu.info.name.clone(), feature })
}

fn refuse(kernel: &'static Kernel, failure: Option<wgpu::Error>) -> Result<(), ExecError> {
    match failure {
        None => Ok(()),
        Some(error) => Err(ExecError::Pipeline { kernel: kernel.variant, reason: explain(&error) }),
    }
}

fn make_module(device: &wgpu::Device, kernel: &'static Kernel, checked: bool) -> Module {
    let wgsl = if cfg!(target_arch = "wasm32") { kernel.wgsl_web } else { kernel.wgsl_native };
    let descriptor = wgpu::ShaderModuleDescriptor { label: Some(kernel.variant), source: wgpu::ShaderSource::Wgsl(wgsl.into()) };
    let entries: Vec<_> = kernel
        .bindings
        .iter()
        .map(|binding| wgpu::BindGroupLayoutEntry {
            binding: binding.slot,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer {
                ty: match binding.access {
                    Access::Uniform => wgpu::BufferBindingType::Uniform,
                    Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                    Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                },
                has_dynamic_offset: false,
                min_binding_size: match binding.access {
                    Access::Uniform => NonZeroU64::new(kernel.params_size.into()),
                    Access::Read | Access::ReadWrite => None,
                },
            },
            count: None,
        })
        .collect();
    let bindings = device.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(kernel.variant), entries: &entries });
    let layout = device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
        label: Some(kernel.variant),
        bind_group_layouts: &[Some(&bindings)],
        immediate_size: 0,
    });
    Module { shader: make_shader(device, descriptor, checked), bindings, layout }
}

#[allow(unsafe_code, reason = "leaving out a shader check is unsafe in wgpu")]
fn make_shader(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>, checked: bool) -> wgpu::ShaderModule {
    if checked {
        return device.create_shader_module(descriptor);
    }
    let checks = wgpu::ShaderRuntimeChecks { force_loop_bounding: false, ..wgpu::ShaderRuntimeChecks::checked() };
    // SAFETY: the only check left out bounds loops that may never end. The shaders are the crate's own kernels, and each of
    // their loops counts up to an override or a parameter; buffers and workgroup memory stay bounds-checked.
    unsafe { device.create_shader_module_trusted(descriptor, checks) }
}
