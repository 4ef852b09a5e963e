//! Tensors of a checkpoint in another type, as bytes for a file.

use parhelion_loader::{Checkpoint, LoadError, TensorInfo};

use super::{Content, Job, PlannedTensor, QuantType, Stage, publish, stage::Planes};
use crate::{
    exec::{ExecError, Executor},
    formats,
    models::Transform,
    recording::{BufferDesc, BufferSlice, BufferUse},
};

/// Bytes of a tensor that are copied at once.
const CHUNK: u64 = 8 << 20;

/// Why a tensor cannot be quantised.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QuantiseError {
    /// The file's fault or the disk's.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The device's.
    #[error(transparent)]
    Exec(#[from] ExecError),
    /// Values that the target has no scale for.
    #[error(
        "tensor `{tensor}` has values that are not finite, or too large for {to}: the model is damaged, or that tensor must keep its type"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The target.
        to: &'static str,
    },
    /// A tensor that is no matrix of whole blocks.
    #[error("tensor `{tensor}` of {dtype} and shape {shape:?} cannot become {to}")]
    Shape {
        /// The tensor.
        tensor: String,
        /// Its type.
        dtype: &'static str,
        /// Its shape.
        shape: Vec<u64>,
        /// The target.
        to: &'static str,
    },
}

/// Converts the tensors of a checkpoint one after another, in chunks of a few MiB.
pub struct Quantiser<'a> {
    checkpoint: &'a Checkpoint,
    executor: &'a mut dyn Executor,
}

impl<'a> Quantiser<'a> {
    /// Converts tensors of `checkpoint` on `executor`'s device.
    pub fn new(checkpoint: &'a Checkpoint, executor: &'a mut dyn Executor) -> Self {
        Self { checkpoint, executor }
    }

    /// Hands a planned tensor's bytes to `write`, a few MiB at a time.
    ///
    /// # Errors
    /// [`QuantiseError`], or the error of `write`.
    pub async fn write<E: From<QuantiseError>>(
        &mut self,
        tensor: &PlannedTensor,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        match &tensor.content {
            Content::Given(bytes) => write(bytes),
            Content::Copied(info, transform) => self.copy(info, *transform, write).await,
            Content::Quantised(info, transform, to) => self.convert(info, *transform, *to, write).await,
            Content::Floats(info, transform, shift) => {
                let bytes = self.checkpoint.read(info, 0, info.len).await.map_err(QuantiseError::from)?;
                let values = transform.vector(info.dtype, &bytes, *shift);
                write(&values.into_iter().flat_map(f32::to_le_bytes).collect::<Vec<u8>>())
            }
        }
    }

    /// The rows of a tensor as they are, in the order that `transform` gives.
    async fn copy<E: From<QuantiseError>>(
        &self,
        info: &TensorInfo,
        transform: Transform,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let row_bytes = info.row_bytes().max(1);
        let (rows, granule) = (info.len / row_bytes, u64::from(transform.granule()));
        let chunk = (CHUNK / row_bytes / granule).max(1) * granule;
        let mut first = 0;
        while first < rows {
            let count = chunk.min(rows - first);
            let bytes = self.checkpoint.read_rows(info, first, count).await.map_err(QuantiseError::from)?;
            if transform == Transform::None {
                write(&bytes)?;
            } else {
                let row = |row: u64| transform.source_row(row as u32) as usize * row_bytes as usize;
                let reordered = (0..count).map(row).flat_map(|at| &bytes[at..at + row_bytes as usize]);
                write(&reordered.copied().collect::<Vec<u8>>())?;
            }
            first += count;
        }
        Ok(())
    }

    /// Converts a tensor, its rows in the order that `transform` gives, and hands the published bytes to `write`, chunk by chunk.
    ///
    /// # Errors
    /// [`QuantiseError`], or the error of `write`.
    pub async fn convert<E: From<QuantiseError>>(
        &mut self,
        info: &TensorInfo,
        transform: Transform,
        to: QuantType,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (job, rows) = job_of(info, transform, to)?;
        let chunk = job.chunk_rows(self.executor.device()).min(rows);
        let (quants, scales) = job.target_bytes(chunk);
        let desc = |label: &str, size| BufferDesc { label: label.into(), size, usage: BufferUse::Scratch };
        let descs = [desc("quantised rows", quants), desc("scales of quantised rows", scales)];
        let targets = self.executor.allocate(&descs).await.map_err(QuantiseError::from)?;
        let to = Planes { quants: BufferSlice::whole(targets[0], quants), scales: BufferSlice::whole(targets[1], scales), first_row: 0 };
        let result = match Stage::new(self.executor, &[job]).await {
            Ok(mut stage) => {
                let result = self.chunks(info, &job, (rows, chunk), &mut stage, to, write).await;
                stage.release(self.executor);
                result
            }
            Err(error) => Err(QuantiseError::from(error).into()),
        };
        self.executor.release(&targets);
        result
    }

    async fn chunks<E: From<QuantiseError>>(
        &mut self,
        info: &TensorInfo,
        job: &Job,
        (rows, chunk): (u32, u32),
        stage: &mut Stage,
        to: Planes,
        write: &mut dyn FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut out = Vec::new();
        let mut first = 0;
        while first < rows {
            let count = chunk.min(rows - first);
            out.clear();
            self.chunk(info, job, (first, count), stage, to, &mut out).await?;
            write(&out)?;
            first += count;
        }
        Ok(())
    }

    /// Appends rows `first..first + count` as they are published.
    async fn chunk(
        &mut self,
        info: &TensorInfo,
        job: &Job,
        (first, count): (u32, u32),
        stage: &mut Stage,
        to: Planes,
        out: &mut Vec<u8>,
    ) -> Result<(), QuantiseError> {
        let bytes = self.checkpoint.read_rows(info, first.into(), count.into()).await?;
        stage.convert(self.executor, (0, job), (&bytes, count), to).await?;
        let (quants, scales) = job.target_bytes(count);
        let quants = self.executor.read(to.quants.head(quants));
        let scales = self.executor.read(to.scales.head(scales));
        let (quants, scales) = (quants.await?, scales.await?);
        if !stage.faults(self.executor).await?.is_empty() {
            return Err(QuantiseError::NotFinite { tensor: info.name.clone(), to: job.to.dtype().name() });
        }
        let (quants, scales): (Vec<u32>, Vec<u32>) = (bytemuck::pod_collect_to_vec(&quants), bytemuck::pod_collect_to_vec(&scales));
        let format = formats::info(job.to.format());
        let planes = formats::Rows::new(format, count, job.blocks(), &quants, &scales).map_err(|reason| ExecError::InvalidCall {
            step: info.name.clone(),
            kernel: "quantise",
            reason,
        })?;
        (0..count).for_each(|row| publish::publish(job.to, &planes.row(row as usize), out));
        Ok(())
    }
}

/// What is to be done with a tensor, and how many rows it has: all but the last dimension are rows.
fn job_of(info: &TensorInfo, transform: Transform, to: QuantType) -> Result<(Job, u32), QuantiseError> {
    let (rows, cols) = match *info.shape.as_slice() {
        [ref rows @ .., cols] => (rows.iter().try_fold(1_u64, |product, &n| product.checked_mul(n)), cols),
        [] => (None, 0),
    };
    let whole = formats::of(info.dtype).is_some_and(|format| cols.is_multiple_of(formats::info(format).columns() as u64));
    let fits = whole && cols.is_multiple_of(to.dtype().block_elems());
    match (rows.and_then(|rows| u32::try_from(rows).ok()), u32::try_from(cols)) {
        (Some(rows), Ok(cols)) if fits && rows % transform.granule() == 0 => Ok((Job { dtype: info.dtype, cols, transform, to }, rows)),
        _ => Err(QuantiseError::Shape {
            tensor: info.name.clone(),
            dtype: info.dtype.name(),
            shape: info.shape.clone(),
            to: to.dtype().name(),
        }),
    }
}
