//! The preprocessor: textual imports and the directives that differ by target.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use super::CompileError;

/// The file that lists every compiled variant.
pub(super) const VARIANTS: &str = "variants.txt";

/// Every file of the WGSL folder by its path below it: `matvec.wgsl`, `shared/grid.wgsl`, `variants.txt`.
pub(super) struct Sources(pub(super) BTreeMap<String, String>);

/// The chosen value of each axis: (`weight`, `q4_0`).
pub(super) type Values<'a> = [(&'a str, &'a str)];

/// A kernel with its imports in place.
#[derive(Debug, Clone)]
pub(super) struct Expanded {
    /// WGSL as naga takes it.
    pub(super) native: String,
    /// WGSL as browsers take it.
    pub(super) web: String,
    /// Where each line of `native` comes from; none for lines that the preprocessor made.
    pub(super) origins: Vec<Option<Origin>>,
    /// The kernel's own file.
    pub(super) file: String,
    /// `#needs subgroups` was seen.
    pub(super) subgroups: bool,
    /// `#needs f16` was seen.
    pub(super) f16: bool,
}

/// A line of a source file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Origin {
    pub(super) file: String,
    /// From 1.
    pub(super) line: usize,
}

impl Expanded {
    /// The place that line `line` (from 1) of `native` comes from.
    pub(super) fn origin(&self, line: usize) -> Option<&Origin> {
        line.checked_sub(1).and_then(|i| self.origins.get(i)).and_then(Option::as_ref)
    }

    /// An error at line `line` (from 1) of `native`, or at the kernel's file where that is unknown.
    pub(super) fn error(&self, line: Option<usize>, message: impl Into<String>) -> CompileError {
        match line.and_then(|line| self.origin(line)) {
            Some(origin) => CompileError::new(&origin.file, Some(origin.line), message),
            None => CompileError::new(&self.file, None, message),
        }
    }
}

impl Sources {
    /// Reads `*.wgsl` and `variants.txt` of a folder and `*.wgsl` of its `shared` folder.
    pub(super) fn read(folder: &Path) -> Result<Self, CompileError> {
        let mut files = BTreeMap::new();
        for (below, path) in [("", folder.to_owned()), ("shared/", folder.join("shared"))] {
            let unreadable = |e: std::io::Error| CompileError::new(&path.display().to_string(), None, format!("cannot read: {e}"));
            for entry in fs::read_dir(&path).map_err(unreadable)? {
                let entry = entry.map_err(unreadable)?;
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.ends_with(".wgsl") || name == VARIANTS {
                    let text = fs::read_to_string(entry.path()).map_err(unreadable)?;
                    files.insert(format!("{below}{name}"), text);
                }
            }
        }
        let sources = Self(files);
        sources.check_headers()?;
        Ok(sources)
    }

    /// The text of a file.
    pub(super) fn text(&self, file: &str) -> Result<&str, CompileError> {
        match self.0.get(file) {
            Some(text) => Ok(text),
            None => Err(CompileError::new(file, None, "there is no such file")),
        }
    }

    /// Every WGSL file must open with a comment that says what it is for.
    pub(super) fn check_headers(&self) -> Result<(), CompileError> {
        let silent = self.0.iter().find(|(file, text)| file.ends_with(".wgsl") && !text.starts_with("// "));
        match silent {
            Some((file, _)) => {
                Err(CompileError::new(file, Some(1), "the file must open with a `// ` comment: what it computes, its grid, its needs"))
            }
            None => Ok(()),
        }
    }

    /// Puts a kernel's imports in place, each once, depth first. `#import AXIS` brings the module `AXIS_VALUE`.
    pub(super) fn expand(&self, kernel: &str, values: &Values<'_>) -> Result<Expanded, CompileError> {
        let file = format!("{kernel}.wgsl");
        let mut expander = Expander {
            sources: self,
            values,
            used: BTreeSet::new(),
            done: BTreeSet::new(),
            open: Vec::new(),
            lines: Vec::new(),
            subgroups: false,
            f16: false,
        };
        expander.file(&file)?;
        if let Some((axis, _)) = values.iter().find(|(axis, _)| !expander.used.contains(*axis)) {
            let message = format!("has the axis `{axis}` in {VARIANTS} and never says `#import {axis}`");
            return Err(CompileError::new(&file, None, message));
        }
        Ok(expander.finish(file))
    }
}

struct Expander<'a> {
    sources: &'a Sources,
    values: &'a Values<'a>,
    /// Axes that an import asked for.
    used: BTreeSet<String>,
    /// Files that are in place.
    done: BTreeSet<String>,
    /// Files that are being read, outermost first.
    open: Vec<String>,
    lines: Vec<(&'a str, Origin)>,
    subgroups: bool,
    f16: bool,
}

impl<'a> Expander<'a> {
    fn file(&mut self, file: &str) -> Result<(), CompileError> {
        let text = self.sources.text(file)?;
        self.open.push(file.to_owned());
        for (index, line) in text.lines().enumerate() {
            let origin = Origin { file: file.to_owned(), line: index + 1 };
            match line.trim_start().strip_prefix('#') {
                Some(directive) => self.directive(directive, &origin)?,
                None => self.lines.push((line, origin)),
            }
        }
        self.open.pop();
        self.done.insert(file.to_owned());
        Ok(())
    }

    fn directive(&mut self, directive: &str, at: &Origin) -> Result<(), CompileError> {
        let error = |message: String| CompileError::new(&at.file, Some(at.line), message);
        let code = directive.split("//").next().unwrap_or_default();
        match code.split_whitespace().collect::<Vec<_>>()[..] {
            ["import", module] => self.import(module, at),
            ["needs", "subgroups"] => {
                self.subgroups = true;
                Ok(())
            }
            ["needs", "f16"] => {
                self.f16 = true;
                Ok(())
            }
            _ => {
                Err(error(format!("unknown directive `#{}`: there are `#import MODULE`, `#needs subgroups` and `#needs f16`", code.trim())))
            }
        }
    }

    fn import(&mut self, module: &str, at: &Origin) -> Result<(), CompileError> {
        let file = match self.values.iter().find(|(axis, _)| *axis == module) {
            Some((axis, value)) => {
                self.used.insert((*axis).to_owned());
                format!("shared/{axis}_{value}.wgsl")
            }
            None => format!("shared/{module}.wgsl"),
        };
        let error = |message: String| Err(CompileError::new(&at.file, Some(at.line), message));
        if let Some(start) = self.open.iter().position(|open| *open == file) {
            return error(format!("imports go in a circle: {} -> {file}", self.open[start..].join(" -> ")));
        }
        if self.done.contains(&file) {
            return Ok(());
        }
        if !self.sources.0.contains_key(&file) {
            return error(format!("unknown import `{module}`: there is no {file}"));
        }
        self.file(&file)
    }

    fn finish(self, file: String) -> Expanded {
        let mut native = String::new();
        let mut origins = Vec::with_capacity(self.lines.len() + 1);
        if self.f16 {
            native.push_str("enable f16;\n");
            origins.push(None);
        }
        for (line, origin) in self.lines {
            native.push_str(line);
            native.push('\n');
            origins.push(Some(origin));
        }
        let web = if self.subgroups { format!("enable subgroups;\n{native}") } else { native.clone() };
        Expanded { native, web, origins, file, subgroups: self.subgroups, f16: self.f16 }
    }
}
