//! Structs that host and kernels share, with their layout asserted.

use std::fmt::Write as _;

use super::{
    super::{
        layout::HostType,
        reflect::{Field, Struct},
    },
    doc,
};

/// `pub mod shared`
pub(super) fn shared_module(structs: &[Struct]) -> String {
    let mut out = String::from("/// Structs of the buffers, declared once in shared modules.\npub mod shared {\n");
    for s in structs {
        out.push_str(&definition(s, structs, ""));
    }
    out.push_str("}\n\n");
    out
}

/// A struct, its padding explicit, and the assertion of its layout. `shared` structs are found at `path`.
pub(super) fn definition(s: &Struct, shared: &[Struct], path: &str) -> String {
    let name = &s.name;
    let mut fields = String::new();
    let mut asserts = String::new();
    let mut end = 0;
    let mut pads = 0;
    let mut pad = |fields: &mut String, from: u32, to: u32| {
        if to > from {
            let _ = writeln!(fields, "        /// Padding: zero.\n        pub _pad{pads}: [u32; {}],", (to - from) / 4);
            pads += 1;
        }
    };
    for field in &s.fields {
        pad(&mut fields, end, field.offset);
        let Field { name: field_name, offset, .. } = field;
        fields.push_str(&doc("        ", &field.doc, &format!("`{field_name}` of the kernel.")));
        let _ = writeln!(fields, "        pub {field_name}: {},", rust_type(&field.ty, shared, path));
        let _ = writeln!(asserts, "        assert!(core::mem::offset_of!({name}, {field_name}) == {offset});");
        end = offset + field.size;
    }
    pad(&mut fields, end, s.size);
    format!(
        "{doc}    #[repr(C)]
    #[derive(Debug, Clone, Copy, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
    pub struct {name} {{
{fields}    }}

    const _: () = {{
        assert!(core::mem::size_of::<{name}>() == {size});
{asserts}    }};

",
        doc = doc("    ", &s.doc, &format!("`{name}` as the kernel lays it out.")),
        size = s.size,
    )
}

fn rust_type(ty: &HostType, shared: &[Struct], path: &str) -> String {
    match ty {
        HostType::Scalar(name) => (*name).to_owned(),
        HostType::Array(inner, n) => format!("[{}; {n}]", rust_type(inner, shared, path)),
        HostType::Struct(name) if shared.iter().any(|s| s.name == *name) => format!("{path}{name}"),
        HostType::Struct(name) => name.clone(),
    }
}
