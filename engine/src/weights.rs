//! Weights on the device: how published tensors are laid out for the kernels, and how they get there in a stream.
//!
//! A matrix part has a plane of `vec4<u32>` quants and, for block formats, a plane of scales (`shaders/wgsl/shared/weight_*.wgsl`).
//! Rows of several tensors are joined when their formats agree; a part ends where the format changes or the device's
//! binding limit is reached. So a fused projection, a mixed file and an over-large table are one mechanism.

use parhelion_loader::{Checkpoint, DType, LoadError, TensorInfo};
use parhelion_shaders::axes::Weight;

use crate::{
    exec::{DeviceLimits, ExecError, Executor},
    graph::{WeightDecl, WeightKind},
    models::Transform,
    recorder::WeightPart,
    recording::BufferSlice,
};

/// Columns of a block: all formats are padded to whole blocks with zero weights.
pub const BLOCK: u32 = 32;

/// Bytes read from the file at once.
const CHUNK: u64 = 8 << 20;

/// Bytes written to the device before it is waited for: what is written and not there yet lies in the host's memory.
const BACKLOG: u64 = 64 << 20;

/// Bytes of a format's block as published: scales first, then quants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BlockLayout {
    scale_bytes: u64,
    quant_bytes: u64,
}

/// A tensor that a weight is made of.
#[derive(Debug, Clone)]
pub struct SourceTensor {
    /// Where it lies in the file.
    pub info: TensorInfo,
    /// How its rows are reordered.
    pub transform: Transform,
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
    #[error("{file}: tensor `{tensor}` is stored as {dtype}, which cannot be computed with yet (can: F32, F16, BF16, Q8_0, Q4_0, Q4_1)")]
    Format {
        /// The file.
        file: String,
        /// The tensor.
        tensor: String,
        /// Its format.
        dtype: &'static str,
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

fn format_of(dtype: DType) -> Option<Weight> {
    Some(match dtype {
        DType::F32 => Weight::F32,
        DType::F16 => Weight::F16,
        DType::BF16 => Weight::Bf16,
        DType::Q8_0 => Weight::Q8_0,
        DType::Q4_0 => Weight::Q4_0,
        DType::Q4_1 => Weight::Q4_1,
        _ => return None,
    })
}

fn block_layout(format: Weight) -> BlockLayout {
    let (scale_bytes, quant_bytes) = match format {
        Weight::F32 => (0, 128),
        Weight::F16 | Weight::Bf16 => (0, 64),
        Weight::Q8_0 => (2, 32),
        Weight::Q4_0 => (2, 16),
        Weight::Q4_1 => (4, 16),
    };
    BlockLayout { scale_bytes, quant_bytes }
}

impl WeightLayout {
    /// Lays out a declared weight over the tensors that make it.
    ///
    /// # Errors
    /// [`WeightError::Shape`], [`WeightError::Format`], [`WeightError::Row`].
    pub fn new(file: &str, decl: &WeightDecl, sources: Vec<SourceTensor>, limits: &DeviceLimits) -> Result<Self, WeightError> {
        let names: Vec<&str> = sources.iter().map(|s| s.info.name.as_str()).collect();
        let mut layout = Self { label: names.join(" + "), kind: decl.kind, cols: decl.cols, parts: Vec::new(), sources: Vec::new() };
        for (source, &(_, rows)) in sources.iter().zip(&decl.tensors) {
            let expected = match decl.kind {
                WeightKind::Matrix => vec![u64::from(rows), u64::from(decl.cols)],
                WeightKind::Vector => vec![u64::from(decl.cols)],
            };
            let tensor = source.info.name.clone();
            if source.info.shape != expected {
                return Err(WeightError::Shape { file: file.into(), tensor, expected, got: source.info.shape.clone() });
            }
            let plain = matches!(source.info.dtype, DType::F32 | DType::F16 | DType::BF16);
            if format_of(source.info.dtype).is_none() || (decl.kind == WeightKind::Vector && !plain) {
                return Err(WeightError::Format { file: file.into(), tensor, dtype: source.info.dtype.name() });
            }
        }
        layout.sources = sources;
        match decl.kind {
            WeightKind::Vector => layout.parts.push(vector_part(decl.cols)),
            WeightKind::Matrix => layout.split(decl, limits)?,
        }
        Ok(layout)
    }

    fn split(&mut self, decl: &WeightDecl, limits: &DeviceLimits) -> Result<(), WeightError> {
        let blocks = u64::from(decl.cols.div_ceil(BLOCK));
        let limit = limits.max_binding.min(limits.max_buffer);
        let mut first_row = 0;
        for (i, &(_, rows)) in decl.tensors.iter().enumerate() {
            let Some(format) = format_of(self.sources[i].info.dtype) else { continue };
            let block = block_layout(format);
            let granule = self.sources[i].transform.granule();
            let most = (limit / (blocks * block.quant_bytes)).min(u64::from(u32::MAX)) as u32 / granule * granule;
            if most == 0 {
                let size = blocks * block.quant_bytes * u64::from(granule);
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
                part.quant_bytes = u64::from(part.rows) * blocks * block.quant_bytes;
                part.scale_bytes = (u64::from(part.rows) * blocks * block.scale_bytes).next_multiple_of(4);
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

/// A vector is one part of f32, padded with zeros to whole `vec4<f32>`.
fn vector_part(len: u32) -> PartLayout {
    let quant_bytes = u64::from(len.next_multiple_of(4)) * 4;
    PartLayout { first_row: 0, rows: 1, format: Weight::F32, quant_bytes, scale_bytes: 0, pieces: vec![(0, 0, 1)] }
}

/// Bytes of weights loaded so far and in all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadProgress {
    /// Bytes of the file that are on the device.
    pub done: u64,
    /// Bytes of all weights in the file.
    pub total: u64,
}

/// Streams every weight from the checkpoint into its buffers, a few MiB at a time.
///
/// # Errors
/// What the source or the device reports.
pub async fn load(
    checkpoint: &Checkpoint,
    layouts: &[WeightLayout],
    bound: &[Vec<WeightPart>],
    executor: &mut dyn Executor,
    progress: &mut dyn FnMut(LoadProgress),
) -> Result<(), WeightError> {
    let total = layouts.iter().flat_map(|layout| &layout.sources).map(|source| source.info.len).sum();
    let (mut done, mut arrived) = (0, 0);
    for (layout, parts) in layouts.iter().zip(bound) {
        for (part, buffers) in layout.parts.iter().zip(parts) {
            let mut quants = PlaneWriter::new(buffers.quants);
            let mut scales = buffers.scales.map(PlaneWriter::new);
            for &(source, first_row, rows) in &part.pieces {
                let piece = Piece { layout, source: &layout.sources[source], format: part.format };
                let mut row = first_row;
                while row < first_row + rows {
                    let chunk = piece.chunk_rows().min(first_row + rows - row);
                    let bytes = piece.read(checkpoint, row, chunk).await?;
                    piece.repack(&bytes, chunk, &mut quants.pending, scales.as_mut().map(|plane| &mut plane.pending));
                    quants.flush(executor, false)?;
                    if let Some(scales) = &mut scales {
                        scales.flush(executor, false)?;
                    }
                    row += chunk;
                    done += bytes.len() as u64;
                    progress(LoadProgress { done, total });
                    if done - arrived > BACKLOG {
                        executor.read(buffers.quants.head(4)).await?;
                        arrived = done;
                    }
                }
            }
            quants.flush(executor, true)?;
            if let Some(scales) = &mut scales {
                scales.flush(executor, true)?;
            }
        }
    }
    Ok(())
}

/// Appends bytes to a buffer in writes of whole words.
struct PlaneWriter {
    slice: BufferSlice,
    at: u64,
    pending: Vec<u8>,
}

impl PlaneWriter {
    fn new(slice: BufferSlice) -> Self {
        Self { slice, at: 0, pending: Vec::new() }
    }

    fn flush(&mut self, executor: &mut dyn Executor, last: bool) -> Result<(), ExecError> {
        if last {
            self.pending.resize(self.pending.len().next_multiple_of(4), 0);
        }
        let whole = self.pending.len() / 4 * 4;
        if whole > 0 {
            executor.write(self.slice.buffer, self.slice.offset + self.at, &self.pending[..whole])?;
            self.pending.drain(..whole);
            self.at += whole as u64;
        }
        Ok(())
    }
}

/// Rows of one tensor on their way into a part.
struct Piece<'a> {
    layout: &'a WeightLayout,
    source: &'a SourceTensor,
    format: Weight,
}

impl Piece<'_> {
    fn row_bytes(&self) -> u64 {
        let dtype = self.source.info.dtype;
        u64::from(self.layout.cols) / dtype.block_elems() * dtype.block_bytes()
    }

    /// Rows a chunk: as many granules of the transform as fit, at least one.
    fn chunk_rows(&self) -> u32 {
        let granule = self.source.transform.granule();
        let rows = (CHUNK / self.row_bytes().max(1)).min(u64::from(u32::MAX)) as u32;
        (rows / granule * granule).max(granule)
    }

    async fn read<'c>(&self, checkpoint: &'c Checkpoint, row: u32, rows: u32) -> Result<std::borrow::Cow<'c, [u8]>, LoadError> {
        checkpoint.read_rows(&self.source.info, u64::from(row), u64::from(rows)).await
    }

    /// Appends `rows` rows, whole granules as published, in the engine's layout.
    fn repack(&self, bytes: &[u8], rows: u32, quants: &mut Vec<u8>, mut scales: Option<&mut Vec<u8>>) {
        let row_bytes = self.row_bytes() as usize;
        if self.layout.kind == WeightKind::Vector {
            quants.extend(to_f32(self.source.info.dtype, bytes).flat_map(f32::to_le_bytes));
            quants.resize(quants.len().next_multiple_of(16), 0);
            return;
        }
        for row in 0..rows {
            let source = self.source.transform.source_row(row) as usize;
            let row = &bytes[source * row_bytes..(source + 1) * row_bytes];
            repack_row(self.format, self.layout.cols, row, quants, scales.as_deref_mut());
        }
    }
}

/// One row: for each of the block's 16-byte pieces, that piece of every block in turn; scales apart.
fn repack_row(format: Weight, cols: u32, row: &[u8], quants: &mut Vec<u8>, scales: Option<&mut Vec<u8>>) {
    let layout = block_layout(format);
    let (scale, quant) = (layout.scale_bytes as usize, layout.quant_bytes as usize);
    let blocks = cols.div_ceil(BLOCK) as usize;
    let block = |b: usize| &row[(b * (scale + quant)).min(row.len())..((b + 1) * (scale + quant)).min(row.len())];
    for piece in 0..quant / 16 {
        for b in 0..blocks {
            let bytes = block(b);
            let from = (scale + piece * 16).min(bytes.len());
            let present = &bytes[from..(from + 16).min(bytes.len())];
            quants.extend_from_slice(present);
            quants.extend_from_slice(&[0; 16][present.len()..]); // columns past the row's end are zero weights
        }
    }
    if let Some(scales) = scales {
        for b in 0..blocks {
            scales.extend_from_slice(&block(b)[..scale]);
        }
    }
}

/// The elements of a plain tensor as f32.
pub(crate) fn to_f32(dtype: DType, bytes: &[u8]) -> impl Iterator<Item = f32> + '_ {
    let size = dtype.block_bytes() as usize;
    bytes.chunks_exact(size.max(1)).map(move |b| match (dtype, b) {
        (DType::F16, &[lo, hi]) => half::f16::from_le_bytes([lo, hi]).to_f32(),
        (DType::BF16, &[lo, hi]) => half::bf16::from_le_bytes([lo, hi]).to_f32(),
        (_, &[a, b, c, d]) => f32::from_le_bytes([a, b, c, d]),
        _ => 0.0,
    })
}
