//! Weights on the device: how published tensors are laid out for the kernels, and how they get there in a stream.
//!
//! A matrix part has a plane of `vec4<u32>` quants and, for block formats, a plane of scales (`shaders/wgsl/shared/weight_*.wgsl`).
//! Rows of several tensors are joined when their formats agree; a part ends where the format changes or the device's
//! binding limit is reached. So a fused projection, a mixed file and an over-large table are one mechanism.

use parhelion_loader::{LoadError, TensorInfo};
use parhelion_shaders::axes::Weight;

use crate::{
    exec::{DeviceLimits, ExecError},
    formats,
    graph::{WeightDecl, WeightKind},
    models::Transform,
    quantise::QuantType,
    recorder::WeightPart,
    recording::BufferSlice,
};

mod load;

pub use load::{LoadProgress, load};

/// Columns of a block: all formats are padded to whole blocks with zero weights.
pub const BLOCK: u32 = formats::BLOCK as u32;

/// A tensor that a weight is made of.
#[derive(Debug, Clone)]
pub struct SourceTensor {
    /// Where it lies in the file.
    pub info: TensorInfo,
    /// How its rows, or the elements of a vector, are reordered.
    pub transform: Transform,
    /// What is added to each element of a vector.
    pub shift: f32,
    /// What it becomes on the way; none to stay as it is.
    pub quantise: Option<QuantType>,
    /// Whether it has the rows of one expert, where its weight has those of several.
    pub of_one: bool,
}

impl SourceTensor {
    /// A tensor that stays as it is.
    pub fn new(info: TensorInfo, transform: Transform) -> Self {
        Self { info, transform, shift: 0.0, quantise: None, of_one: false }
    }

    /// The format of its rows on the device.
    fn format(&self) -> Option<Weight> {
        self.quantise.map_or_else(|| formats::of(self.info.dtype), |to| Some(to.format()))
    }
}

/// A weight's parts and where their rows come from.
#[derive(Debug, Clone)]
pub struct WeightLayout {
    /// The weight's tensors, for messages.
    pub label: String,
    /// Matrix or vector.
    pub kind: WeightKind,
    /// Columns.
    pub cols: u32,
    /// The tensors whose rows are joined.
    pub sources: Vec<SourceTensor>,
    /// Rows that each of them gives, or elements.
    rows: Vec<u32>,
    /// Parts in the order of their rows.
    pub parts: Vec<PartLayout>,
}

/// Rows of a weight that lie in one buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartLayout {
    /// First row, counted from the weight's first.
    pub first_row: u32,
    /// Rows.
    pub rows: u32,
    /// Format of the planes.
    pub format: Weight,
    /// Bytes of the quants' plane.
    pub quant_bytes: u64,
    /// Bytes of the scales' plane, 0 for formats without.
    pub scale_bytes: u64,
    /// What it is filled from: (index in `sources`, first row there, rows).
    pieces: Vec<(usize, u32, u32)>,
}

/// Why a weight cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WeightError {
    /// The file's fault or the disk's.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device's.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// A tensor of another shape than the model's configuration asks for.
    #[error("{file}: tensor `{tensor}` has shape {got:?} and the model's configuration asks for {expected:?}")]
    Shape {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Rows and columns asked for.
        expected: Vec<u64>,
        /// What the file has.
        got: Vec<u64>,
    },
    /// A format that no kernel reads yet.
    #[error("{file}: tensor `{tensor}` is stored as {dtype}, which cannot be computed with (can: {can})")]
    Format {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its format.
        dtype: &'static str,
        /// The formats that can be used there.
        can: String,
    },
    /// Values that a type has no scales for.
    #[error(
        "{file}: tensor `{tensor}` has values that are not finite, or too large for {to}: the model is damaged, or it can only be \
         run as it is published"
    )]
    NotFinite {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// What it was to become.
        to: &'static str,
    },
    /// A single row over the device's limits.
    #[error("one row of `{label}` takes {size} bytes and the device binds at most {limit}")]
    Row {
        /// The weight.
        label: String,
        /// Bytes of a row.
        size: u64,
        /// Bytes the device binds.
        limit: u64,
    },
}

impl WeightLayout {
    /// Lays out a declared weight over the tensors that make it.
    ///
    /// # Errors
    /// [`WeightError::Shape`], [`WeightError::Format`], [`WeightError::Row`].
    pub fn new(file: &str, decl: &WeightDecl, sources: Vec<SourceTensor>, limits: &DeviceLimits) -> Result<Self, WeightError> {
        let mut layout =
            Self { label: String::new(), kind: decl.kind, cols: decl.cols, parts: Vec::new(), sources: Vec::new(), rows: Vec::new() };
        let mut names: Vec<&str> = Vec::new();
        let mut tensors = decl.tensors.iter();
        let (mut own, mut left) = (0, 0);
        for source in &sources {
            if left == 0 {
                let Some((_, rows)) = tensors.next() else { break };
                names.push(&source.info.name);
                (own, left) = (*rows, if source.of_one { decl.experts.unwrap_or(1) } else { 1 });
            }
            left -= 1;
            check_source(file, decl, source, own)?;
            layout.rows.push(if source.of_one { own } else { own.saturating_mul(decl.experts.unwrap_or(1)) });
        }
        layout.label = names.join(" + ");
        layout.sources = sources;
        match decl.kind {
            WeightKind::Vector => layout.parts.push(vector_part(layout.sources.len(), decl.cols.into())),
            WeightKind::Filters => layout.parts.push(vector_part(layout.sources.len(), channels(decl) * u64::from(decl.cols))),
            WeightKind::Matrix => layout.split(decl, limits)?,
        }
        Ok(layout)
    }

    /// Bytes that are read to load it.
    fn published_bytes(&self) -> u64 {
        let of_source = |(source, rows): (&SourceTensor, &u32)| match self.kind {
            WeightKind::Matrix => source.transform.row_bytes(&source.info, self.cols).saturating_mul(u64::from(*rows)),
            WeightKind::Vector | WeightKind::Filters => source.info.len,
        };
        self.sources.iter().zip(&self.rows).map(of_source).fold(0, u64::saturating_add)
    }

    fn split(&mut self, decl: &WeightDecl, limits: &DeviceLimits) -> Result<(), WeightError> {
        let blocks = u64::from(decl.cols.div_ceil(BLOCK));
        let limit = limits.max_binding.min(limits.max_buffer);
        let mut first_row = 0;
        for (i, rows) in self.rows.clone().into_iter().enumerate() {
            let Some(format) = self.sources[i].format() else { continue };
            let info = formats::info(format);
            let (quants, scales, codebook) = (16 * info.vectors(blocks), 4 * info.words(blocks), 4 * info.codebook.len() as u64);
            let granule = self.sources[i].transform.granule();
            let fitting = limit.saturating_sub(codebook) / quants.max(scales);
            let most = fitting.min(u64::from(u32::MAX)) as u32 / granule * granule;
            if most == 0 {
                let size = codebook + quants.max(scales) * u64::from(granule);
                return Err(WeightError::Row { label: self.label.clone(), size, limit });
            }
            let mut at = 0;
            while at < rows {
                let room = match self.parts.last() {
                    Some(part) if part.format == format => most.saturating_sub(part.rows) / granule * granule,
                    _ => 0,
                };
                let part = if room > 0 {
                    self.parts.last_mut()
                } else {
                    self.parts.push(PartLayout { first_row, rows: 0, format, quant_bytes: 0, scale_bytes: 0, pieces: Vec::new() });
                    self.parts.last_mut()
                };
                let Some(part) = part else { continue };
                let take = (rows - at).min(if room > 0 { room } else { most });
                part.pieces.push((i, at, take));
                part.rows += take;
                part.quant_bytes = u64::from(part.rows) * quants;
                part.scale_bytes = u64::from(part.rows) * scales + codebook;
                at += take;
                first_row += take;
            }
        }
        Ok(())
    }

    /// The parts' buffers, each taken from `next` in the order of the plan's descriptions.
    pub(crate) fn bind(&self, next: &mut impl FnMut() -> BufferSlice) -> Vec<WeightPart> {
        let bind = |part: &PartLayout| WeightPart {
            first_row: part.first_row,
            rows: part.rows,
            cols: self.cols,
            blocks: self.cols.div_ceil(BLOCK),
            format: part.format,
            quants: next(),
            scales: (part.scale_bytes > 0).then(&mut *next),
        };
        self.parts.iter().map(bind).collect()
    }
}

/// Channels of all filters.
fn channels(decl: &WeightDecl) -> u64 {
    decl.tensors.iter().map(|(_, rows)| u64::from(*rows)).sum()
}

/// Checks the shape and the type of a tensor that has `rows` rows, or elements, of each expert.
fn check_source(file: &str, decl: &WeightDecl, source: &SourceTensor, rows: u32) -> Result<(), WeightError> {
    let SourceTensor { info, transform, .. } = source;
    let own = transform.published(rows, (decl.kind != WeightKind::Vector).then_some(decl.cols));
    let of_all = decl.experts.filter(|_| !source.of_one).map(u64::from);
    let expected: Vec<u64> = of_all.into_iter().chain(own).collect();
    let tensor = || info.name.clone();
    // Libraries give filters that each see one channel a dimension of 1 for it.
    let of_one_channel = [u64::from(rows), 1, u64::from(decl.cols)];
    if info.shape != expected && !(decl.kind == WeightKind::Filters && info.shape == of_one_channel) {
        return Err(WeightError::Shape { file: file.into(), tensor: tensor(), expected, got: info.shape.clone() });
    }
    let of_blocks = decl.kind == WeightKind::Matrix && transform.keeps_rows();
    if if of_blocks { formats::of(info.dtype).is_some() } else { formats::is_plain(info.dtype) } {
        return Ok(());
    }
    Err(WeightError::Format { file: file.into(), tensor: tensor(), dtype: info.dtype.name(), can: formats::names(!of_blocks) })
}

/// A vector is one part of f32, padded with zeros to whole `vec4<f32>`; filters one after the other are one, too.
fn vector_part(sources: usize, elems: u64) -> PartLayout {
    let quant_bytes = elems.next_multiple_of(4) * 4;
    let pieces = (0..sources).map(|source| (source, 0, 1)).collect();
    PartLayout { first_row: 0, rows: 1, format: Weight::F32, quant_bytes, scale_bytes: 0, pieces }
}
