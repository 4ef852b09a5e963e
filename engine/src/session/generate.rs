//! Generation: a prompt in chunks, then decode steps, several in flight, each feeding the next on the device.

use std::{collections::VecDeque, time::Duration};

use parhelion_loader::Decoder;
use parhelion_shaders::shared::Sampled;

use super::{EngineError, FinishReason, GenerateOptions, RowInput, SequenceId, Session, Timings, closed, stop::StopStrings};
use crate::{
    exec::{ExecError, LocalFuture},
    ops::sample::IN_PROMPT,
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

/// An answer being generated. Dropping it, or stopping early, leaves the sequence with the tokens that were returned; where steps past
/// them changed recurrent state, with the prompt but for its last token.
pub struct Generation<'s> {
    session: &'s mut Session,
    sequence: SequenceId,
    options: GenerateOptions,
    prompt: Vec<u32>,
    /// The answer so far, with the tokens it had when it was resumed.
    generated: Vec<u32>,
    /// How many those are: the step after the prefill feeds the token after them.
    resumed: usize,
    in_flight: VecDeque<LocalFuture<'static, Result<Vec<u8>, ExecError>>>,
    /// Decode steps submitted: step `n` feeds generated token `resumed + n - 1`.
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
        self.resume(sequence, prompt, &[], options).await
    }

    /// Goes on with an answer to `prompt` after its tokens `generated`, as if it had never stopped: what follows, token and text,
    /// is what the same call of [`Session::generate`] gives after them. They are not given again and their text is not shown again,
    /// but all of them count: for penalties as generated, for `max_tokens`, for the draws of the seed, for stop strings and
    /// characters that they begin. The session may be another one than that which generated them, of the same model: one loaded
    /// after a device was lost, say.
    ///
    /// # Errors
    /// As [`Session::generate`].
    pub async fn resume<'s>(
        &'s mut self,
        sequence: SequenceId,
        prompt: &[u32],
        generated: &[u32],
        options: GenerateOptions,
    ) -> Result<Generation<'s>, EngineError> {
        options.sampling.validate()?;
        self.check_prompt(prompt, generated)?;
        let started = self.clock.now();
        let fed: Vec<u32> = prompt.iter().chain(generated).copied().collect();
        let cached = self.cached_tokens(sequence)?;
        let common = cached.iter().zip(&fed).take_while(|(a, b)| a == b).count().min(fed.len() - 1);
        let common = self.truncate(sequence, common);
        let timings = Timings { prompt_tokens: fed.len(), cached_tokens: common, ..Timings::default() };
        let mut generation = Generation {
            decoder: if options.continues_text { self.tokenizer.continuing_decoder() } else { self.tokenizer.decoder() },
            stop: StopStrings::new(&options.stop),
            session: self,
            sequence,
            options,
            prompt: prompt.to_vec(),
            generated: Vec::new(),
            resumed: 0,
            in_flight: VecDeque::new(),
            steps: 0,
            finish: None,
            rest: String::new(),
            timings,
            started,
            first_token: started,
        };
        generation.replay(generated);
        if generation.finish.is_none() {
            generation.prefill(&fed, common).await?;
        }
        Ok(generation)
    }

    fn check_prompt(&self, prompt: &[u32], generated: &[u32]) -> Result<(), EngineError> {
        self.refuse_embeddings()?;
        let context = self.plan.options().bounds.context;
        if prompt.is_empty() {
            return Err(EngineError::EmptyPrompt);
        }
        if prompt.len() > context as usize {
            return Err(EngineError::PromptTooLong { prompt: prompt.len(), context });
        }
        let vocab = self.plan.vocab();
        match prompt.iter().chain(generated).find(|&&token| token >= vocab) {
            Some(&token) => Err(EngineError::UnknownToken { token, vocab }),
            None => Ok(()),
        }
    }
}

impl Generation<'_> {
    /// Brings the decoder and the stop strings to where the tokens that were generated before left them.
    fn replay(&mut self, generated: &[u32]) {
        if self.options.max_tokens == Some(0) {
            self.finish = Some(FinishReason::MaxTokens);
        }
        for &token in generated {
            if self.finish.is_some() {
                break; // the answer was over before it was resumed
            }
            self.accept(token);
        }
        self.resumed = self.generated.len();
    }

    /// Runs `fed`, the prompt and the tokens generated before, past its first `common` tokens in chunks; the last samples a token.
    async fn prefill(&mut self, fed: &[u32], common: usize) -> Result<(), EngineError> {
        let sequence = self.sequence;
        let session = &mut *self.session;
        let sampler = self.options.sampling.at(self.resumed);
        let step = *session.buffers.step();
        session.write(step.samplers, bytemuck::bytes_of(&sampler))?;
        if self.options.sampling.penalises() {
            session.write_counts(sequence, &self.prompt, &self.generated)?;
        }
        let rows: Vec<RowInput<'_>> = fed[common..].iter().map(|&token| RowInput::token(sequence, token)).collect();
        // Recurrent state cannot be cut back to within a step. One before the last token is where another answer begins.
        let before_last = if session.plan.has_state() { rows.len() - 1 } else { 0 };
        let mut start = 0;
        while start < rows.len() {
            if self.options.cancel.is_asked() {
                self.cancel();
                return Ok(());
            }
            let session = &mut *self.session;
            let end = if start < before_last { before_last } else { rows.len() };
            let chunk = &rows[start..start + session.chunk_rows(&rows[start..end])?];
            start += chunk.len();
            if start == rows.len() {
                session.submit_rows(chunk, &[chunk.len() as u32 - 1], Head::Sample).await?;
            } else {
                session.submit_rows(chunk, &[], Head::Logits).await?;
                session.catch_up().await?; // one chunk at a time, so that it can be stopped in between
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
        let Some(text) = self.accept(sampled.token) else { return Ok(None) };
        self.timings.generated_tokens = self.generated.len() - self.resumed;
        Ok(Some(Token { id: sampled.token, text, logprob: sampled.logprob }))
    }

    /// Appends a token to the answer, ends the answer if that ends it, and gives the text that can be shown; none for a token that
    /// is no part of the answer but its end.
    fn accept(&mut self, token: u32) -> Option<String> {
        if self.session.tokenizer.is_eos(token) && !self.options.ignore_end {
            self.end(FinishReason::End);
            return None;
        }
        self.generated.push(token);
        let text = self.decoder.push(token);
        let passed = self.stop.push(&text);
        if passed.stopped {
            self.end(FinishReason::StopString);
        } else if self.options.max_tokens.is_some_and(|most| self.generated.len() >= most as usize) {
            self.end(FinishReason::MaxTokens);
        } else if self.prompt.len() + self.generated.len() > self.context() {
            self.end(FinishReason::Context);
        }
        Some(passed.text)
    }

    fn context(&self) -> usize {
        self.session.plan.options().bounds.context as usize
    }

    fn note_time(&mut self) {
        let now = self.session.clock.now();
        if self.generated.len() == self.resumed {
            self.first_token = now;
            self.timings.prefill = now.saturating_sub(self.started);
        }
        self.timings.decode = now.saturating_sub(self.first_token);
    }

    /// Submits decode steps until as many are in flight as the device wants, or no more can be of use.
    async fn fill(&mut self) -> Result<(), EngineError> {
        let depth = self.session.device().steps_in_flight.max(1);
        // the prefill sampled the token after those resumed
        let most = self.options.max_tokens.map_or(usize::MAX, |n| (n as usize).saturating_sub(self.resumed + 1));
        let fed = self.prompt.len() + self.resumed;
        while self.in_flight.len() < depth && self.steps < most && fed + self.steps < self.context() {
            let entries = fed + self.steps + 1;
            let session = &mut *self.session;
            session.reserve(self.sequence, entries)?;
            let kv_len = session.kv_bucket(entries as u32);
            let shape = StepShape { rows: 1, outputs: 1, kv_len, head: Head::Sample, source: RowSource::Sampled };
            let prepared = session.prepare(shape).await?;
            session.executor.submit(prepared.id)?;
            session.sequences.stepped_on(self.sequence);
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
        let new = &self.generated[self.resumed..];
        if let Some(tokens) = self.session.sequences.tokens(self.sequence) {
            if tokens.len() == self.prompt.len() + self.resumed {
                tokens.extend_from_slice(&new[..new.len().min(self.steps)]);
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

    /// The answer's tokens so far, with those it had when it was resumed.
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

impl Session {
    /// Tells the device which tokens occur in the prompt and how often each was generated.
    fn write_counts(&mut self, sequence: SequenceId, prompt: &[u32], generated: &[u32]) -> Result<(), EngineError> {
        self.sequences.get(sequence).ok_or_else(closed)?;
        let vocab = self.plan.vocab() as usize;
        let mut counts = vec![0_u32; vocab];
        for &token in prompt {
            if let Some(count) = counts.get_mut(token as usize) {
                *count = IN_PROMPT;
            }
        }
        for &token in generated {
            if let Some(count) = counts.get_mut(token as usize) {
                *count += 1;
            }
        }
        let slice = self.buffers.step().counts;
        let offset = u64::from(sequence.0) * vocab as u64 * 4;
        Ok(self.executor.write(slice.buffer, slice.offset + offset, bytemuck::cast_slice(&counts))?)
    }
}
