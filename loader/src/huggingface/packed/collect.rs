//! Finds the tensors that make up each quantised matrix, and puts one in their place.

use std::sync::Arc;

use super::Packed;
use super::part::Part;
use super::scheme::{self, Refusal, Scheme};
use crate::huggingface::json::malformed;
use crate::metadata::Metadata;
use crate::names::NameIndex;
use crate::{LoadError, Source, TensorInfo};

/// A repository's tensors as models see them.
pub(in crate::huggingface) struct Assembled {
    pub(in crate::huggingface) tensors: Vec<TensorInfo>,
    pub(in crate::huggingface) index: NameIndex,
    pub(in crate::huggingface) packed: Vec<Packed>,
    pub(in crate::huggingface) refusal: Option<Refusal>,
    /// The way of quantisation, in words for people.
    pub(in crate::huggingface) quantisation: Option<String>,
}

/// Puts a tensor `...weight` in the place of those that make it. Those of a way of quantisation that cannot be read stay as they
/// are stored.
pub(in crate::huggingface) async fn assemble(
    metadata: &Metadata,
    files: &[Arc<dyn Source>],
    tensors: Vec<TensorInfo>,
    index: NameIndex,
) -> Result<Assembled, LoadError> {
    let scheme = match scheme::of(metadata)? {
        Some(Ok(scheme)) => scheme,
        refused => {
            let refusal = refused.and_then(Result::err);
            let quantisation = refusal.as_ref().map(|refusal| format!("{} is not supported", refusal.found()));
            return Ok(Assembled { tensors, index, packed: Vec::new(), refusal, quantisation });
        }
    };
    let mut used = vec![false; tensors.len()];
    let mut matrices: Vec<(usize, String, Packed)> = Vec::new();
    for (at, tensor) in tensors.iter().enumerate() {
        if let Some(module) = scheme.module(&tensor.name) {
            let mut stored = Stored { module, separator: scheme.separator(), tensors: &tensors, index: &index, files, used: &mut used };
            if let Some(packed) = stored.matrix(&scheme, metadata, at).await? {
                matrices.push((at, format!("{module}.weight"), packed));
            }
        }
    }
    let mut logical = Vec::with_capacity(tensors.len());
    let mut packed = Vec::with_capacity(matrices.len());
    let mut matrices = matrices.into_iter().peekable();
    for (at, tensor) in tensors.into_iter().enumerate() {
        if let Some((_, name, matrix)) = matrices.next_if(|(place, ..)| *place == at) {
            logical.push(matrix.info(name, packed.len() as u32, &tensor));
            packed.push(matrix);
        } else if !used[at] {
            logical.push(tensor);
        }
    }
    let index = NameIndex::build(logical.len(), |i| logical[i].name.as_str()).map_err(|twice| {
        let tensor = &logical[twice];
        let file = files.get(tensor.file).map_or("", |file| file.name());
        malformed(file, "quantised weights", "each once", format!("`{}` quantised and plain", tensor.name.escape_debug()))
    })?;
    Ok(Assembled { tensors: logical, index, packed, refusal: None, quantisation: Some(scheme.to_string()) })
}

impl Packed {
    /// The tensor that stands for the matrix, in the place of one of its parts.
    fn info(&self, name: String, number: u32, part: &TensorInfo) -> TensorInfo {
        let dtype = self.dtype();
        // Checked when the matrix was put together.
        let len = self.rows.checked_mul(self.cols).and_then(|elems| dtype.bytes_for(elems)).unwrap_or(0);
        let shape = match self.matrices {
            Some(matrices) => vec![matrices, self.rows / matrices.max(1), self.cols],
            None => vec![self.rows, self.cols],
        };
        TensorInfo { name, dtype, shape, file: part.file, offset: part.offset, len, packed: Some(number) }
    }
}

/// The tensors of one module.
pub(super) struct Stored<'a> {
    pub(super) module: &'a str,
    /// What stands between the module's name and that of a part.
    separator: char,
    pub(super) tensors: &'a [TensorInfo],
    index: &'a NameIndex,
    pub(super) files: &'a [Arc<dyn Source>],
    used: &'a mut [bool],
}

impl Stored<'_> {
    fn find(&self, suffix: &str) -> Option<usize> {
        self.index.find(&format!("{}{}{suffix}", self.module, self.separator), |i| self.tensors[i].name.as_str())
    }

    /// The tensor `module.suffix`, which is then a part of the matrix.
    pub(super) fn optional(&mut self, suffix: &str) -> Option<&TensorInfo> {
        let at = self.find(suffix)?;
        *self.used.get_mut(at)? = true;
        self.tensors.get(at)
    }

    /// The tensor `module.suffix` without making it a part.
    pub(super) fn peek(&self, suffix: &str) -> Option<&TensorInfo> {
        self.tensors.get(self.find(suffix)?)
    }

    /// As [`Stored::optional`], for one that the matrix cannot do without.
    pub(super) fn part(&mut self, suffix: &str) -> Result<Part, LoadError> {
        match self.optional(suffix) {
            Some(info) => Ok(Part::new(info)),
            None => {
                let place = format!("quantised tensors of `{}`", self.module.escape_debug());
                Err(malformed(self.file(), &place, format!("a tensor `{suffix}` among them"), "none"))
            }
        }
    }

    /// Takes tensors that are not needed for weights away from the list.
    pub(super) fn leave_out(&mut self, suffixes: &[&str]) {
        for suffix in suffixes {
            self.optional(suffix);
        }
    }

    /// The file of the module's first tensor, for messages.
    fn file(&self) -> &str {
        let own =
            self.tensors.iter().find(|tensor| tensor.name.strip_prefix(self.module).is_some_and(|rest| rest.starts_with(self.separator)));
        own.and_then(|tensor| self.files.get(tensor.file)).map_or("", |file| file.name())
    }

    /// The error for a tensor of another type or shape than the rest asks for.
    pub(super) fn bad(&self, part: &Part, expected: impl Into<String>) -> LoadError {
        let place = format!("tensor `{}`", part.name().escape_debug());
        let got = format!("{} {} x {}", part.dtype(), part.rows, part.cols);
        malformed(self.file(), &place, expected, got)
    }

    /// Checks a part's shape.
    pub(super) fn check(&self, part: &Part, rows: u64, cols: u64, of: &str) -> Result<(), LoadError> {
        if (part.rows, part.cols) == (rows, cols) { Ok(()) } else { Err(self.bad(part, format!("{of} {rows} x {cols}"))) }
    }
}

impl Scheme {
    /// The module that a tensor of this name is the first part of, by the end of the name.
    fn module<'a>(&self, name: &'a str) -> Option<&'a str> {
        let ends: &[&str] = match self {
            Self::Gptq { .. } | Self::Awq { .. } => &[".qweight"],
            Self::Nf4 => &[".weight.quant_state.bitsandbytes__nf4"],
            Self::Mlx { .. } => &[".scales"],
            Self::Pack { .. } => &[".weight_packed"],
            Self::Int8 => &[".weight_scale"],
            Self::Float8 { .. } => &[".weight_scale", ".weight_scale_inv"],
            Self::Mxfp4 => &["_blocks"],
        };
        ends.iter().find_map(|end| name.strip_suffix(end))
    }

    /// What stands between a module's name and those of its parts.
    fn separator(&self) -> char {
        if *self == Self::Mxfp4 { '_' } else { '.' }
    }
}
