//! Rust from reflection: `kernels.rs` and the expanded WGSL beside it.

mod kernel;
mod merge;
mod structs;

use std::fmt::Write as _;

use super::{CompileError, Compiled, docs, source::Sources, variants::KernelList};
use merge::Merged;

/// A file name and its text.
pub(super) type File = (String, String);

/// Every file that the build step writes.
pub(super) fn files(sources: &Sources, list: &KernelList, kernels: &[Compiled]) -> Result<Vec<File>, CompileError> {
    let merged = kernels.iter().map(Merged::new).collect::<Result<Vec<_>, _>>()?;
    let shared = merge::shared_structs(&merged)?;

    let mut rust = axes(sources, list);
    rust.push_str(&structs::shared_module(&shared));
    let mut files = Vec::new();
    for kernel in &merged {
        rust.push_str(&kernel::module(sources, kernel)?);
        for variant in kernel.variants() {
            files.push((native_file(&variant.name), variant.text.native.clone()));
            if variant.text.subgroups {
                files.push((web_file(&variant.name), variant.text.web.clone()));
            }
        }
    }
    rust.push_str(&listing(kernels));
    files.push(("kernels.rs".to_owned(), rust));
    Ok(files)
}

fn native_file(variant: &str) -> String {
    format!("{variant}.wgsl")
}

fn web_file(variant: &str) -> String {
    format!("{variant}.web.wgsl")
}

/// Doc comment lines, or `otherwise` where there is no comment.
fn doc(indent: &str, lines: &[String], otherwise: &str) -> String {
    if lines.iter().all(|line| line.trim().is_empty()) {
        return format!("{indent}/// {otherwise}\n");
    }
    lines.iter().fold(String::new(), |mut out, line| {
        let _ = writeln!(out, "{}", format!("{indent}/// {}", escape(line)).trim_end());
        out
    })
}

/// Brackets of formulas are neither links nor HTML; code between backticks stands as it is.
fn escape(line: &str) -> String {
    let pieces = line.split('`').enumerate().map(|(i, piece)| match i % 2 {
        0 => piece.replace('[', "\\[").replace(']', "\\]").replace('<', "\\<").replace('>', "\\>"),
        _ => piece.to_owned(),
    });
    pieces.collect::<Vec<_>>().join("`")
}

/// `q4_0` -> `Q4_0`, `per_row` -> `PerRow`: an underscore stays between digits only.
fn camel(name: &str) -> String {
    let mut out = String::new();
    let mut upper = true;
    for (i, c) in name.char_indices() {
        if c == '_' {
            let digit = |c: Option<char>| c.is_some_and(|c| c.is_ascii_digit());
            upper = true;
            if digit(name[..i].chars().next_back()) && digit(name[i + 1..].chars().next()) {
                out.push('_');
            }
        } else {
            out.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    out
}

/// `pub mod axes`: an enum an axis.
fn axes(sources: &Sources, list: &KernelList) -> String {
    let mut out = String::from("/// What kernels are compiled for: an enum an axis of `variants.txt`.\npub mod axes {\n");
    for (axis, values) in &list.axes {
        let name = camel(axis);
        let mut variants = String::new();
        let mut names = String::new();
        for value in values {
            let text = sources.0.get(&format!("shared/{axis}_{value}.wgsl"));
            let header = text.map_or_else(Vec::new, |text| docs::header(text));
            variants.push_str(&doc("        ", &header, &format!("`{axis}={value}`.")));
            let _ = writeln!(variants, "        {},", camel(value));
            let _ = writeln!(names, "                Self::{} => \"{value}\",", camel(value));
        }
        let all: Vec<String> = values.iter().map(|value| format!("Self::{}", camel(value))).collect();
        let _ = write!(
            out,
            "    /// The axis `{axis}`: which `{axis}_*` module a kernel imports.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
    pub enum {name} {{
{variants}    }}

    impl {name} {{
        /// Every value.
        pub const ALL: &'static [Self] = &[{all}];

        /// The value as `variants.txt` writes it.
        pub fn name(self) -> &'static str {{
            match self {{
{names}            }}
        }}

        /// The value that a kernel was compiled for; none if it has no such axis.
        pub fn of(kernel: &super::Kernel) -> Option<Self> {{
            let (_, value) = kernel.axes.iter().find(|(axis, _)| *axis == \"{axis}\")?;
            Self::ALL.iter().copied().find(|known| known.name() == *value)
        }}
    }}

",
            all = all.join(", "),
        );
    }
    out.push_str("}\n\n");
    out
}

/// `KERNELS`: every variant.
fn listing(kernels: &[Compiled]) -> String {
    let mut out = String::from("/// Every compiled variant of every kernel.\npub static KERNELS: &[&Kernel] = &[\n");
    for kernel in kernels {
        for index in 0..kernel.variants.len() {
            let _ = writeln!(out, "    &{}::VARIANTS[{index}],", kernel.name);
        }
    }
    out.push_str("];\n");
    out
}
