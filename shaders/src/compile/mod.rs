//! The build step: WGSL files in, checked and reflected Rust out. `build.rs` runs it; the crate compiles it again for its
//! own tests only.
//!
//! preprocess (`source`) -> parse, validate, check (`check`) -> reflect (`reflect`) -> generate (`emit`)

mod check;
mod docs;
mod emit;
mod layout;
mod reflect;
mod source;
#[cfg(test)]
mod tests;
mod variants;

use std::{fmt, fs, path::Path};

use reflect::Reflection;
use source::{Expanded, Sources};
use variants::{Axis, KernelList};

/// What is wrong with a shader and where: printed as `file:line: message`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CompileError {
    /// File below the WGSL folder.
    pub(crate) file: String,
    /// Line, from 1; none when the whole file is meant.
    pub(crate) line: Option<usize>,
    /// What is wrong and what to do.
    pub(crate) message: String,
}

impl CompileError {
    fn new(file: &str, line: Option<usize>, message: impl Into<String>) -> Self {
        Self { file: file.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "{}:{line}: {}", self.file, self.message),
            None => write!(f, "{}: {}", self.file, self.message),
        }
    }
}

impl std::error::Error for CompileError {}

/// One compiled variant of a kernel.
struct Variant {
    /// `matvec_q4_0_subgroup`
    name: String,
    /// (`weight`, `q4_0`)
    values: Vec<(String, String)>,
    text: Expanded,
    reflection: Reflection,
}

/// A kernel with all its variants, in the order of the product of its axes (the last axis runs fastest).
struct Compiled {
    name: String,
    axes: Vec<Axis>,
    variants: Vec<Variant>,
}

/// Compiles the folder `wgsl` and writes `kernels.rs` and the expanded WGSL into `out`.
///
/// # Errors
/// The first thing that is wrong, with its place.
pub(crate) fn compile(wgsl: &Path, out: &Path) -> Result<(), CompileError> {
    let sources = Sources::read(wgsl)?;
    let list = KernelList::parse(&sources)?;
    let kernels = compile_all(&sources, &list)?;
    for (path, text) in emit::files(&sources, &list, &kernels)? {
        let path = out.join(path);
        fs::write(&path, text).map_err(|e| CompileError::new(&path.display().to_string(), None, format!("cannot write: {e}")))?;
    }
    Ok(())
}

fn compile_all(sources: &Sources, list: &KernelList) -> Result<Vec<Compiled>, CompileError> {
    list.kernels
        .iter()
        .map(|entry| {
            let variants = entry
                .combinations()
                .into_iter()
                .map(|values| {
                    let text = sources.expand(&entry.name, &values)?;
                    let module = check::validate(&text)?;
                    let reflection = reflect::reflect(&module, &text, sources)?;
                    Ok(Variant { name: entry.variant_name(&values), values: owned(&values), text, reflection })
                })
                .collect::<Result<Vec<_>, CompileError>>()?;
            Ok(Compiled { name: entry.name.clone(), axes: entry.axes.clone(), variants })
        })
        .collect()
}

fn owned(values: &source::Values<'_>) -> Vec<(String, String)> {
    values.iter().map(|(axis, value)| ((*axis).to_owned(), (*value).to_owned())).collect()
}
