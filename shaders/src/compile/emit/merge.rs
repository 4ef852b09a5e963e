//! A kernel's variants seen as one: the union of their bindings and overrides, which must agree.

use super::super::{
    CompileError, Compiled, Variant,
    reflect::{Binding, Constant, Struct},
};

/// A kernel as its Rust module shows it.
pub(super) struct Merged<'a> {
    pub(super) kernel: &'a Compiled,
    /// Storage bindings of any variant, and whether every variant has them.
    pub(super) bindings: Vec<(Binding, bool)>,
    /// Overrides of any variant.
    pub(super) constants: Vec<Constant>,
    /// Structs of any variant.
    pub(super) structs: Vec<Struct>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(kernel: &'a Compiled) -> Result<Self, CompileError> {
        let mut merged = Self { kernel, bindings: Vec::new(), constants: Vec::new(), structs: Vec::new() };
        for variant in &kernel.variants {
            merged.add(variant)?;
        }
        for (binding, everywhere) in &mut merged.bindings {
            let has = |v: &Variant| v.reflection.bindings.iter().any(|b| b.slot == binding.slot);
            *everywhere = kernel.variants.iter().all(has);
        }
        merged.bindings.sort_by_key(|(binding, _)| binding.slot);
        Ok(merged)
    }

    pub(super) fn variants(&self) -> &'a [Variant] {
        &self.kernel.variants
    }

    fn add(&mut self, variant: &Variant) -> Result<(), CompileError> {
        let error = |message: String| CompileError::new(&variant.text.file, None, message);
        for binding in variant.reflection.bindings.iter().filter(|b| b.slot > 0) {
            let known = self.bindings.iter().find(|(b, _)| b.slot == binding.slot || b.name == binding.name);
            match known {
                None => self.bindings.push((binding.clone(), true)),
                Some((b, _)) if b.slot == binding.slot && b.name == binding.name && b.access == binding.access => {}
                Some((b, _)) => {
                    let message = format!(
                        "`{}` (slot {}) in {} is `{}` (slot {}) in other variants: name, slot and access must agree",
                        binding.name, binding.slot, variant.name, b.name, b.slot
                    );
                    return Err(error(message));
                }
            }
        }
        for constant in &variant.reflection.constants {
            match self.constants.iter().find(|c| c.name.eq_ignore_ascii_case(&constant.name)) {
                None => self.constants.push(constant.clone()),
                Some(c) if c == constant => {}
                Some(_) => return Err(error(format!("override `{}` differs between variants", constant.name))),
            }
        }
        merge_structs(&mut self.structs, &variant.reflection.structs).map_err(error)
    }
}

/// Adds structs that are not there yet. One that is must be the same.
fn merge_structs(known: &mut Vec<Struct>, more: &[Struct]) -> Result<(), String> {
    for new in more {
        match known.iter().find(|s| s.name == new.name) {
            None => known.push(new.clone()),
            Some(old) if old == new => {}
            Some(_) => return Err(format!("struct `{}` differs between variants", new.name)),
        }
    }
    Ok(())
}

/// The structs that shared modules declare, of all kernels.
pub(super) fn shared_structs(kernels: &[Merged<'_>]) -> Result<Vec<Struct>, CompileError> {
    let mut shared = Vec::new();
    for kernel in kernels {
        let of_kernel: Vec<Struct> = kernel.structs.iter().filter(|s| s.shared).cloned().collect();
        merge_structs(&mut shared, &of_kernel)
            .map_err(|message| CompileError::new(&format!("{}.wgsl", kernel.kernel.name), None, message))?;
    }
    Ok(shared)
}
