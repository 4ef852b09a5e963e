//! Streams weights into their buffers: a chunk of rows is read, brought into the engine's layout on as many threads as there are,
//! straight into the memory that the device copies from, and copied while the next chunk is read.

use std::collections::HashMap;

use parhelion_loader::Checkpoint;

use super::{BLOCK, PartLayout, SourceTensor, WeightError, WeightLayout};
use crate::{
    exec::{ExecError, Executor, LocalFuture},
    formats,
    graph::WeightKind,
    models::Transform,
    pieces::Pieces,
    quantise::{Job, Planes, Stage},
    recorder::WeightPart,
    recording::BufferSlice,
};

/// Bytes read from the file at once.
const CHUNK: u64 = 8 << 20;
/// Bytes of a plane that one thread makes at a time: few enough to stay in its cache.
const PIECE: u64 = 128 << 10;
/// How far ahead of the bytes that are read the file's keeper is told which come next.
const AHEAD: u64 = 64 << 20;
/// Bytes written to the device between two waits, each for what was written before the last: what is written and not there yet lies
/// in the host's memory.
const BACKLOG: u64 = 32 << 20;

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
    let total = layouts.iter().map(WeightLayout::published_bytes).sum();
    let conversion = Conversion::of(layouts, executor).await?;
    let reached = LoadProgress { done: 0, total };
    let mut stream = Stream { checkpoint, executor, progress, reached, sent: 0, arriving: None, conversion };
    let outcome = stream.all(layouts, bound).await;
    match stream.conversion {
        Some(conversion) => conversion.end(checkpoint.name(), executor, outcome).await,
        None => outcome,
    }
}

/// The way from a checkpoint to a device.
struct Stream<'a> {
    checkpoint: &'a Checkpoint,
    executor: &'a mut dyn Executor,
    progress: &'a mut dyn FnMut(LoadProgress),
    reached: LoadProgress,
    /// Bytes of the file that were written when `arriving` began.
    sent: u64,
    /// Ends when all that was written before it is on the device.
    arriving: Option<LocalFuture<'static, Result<Vec<u8>, ExecError>>>,
    /// Where tensors are to be quantised.
    conversion: Option<Conversion>,
}

impl Stream<'_> {
    async fn all(&mut self, layouts: &[WeightLayout], bound: &[Vec<WeightPart>]) -> Result<(), WeightError> {
        for (layout, parts) in layouts.iter().zip(bound) {
            for (part, buffers) in layout.parts.iter().zip(parts) {
                match layout.kind {
                    WeightKind::Vector | WeightKind::Filters => self.vector(&layout.sources, buffers.quants).await?,
                    WeightKind::Matrix => self.part(layout, part, buffers).await?,
                }
            }
        }
        Ok(())
    }

    /// Vectors are joined as f32 and padded with zeros to whole `vec4<f32>`.
    async fn vector(&mut self, sources: &[SourceTensor], target: BufferSlice) -> Result<(), WeightError> {
        let mut values = Vec::new();
        for SourceTensor { info, transform, shift, .. } in sources {
            let bytes = self.checkpoint.read(info, 0, info.len).await?;
            values.extend(transform.vector(info.dtype, &bytes, *shift));
        }
        values.resize(values.len().next_multiple_of(4), 0.0);
        let bytes: Vec<u8> = values.into_iter().flat_map(f32::to_le_bytes).collect();
        self.executor.write(target.buffer, target.offset, &bytes)?;
        self.advance(sources.iter().map(|source| source.info.len).sum(), target).await
    }

    async fn part(&mut self, layout: &WeightLayout, part: &PartLayout, buffers: &WeightPart) -> Result<(), WeightError> {
        let blocks = layout.cols.div_ceil(BLOCK);
        let info = formats::info(part.format);
        let codebook: &[u8] = bytemuck::cast_slice(info.codebook);
        if let Some(scales) = buffers.scales.filter(|_| !codebook.is_empty()) {
            self.executor.write(scales.buffer, scales.offset, codebook)?;
        }
        let quants = Plane { slice: buffers.quants, row: 16 * info.vectors(blocks.into()) };
        let rows_of_scales = |slice: BufferSlice| BufferSlice {
            offset: slice.offset + codebook.len() as u64,
            size: slice.size.saturating_sub(codebook.len() as u64),
            ..slice
        };
        let scales = buffers.scales.map(|slice| Plane { slice: rows_of_scales(slice), row: 4 * info.words(blocks.into()) });
        let planes: Vec<Plane> = [Some(quants), scales].into_iter().flatten().collect();
        let mut filled = 0;
        for &(source, first, rows) in &part.pieces {
            let rows = Rows { source: &layout.sources[source], part, cols: layout.cols, blocks, first, count: rows };
            match (rows.source.quantise, buffers.scales) {
                (Some(_), Some(scales)) => {
                    self.converted(&rows, Planes { quants: buffers.quants, scales, first_row: filled }).await?;
                }
                _ => self.rows(&rows, &planes, filled).await?,
            }
            filled += rows.count;
        }
        Ok(())
    }

    /// Rows of a tensor into the planes of a part, from its row `to` on.
    async fn rows(&mut self, rows: &Rows<'_>, planes: &[Plane], to: u32) -> Result<(), WeightError> {
        let (info, transform) = (&rows.source.info, rows.source.transform);
        let row_bytes = transform.row_bytes(info, rows.cols).max(1);
        let granule = transform.granule();
        let most = ((CHUNK / row_bytes).min(u64::from(u32::MAX)) as u32 / granule * granule).max(granule);
        let mut done = 0;
        let published = row_bytes * transform.published_rows();
        self.checkpoint.will_read(info, u64::from(rows.first) * published, AHEAD);
        while done < rows.count {
            let (count, row) = (most.min(rows.count - done), u64::from(rows.first + done));
            self.checkpoint.will_read(info, row * published + AHEAD, u64::from(count) * published);
            let bytes = transform.read(self.checkpoint, info, (rows.first + done, count, rows.cols)).await?;
            let piece = (PIECE / planes[0].row).clamp(1, u64::from(count)) as u32;
            let targets: Vec<Pieces> = planes.iter().map(|plane| plane.pieces(to + done, count, piece)).collect();
            self.executor.write_pieces(&targets, &|i, out| {
                let first = i as u32 * piece;
                let published = (first..(first + piece).min(count)).map(|row| transform.source_row(row) as usize);
                let published = published.map(|row| &bytes[row * row_bytes as usize..(row + 1) * row_bytes as usize]);
                if let Some((quants, scales)) = out.split_first_mut() {
                    formats::repack(rows.part.format, info.dtype, rows.blocks as usize, published, quants, scales.first_mut());
                }
            })?;
            done += count;
            self.advance(bytes.len() as u64, planes[0].slice).await?;
        }
        Ok(())
    }

    /// Rows of a tensor that become another type on the device, into the planes of a part.
    async fn converted(&mut self, rows: &Rows<'_>, to: Planes) -> Result<(), WeightError> {
        let info = &rows.source.info;
        let Some(index) = self.conversion.as_ref().and_then(|conversion| conversion.index(rows.source)) else { return Ok(()) };
        let mut done = 0;
        while done < rows.count {
            let Some(Conversion { stage, jobs, .. }) = &mut self.conversion else { return Ok(()) };
            let job = jobs[index];
            let count = job.chunk_rows(self.executor.device()).min(rows.count - done);
            let bytes = job.transform.read(self.checkpoint, info, (rows.first + done, count, rows.cols)).await?;
            let to = Planes { first_row: to.first_row + done, ..to };
            stage.convert(self.executor, (index, &job), (&bytes, count), to).await?;
            done += count;
            self.advance(bytes.len() as u64, to.quants).await?;
        }
        Ok(())
    }

    /// Books bytes as written; waits for earlier ones where many are under way.
    async fn advance(&mut self, bytes: u64, target: BufferSlice) -> Result<(), WeightError> {
        self.reached.done += bytes;
        (self.progress)(self.reached);
        if self.reached.done - self.sent > BACKLOG {
            let sent = self.executor.read(target.head(4));
            if let Some(before) = self.arriving.replace(sent) {
                before.await?;
            }
            self.sent = self.reached.done;
        }
        Ok(())
    }
}

/// The tensors that are quantised on their way, and what they pass through.
struct Conversion {
    jobs: Vec<Job>,
    names: Vec<String>,
    /// The job of each tensor, and of each part of one that several weights are made of.
    numbers: HashMap<(String, Transform), usize>,
    stage: Stage,
}

impl Conversion {
    /// Buffers for the tensors of `layouts` that are to be quantised; none where there are none.
    async fn of(layouts: &[WeightLayout], executor: &mut dyn Executor) -> Result<Option<Self>, ExecError> {
        let (mut jobs, mut names, mut numbers) = (Vec::new(), Vec::new(), HashMap::new());
        for layout in layouts {
            for source in &layout.sources {
                if let Some(to) = source.quantise {
                    numbers.insert((source.info.name.clone(), source.transform), jobs.len());
                    jobs.push(Job { dtype: source.info.dtype, cols: layout.cols, transform: source.transform, to });
                    names.push(source.info.name.clone());
                }
            }
        }
        if jobs.is_empty() {
            return Ok(None);
        }
        let stage = Stage::new(executor, &jobs).await?;
        Ok(Some(Self { jobs, names, numbers, stage }))
    }

    fn index(&self, source: &SourceTensor) -> Option<usize> {
        self.numbers.get(&(source.info.name.clone(), source.transform)).copied()
    }

    /// Gives the buffers back, once it is known whether everything that was quantised is finite.
    async fn end(self, file: &str, executor: &mut dyn Executor, outcome: Result<(), WeightError>) -> Result<(), WeightError> {
        let faults = match outcome {
            Ok(()) => self.stage.faults(executor).await.map_err(WeightError::from),
            Err(error) => Err(error),
        };
        self.stage.release(executor);
        match faults?.first() {
            Some(&i) => {
                let to = self.jobs[i].to.dtype().name();
                Err(WeightError::NotFinite { file: file.to_owned(), tensor: self.names[i].clone(), to })
            }
            None => Ok(()),
        }
    }
}

/// Rows `first..first + count` of a tensor, which go to a part.
struct Rows<'a> {
    source: &'a SourceTensor,
    part: &'a PartLayout,
    cols: u32,
    /// Blocks of a row.
    blocks: u32,
    first: u32,
    count: u32,
}

/// A plane of a part: rows of `row` bytes.
struct Plane {
    slice: BufferSlice,
    row: u64,
}

impl Plane {
    /// Rows from `first` on, `piece` rows a piece.
    fn pieces(&self, first: u32, count: u32, piece: u32) -> Pieces {
        let offset = self.slice.offset + u64::from(first) * self.row;
        Pieces { slice: BufferSlice { offset, size: u64::from(count) * self.row, ..self.slice }, piece: u64::from(piece) * self.row }
    }
}
