//! Tests of the build step over small kernels held in memory.

use std::{collections::BTreeMap, env, fs, path::Path};

use super::{
    CompileError, compile, compile_all, docs, emit,
    layout::HostType,
    reflect::{Access, Reflection},
    source::{Sources, VARIANTS},
    variants::KernelList,
};

const PARAMS: &str = "struct Params { n: u32 }\n@group(0) @binding(0) var<uniform> params: Params;\n";

/// A kernel named `k` that is valid but for what `body` makes of it.
fn kernel(body: &str) -> String {
    format!("// A kernel.\n{PARAMS}{body}")
}

const MAIN: &str = "@compute @workgroup_size(64) fn main() {}\n";

fn sources(files: &[(&str, &str)]) -> Sources {
    Sources(files.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect::<BTreeMap<_, _>>())
}

/// Compiles files and returns the whole of the generated Rust.
fn generate(files: &[(&str, &str)]) -> Result<String, CompileError> {
    let sources = sources(files);
    sources.check_headers()?;
    let list = KernelList::parse(&sources)?;
    let compiled = compile_all(&sources, &list)?;
    let files = emit::files(&sources, &list, &compiled)?;
    Ok(files.into_iter().find(|(name, _)| name == "kernels.rs").unwrap().1)
}

/// The error of a build, as it is printed.
fn error(files: &[(&str, &str)]) -> String {
    generate(files).unwrap_err().to_string()
}

/// The error of the kernel `k` with no axes.
fn kernel_error(text: &str) -> String {
    error(&[(VARIANTS, "k\n"), ("k.wgsl", text)])
}

fn reflection(text: &str) -> Reflection {
    let sources = sources(&[(VARIANTS, "k\n"), ("k.wgsl", text)]);
    let list = KernelList::parse(&sources).unwrap();
    compile_all(&sources, &list).unwrap().remove(0).variants.remove(0).reflection
}

#[test]
fn imports_are_in_place_once_and_depth_first() {
    let k = kernel(&format!("#import a\n#import b\n{MAIN}"));
    let sources =
        sources(&[("k.wgsl", &k), ("shared/a.wgsl", "// a\n#import b\nconst A = B;\n"), ("shared/b.wgsl", "// b\nconst B = 1u;\n")]);
    let expanded = sources.expand("k", &[]).unwrap();
    assert_eq!(expanded.native.matches("const B").count(), 1);
    let (a, b) = (expanded.native.find("const A").unwrap(), expanded.native.find("const B").unwrap());
    assert!(b < a);
    let line = expanded.native.lines().position(|l| l.starts_with("const A")).unwrap();
    let origin = expanded.origin(line + 1).unwrap();
    assert_eq!((origin.file.as_str(), origin.line), ("shared/a.wgsl", 3));
}

#[test]
fn an_axis_chooses_the_module() {
    let k = kernel(&format!("#import side\n{MAIN}"));
    let files = [
        (VARIANTS, "# a comment\nk side=left|right # another\n"),
        ("k.wgsl", k.as_str()),
        ("shared/side_left.wgsl", "// Left.\nconst SIDE = 0u;\n"),
        ("shared/side_right.wgsl", "// Right.\nconst SIDE = 1u;\n"),
    ];
    let expanded = sources(&files).expand("k", &[("side", "right")]).unwrap();
    assert!(expanded.native.contains("const SIDE = 1u;") && !expanded.native.contains("const SIDE = 0u;"));
    let rust = generate(&files).unwrap();
    for part in [
        "variant: \"k_left\"",
        "variant: \"k_right\"",
        "pub enum Side",
        "/// Right.",
        "pub fn kernel(side: Side",
        "axes: &[(\"side\", \"left\")]",
    ] {
        assert!(rust.contains(part), "no {part} in\n{rust}");
    }
}

#[test]
fn targets_differ_in_their_directives() {
    let k = kernel(&format!("#needs subgroups\n#needs f16\nvar<private> h: f16;\n{MAIN}"));
    let expanded = sources(&[("k.wgsl", &k)]).expand("k", &[]).unwrap();
    assert!(expanded.native.starts_with("enable f16;\n// A kernel."));
    assert!(expanded.web.starts_with("enable subgroups;\nenable f16;\n"));
}

#[test]
fn bad_imports_and_directives_name_their_line() {
    let unknown = kernel_error(&kernel("#import nowhere\n"));
    assert_eq!(unknown, "k.wgsl:4: unknown import `nowhere`: there is no shared/nowhere.wgsl");
    assert!(kernel_error(&kernel("#ifdef A\n")).starts_with("k.wgsl:4: unknown directive `#ifdef A`"));
    let cycle = error(&[
        (VARIANTS, "k\n"),
        ("k.wgsl", &kernel("#import a\n")),
        ("shared/a.wgsl", "// a\n#import b\n"),
        ("shared/b.wgsl", "// b\n#import a\n"),
    ]);
    assert_eq!(cycle, "shared/b.wgsl:2: imports go in a circle: shared/a.wgsl -> shared/b.wgsl -> shared/a.wgsl");
}

#[test]
fn the_list_of_variants_is_checked() {
    let k = kernel(MAIN);
    let list_error = |list: &str| error(&[(VARIANTS, list), ("k.wgsl", &k)]);
    assert_eq!(list_error("k\nk\n"), "variants.txt:2: `k` is listed twice");
    assert_eq!(list_error("\nother\n"), "variants.txt:2: there is no other.wgsl");
    assert_eq!(list_error(""), "k.wgsl: the kernel is not listed in variants.txt");
    assert!(list_error("k side\n").contains("`side` is not of the form axis=value|value"));
    assert!(list_error("k side=a|a\n").contains("each named once"));
    assert!(list_error("k side=a|b\n").contains("never says `#import side`"));
    let two = error(&[(VARIANTS, "j side=a\nk side=a|b\n"), ("k.wgsl", &k), ("j.wgsl", &k)]);
    assert!(two.starts_with("variants.txt:2: axis `side` is a before this line"), "{two}");
}

#[test]
fn naga_errors_are_mapped_to_the_file_they_are_in() {
    let parse = error(&[
        (VARIANTS, "k\n"),
        ("k.wgsl", &kernel(&format!("#import a\n{MAIN}"))),
        ("shared/a.wgsl", "// a\n\nfn f() -> u32 { return missing; }\n"),
    ]);
    assert!(parse.starts_with("shared/a.wgsl:3: ") && parse.contains("missing"), "{parse}");
    let duplicate = kernel_error(&kernel(&format!("const A = 1u;\nconst A = 2u;\n{MAIN}")));
    assert!(duplicate.contains("redefinition of `A`"), "{duplicate}");
    let subgroups = kernel_error(&kernel("@compute @workgroup_size(64) fn main() { _ = subgroupAdd(1u); }\n"));
    assert!(subgroups.starts_with("k.wgsl"), "subgroup operations need their directive: {subgroups}");
}

#[test]
fn the_rules_for_kernels_hold() {
    assert!(kernel_error(&format!("{PARAMS}{MAIN}")).starts_with("k.wgsl:1: the file must open with a"));
    assert!(kernel_error(&format!("// A kernel.\n{MAIN}")).contains("there is no `@group(0) @binding(0) var<uniform> params"));
    let group = kernel(&format!("@group(1) @binding(1) var<storage, read> x: array<f32>;\n{MAIN}"));
    assert_eq!(kernel_error(&group), "k.wgsl:4: `x` is in group 1: kernels use group 0 alone");
    let buffers = |n: u32| {
        let declared = (1..=n).map(|i| format!("@group(0) @binding({i}) var<storage, read> x{i}: array<f32>;\n"));
        kernel(&format!("{}{MAIN}", declared.collect::<String>()))
    };
    assert!(generate(&[(VARIANTS, "k\n"), ("k.wgsl", &buffers(8))]).is_ok());
    assert_eq!(kernel_error(&buffers(9)), "k.wgsl: 9 storage buffers where WebGPU's floor is 8");
    assert!(kernel_error(&kernel("@compute @workgroup_size(64) fn other() {}\n")).contains("one entry point"));
}

#[test]
fn defaults_must_fit_the_floor_limits() {
    let main = |n: u32| kernel(&format!("override WG: u32 = {n}u;\n@compute @workgroup_size(WG) fn main() {{}}\n"));
    assert!(generate(&[(VARIANTS, "k\n"), ("k.wgsl", &main(256))]).is_ok());
    assert!(kernel_error(&main(257)).contains("257 invocations a workgroup"));
    let memory = |n: u32| {
        kernel(&format!(
            "override N: u32 = {n}u;\nvar<workgroup> t: array<f32, N>;\n@compute @workgroup_size(1) fn main() {{ t[0] = 1.0; }}\n"
        ))
    };
    assert!(generate(&[(VARIANTS, "k\n"), ("k.wgsl", &memory(4096))]).is_ok());
    assert!(kernel_error(&memory(4100)).contains("16400 bytes of workgroup memory"));
}

#[test]
fn array_lengths_have_names() {
    let array =
        kernel("override N: u32 = 8u;\nvar<workgroup> t: array<f32, 2 * N>;\n@compute @workgroup_size(1) fn main() { t[0] = 1.0; }\n");
    assert!(kernel_error(&array).contains("an array length made of overrides needs a name"));
}

#[test]
fn layouts_have_explicit_padding() {
    let text = "// A kernel.\n// Of a struct.\nstruct Inner { v: vec3<f32>, last: u32 }\n\
        struct Params {\n    n: u32,\n    // Where.\n    at: vec3<f32>,\n    pair: vec2<u32>,\n    inner: Inner, // inside\n}\n\
        @group(0) @binding(0) var<uniform> params: Params;\n\
        @group(0) @binding(2) var<storage, read_write> y: array<atomic<u32>>;\n\
        // The input.\n@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>;\n\
        override WG: u32 = 32u;\noverride HALF: u32 = WG / 2u;\noverride EPS: f32 = 0.5;\n\
        @compute @workgroup_size(WG) fn main() {}\n";
    let r = reflection(text);
    let params = r.structs.iter().find(|s| s.name == "Params").unwrap();
    let offsets: Vec<u32> = params.fields.iter().map(|f| f.offset).collect();
    assert_eq!((offsets, params.size), (vec![0, 16, 32, 48], 64));
    assert_eq!(params.fields[1].doc, ["Where."]);
    assert_eq!(params.fields[3].doc, ["inside"]);
    assert_eq!(params.fields[3].ty, HostType::Struct("Inner".into()));
    assert_eq!(r.params_size, 64);
    let bindings: Vec<(u32, Access, &str)> = r.bindings.iter().map(|b| (b.slot, b.access, b.element.as_str())).collect();
    assert_eq!(bindings, [(0, Access::Uniform, "Params"), (1, Access::Read, "vec4<f32>"), (2, Access::ReadWrite, "atomic<u32>")]);
    assert_eq!(r.bindings[1].doc, ["The input."]);
    let constants: Vec<(&str, f64)> = r.constants.iter().map(|c| (c.name.as_str(), c.default)).collect();
    assert_eq!(constants, [("WG", 32.0), ("EPS", 0.5)], "an override derived from others is not the host's to set");

    let rust = generate(&[(VARIANTS, "k\n"), ("k.wgsl", text)]).unwrap();
    for part in ["pub _pad0: [u32; 3]", "pub _pad1: [u32; 1]", "pub _pad2: [u32; 2]", "offset_of!(Params, inner) == 48", "pub hal"] {
        assert_eq!(rust.contains(part), part != "pub hal", "{part} in\n{rust}");
    }
}

#[test]
fn bindings_of_some_variants_are_optional_and_must_agree() {
    let k = kernel(&format!("#import scale\n@group(0) @binding(1) var<storage, read_write> y: array<f32>;\n{MAIN}"));
    let list = (VARIANTS, "k scale=no|yes\n");
    let no = ("shared/scale_no.wgsl", "// None.\n");
    let rust = generate(&[
        list,
        ("k.wgsl", &k),
        no,
        ("shared/scale_yes.wgsl", "// Scales.\n@group(0) @binding(2) var<storage, read> scales: array<u32>;\n"),
    ])
    .unwrap();
    assert!(rust.contains("pub scales: Option<R>") && rust.contains("pub y: W"), "{rust}");
    let clash = error(&[
        list,
        ("k.wgsl", &kernel(&format!("#import scale\n{MAIN}"))),
        ("shared/scale_no.wgsl", "// One.\n@group(0) @binding(2) var<storage, read> a: array<u32>;\n"),
        ("shared/scale_yes.wgsl", "// Other.\n@group(0) @binding(2) var<storage, read> b: array<u32>;\n"),
    ]);
    assert!(clash.contains("`b` (slot 2) in k_yes is `a` (slot 2)"), "{clash}");
}

#[test]
fn shared_structs_are_generated_once() {
    let k = kernel(&format!("#import row\n@group(0) @binding(1) var<storage, read> rows: array<Row>;\n{MAIN}"));
    let rust = generate(&[
        (VARIANTS, "j\nk\n"),
        ("j.wgsl", &k),
        ("k.wgsl", &k),
        ("shared/row.wgsl", "// Rows.\n\n// A row.\nstruct Row {\n    at: u32,\n    xyz: array<u32, 3>,\n}\n"),
    ])
    .unwrap();
    assert_eq!(rust.matches("pub struct Row").count(), 1);
    assert!(rust.contains("pub xyz: [u32; 3]") && rust.contains("/// A row."), "{rust}");
}

#[test]
fn comments_become_documentation() {
    assert_eq!(docs::header("// One.\n//\n// Two.\n\n// Not this.\n"), ["One.", "", "Two."]);
    let text = "// Header.\nconst A = 1u; // after\n// above\n// it\nconst B = 2u;\n";
    assert_eq!(docs::declaration(text, 2), ["after"]);
    assert_eq!(docs::declaration(text, 5), ["above", "it"]);
}

#[test]
fn the_folder_of_the_crate_compiles() {
    let out = env::temp_dir().join(format!("parhelion-shaders-{}", std::process::id()));
    fs::create_dir_all(&out).unwrap();
    compile(&Path::new(env!("CARGO_MANIFEST_DIR")).join("wgsl"), &out).unwrap();
    for kernel in crate::KERNELS {
        assert_eq!(fs::read_to_string(out.join(format!("{}.wgsl", kernel.variant))).unwrap(), kernel.wgsl_native);
        assert_eq!(kernel.needs.subgroups, kernel.wgsl_web.starts_with("enable subgroups;"), "{}", kernel.variant);
    }
    for &weight in crate::axes::Weight::ALL {
        assert_eq!(crate::axes::Weight::of(crate::embed::kernel(weight)), Some(weight));
    }
    assert_eq!(crate::axes::Weight::of(crate::activate::kernel()), None);
    fs::remove_dir_all(&out).unwrap();
    assert!(compile(&out, &out).unwrap_err().to_string().contains("cannot read"));
}
