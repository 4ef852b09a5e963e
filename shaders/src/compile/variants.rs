//! `variants.txt`: every compiled variant of every kernel.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CompileError,
    source::{Sources, VARIANTS},
};

/// A choice that a kernel is compiled for: `weight=f32|q4_0`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Axis {
    pub(super) name: String,
    pub(super) values: Vec<String>,
}

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) axes: Vec<Axis>,
}

/// The whole list.
#[derive(Debug)]
pub(super) struct KernelList {
    pub(super) kernels: Vec<Entry>,
    /// Every axis by name. An axis has the same values in every kernel, so that each value of its enum names a variant.
    pub(super) axes: BTreeMap<String, Vec<String>>,
}

impl Entry {
    /// The full product of the axes; the last runs fastest.
    pub(super) fn combinations(&self) -> Vec<Vec<(&str, &str)>> {
        self.axes.iter().fold(vec![Vec::new()], |chosen, axis| {
            chosen
                .iter()
                .flat_map(|before| {
                    axis.values.iter().map(|value| {
                        let mut values = before.clone();
                        values.push((axis.name.as_str(), value.as_str()));
                        values
                    })
                })
                .collect()
        })
    }

    /// `matvec_q4_0_subgroup`
    pub(super) fn variant_name(&self, values: &[(&str, &str)]) -> String {
        values.iter().fold(self.name.clone(), |name, (_, value)| format!("{name}_{value}"))
    }
}

impl KernelList {
    /// Parses the list and checks it against the files.
    pub(super) fn parse(sources: &Sources) -> Result<Self, CompileError> {
        let mut kernels: Vec<Entry> = Vec::new();
        let mut axes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (index, line) in sources.text(VARIANTS)?.lines().enumerate() {
            let error = |message: String| CompileError::new(VARIANTS, Some(index + 1), message);
            let Some(entry) = parse_line(line).map_err(error)? else {
                continue;
            };
            for axis in &entry.axes {
                let known = axes.entry(axis.name.clone()).or_insert_with(|| axis.values.clone());
                if *known != axis.values {
                    let message = format!(
                        "axis `{}` is {} before this line: give it the same values in the same order, or another name",
                        axis.name,
                        known.join("|")
                    );
                    return Err(error(message));
                }
            }
            if !sources.0.contains_key(&format!("{}.wgsl", entry.name)) {
                return Err(error(format!("there is no {}.wgsl", entry.name)));
            }
            if kernels.iter().any(|known| known.name == entry.name) {
                return Err(error(format!("`{}` is listed twice", entry.name)));
            }
            kernels.push(entry);
        }
        let listed: BTreeSet<String> = kernels.iter().map(|k| format!("{}.wgsl", k.name)).collect();
        let unlisted = sources.0.keys().find(|file| file.ends_with(".wgsl") && !file.contains('/') && !listed.contains(*file));
        match unlisted {
            Some(file) => Err(CompileError::new(file, None, format!("the kernel is not listed in {VARIANTS}"))),
            None => Ok(Self { kernels, axes }),
        }
    }
}

/// One line: a kernel's name and its axes; none for an empty line or a comment.
fn parse_line(line: &str) -> Result<Option<Entry>, String> {
    let code = line.split('#').next().unwrap_or_default();
    let mut words = code.split_whitespace();
    let Some(name) = words.next() else {
        return Ok(None);
    };
    let mut axes: Vec<Axis> = Vec::new();
    for word in words {
        let (axis, values) = word.split_once('=').ok_or_else(|| format!("`{word}` is not of the form axis=value|value"))?;
        let values: Vec<String> = values.split('|').map(str::to_owned).collect();
        let distinct: BTreeSet<&String> = values.iter().collect();
        let good = |name: &str| is_identifier(name);
        if !good(axis) || !values.iter().all(|v| good(v)) || distinct.len() != values.len() || axes.iter().any(|a| a.name == axis) {
            return Err(format!("`{word}`: an axis and its values are lower-case identifiers, each named once"));
        }
        axes.push(Axis { name: axis.to_owned(), values });
    }
    if !is_identifier(name) {
        return Err(format!("`{name}` is not a lower-case identifier"));
    }
    Ok(Some(Entry { name: name.to_owned(), axes }))
}

fn is_identifier(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase()) && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}
