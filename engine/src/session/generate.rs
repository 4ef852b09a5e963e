//! Generation: a prompt in chunks, then decode steps, several in flight, each feeding the next on the device.

use std::{collections::VecDeque, time::Duration};

use parhelion_loader::Decoder;
use parhelion_shaders::shared::Sampled;

use super::{EngineError, FinishReason, GenerateOptions, RowInput, SequenceId, Session, Timings, closed, stop::StopStrings};
use crate::{
    exec::{ExecError, LocalFuture},
    shape::{Head, RowSource, StepShape},
};

/// One token of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// The text that can be shown now: none while a character or a possible stop string is incomplete.
    pub text: String,
    /// Its natural logarithm of probability under the model's own distribution, before penalties and truncation.
    pub logprob: f32,
}

/// An answer being generated. Dropping it, or stopping early, leaves the sequence with the tokens that were returned.
pub struct Generation<'s> {
    session: &'s mut Session,
    sequence: SequenceId,
    options: GenerateOptions,
    prompt: Vec<u32>,
    generated: Vec<u32>,
    in_flight: VecDeque<LocalFuture<'static, Result<Vec<u8>, ExecError>>>,
    /// Decode steps submitted: step `n` feeds generated token `n - 1`.
    steps: usize,
    decoder: Decoder,
    stop: StopStrings,
    finish: Option<FinishReason>,
    /// Text held back that comes with the end.
    rest: String,
    timings: Timings,
    started: Duration,
    first_token: Duration,
}

impl Session {
    /// Starts to answer `prompt`, the whole of the sequence's tokens: what the cache already holds of it is not computed
    /// again, and what it holds beyond is forgotten.
    ///
    /// # Errors
    /// [`EngineError::EmptyPrompt`], [`EngineError::PromptTooLong`], [`EngineError::UnknownToken`], [`EngineError::Option`],
    /// or the device's.
    pub async fn generate<'s>(
        &'s mut self,
        sequence: SequenceId,
        prompt: &[u32],
        options: GenerateOptions,
    ) -> Result<Generation<'s>, EngineError> {
        options.sampling.validate()?;
        let context = self.plan.options().bounds.context;
        let Some((&last, _)) = prompt.split_last() else { return Err(EngineError::EmptyPrompt) };
        if prompt.len() > context as usize {
            return Err(EngineError::PromptTooLong { prompt: prompt.len(), context });
        }
        let vocab = self.plan.vocab();
        if let Some(&token) = prompt.iter().find(|&&token| token >= vocab) {
            return Err(EngineError::UnknownToken { token, vocab });
        }
        let started = self.clock.now();
        let cached = self.cached_tokens(sequence)?;
        let common = cached.iter().zip(prompt).take_while(|(a, b)| a == b).count().min(prompt.len() - 1);
        self.truncate(sequence, common);
        let timings = Timings { prompt_tokens: prompt.len(), cached_tokens: common, ..Timings::default() };
        let mut generation = Generation {
            decoder: self.tokenizer.decoder(),
            stop: StopStrings::new(&options.stop),
            session: self,
            sequence,
            options,
            prompt: prompt.to_vec(),
            generated: Vec::new(),
            in_flight: VecDeque::new(),
            steps: 0,
            finish: None,
            rest: String::new(),
            timings,
            started,
            first_token: started,
        };
        if generation.options.max_tokens == Some(0) {
            generation.finish = Some(FinishReason::MaxTokens);
            return Ok(generation);
        }
        generation.prefill(common, last).await?;
        Ok(generation)
    }
}

impl Generation<'_> {
    /// Runs the prompt past its first `common` tokens in chunks; the last samples the first token.
    async fn prefill(&mut self, common: usize, last: u32) -> Result<(), EngineError> {
        let sequence = self.sequence;
        let session = &mut *self.session;
        let sampler = self.options.sampling.start();
        let step = *session.buffers.step();
        session.write(step.samplers, bytemuck::bytes_of(&sampler))?;
        if self.options.sampling.penalises() {
            session.write_counts(sequence, &self.prompt)?;
        }
        let chunk = session.plan.options().bounds.rows as usize;
        let rest = &self.prompt[common..self.prompt.len() - 1];
        let rows: Vec<RowInput<'_>> = rest.iter().chain([&last]).map(|&token| RowInput::token(sequence, token)).collect();
        let chunks = rows.chunks(chunk).len();
        for (i, rows) in rows.chunks(chunk).enumerate() {
            if self.options.cancel.is_asked() {
                self.cancel();
                return Ok(());
            }
            let session = &mut *self.session;
            if i + 1 < chunks {
                session.submit_rows(rows, &[], Head::Logits).await?;
                session.executor.read(step.sampled.head(4)).await?; // one chunk at a time, so that it can be stopped in between
            } else {
                session.submit_rows(rows, &[rows.len() as u32 - 1], Head::Sample).await?;
            }
        }
        self.in_flight.push_back(self.session.executor.read(step.sampled.head(size_of::<Sampled>() as u64)));
        // the only output of the decode steps that follow is their only row
        self.session.write(step.output_index, bytemuck::bytes_of(&0_u32))
    }

    /// The next token; none at the end, for which [`Generation::finish_reason`] then gives the reason.
    ///
    /// # Errors
    /// The device's.
    pub async fn next(&mut self) -> Result<Option<Token>, EngineError> {
        if self.finish.is_none() && self.options.cancel.is_asked() {
            self.cancel();
        }
        if self.finish.is_some() {
            return Ok(None);
        }
        self.fill().await?;
        let Some(read) = self.in_flight.pop_front() else {
            self.end(FinishReason::Context);
            return Ok(None);
        };
        let bytes = read.await?;
        let sampled: Sampled = bytemuck::pod_read_unaligned(&bytes[..size_of::<Sampled>()]);
        self.note_time();
        if self.session.tokenizer.is_eos(sampled.token) && !self.options.ignore_end {
            self.end(FinishReason::End);
            return Ok(None);
        }
        self.generated.push(sampled.token);
        self.timings.generated_tokens = self.generated.len();
        let text = self.decoder.push(sampled.token);
        let passed = self.stop.push(&text);
        if passed.stopped {
            self.end(FinishReason::StopString);
        } else if self.options.max_tokens.is_some_and(|most| self.generated.len() >= most as usize) {
            self.end(FinishReason::MaxTokens);
        } else if self.prompt.len() + self.generated.len() > self.context() {
            self.end(FinishReason::Context);
        }
        Ok(Some(Token { id: sampled.token, text: passed.text, logprob: sampled.logprob }))
    }

    fn context(&self) -> usize {
        self.session.plan.options().bounds.context as usize
    }

    fn note_time(&mut self) {
        let now = self.session.clock.now();
        if self.generated.is_empty() {
            self.first_token = now;
            self.timings.prefill = now.saturating_sub(self.started);
        }
        self.timings.decode = now.saturating_sub(self.first_token);
    }

    /// Submits decode steps until as many are in flight as the device wants, or no more can be of use.
    async fn fill(&mut self) -> Result<(), EngineError> {
        let depth = self.session.device().steps_in_flight.max(1);
        let most = self.options.max_tokens.map_or(usize::MAX, |n| n as usize - 1);
        while self.in_flight.len() < depth && self.steps < most && self.prompt.len() + self.steps < self.context() {
            let entries = self.prompt.len() + self.steps + 1;
            let session = &mut *self.session;
            session.reserve(self.sequence, entries)?;
            let kv_len = session.kv_bucket(entries as u32);
            let shape = StepShape { rows: 1, outputs: 1, kv_len, head: Head::Sample, source: RowSource::Sampled };
            let prepared = session.prepare(shape).await?;
            session.executor.submit(prepared.id)?;
            self.timings.dispatches_per_token = prepared.dispatches;
            let sampled = session.buffers.step().sampled.head(size_of::<Sampled>() as u64);
            self.in_flight.push_back(session.executor.read(sampled));
            self.steps += 1;
        }
        Ok(())
    }

    /// Ends the answer: steps past the end are dropped and the cache is cut back to what was returned.
    fn end(&mut self, reason: FinishReason) {
        self.finish = Some(reason);
        if reason != FinishReason::StopString {
            let text = self.decoder.finish();
            let passed = self.stop.push(&text);
            self.rest = passed.text + &self.stop.finish();
        }
        self.settle();
    }

    /// The sequence then holds the prompt and the returned tokens that a step has fed to the model.
    fn settle(&mut self) {
        self.in_flight.clear();
        let fed = self.generated.len().min(self.steps);
        if let Some(tokens) = self.session.sequences.tokens(self.sequence) {
            if tokens.len() == self.prompt.len() {
                tokens.extend_from_slice(&self.generated[..fed]);
            }
            let len = tokens.len();
            self.session.sequences.truncate(self.sequence, len);
        }
        self.steps = 0;
    }

    /// Stops the answer; the tokens returned so far stay.
    pub fn cancel(&mut self) {
        if self.finish.is_none() {
            self.end(FinishReason::Cancelled);
        }
    }

    /// Why the answer ended; none while it goes on.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// Text that was held back and is shown after the last token.
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// The tokens generated so far.
    pub fn tokens(&self) -> &[u32] {
        &self.generated
    }

    /// What the answer took so far.
    pub fn timings(&self) -> Timings {
        Timings { peak_bytes: self.session.executor.memory().peak, ..self.timings }
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        if self.finish.is_none() {
            self.settle();
        }
    }
}

/// Marks a token that occurs in the prompt: see `logits_process.wgsl`.
const IN_PROMPT: u32 = 1 << 31;

impl Session {
    /// Tells the device which tokens occur in the prompt and that none was generated yet.
    fn write_counts(&mut self, sequence: SequenceId, prompt: &[u32]) -> Result<(), EngineError> {
        self.sequences.get(sequence).ok_or_else(closed)?;
        let vocab = self.plan.vocab() as usize;
        let mut counts = vec![0_u32; vocab];
        for &token in prompt {
            if let Some(count) = counts.get_mut(token as usize) {
                *count = IN_PROMPT;
            }
        }
        let slice = self.buffers.step().counts;
        let offset = u64::from(sequence.0) * vocab as u64 * 4;
        Ok(self.executor.write(slice.buffer, slice.offset + offset, bytemuck::cast_slice(&counts))?)
    }
}
