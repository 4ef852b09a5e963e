//! Groups of columns that are no neighbours: GPTQ's `desc_act` and compressed-tensors' activation order, where columns were quantised
//! in the order of their weight for the result and a list (`g_idx`) says which group each is of. No block of neighbours has one scale,
//! so rows are made of the values themselves, as the published programs compute them: `(code - zero) * scale`, rounded to the type
//! of the scales. That takes more memory than the codes; a model that is quantised while it is loaded does not keep them.

use std::ops::Range;
use std::sync::Arc;

use super::affine::{Codes, Zero};
use super::part::{Grid, Part};
use crate::huggingface::json::malformed;
use crate::{DType, LoadError, Source};

/// Entries of a list that are looked at together.
const PIECE: u64 = 1 << 14;

#[derive(Debug, Clone)]
pub(super) struct Gathered {
    /// Bits of a code.
    pub(super) bits: u32,
    pub(super) codes: Codes,
    pub(super) scales: Grid,
    pub(super) zero: Zero,
    /// The group of each column.
    pub(super) order: Part,
    pub(super) groups: u64,
}

impl Gathered {
    /// The type of values.
    pub(super) fn dtype(&self) -> DType {
        self.scales.part.dtype()
    }

    /// The values of rows of a matrix of `cols` columns.
    pub(super) async fn read_rows(&self, files: &[Arc<dyn Source>], rows: Range<u64>, cols: u64) -> Result<Vec<u8>, LoadError> {
        let order = self.order(files, cols).await?;
        let codes = self.codes.read(files, rows.clone(), cols, self.bits).await?;
        let scales = self.scales.read(files, rows.clone()).await?;
        let zeros = self.zero.points(files, rows, self.bits, scales.len()).await?;
        let (cols, groups) = (cols as usize, self.groups as usize);
        let mut out = Vec::with_capacity(codes.len() * self.dtype().block_bytes() as usize);
        let by_row = codes.chunks_exact(cols).zip(scales.chunks_exact(groups).zip(zeros.chunks_exact(groups)));
        for (codes, (scales, zeros)) in by_row {
            let values = codes.iter().zip(&order).map(|(&code, &group)| (f32::from(code) - zeros[group]) * scales[group]);
            match self.dtype() {
                DType::F16 => out.extend(values.flat_map(|value| half::f16::from_f32(value).to_le_bytes())),
                DType::BF16 => out.extend(values.flat_map(|value| half::bf16::from_f32(value).to_le_bytes())),
                _ => out.extend(values.flat_map(f32::to_le_bytes)),
            }
        }
        Ok(out)
    }

    async fn order(&self, files: &[Arc<dyn Source>], cols: u64) -> Result<Vec<usize>, LoadError> {
        let words = read_order(&self.order, files, 0..cols, self.groups).await?;
        Ok(words.into_iter().map(|group| group as usize).collect())
    }
}

/// Whether a list of the group of each column has `groups` groups of `size` neighbours, one after another.
///
/// # Errors
///
/// [`LoadError::Malformed`] where a column's group is none of them, wherever in the list.
pub(super) async fn is_in_order(order: &Part, files: &[Arc<dyn Source>], size: u64, groups: u64) -> Result<bool, LoadError> {
    let (mut first, mut even) = (0, true);
    while first < order.cols {
        let end = first.saturating_add(PIECE).min(order.cols);
        let words = read_order(order, files, first..end, groups).await?;
        even &= (first..end).zip(words).all(|(column, group)| column / size.max(1) == u64::from(group));
        first = end;
    }
    Ok(even)
}

/// The groups of some columns, which must be ones that have scales.
async fn read_order(order: &Part, files: &[Arc<dyn Source>], cols: Range<u64>, groups: u64) -> Result<Vec<u32>, LoadError> {
    let words = order.words(files, 0..1, cols).await?;
    match words.iter().find(|&&group| u64::from(group) >= groups) {
        None => Ok(words),
        Some(&group) => {
            let place = format!("tensor `{}`", order.name().escape_debug());
            let file = files.get(order.file()).map_or("", |file| file.name());
            Err(malformed(file, &place, format!("numbers of groups below {groups}"), group as i32))
        }
    }
}
