//! A model ready to answer, and what is said while it is made ready.

use std::io::{self, IsTerminal, Write};
use std::rc::Rc;
use std::time::{Duration, SystemTime};

use parhelion::loader::chat::CivilTime;
use parhelion::loader::{ChatOptions, Message};
use parhelion::session::{Cancel, FinishReason, GenerateOptions, Prepared, Sampling, SequenceId, Session, Timings, Token};
use parhelion::weights::LoadProgress;
use serde::Serialize;

use super::options::ModelOptions;
use super::{CommandError, Context, inspect};
use crate::host::{Device, Driver, Stopwatch, describe};
use crate::progress::{Unit, bytes};
use crate::text;

/// A model on a device with one open sequence.
pub(super) struct Loaded {
    pub(super) session: Session,
    pub(super) sequence: SequenceId,
    pub(super) driver: Driver,
    /// What the model's publisher recommends.
    pub(super) sampling: Sampling,
}

/// What a command wants of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// What may come next in a text.
    Text,
    /// Vectors of texts.
    Vectors,
}

impl Loaded {
    /// Finds the model, opens the device, and loads the one into the other. Models that are for something else are refused first.
    pub(super) fn new(context: &Context, options: &ModelOptions, purpose: Purpose) -> Result<Self, CommandError> {
        let path = context.model_path(options.model.as_deref())?;
        let checkpoint = inspect::open(&path)?;
        let Device { executor, driver, fallback } = Device::open(&options.device.request())?;
        if let Some(why) = fallback {
            context.notice(&format!("{why}: running on the CPU instead"));
        }
        let prepared = driver.block_on(Prepared::new(&checkpoint, executor.device(), options.session()))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        match (purpose, &prepared.config().embedding) {
            (Purpose::Text, Some(_)) => return Err(CommandError::MakesVectors { name: text::printable(&name) }),
            (Purpose::Vectors, None) => return Err(CommandError::WritesText { name: text::printable(&name) }),
            _ => {}
        }
        let memory = prepared.memory();
        context.notice(&format!("{} on {}", text::printable(&name), describe(executor.device())));
        context.notice(&format!(
            "needs {} (weights {}, KV cache {}, the rest {})",
            bytes(memory.total()),
            bytes(memory.weights),
            bytes(memory.kv),
            bytes(memory.scratch.saturating_add(memory.other)),
        ));
        if let Some(quant) = options.session().quant {
            let published = bytes(checkpoint.tensors().map(|tensor| tensor.len).sum());
            context.notice(&format!("quantising {published} of weights to {} while they are loaded", quant.target.dtype()));
        }
        let progress = context.progress();
        let total = checkpoint.tensors().map(|tensor| tensor.len).sum();
        progress.begin("loading", Unit::Bytes, Some(total), 0);
        let at_once = context.interrupt.at_once();
        let clock = Rc::new(Stopwatch::start());
        let sampling = Sampling::published(&checkpoint);
        let mut reached = |step: LoadProgress| progress.reached(step.done);
        let loaded = driver.block_on(Session::load(checkpoint, prepared, executor, clock, &mut reached));
        progress.end();
        drop(at_once);
        let mut session = loaded?;
        context.stop_if_interrupted()?;
        let sequence = session.open_sequence()?;
        Ok(Self { session, sequence, driver, sampling })
    }

    /// Tokens of a conversation, ready for the answer.
    pub(super) fn chat_tokens(&self, messages: &[Message]) -> Result<Vec<u32>, CommandError> {
        let options = ChatOptions { add_generation_prompt: true, now: now(), ..ChatOptions::default() };
        Ok(self.session.chat_tokens(messages, &options)?)
    }

    /// Tokens of plain text, after the token that the model expects first. Control tokens in it stay text.
    pub(super) fn text_tokens(&self, text: &str) -> Result<Vec<u32>, CommandError> {
        Ok(self.session.text_tokens(text)?)
    }

    /// Answers `prompt`; `show` is given the text as it comes. Ctrl-C ends the answer early.
    pub(super) fn answer(
        &mut self,
        context: &Context,
        prompt: &[u32],
        mut options: GenerateOptions,
        show: &mut dyn FnMut(&str) -> io::Result<()>,
    ) -> Result<Answer, CommandError> {
        let Self { session, sequence, driver, .. } = self;
        let interrupt = context.interrupt.clone();
        options.cancel = Cancel::when(move || interrupt.is_raised());
        let mut generation = driver.block_on(session.generate(*sequence, prompt, options))?;
        let mut answer = Answer::default();
        while let Some(token) = driver.block_on(generation.next())? {
            show(&token.text)?;
            answer.text.push_str(&token.text);
            answer.tokens.push(token);
        }
        show(generation.rest())?;
        answer.text.push_str(generation.rest());
        answer.finish = generation.finish_reason();
        answer.timings = generation.timings();
        Ok(answer)
    }

    /// Says on standard error how long an answer took, in less than a line.
    pub(super) fn say_timings(&self, context: &Context, timings: &Timings) {
        let line = timings_line(self.session.info().load, timings);
        let dim = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        context.notice(&if dim { format!("\u{1b}[2m{line}\u{1b}[0m") } else { line });
    }
}

/// What came back.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) text: String,
    pub(super) tokens: Vec<Token>,
    pub(super) finish: Option<FinishReason>,
    pub(super) timings: Timings,
}

/// What an answer took, as programs read it. Times are in seconds.
#[derive(Serialize)]
pub(super) struct TimingsOutput {
    load_seconds: f64,
    prompt_tokens: usize,
    cached_tokens: usize,
    prefill_seconds: f64,
    prefill_tokens_per_second: f64,
    generated_tokens: usize,
    decode_seconds: f64,
    decode_tokens_per_second: f64,
    dispatches_per_token: usize,
    peak_bytes: u64,
}

impl TimingsOutput {
    pub(super) fn new(load: Duration, timings: &Timings) -> Self {
        Self {
            load_seconds: load.as_secs_f64(),
            prompt_tokens: timings.prompt_tokens,
            cached_tokens: timings.cached_tokens,
            prefill_seconds: timings.prefill.as_secs_f64(),
            prefill_tokens_per_second: timings.prefill_rate(),
            generated_tokens: timings.generated_tokens,
            decode_seconds: timings.decode.as_secs_f64(),
            decode_tokens_per_second: timings.decode_rate(),
            dispatches_per_token: timings.dispatches_per_token,
            peak_bytes: timings.peak_bytes,
        }
    }
}

/// The time for templates that write a date. The standard library knows no time zones, so it is UTC.
fn now() -> Option<CivilTime> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).ok()?;
    CivilTime::from_unix(i64::try_from(since.as_secs()).ok()?)
}

fn timings_line(load: Duration, timings: &Timings) -> String {
    format!(
        "load {:.1} s, prefill {} tok/s, decode {} tok/s, {} dispatches/tok, {}",
        load.as_secs_f64(),
        rate(timings.prefill_rate()),
        rate(timings.decode_rate()),
        timings.dispatches_per_token,
        bytes(timings.peak_bytes),
    )
}

/// A rate with three digits at the least, none of them for show.
fn rate(value: f64) -> String {
    if value < 99.95 { format!("{value:.1}") } else { format!("{value:.0}") }
}

/// Writes the text of an answer to standard output as it comes: as it is to a file or a pipe, without control
/// characters to a terminal.
pub(super) fn show_on_stdout() -> impl FnMut(&str) -> io::Result<()> {
    let terminal = io::stdout().is_terminal();
    move |part| {
        let mut out = io::stdout().lock();
        if terminal {
            out.write_all(text::answer(part).as_bytes())?
        } else {
            out.write_all(part.as_bytes())?
        }
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timings_fit_a_terminal() {
        let timings = Timings {
            prompt_tokens: 900,
            prefill: Duration::from_millis(10),
            generated_tokens: 100,
            decode: Duration::from_secs(10),
            dispatches_per_token: 312,
            peak_bytes: 142_300_000,
            ..Timings::default()
        };
        let line = timings_line(Duration::from_millis(420), &timings);
        assert_eq!(line, "load 0.4 s, prefill 90000 tok/s, decode 9.9 tok/s, 312 dispatches/tok, 142.3 MB");
        assert!(line.len() <= 80);
    }
}
