//! Parsing and validation by naga, and this project's own rules for kernels.

use naga::{
    AddressSpace, Module, ShaderStage,
    back::{PipelineConstants, pipeline_constants::process_overrides},
    front::wgsl,
    valid::{Capabilities, ValidationFlags, Validator},
};

use super::{CompileError, source::Expanded};

/// Storage buffers that WebGPU's floor limits allow a kernel.
const MAX_STORAGE_BUFFERS: usize = 8;
/// Invocations of a workgroup at WebGPU's floor limits.
const MAX_INVOCATIONS: u32 = 256;
/// Bytes of workgroup memory at WebGPU's floor limits.
const MAX_WORKGROUP_MEMORY: u32 = 16 << 10;

/// The module of a kernel that is valid WGSL and keeps the rules.
pub(super) fn validate(text: &Expanded) -> Result<Module, CompileError> {
    let source = &text.native;
    let module = wgsl::parse_str(source).map_err(|e| {
        let labels: Vec<&str> = e.labels().map(|(_, label)| label).filter(|l| !l.is_empty()).collect();
        let message = [e.message()].into_iter().chain(labels).collect::<Vec<_>>().join(": ");
        text.error(e.location(source).map(|l| l.line_number as usize), message)
    })?;
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32; // what `unpack2x16float` needs: part of WebGPU
    capabilities.set(Capabilities::SUBGROUP, text.subgroups);
    capabilities.set(Capabilities::SHADER_FLOAT16, text.f16);
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .validate(&module)
        .map_err(|e| text.error(e.location(source).map(|l| l.line_number as usize), chain(e.as_inner())))?;

    check_bindings(text, &module)?;
    check_overrides(text, &module)?;
    let entry = Some((ShaderStage::Compute, "main"));
    if !matches!(&module.entry_points[..], [only] if only.name == "main" && only.stage == ShaderStage::Compute) {
        return Err(text.error(None, "a kernel has one entry point: `@compute @workgroup_size(..) fn main(..)`"));
    }
    let (resolved, _) = process_overrides(&module, &info, entry, &PipelineConstants::default())
        .map_err(|e| text.error(None, format!("with the overrides' defaults: {}", chain(&e))))?;
    check_limits(text, &resolved)?;
    Ok(module)
}

/// An error with its causes.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |e| e.source());
    causes.fold(error.to_string(), |message, cause| format!("{message}: {cause}"))
}

/// Line (from 1) of a span in the expanded text.
pub(super) fn line_of(text: &Expanded, span: naga::Span) -> Option<usize> {
    span.is_defined().then(|| span.location(&text.native).line_number as usize)
}

fn check_bindings(text: &Expanded, module: &Module) -> Result<(), CompileError> {
    let mut storage = Vec::new();
    let mut has_params = false;
    for (handle, variable) in module.global_variables.iter() {
        let line = line_of(text, module.global_variables.get_span(handle));
        let name = variable.name.as_deref().unwrap_or_default();
        let Some(binding) = variable.binding else {
            continue;
        };
        if binding.group != 0 {
            return Err(text.error(line, format!("`{name}` is in group {}: kernels use group 0 alone", binding.group)));
        }
        match (variable.space, binding.binding) {
            (AddressSpace::Uniform, 0) if name == "params" && module.types[variable.ty].name.as_deref() == Some("Params") => {
                has_params = true;
            }
            (AddressSpace::Storage { .. }, 1..) => {
                if storage.contains(&binding.binding) {
                    return Err(text.error(line, format!("`{name}`: slot {} is taken", binding.binding)));
                }
                storage.push(binding.binding);
            }
            _ => {
                let message = format!("`{name}`: slot 0 is `var<uniform> params: Params`, every other binding is a storage buffer");
                return Err(text.error(line, message));
            }
        }
    }
    if !has_params {
        return Err(text.error(None, "there is no `@group(0) @binding(0) var<uniform> params: Params;`"));
    }
    if storage.len() > MAX_STORAGE_BUFFERS {
        let message = format!("{} storage buffers where WebGPU's floor is {MAX_STORAGE_BUFFERS}", storage.len());
        return Err(text.error(None, message));
    }
    Ok(())
}

/// naga 30 panics in `process_overrides` when the override that it makes for an array length such as `WG / 4` comes before
/// another override, so lengths are overrides with a name.
fn check_overrides(text: &Expanded, module: &Module) -> Result<(), CompileError> {
    match module.overrides.iter().find(|(_, constant)| constant.name.is_none()) {
        Some((handle, _)) => {
            let line = line_of(text, module.overrides.get_span(handle));
            Err(text.error(line, "an array length made of overrides needs a name: `override LENGTH: u32 = WG / 4u;`"))
        }
        None => Ok(()),
    }
}

/// The kernel with its default overrides must run at WebGPU's floor limits.
fn check_limits(text: &Expanded, resolved: &Module) -> Result<(), CompileError> {
    let invocations = resolved.entry_points.iter().flat_map(|entry| entry.workgroup_size).fold(1, u32::saturating_mul);
    if invocations > MAX_INVOCATIONS {
        return Err(text.error(None, format!("{invocations} invocations a workgroup where WebGPU's floor is {MAX_INVOCATIONS}")));
    }
    let memory = resolved
        .global_variables
        .iter()
        .filter(|(_, variable)| variable.space == AddressSpace::WorkGroup)
        .map(|(_, variable)| resolved.types[variable.ty].inner.size(resolved.to_ctx()).next_multiple_of(16))
        .fold(0, u32::saturating_add);
    if memory > MAX_WORKGROUP_MEMORY {
        return Err(text.error(None, format!("{memory} bytes of workgroup memory where WebGPU's floor is {MAX_WORKGROUP_MEMORY}")));
    }
    Ok(())
}
