//! What a validated kernel declares to the host: bindings, overrides and the structs of its buffers.

use naga::{AddressSpace, ArraySize, Expression, Handle, Literal, Module, StorageAccess, Type, TypeInner};

use super::{
    CompileError,
    check::line_of,
    docs,
    layout::{self, HostType},
    source::{Expanded, Sources},
};

/// Everything the host needs to know of one variant.
#[derive(Debug, Clone)]
pub(super) struct Reflection {
    /// In the order of their slots.
    pub(super) bindings: Vec<Binding>,
    /// Overrides that the host may set.
    pub(super) constants: Vec<Constant>,
    /// `Params` and the structs of the buffers, those inside others first.
    pub(super) structs: Vec<Struct>,
    pub(super) params_size: u32,
}

/// How a kernel uses a buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    Uniform,
    Read,
    ReadWrite,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) name: String,
    pub(super) slot: u32,
    pub(super) access: Access,
    pub(super) element: String,
    pub(super) doc: Vec<String>,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Constant {
    pub(super) name: String,
    /// `u32`, `i32`, `f32` or `bool`.
    pub(super) ty: &'static str,
    pub(super) default: f64,
    pub(super) doc: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Struct {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) size: u32,
    /// Declared in a shared module, so that every kernel has the same one.
    pub(super) shared: bool,
    pub(super) doc: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) ty: HostType,
    pub(super) offset: u32,
    pub(super) size: u32,
    pub(super) doc: Vec<String>,
}

struct Reflector<'a> {
    module: &'a Module,
    text: &'a Expanded,
    sources: &'a Sources,
    structs: Vec<Struct>,
}

/// Reflects a module that passed the checks.
pub(super) fn reflect(module: &Module, text: &Expanded, sources: &Sources) -> Result<Reflection, CompileError> {
    let mut reflector = Reflector { module, text, sources, structs: Vec::new() };
    let bindings = reflector.bindings()?;
    let constants = reflector.constants()?;
    let params_size = reflector.structs.iter().find(|s| s.name == "Params").map_or(0, |s| s.size);
    Ok(Reflection { bindings, constants, structs: reflector.structs, params_size })
}

impl Reflector<'_> {
    /// The comment of a declaration at a line of the expanded text.
    fn doc(&self, line: Option<usize>) -> Vec<String> {
        let origin = line.and_then(|line| self.text.origin(line));
        let text = origin.and_then(|origin| Some((self.sources.0.get(&origin.file)?, origin.line)));
        text.map_or_else(Vec::new, |(text, line)| docs::declaration(text, line))
    }

    fn bindings(&mut self) -> Result<Vec<Binding>, CompileError> {
        let mut bindings = Vec::new();
        for (handle, variable) in self.module.global_variables.iter() {
            let Some(binding) = variable.binding else {
                continue;
            };
            let line = line_of(self.text, self.module.global_variables.get_span(handle));
            let access = match variable.space {
                AddressSpace::Storage { access } if access.contains(StorageAccess::STORE) => Access::ReadWrite,
                AddressSpace::Storage { .. } => Access::Read,
                _ => Access::Uniform,
            };
            let element = match self.module.types[variable.ty].inner {
                TypeInner::Array { base, size: ArraySize::Dynamic, .. } => base,
                _ => variable.ty,
            };
            self.add_structs(element, line)?;
            let name = variable.name.clone().unwrap_or_default();
            let element = layout::wgsl_name(self.module, element).ok_or_else(|| {
                self.text.error(line, format!("`{name}`: a buffer holds an array of scalars, vectors or structs, or one struct"))
            })?;
            bindings.push(Binding { name, slot: binding.binding, access, element, doc: self.doc(line) });
        }
        bindings.sort_by_key(|binding| binding.slot);
        Ok(bindings)
    }

    /// Adds the struct `ty`, if it is one, after those inside it.
    fn add_structs(&mut self, ty: Handle<Type>, used_at: Option<usize>) -> Result<(), CompileError> {
        let Type { name, inner } = &self.module.types[ty];
        let name = name.clone().unwrap_or_default();
        let (members, size) = match inner {
            TypeInner::Array { base, .. } => return self.add_structs(*base, used_at),
            TypeInner::Struct { members, span } if !self.structs.iter().any(|s| s.name == name) => (members, *span),
            _ => return Ok(()),
        };
        let line = line_of(self.text, self.module.types.get_span(ty)).or(used_at);
        let origin = line.and_then(|line| self.text.origin(line)).cloned();
        let home = origin.as_ref().and_then(|origin| Some((self.sources.0.get(&origin.file)?, origin.line)));
        let mut fields = Vec::new();
        for member in members {
            self.add_structs(member.ty, line)?;
            let field = member.name.clone().unwrap_or_default();
            let ty = layout::host_type(self.module, member.ty).map_err(|why| self.text.error(line, format!("`{name}.{field}`: {why}")))?;
            fields.push(Field {
                doc: home.map_or_else(Vec::new, |(text, line)| docs::field(text, line, &field)),
                name: field,
                ty,
                offset: member.offset,
                size: self.module.types[member.ty].inner.size(self.module.to_ctx()),
            });
        }
        self.structs.push(Struct {
            name,
            fields,
            size,
            shared: origin.is_some_and(|origin| origin.file.starts_with("shared/")),
            doc: self.doc(line),
        });
        Ok(())
    }

    /// Overrides with a literal default. Those derived from others follow them and are not the host's to set.
    fn constants(&self) -> Result<Vec<Constant>, CompileError> {
        let mut constants = Vec::new();
        for (handle, constant) in self.module.overrides.iter() {
            let name = constant.name.clone().unwrap_or_default();
            let line = line_of(self.text, self.module.overrides.get_span(handle));
            let Some(init) = constant.init else {
                return Err(self.text.error(line, format!("override `{name}` has no default")));
            };
            let (ty, default) = match self.module.global_expressions[init] {
                Expression::Literal(Literal::U32(v)) => ("u32", f64::from(v)),
                Expression::Literal(Literal::I32(v)) => ("i32", f64::from(v)),
                Expression::Literal(Literal::F32(v)) => ("f32", f64::from(v)),
                Expression::Literal(Literal::Bool(v)) => ("bool", f64::from(u8::from(v))),
                Expression::Literal(_) => {
                    return Err(self.text.error(line, format!("override `{name}`: use u32, i32, f32 or bool")));
                }
                _ => continue,
            };
            constants.push(Constant { name, ty, default, doc: self.doc(line) });
        }
        Ok(constants)
    }
}
