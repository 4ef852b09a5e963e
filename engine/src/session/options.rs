//! What a caller asks for: how to run a model and how to choose its tokens.

use std::{fmt, rc::Rc, time::Duration};

use parhelion_shaders::{axes::Kv, shared::Sampler};

use super::EngineError;
use crate::quantise::Quant;

/// How to run a model.
#[derive(Debug, Clone, Copy)]
pub struct SessionOptions {
    /// Tokens of context for each sequence; none for the model's own, at most [`SessionOptions::DEFAULT_CONTEXT`].
    pub context: Option<u32>,
    /// Sequences alive at once.
    pub sequences: u32,
    /// Rows of a step: longer prompts run in chunks of this many.
    pub chunk: u32,
    /// Pinned f32 kernels and an f32 KV cache: devices differ only in the last bits.
    pub reproducible: bool,
    /// How the KV cache is stored; none for f32 when reproducible, else f16.
    pub kv: Option<Kv>,
    /// What weights are quantised to when they are loaded; none to keep them as they are published.
    pub quant: Option<Quant>,
}

impl SessionOptions {
    /// The context used unless another is asked for.
    pub const DEFAULT_CONTEXT: u32 = 8192;
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self { context: None, sequences: 1, chunk: 512, reproducible: false, kv: None, quant: None }
    }
}

/// How the next token is chosen from the logits: penalties, then top-k, top-p of what is left, min-p, then temperature.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sampling {
    /// 0 takes the likeliest token.
    pub temperature: f32,
    /// Only the k likeliest tokens; 0 for all.
    pub top_k: u32,
    /// Only the likeliest tokens that together have this probability; 1 for all.
    pub top_p: f32,
    /// Only tokens at least this many times as likely as the likeliest; 0 for all.
    pub min_p: f32,
    /// Divides positive and multiplies negative logits of tokens that occurred; 1 for none.
    pub repetition_penalty: f32,
    /// Subtracted for each time a token was generated.
    pub frequency_penalty: f32,
    /// Subtracted once for a token that was generated.
    pub presence_penalty: f32,
    /// The same seed gives the same tokens.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Self = Self {
        temperature: 0.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        repetition_penalty: 1.0,
        frequency_penalty: 0.0,
        presence_penalty: 0.0,
        seed: 0,
    };

    /// Checks every option's range.
    ///
    /// # Errors
    /// [`EngineError::Option`] names the first that is out of it.
    pub fn validate(&self) -> Result<(), EngineError> {
        let checks: [(&'static str, f32, std::ops::RangeInclusive<f32>, &'static str); 6] = [
            ("temperature", self.temperature, 0.0..=100.0, "from 0 to 100"),
            ("top-p", self.top_p, 0.0..=1.0, "from 0 to 1"),
            ("min-p", self.min_p, 0.0..=1.0, "from 0 to 1"),
            ("repetition penalty", self.repetition_penalty, 0.01..=100.0, "from 0.01 to 100"),
            ("frequency penalty", self.frequency_penalty, -100.0..=100.0, "from -100 to 100"),
            ("presence penalty", self.presence_penalty, -100.0..=100.0, "from -100 to 100"),
        ];
        for (option, value, range, words) in checks {
            if !range.contains(&value) {
                return Err(EngineError::Option { option, range: words, got: value.to_string() });
            }
        }
        Ok(())
    }

    /// Whether earlier tokens change the choice.
    pub fn penalises(&self) -> bool {
        self.repetition_penalty != 1.0 || self.frequency_penalty != 0.0 || self.presence_penalty != 0.0
    }

    /// The sampler's state at the token of an answer that `generated` tokens stand before.
    pub(crate) fn at(&self, generated: usize) -> Sampler {
        Sampler {
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            repetition: self.repetition_penalty,
            frequency: self.frequency_penalty,
            presence: self.presence_penalty,
            seed_lo: self.seed as u32,
            seed_hi: (self.seed >> 32) as u32,
            step: generated as u32,
            ..bytemuck::Zeroable::zeroed()
        }
    }
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 0.7, top_k: 40, top_p: 0.95, ..Self::GREEDY }
    }
}

/// What to generate.
#[derive(Debug, Clone, Default)]
pub struct GenerateOptions {
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// The most tokens; none for as many as the context holds.
    pub max_tokens: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// The answer goes on with the prompt's text, as where the prompt is no conversation: a space at its beginning is a part of it.
    /// Otherwise the space that some vocabularies put in front of any text is left out.
    pub continues_text: bool,
    /// Go on past end-of-answer tokens: for measurements and for forced lengths.
    pub ignore_end: bool,
    /// Asked between chunks of the prompt and between tokens whether to stop.
    pub cancel: Cancel,
}

/// A question that the host answers: has whoever wanted the answer changed their mind?
#[derive(Clone)]
pub struct Cancel(Rc<dyn Fn() -> bool>);

impl Cancel {
    /// Stops once `asked` says so.
    pub fn when(asked: impl Fn() -> bool + 'static) -> Self {
        Self(Rc::new(asked))
    }

    pub(super) fn is_asked(&self) -> bool {
        (self.0)()
    }
}

impl Default for Cancel {
    fn default() -> Self {
        Self::when(|| false)
    }
}

impl fmt::Debug for Cancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Cancel").field(&self.is_asked()).finish()
    }
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model said that it is done.
    End,
    /// A stop string came.
    StopString,
    /// As many tokens as asked for.
    MaxTokens,
    /// The context is full.
    Context,
    /// The caller stopped it.
    Cancelled,
}

impl FinishReason {
    /// The name that programs read: `stop`, `stop_string`, `length`, `context`, `cancelled`.
    pub fn name(self) -> &'static str {
        match self {
            Self::End => "stop",
            Self::StopString => "stop_string",
            Self::MaxTokens => "length",
            Self::Context => "context",
            Self::Cancelled => "cancelled",
        }
    }
}

/// How long an answer took and what it cost.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Timings {
    /// Tokens of the prompt, with those that a resumed answer had.
    pub prompt_tokens: usize,
    /// How many of them were in the cache already.
    pub cached_tokens: usize,
    /// From the request to its first token.
    pub prefill: Duration,
    /// Tokens generated since.
    pub generated_tokens: usize,
    /// From the first token to the last.
    pub decode: Duration,
    /// Dispatches of one decode step.
    pub dispatches_per_token: usize,
    /// The most bytes the device had allocated.
    pub peak_bytes: u64,
}

impl Timings {
    /// Prompt tokens computed a second.
    pub fn prefill_rate(&self) -> f64 {
        rate(self.prompt_tokens - self.cached_tokens, self.prefill)
    }

    /// Tokens a second after the first.
    pub fn decode_rate(&self) -> f64 {
        rate(self.generated_tokens.saturating_sub(1), self.decode)
    }
}

fn rate(count: usize, time: Duration) -> f64 {
    if time.is_zero() { 0.0 } else { count as f64 / time.as_secs_f64() }
}
