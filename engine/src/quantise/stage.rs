//! Buffers through which rows pass on their way to another format.

use bytemuck::Zeroable;
use parhelion_loader::DType;
use parhelion_shaders::{Call, axes::Weight, embed, shared::Row};

use super::QuantType;
use crate::{
    exec::{DeviceInfo, ExecError, Executor},
    formats::{self, BLOCK},
    models::Transform,
    ops::{self, quantise, quantise_k},
    pieces::Pieces,
    recording::{BINDING_ALIGNMENT, BufferDesc, BufferId, BufferSlice, BufferUse, Recording, Step},
};

/// Bytes of f32 that are on the device at once; fewer where the CPU plays it, so that no dispatch takes long.
const FLOATS: u64 = 16 << 20;
const SOFTWARE_FLOATS: u64 = 2 << 20;
/// Bytes of a plane that one thread makes at a time.
const PIECE: u64 = 128 << 10;

/// A tensor to convert.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Job {
    /// The type of its published blocks.
    pub(crate) dtype: DType,
    /// Columns, whole blocks of both types.
    pub(crate) cols: u32,
    /// How its published rows are reordered.
    pub(crate) transform: Transform,
    /// What its rows become.
    pub(crate) to: QuantType,
}

/// Where rows of the target go.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Planes {
    pub(crate) quants: BufferSlice,
    pub(crate) scales: BufferSlice,
    /// The row of the planes that the first one becomes.
    pub(crate) first_row: u32,
}

impl Job {
    pub(crate) fn blocks(&self) -> u32 {
        self.cols / BLOCK as u32
    }

    fn source(&self) -> Option<&'static formats::Info> {
        formats::of(self.dtype).map(formats::info)
    }

    /// Rows that are converted at once: as many granules of the transform as fit, at least one.
    pub(crate) fn chunk_rows(&self, device: &DeviceInfo) -> u32 {
        let granule = self.transform.granule();
        let bytes = if device.software { SOFTWARE_FLOATS } else { FLOATS };
        let fitting = bytes.min(device.limits.max_binding) / (u64::from(self.cols) * 4).max(1);
        (fitting.min(u64::from(u32::MAX)) as u32 / granule * granule).max(granule)
    }

    /// Bytes of a plane of quants and of one of scales, for `rows` rows in the target's format.
    pub(crate) fn target_bytes(&self, rows: u32) -> (u64, u64) {
        plane_bytes(formats::info(self.to.format()), rows, self.blocks())
    }
}

/// Bytes of the two planes of `rows` rows.
fn plane_bytes(info: &formats::Info, rows: u32, blocks: u32) -> (u64, u64) {
    let (rows, blocks) = (u64::from(rows), u64::from(blocks));
    (rows * 16 * info.vectors(blocks), rows * 4 * info.words(blocks) + 4 * info.codebook.len() as u64)
}

/// Staging buffers for some jobs: published rows in the engine's layout, their f32, and a word a job that tells of faults.
#[derive(Debug)]
pub(crate) struct Stage {
    buffers: Vec<BufferId>,
    quants: BufferSlice,
    scales: BufferSlice,
    rows: BufferSlice,
    floats: BufferSlice,
    faults: BufferSlice,
}

impl Stage {
    /// Allocates what the largest of the jobs needs.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn new(executor: &mut dyn Executor, jobs: &[Job]) -> Result<Self, ExecError> {
        let device = executor.device().clone();
        let (mut quants, mut scales, mut rows, mut floats) = (16, 4, 1, 16);
        for job in jobs {
            let chunk = job.chunk_rows(&device);
            let (q, s) = job.source().map_or((0, 0), |info| plane_bytes(info, chunk, job.blocks()));
            (quants, scales) = (q.max(quants), s.max(scales));
            (rows, floats) = (chunk.max(rows), (u64::from(chunk) * u64::from(job.cols) * 4).max(floats));
        }
        let sizes = [
            ("rows to quantise", quants),
            ("scales of rows to quantise", scales),
            ("numbers of rows to quantise", u64::from(rows) * size_of::<Row>() as u64),
            ("rows to quantise as f32", floats),
            ("faults of quantised rows", jobs.len().max(1) as u64 * BINDING_ALIGNMENT),
        ];
        let descs = sizes.map(|(label, size)| BufferDesc { label: label.into(), size, usage: BufferUse::Scratch });
        let buffers = executor.allocate(&descs).await?;
        let slice = |i: usize| BufferSlice::whole(buffers[i], sizes[i].1);
        let numbers: Vec<Row> = (0..rows).map(|token| Row { token, ..Row::zeroed() }).collect();
        executor.write(buffers[2], 0, bytemuck::cast_slice(&numbers))?;
        Ok(Self { quants: slice(0), scales: slice(1), rows: slice(2), floats: slice(3), faults: slice(4), buffers })
    }

    /// Gives the buffers back.
    pub(crate) fn release(self, executor: &mut dyn Executor) {
        executor.release(&self.buffers);
    }

    /// Starts the conversion of `rows` published rows of job number `index`, whole granules of its transform.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn convert(
        &self,
        executor: &mut dyn Executor,
        (index, job): (usize, &Job),
        (bytes, rows): (&[u8], u32),
        to: Planes,
    ) -> Result<(), ExecError> {
        let invalid = |reason| ExecError::InvalidCall { step: "quantise".into(), kernel: "quantise", reason };
        let row_bytes = bytes.len() / rows.max(1) as usize;
        let published = |row: u32| {
            let at = job.transform.source_row(row) as usize * row_bytes;
            &bytes[at..at + row_bytes]
        };
        let mut recording = Recording::default();
        if job.dtype == DType::F32 {
            let target = Pieces { slice: self.floats_of(job, rows), piece: row_bytes as u64 };
            executor.write_pieces(&[target], &|i, out| out[0].extend_from_slice(published(i as u32)))?;
        } else {
            let format = formats::of(job.dtype).ok_or_else(|| invalid(format!("rows of {} cannot be read", job.dtype)))?;
            self.write_planes(executor, (format, job), rows, &published)?;
            recording.steps.push(step("dequantise", self.gather(job, format, rows).map_err(invalid)?));
        }
        recording.steps.push(step("quantise", self.quantise((index, job), rows, to).map_err(invalid)?));
        let prepared = executor.prepare(&recording).await?;
        let submitted = executor.submit(prepared);
        executor.forget(prepared);
        submitted
    }

    /// Writes published rows in the engine's layout, on the threads that there are.
    fn write_planes<'b>(
        &self,
        executor: &mut dyn Executor,
        (format, job): (Weight, &Job),
        rows: u32,
        published: &(dyn Fn(u32) -> &'b [u8] + Sync),
    ) -> Result<(), ExecError> {
        let info = formats::info(format);
        let codebook: &[u8] = bytemuck::cast_slice(info.codebook);
        if !codebook.is_empty() {
            executor.write(self.scales.buffer, 0, codebook)?;
        }
        let (quants, scales) = plane_bytes(info, 1, job.blocks());
        let scales = scales - codebook.len() as u64;
        let piece = (PIECE / quants).clamp(1, u64::from(rows).max(1)) as u32;
        let plane = |slice: BufferSlice, offset: usize, row: u64| Pieces {
            slice: BufferSlice { offset: offset as u64, size: u64::from(rows) * row, ..slice },
            piece: u64::from(piece) * row,
        };
        let mut targets = vec![plane(self.quants, 0, quants)];
        if scales > 0 {
            targets.push(plane(self.scales, codebook.len(), scales));
        }
        executor.write_pieces(&targets, &|i, out| {
            let first = i as u32 * piece;
            let rows = (first..(first + piece).min(rows)).map(published);
            if let Some((quants, scales)) = out.split_first_mut() {
                formats::repack(format, job.dtype, job.blocks() as usize, rows, quants, scales.first_mut());
            }
        })
    }

    /// The dispatch that makes f32 of the rows that were written.
    fn gather(&self, job: &Job, format: Weight, rows: u32) -> Result<Call<BufferSlice>, String> {
        let (blocks, constants) = (job.blocks(), embed::Constants::default());
        let (quants, scales) = plane_bytes(formats::info(format), rows, blocks);
        Ok(embed::call(
            format,
            constants,
            embed::Params { rows, first_token: 0, tokens: rows, cols: job.cols, blocks, y_stride: job.cols, scale: 1.0 },
            embed::Bindings {
                rows: self.rows.head(u64::from(rows) * size_of::<Row>() as u64),
                quants: self.quants.head(quants),
                scales: (scales > 0).then(|| self.scales.head(scales)),
                y: self.floats_of(job, rows),
            },
            ops::grid(u64::from(rows) * u64::from(blocks), constants.wg)?,
        ))
    }

    /// The dispatch that quantises those f32.
    fn quantise(&self, (index, job): (usize, &Job), rows: u32, to: Planes) -> Result<Call<BufferSlice>, String> {
        let faults = BufferSlice { offset: index as u64 * BINDING_ALIGNMENT, size: 4, ..self.faults };
        let bound = quantise::Bound { x: self.floats_of(job, rows), quants: to.quants, scales: to.scales, faults };
        let rows = quantise::Rows { rows, blocks: job.blocks(), x_stride: job.cols, first_row: to.first_row };
        match job.to.target() {
            Some(target) => quantise::call(target, rows, bound),
            None => quantise_k::call(rows, bound),
        }
    }

    fn floats_of(&self, job: &Job, rows: u32) -> BufferSlice {
        self.floats.head(u64::from(rows) * u64::from(job.cols) * 4)
    }

    /// The jobs whose values, or the scales made of them, are not finite, once all that was started is done.
    ///
    /// # Errors
    /// The device's.
    pub(crate) async fn faults(&self, executor: &mut dyn Executor) -> Result<Vec<usize>, ExecError> {
        let bytes = executor.read(self.faults).await?;
        let jobs = bytes.chunks(BINDING_ALIGNMENT as usize).enumerate();
        Ok(jobs.filter(|(_, slot)| slot.first() != Some(&0)).map(|(i, _)| i).collect())
    }
}

fn step(label: &str, call: Call<BufferSlice>) -> Step {
    let work = call.grid.iter().fold(1, |work: u64, &n| work.saturating_mul(n.into()));
    Step { label: label.into(), call, work }
}
