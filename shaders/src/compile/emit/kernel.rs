//! The module of one kernel.

use std::fmt::Write as _;

use super::{
    super::{
        CompileError, docs,
        reflect::{Access, Binding, Constant},
        source::Sources,
        variants::Axis,
    },
    camel, doc,
    merge::Merged,
    native_file, structs, web_file,
};

/// `pub mod matvec { .. }`
pub(super) fn module(sources: &Sources, merged: &Merged<'_>) -> Result<String, CompileError> {
    let kernel = merged.kernel;
    let header = docs::header(sources.text(&format!("{}.wgsl", kernel.name))?);
    let shared: Vec<_> = merged.structs.iter().filter(|s| s.shared).cloned().collect();
    let own: String = merged.structs.iter().filter(|s| !s.shared).map(|s| structs::definition(s, &shared, "super::shared::")).collect();
    let axes: String = kernel.axes.iter().map(|axis| format!("    use super::axes::{};\n", camel(&axis.name))).collect();
    Ok(format!(
        "{doc}pub mod {name} {{
    use super::{{Access, BindingInfo, Call, Kernel, Needs, support}};
{axes}
{statics}{own}{constants}{bindings}{functions}}}

",
        doc = doc("", &header, ""),
        name = kernel.name,
        statics = statics(merged),
        constants = constants(&merged.constants),
        bindings = bindings(&merged.bindings),
        functions = functions(merged),
    ))
}

/// The compiled variants.
fn statics(merged: &Merged<'_>) -> String {
    let kernel = merged.kernel;
    let mut out = format!("    pub(super) static VARIANTS: [Kernel; {}] = [\n", kernel.variants.len());
    for variant in &kernel.variants {
        let name = &variant.name;
        let native = native_file(name);
        let web = if variant.text.subgroups { web_file(name) } else { native.clone() };
        let bindings: String = variant.reflection.bindings.iter().map(binding_info).collect();
        let constants: String = variant
            .reflection
            .constants
            .iter()
            .map(|c| format!("super::ConstantInfo {{ name: \"{}\", default: {:?} }}, ", c.name, c.default))
            .collect();
        let _ = write!(
            out,
            "        Kernel {{
            name: \"{kernel}\",
            variant: \"{name}\",
            axes: &{axes:?},
            wgsl_native: include_str!(concat!(env!(\"OUT_DIR\"), \"/{native}\")),
            wgsl_web: include_str!(concat!(env!(\"OUT_DIR\"), \"/{web}\")),
            bindings: &[{bindings}],
            constants: &[{constants}],
            needs: Needs {{ subgroups: {subgroups}, f16: {f16} }},
            params_size: {params_size},
        }},
",
            kernel = kernel.name,
            axes = variant.values,
            subgroups = variant.text.subgroups,
            f16 = variant.text.f16,
            params_size = variant.reflection.params_size,
        );
    }
    out.push_str("    ];\n\n");
    out
}

fn binding_info(binding: &Binding) -> String {
    let Binding { name, slot, access, element, .. } = binding;
    format!("BindingInfo {{ name: \"{name}\", slot: {slot}, access: Access::{access:?}, element: \"{element}\" }}, ")
}

/// `struct Constants`
fn constants(constants: &[Constant]) -> String {
    let mut fields = String::new();
    let mut defaults = String::new();
    for constant in constants {
        let Constant { name, ty, default, .. } = constant;
        let field = name.to_lowercase();
        fields.push_str(&doc("        ", &constant.doc, &format!("Override `{name}`.")));
        let _ = writeln!(fields, "        pub {field}: {ty},");
        let value = match *ty {
            "bool" => (*default != 0.0).to_string(),
            "f32" => format!("{default:?}"),
            _ => format!("{default:.0}"),
        };
        let _ = writeln!(defaults, "                {field}: {value},");
    }
    format!(
        "    /// Overrides of the kernel. A variant that lacks one passes over its value.
    #[derive(Debug, Clone, Copy, PartialEq)]
    pub struct Constants {{
{fields}    }}

    impl Default for Constants {{
        fn default() -> Self {{
            Self {{
{defaults}            }}
        }}
    }}

"
    )
}

/// `struct Bindings`
fn bindings(bindings: &[(Binding, bool)]) -> String {
    let mut fields = String::new();
    let mut collected = String::new();
    for (binding, everywhere) in bindings {
        let Binding { name, slot, access, element, .. } = binding;
        let (side, from, reads) = match access {
            Access::ReadWrite => ("W", "write", "read and written"),
            Access::Read | Access::Uniform => ("R", "read", "read"),
        };
        fields.push_str(&doc("        ", &binding.doc, &format!("`{name}`.")));
        let missing = if *everywhere { "" } else { ", not in every variant" };
        let _ = writeln!(fields, "        ///\n        /// Slot {slot}, {reads}: `{element}`{missing}.");
        let ty = if *everywhere { side.to_owned() } else { format!("Option<{side}>") };
        let _ = writeln!(fields, "        pub {name}: {ty},");
        let _ = writeln!(collected, "                {name}: {from}({slot}){},", if *everywhere { "?" } else { "" });
    }
    for (side, from, taken, access) in [("R", "reads", "read", Access::Read), ("W", "writes", "write", Access::ReadWrite)] {
        if !bindings.iter().any(|(b, _)| b.access == access) {
            let _ = writeln!(fields, "        /// Nothing is bound this way.\n        pub {from}: core::marker::PhantomData<{side}>,");
            let _ = writeln!(
                collected,
                "                {from}: {{\n                    let _ = &mut {taken};\n                    core::marker::PhantomData\n                }},"
            );
        }
    }
    format!(
        "    /// The storage bindings: `R` stands for a buffer that is read, `W` for one that is also written.
    #[derive(Debug, Clone)]
    pub struct Bindings<R, W> {{
{fields}    }}

    impl<R, W> Bindings<R, W> {{
        /// Takes each binding by its slot. None where one is missing that every variant has.
        pub fn collect(mut read: impl FnMut(u32) -> Option<R>, mut write: impl FnMut(u32) -> Option<W>) -> Option<Self> {{
            Some(Self {{
{collected}            }})
        }}
    }}

"
    )
}

/// The functions: `kernel`, `call`, `constants`, `params`.
fn functions(merged: &Merged<'_>) -> String {
    let axes = &merged.kernel.axes;
    let parameters: String = axes.iter().map(|axis| format!("{}: {}, ", axis.name, camel(&axis.name))).collect();
    let arguments: Vec<&str> = axes.iter().map(|axis| axis.name.as_str()).collect();
    let constants: String = merged.constants.iter().map(set_constant).collect();
    let bindings: String = merged.bindings.iter().map(set_binding).collect();
    let read: String = merged.constants.iter().map(get_constant).collect();
    format!(
        "    /// The variant for a choice of every axis.
    pub fn kernel({parameters}) -> &'static Kernel {{
        &VARIANTS[{index}]
    }}

    /// One dispatch.
    pub fn call<B>({parameters}constants: Constants, params: Params, bindings: Bindings<B, B>, grid: [u32; 3]) -> Call<B> {{
        let kernel = kernel({arguments});
        let Constants {{ {constant_names} }} = constants;
        Call {{
            kernel,
            constants: support::of_variant(kernel, [{constants}]),
            params: bytemuck::bytes_of(&params).to_vec(),
            bindings: [{bindings}].into_iter().flatten().collect(),
            grid,
        }}
    }}

    /// The overrides of a call of this kernel, defaults where it gives none.
    pub fn constants<B>(call: &Call<B>) -> Constants {{
        let mut constants = Constants::default();
        for &(name, value) in &call.constants {{
{read}        }}
        constants
    }}

    /// The parameters of a call of this kernel. Bytes that the call lacks are zero.
    pub fn params<B>(call: &Call<B>) -> Params {{
        support::params(&call.params)
    }}
",
        index = index(axes),
        arguments = arguments.join(", "),
        constant_names = merged.constants.iter().map(|c| c.name.to_lowercase()).collect::<Vec<_>>().join(", "),
    )
}

/// The index of a variant among the product of the axes.
fn index(axes: &[Axis]) -> String {
    let index = axes.iter().fold(String::new(), |index, axis| {
        let value = format!("{} as usize", axis.name);
        if index.is_empty() { value } else { format!("({index}) * {} + {value}", axis.values.len()) }
    });
    if index.is_empty() { "0".to_owned() } else { index }
}

fn set_constant(constant: &Constant) -> String {
    let field = constant.name.to_lowercase();
    match constant.ty {
        "bool" => format!("(\"{}\", f64::from(u8::from({field}))), ", constant.name),
        _ => format!("(\"{}\", f64::from({field})), ", constant.name),
    }
}

fn get_constant(constant: &Constant) -> String {
    let value = match constant.ty {
        "bool" => "value != 0.0".to_owned(),
        ty => format!("value as {ty}"),
    };
    let Constant { name, .. } = constant;
    format!(
        "            if name == \"{name}\" {{
                constants.{} = {value};
            }}
",
        name.to_lowercase()
    )
}

fn set_binding((binding, everywhere): &(Binding, bool)) -> String {
    let Binding { name, slot, .. } = binding;
    if *everywhere { format!("Some(({slot}, bindings.{name})), ") } else { format!("bindings.{name}.map(|b| ({slot}, b)), ") }
}
