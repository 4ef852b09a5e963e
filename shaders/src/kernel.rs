//! What a compiled kernel is, and one dispatch of it as plain data.

/// A compiled variant of a kernel: its WGSL for both targets and what reflection found in it.
#[derive(Debug)]
pub struct Kernel {
    /// The kernel's name, which is its file's: `matvec`.
    pub name: &'static str,
    /// The kernel's name with the value of each axis: `matvec_q4_0_subgroup`.
    pub variant: &'static str,
    /// The value of each axis: (`weight`, `q4_0`). [`crate::axes`] reads them.
    pub axes: &'static [(&'static str, &'static str)],
    /// WGSL as naga takes it on native targets.
    pub wgsl_native: &'static str,
    /// WGSL as browsers take it (they demand `enable subgroups;`).
    pub wgsl_web: &'static str,
    /// Every binding of group 0 in the order of its slots; slot 0 is the uniform `params`.
    pub bindings: &'static [BindingInfo],
    /// Every override with its default.
    pub constants: &'static [ConstantInfo],
    /// Device features without which the variant cannot be created.
    pub needs: Needs,
    /// Size in bytes of the uniform at slot 0.
    pub params_size: u32,
}

/// One binding of a kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BindingInfo {
    /// The variable's name in WGSL.
    pub name: &'static str,
    /// The number in `@binding(n)`.
    pub slot: u32,
    /// How the kernel uses the buffer.
    pub access: Access,
    /// The element type as WGSL writes it: `vec4<f32>`.
    pub element: &'static str,
}

/// How a kernel uses a bound buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// `var<uniform>`.
    Uniform,
    /// `var<storage, read>`.
    Read,
    /// `var<storage, read_write>`.
    ReadWrite,
}

/// An override of a kernel and its default value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ConstantInfo {
    /// The override's name in WGSL.
    pub name: &'static str,
    /// Its default, as pipeline constants are given.
    pub default: f64,
}

/// Device features that a kernel variant needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Needs {
    /// Subgroup operations.
    pub subgroups: bool,
    /// 16-bit floats in shaders.
    pub f16: bool,
}

/// One dispatch as plain data. `B` is what stands for a range of a buffer.
#[derive(Debug, Clone)]
pub struct Call<B> {
    /// The variant to run.
    pub kernel: &'static Kernel,
    /// Overrides that differ from their defaults or are given all the same.
    pub constants: Vec<(&'static str, f64)>,
    /// The bytes of the kernel's `Params`.
    pub params: Vec<u8>,
    /// Slot and range of every storage binding.
    pub bindings: Vec<(u32, B)>,
    /// Workgroups in x, y and z.
    pub grid: [u32; 3],
}

/// The most workgroups a dispatch may have in one dimension (WebGPU's floor limit).
pub const MAX_GROUPS: u32 = 65_535;

/// Spreads `groups` workgroups over x and y, so that neither passes [`MAX_GROUPS`]. Kernels read the linear index
/// `x + y * num_workgroups.x` and leave when it is past their last group.
pub fn grid(groups: u32) -> [u32; 2] {
    let y = groups.div_ceil(MAX_GROUPS).max(1);
    [groups.div_ceil(y), y]
}
