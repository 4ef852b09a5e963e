//! Steps: rows of any sequences through the model at once.

use parhelion_shaders::shared::{Row, Run};

use super::{EngineError, SequenceId, Session, closed};
use crate::{
    exec::{DispatchTime, PreparedId},
    graph::Output,
    ops::attention::DECODE_ROWS,
    plan::Plan,
    recording::BufferSlice,
    shape::{Head, RowSource, StepShape},
};

/// What to append to a sequence.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowInput<'a> {
    /// The sequence.
    pub sequence: SequenceId,
    /// The token or embedding.
    pub input: Input<'a>,
}

/// What a row starts from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input<'a> {
    /// A token of the vocabulary.
    Token(u32),
    /// What the embedding would give, computed elsewhere (of an image, say): as many elements as the model's embedding has
    /// columns, after any scale.
    Embedding(&'a [f32]),
}

/// Stands for an embedding among a sequence's tokens. No part of the table has it, so the row that the host wrote stays.
pub(super) const NO_TOKEN: u32 = u32::MAX;

impl RowInput<'_> {
    /// A token to append to a sequence.
    pub fn token(sequence: SequenceId, token: u32) -> Self {
        Self { sequence, input: Input::Token(token) }
    }
}

/// Steps that were prepared, most recently used last.
#[derive(Debug, Default)]
pub(super) struct PreparedSteps {
    entries: Vec<PreparedStep>,
}

/// A step that can be submitted again and again.
#[derive(Debug, Clone, Copy)]
pub(super) struct PreparedStep {
    shape: StepShape,
    pub id: PreparedId,
    pub dispatches: usize,
}

/// Rows that any device runs in good time, and what larger numbers of them are multiples of: the rows of a tile.
const FEW_ROWS: usize = 32;

/// Prepared steps kept at once: chunk sizes and lengths of cache differ, a decode step does not.
const MOST_PREPARED: usize = 24;

impl Session {
    /// Appends rows to their sequences and returns the logits of those whose indices are in `outputs`, in that order. Rows of
    /// one sequence stand together, in the order of its tokens. More rows than a step holds run in chunks. If it fails,
    /// sequences are as before.
    ///
    /// # Errors
    /// [`EngineError::PromptTooLong`], [`EngineError::UnknownToken`], [`EngineError::Sequence`], [`EngineError::WritesNothing`], or the
    /// device's.
    pub async fn forward(&mut self, rows: &[RowInput<'_>], outputs: &[u32]) -> Result<Vec<Vec<f32>>, EngineError> {
        self.refuse_embeddings()?;
        let bounds = self.plan.options().bounds;
        let mut logits = vec![Vec::new(); outputs.len()];
        let mut start = 0;
        while start < rows.len() {
            let wanted = |row: usize| outputs.iter().any(|&o| o as usize == row);
            let most = self.chunk_rows(&rows[start..])?;
            let mut end = start;
            let mut chunk_outputs = Vec::new();
            while end < rows.len() && end - start < most {
                if wanted(end) {
                    if chunk_outputs.len() == bounds.outputs as usize {
                        break;
                    }
                    chunk_outputs.push((end - start) as u32);
                }
                end += 1;
            }
            self.submit_rows(&rows[start..end], &chunk_outputs, Head::Logits).await?;
            if chunk_outputs.is_empty() && end < rows.len() {
                self.catch_up().await?;
            }
            if !chunk_outputs.is_empty() {
                let values = self.read_outputs(chunk_outputs.len() as u32).await?;
                for (row, values) in chunk_outputs.iter().zip(values) {
                    for (slot, _) in outputs.iter().enumerate().filter(|(_, o)| **o as usize == start + *row as usize) {
                        logits[slot].clone_from(&values);
                    }
                }
            }
            start = end;
        }
        Ok(logits)
    }

    /// What the last step gave, a row an output.
    pub(super) async fn read_outputs(&mut self, outputs: u32) -> Result<Vec<Vec<f32>>, EngineError> {
        let tensor = self.plan.output(&self.buffers, outputs);
        let bytes = self.executor.read(tensor.slice).await?;
        let row =
            |bytes: &[u8]| bytes.chunks_exact(4).take(tensor.cols as usize).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(bytes.chunks_exact(tensor.stride as usize * 4).map(row).collect())
    }

    /// How many of `rows` the next step takes. So few that other kernels would be chosen for them are never left over: then results
    /// do not depend on the chunks, whose size may depend on the device's speed.
    pub(super) fn chunk_rows(&mut self, rows: &[RowInput<'_>]) -> Result<usize, EngineError> {
        const FEW: usize = DECODE_ROWS as usize;
        let chunk = self.largest_chunk(rows)?;
        match rows.len() - chunk {
            left @ 1..=FEW if chunk > 2 * FEW => Ok(chunk - (FEW + 1 - left)),
            _ => Ok(chunk),
        }
    }

    /// As many rows as a step may have, and fewer where a dispatch of so many would keep the device busy for too long.
    fn largest_chunk(&mut self, rows: &[RowInput<'_>]) -> Result<usize, EngineError> {
        let bounds = self.plan.options().bounds;
        let most = rows.len().min(bounds.rows as usize);
        let lengths = self.lengths(rows);
        let longest = lengths.iter().map(|(_, len)| len + most).max().unwrap_or(most).min(bounds.context as usize);
        self.rows_in_time(most, longest)
    }

    /// `most` rows of sequences of up to `longest` tokens, or fewer where a dispatch of so many would keep the device busy for too long.
    pub(super) fn rows_in_time(&mut self, most: usize, longest: usize) -> Result<usize, EngineError> {
        if most <= FEW_ROWS {
            return Ok(most);
        }
        let kv_len = self.kv_bucket(longest as u32);
        let shape = StepShape { rows: most as u32, outputs: 0, kv_len, head: Head::Logits, source: RowSource::Host };
        let recording = self.plan.record(&self.buffers, shape)?;
        Ok(match self.executor.dispatch_time(&recording) {
            DispatchTime::Unlimited => most,
            DispatchTime::Unknown => FEW_ROWS,
            DispatchTime::Slowest { expected, wanted } if expected > wanted => {
                let fitting = (most as f64 * wanted.as_secs_f64() / expected.as_secs_f64()) as usize;
                (fitting / FEW_ROWS * FEW_ROWS).clamp(FEW_ROWS, most)
            }
            DispatchTime::Slowest { .. } => most,
        })
    }

    /// Waits for all that was submitted, so that what it took is known.
    pub(super) async fn catch_up(&mut self) -> Result<(), EngineError> {
        let any = self.buffers.step().sampled.head(4);
        self.executor.read(any).await?;
        Ok(())
    }

    /// Writes rows, page tables and output indices, and submits one step over them.
    pub(super) async fn submit_rows(&mut self, rows: &[RowInput<'_>], outputs: &[u32], head: Head) -> Result<PreparedStep, EngineError> {
        let before = self.lengths(rows);
        let result = self.try_submit_rows(rows, outputs, head).await;
        if result.is_err() {
            for (sequence, len) in before {
                self.sequences.truncate(sequence, len);
            }
        }
        result
    }

    async fn try_submit_rows(&mut self, rows: &[RowInput<'_>], outputs: &[u32], head: Head) -> Result<PreparedStep, EngineError> {
        let data = self.append(rows)?;
        let step = *self.buffers.step();
        self.write(step.rows, bytemuck::cast_slice(&data))?;
        self.write_embeddings(rows)?;
        if !outputs.is_empty() {
            self.write(step.output_index, bytemuck::cast_slice(outputs))?;
        }
        if head == Head::Sample {
            let last: Vec<Row> = outputs.iter().map(|&row| data[row as usize]).collect(); // sampling makes them the next rows
            self.write(step.next_rows, bytemuck::cast_slice(&last))?;
        }
        let kv_len = data.iter().map(|row| row.end).max().unwrap_or(1);
        let shape = StepShape {
            rows: rows.len() as u32,
            outputs: outputs.len() as u32,
            kv_len: self.kv_bucket(kv_len),
            head,
            source: RowSource::Host,
        };
        let prepared = self.prepare(shape).await?;
        let runs: Vec<(SequenceId, u32)> =
            data.chunk_by(|a, b| a.sequence == b.sequence).map(|rows| (SequenceId(rows[0].sequence), rows.len() as u32)).collect();
        let mut first = 0;
        let run = |&(sequence, rows): &(SequenceId, u32)| {
            first += rows;
            self.sequences.run(sequence, first - rows, rows)
        };
        let written = runs.iter().map(run).collect();
        self.write_runs(written)?;
        self.executor.submit(prepared.id)?;
        runs.iter().for_each(|(sequence, _)| self.sequences.stepped(*sequence));
        if head == Head::Sample {
            let sampled = outputs.iter().zip(0..).map(|(&row, i)| self.sequences.run_on(SequenceId(data[row as usize].sequence), i));
            let sampled = sampled.collect();
            self.write_runs(sampled)?;
        }
        Ok(prepared)
    }

    /// Says where the recurrent state of each run of the steps that follow lies.
    fn write_runs(&mut self, mut runs: Vec<Run>) -> Result<(), EngineError> {
        if !self.plan.has_state() {
            return Ok(());
        }
        runs.resize(self.plan.options().bounds.sequences as usize, bytemuck::Zeroable::zeroed());
        self.write(self.buffers.step().runs, bytemuck::cast_slice(&runs))
    }

    /// Puts embeddings where the model's own would go.
    fn write_embeddings(&mut self, rows: &[RowInput<'_>]) -> Result<(), EngineError> {
        let tensor = self.plan.embedding(&self.buffers, rows.len() as u32);
        for (i, row) in rows.iter().enumerate() {
            let Input::Embedding(values) = row.input else { continue };
            let expected = tensor.map_or(0, |tensor| tensor.cols);
            let Some(tensor) = tensor.filter(|tensor| tensor.cols as usize == values.len()) else {
                return Err(EngineError::EmbeddingSize { got: values.len(), expected });
            };
            let offset = tensor.slice.offset + i as u64 * u64::from(tensor.stride) * 4;
            self.executor.write(tensor.slice.buffer, offset, bytemuck::cast_slice(values))?;
        }
        Ok(())
    }

    /// Appends the rows' tokens to their sequences and says where each row stands.
    fn append(&mut self, rows: &[RowInput<'_>]) -> Result<Vec<Row>, EngineError> {
        let (vocab, context) = (self.info.config.vocab, self.plan.options().bounds.context);
        let mut out = Vec::with_capacity(rows.len());
        for (i, row) in rows.iter().enumerate() {
            let token = match row.input {
                Input::Token(token) if token >= vocab => return Err(EngineError::UnknownToken { token, vocab }),
                Input::Token(token) => token,
                Input::Embedding(_) => NO_TOKEN,
            };
            if i > 0 && rows[i - 1].sequence != row.sequence && rows[..i].iter().any(|earlier| earlier.sequence == row.sequence) {
                return Err(EngineError::Sequence { reason: "rows of one sequence must stand together in a step".into() });
            }
            let tokens = self.sequences.tokens(row.sequence).ok_or_else(closed)?;
            let slot = tokens.len() as u32;
            if slot >= context {
                return Err(EngineError::PromptTooLong { prompt: tokens.len() + 1, context });
            }
            tokens.push(token);
            let (sequence, end) = (row.sequence.0, slot + 1);
            out.push(Row { token, sequence, slot, begin: 0, end, position: [slot; 3] });
        }
        let both_sides = self.info.config.both_sides;
        for (sequence, len) in self.lengths(rows) {
            self.reserve(sequence, len)?;
            for row in out.iter_mut().filter(|row| both_sides && row.sequence == sequence.0) {
                row.end = len as u32;
            }
        }
        Ok(out)
    }

    /// Makes room for `len` entries of a sequence and tells the device where.
    pub(super) fn reserve(&mut self, sequence: SequenceId, len: usize) -> Result<(), EngineError> {
        let out_of_pages =
            || EngineError::Sequence { reason: "the KV cache has no free pages left: close a sequence or load with more".into() };
        if self.sequences.reserve(sequence, len).ok_or_else(out_of_pages)? {
            let pages = self.sequences.get(sequence).ok_or_else(closed)?.pages.clone();
            let table = self.buffers.page_tables()[0];
            let offset = u64::from(sequence.0) * u64::from(self.plan.pages_per_sequence()) * 4;
            self.executor.write(table.buffer, table.offset + offset, bytemuck::cast_slice(&pages))?;
        }
        Ok(())
    }

    /// The sequences of the rows, each with the number of its tokens now.
    fn lengths(&self, rows: &[RowInput<'_>]) -> Vec<(SequenceId, usize)> {
        let mut out: Vec<(SequenceId, usize)> = Vec::new();
        for row in rows {
            if out.iter().all(|(id, _)| *id != row.sequence) {
                out.push((row.sequence, self.sequences.get(row.sequence).map_or(0, |s| s.tokens.len())));
            }
        }
        out
    }

    pub(super) fn kv_bucket(&self, len: u32) -> u32 {
        kv_bucket(&self.plan, len)
    }

    /// Prepares the steps that a first answer takes before there is one: its kernels are compiled then. `progress` is told how
    /// many of how many are done. Prompts of a length in between may choose another tile and compile one more kernel.
    ///
    /// # Errors
    /// The device's.
    pub async fn prepare_ahead(&mut self, progress: &mut dyn FnMut(usize, usize)) -> Result<(), EngineError> {
        let steps = usual_steps(&self.plan);
        for (done, &shape) in steps.iter().enumerate() {
            progress(done, steps.len());
            self.prepare(shape).await?;
        }
        progress(steps.len(), steps.len());
        Ok(())
    }

    /// The step of this shape, prepared now or before.
    pub(super) async fn prepare(&mut self, shape: StepShape) -> Result<PreparedStep, EngineError> {
        if let Some(at) = self.prepared.entries.iter().position(|entry| entry.shape == shape) {
            let entry = self.prepared.entries.remove(at);
            self.prepared.entries.push(entry);
            return Ok(entry);
        }
        let recording = self.plan.record(&self.buffers, shape)?;
        let id = self.executor.prepare(&recording).await?;
        let entry = PreparedStep { shape, id, dispatches: recording.steps.len() };
        self.prepared.entries.push(entry);
        if self.prepared.entries.len() > MOST_PREPARED {
            self.executor.forget(self.prepared.entries.remove(0).id);
        }
        Ok(entry)
    }

    pub(super) fn write(&mut self, slice: BufferSlice, bytes: &[u8]) -> Result<(), EngineError> {
        Ok(self.executor.write(slice.buffer, slice.offset, bytes)?)
    }
}

/// Lengths of cache are rounded up, so that few different steps are ever prepared.
fn kv_bucket(plan: &Plan, len: u32) -> u32 {
    len.max(256).next_power_of_two().min(plan.options().bounds.context)
}

/// The steps that answers are made of: prompts short and long, and the step of a token. Between them they use every kernel, though a
/// prompt of a length in between may use one with other constants.
pub(super) fn usual_steps(plan: &Plan) -> Vec<StepShape> {
    const PROMPTS: [u32; 3] = [1, 16, 64];
    let most = plan.options().bounds.rows;
    if plan.model().gives == Output::Embeddings {
        let rows = PROMPTS.into_iter().filter(|&rows| rows < most).chain([most]);
        let step = |rows| StepShape { rows, outputs: 1, kv_len: kv_bucket(plan, rows), head: Head::Logits, source: RowSource::Host };
        return rows.map(step).collect();
    }
    let prompts = PROMPTS.into_iter().filter(|&rows| rows < most).chain([most]).map(|rows| (rows, RowSource::Host));
    let step = |(rows, source)| StepShape { rows, outputs: 1, kv_len: kv_bucket(plan, rows), head: Head::Sample, source };
    prompts.chain([(1, RowSource::Sampled)]).map(step).collect()
}
