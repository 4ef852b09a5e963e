//! How the host sees a WGSL type.

use naga::{ArraySize, Handle, Module, Scalar, ScalarKind, Type, TypeInner, VectorSize};

/// A type that host and kernel share, as Rust writes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HostType {
    /// `u32`, `i32` or `f32`.
    Scalar(&'static str),
    /// `[inner; n]`, which is what vectors are too.
    Array(Box<HostType>, u32),
    /// A struct of its own.
    Struct(String),
}

/// The name of a scalar that hosts share, which is the same in WGSL and Rust.
pub(super) fn scalar_name(scalar: Scalar) -> Option<&'static str> {
    match (scalar.kind, scalar.width) {
        (ScalarKind::Uint, 4) => Some("u32"),
        (ScalarKind::Sint, 4) => Some("i32"),
        (ScalarKind::Float, 4) => Some("f32"),
        _ => None,
    }
}

fn lanes(size: VectorSize) -> u32 {
    u32::from(size as u8)
}

/// The host's type for a member of a shared struct.
///
/// # Errors
/// Why the type cannot be shared.
pub(super) fn host_type(module: &Module, ty: Handle<Type>) -> Result<HostType, String> {
    let Type { name, inner } = &module.types[ty];
    let unshared = |what: &str| format!("a host cannot share {what}: use u32, i32, f32, vectors, arrays and structs of them");
    match *inner {
        TypeInner::Scalar(scalar) | TypeInner::Atomic(scalar) => {
            scalar_name(scalar).map(HostType::Scalar).ok_or_else(|| unshared("this scalar"))
        }
        TypeInner::Vector { size, scalar } => {
            let name = scalar_name(scalar).ok_or_else(|| unshared("this vector"))?;
            Ok(HostType::Array(Box::new(HostType::Scalar(name)), lanes(size)))
        }
        TypeInner::Array { base, size: ArraySize::Constant(count), stride } => {
            let element = module.types[base].inner.size(module.to_ctx());
            if element != stride {
                return Err(format!("the array's elements of {element} bytes lie {stride} bytes apart: use an element without padding"));
            }
            Ok(HostType::Array(Box::new(host_type(module, base)?), count.get()))
        }
        TypeInner::Struct { .. } => Ok(HostType::Struct(name.clone().unwrap_or_default())),
        _ => Err(unshared("this type")),
    }
}

/// The element type of a buffer as WGSL writes it.
pub(super) fn wgsl_name(module: &Module, ty: Handle<Type>) -> Option<String> {
    let Type { name, inner } = &module.types[ty];
    match inner {
        TypeInner::Scalar(scalar) => scalar_name(*scalar).map(str::to_owned),
        TypeInner::Atomic(scalar) => scalar_name(*scalar).map(|s| format!("atomic<{s}>")),
        TypeInner::Vector { size, scalar } => scalar_name(*scalar).map(|s| format!("vec{}<{s}>", lanes(*size))),
        TypeInner::Struct { .. } => name.clone(),
        _ => None,
    }
}
