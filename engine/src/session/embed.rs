//! Embeddings: texts become vectors. A step holds whole texts, as many as fit, each a sequence of its own; nothing is filled up.

use parhelion_loader::Specials;

use super::{EngineError, RowInput, SequenceId, Session, SessionOptions};
use crate::{
    models::{Embedding, Pooling},
    shape::{Bounds, Head},
};

/// Tokens of the longest text unless more are asked for: activations of a whole text are in memory at once.
const CONTEXT: u32 = 2048;
/// Texts of a step at the most.
const TEXTS: u32 = 32;

/// The tokens of a text that is to be embedded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TextTokens {
    /// Those that the model is given, with the ones it expects around a text.
    pub ids: Vec<u32>,
    /// How many were cut off, because the repository says that longer texts are.
    pub cut: usize,
}

/// The most that steps of an embedding model that takes `longest` tokens ask for.
pub(super) fn bounds(embedding: &Embedding, longest: u32, options: SessionOptions) -> Bounds {
    let longest = embedding.cut_after.unwrap_or(longest).min(longest).max(1);
    let context = options.context.unwrap_or(CONTEXT).clamp(1, longest);
    let rows = options.chunk.max(context);
    let texts = options.sequences.max(TEXTS);
    // hosts that keep an empty sequence open may
    Bounds { rows: rows.max(texts), outputs: texts, context, sequences: texts + 1 }
}

impl Session {
    /// How the model makes vectors of texts; none of a model that writes text.
    pub fn embedding(&self) -> Option<&Embedding> {
        self.info.config.embedding.as_ref()
    }

    /// The tokens of a text as [`Session::embed_tokens`] takes them, after the model's prompt of this name (`query`, say); none for the
    /// prompt that the model uses by itself, if any. Where the repository says that long texts are cut off, this is.
    ///
    /// # Errors
    /// [`EngineError::EmbedsNothing`]; [`EngineError::UnknownTextPrompt`]; [`EngineError::Load`] when the encoder fails.
    pub fn embedding_tokens(&self, text: &str, prompt: Option<&str>) -> Result<TextTokens, EngineError> {
        let embedding = self.embeds()?;
        let start = match prompt.or(embedding.default_prompt.as_deref()) {
            Some(name) => find_prompt(embedding, name)?,
            None => "",
        };
        let mut ids = self.tokenizer.encode(&format!("{start}{text}"), Specials::Text)?;
        let (before, after) = (self.tokenizer.prefix(), self.tokenizer.suffix());
        let all = ids.len();
        if let Some(most) = embedding.cut_after {
            ids.truncate((most as usize).saturating_sub(before.len() + after.len()));
        }
        let cut = all - ids.len();
        Ok(TextTokens { ids: [before, &ids, after].concat(), cut })
    }

    /// The vectors of texts, in their order: after the prompt that the model uses by itself, cut off where its repository says so,
    /// pooled and divided by their lengths as it says.
    ///
    /// # Errors
    /// As [`Session::embedding_tokens`] and [`Session::embed_tokens`].
    pub async fn embed(&mut self, texts: &[&str]) -> Result<Vec<Vec<f32>>, EngineError> {
        let tokens: Vec<Vec<u32>> =
            texts.iter().map(|text| Ok(self.embedding_tokens(text, None)?.ids)).collect::<Result<_, EngineError>>()?;
        self.embed_tokens(&tokens).await
    }

    /// The vectors of texts that are tokens already, the ones around a text among them. No sequence of the session may have tokens, and
    /// at most one may be open.
    ///
    /// # Errors
    /// [`EngineError::EmbedsNothing`], [`EngineError::EmptyText`], [`EngineError::TextTooLong`], [`EngineError::UnknownToken`],
    /// [`EngineError::Sequence`] where more are open, or the device's.
    pub async fn embed_tokens(&mut self, texts: &[Vec<u32>]) -> Result<Vec<Vec<f32>>, EngineError> {
        let Embedding { pooling, normalise, .. } = *self.embeds()?;
        let context = self.plan.options().bounds.context;
        for (index, text) in texts.iter().enumerate() {
            if text.is_empty() {
                return Err(EngineError::EmptyText { index });
            }
            if text.len() > context as usize {
                return Err(EngineError::TextTooLong { index, tokens: text.len(), context });
            }
        }
        let mut vectors = Vec::with_capacity(texts.len());
        while vectors.len() < texts.len() {
            let batch = self.next_batch(&texts[vectors.len()..])?;
            vectors.extend(self.embed_batch(&texts[vectors.len()..][..batch], pooling).await?);
        }
        if normalise {
            vectors.iter_mut().for_each(|vector| divide_by_length(vector));
        }
        Ok(vectors)
    }

    /// How many of `texts` the next step takes: at least one.
    fn next_batch(&mut self, texts: &[Vec<u32>]) -> Result<usize, EngineError> {
        let bounds = self.plan.options().bounds;
        let texts = &texts[..texts.len().min(bounds.outputs as usize)];
        let longest = texts.iter().map(Vec::len).max().unwrap_or(0);
        let all: usize = texts.iter().map(Vec::len).sum();
        let most = self.rows_in_time(all.min(bounds.rows as usize), longest)?;
        let mut rows = 0;
        let fits = |text: &&Vec<u32>| {
            rows += text.len();
            rows <= most
        };
        Ok(texts.iter().take_while(fits).count().max(1))
    }

    /// One step over whole texts.
    async fn embed_batch(&mut self, texts: &[Vec<u32>], pooling: Pooling) -> Result<Vec<Vec<f32>>, EngineError> {
        let mut sequences = Vec::with_capacity(texts.len());
        let result = self.run_batch(texts, pooling, &mut sequences).await;
        sequences.into_iter().for_each(|sequence| self.close_sequence(sequence));
        result
    }

    async fn run_batch(
        &mut self,
        texts: &[Vec<u32>],
        pooling: Pooling,
        sequences: &mut Vec<SequenceId>,
    ) -> Result<Vec<Vec<f32>>, EngineError> {
        let (mut rows, mut outputs) = (Vec::new(), Vec::with_capacity(texts.len()));
        for text in texts {
            let sequence = self.open_sequence()?;
            sequences.push(sequence);
            let first = rows.len();
            rows.extend(text.iter().map(|&token| RowInput::token(sequence, token)));
            let output = if pooling == Pooling::First { first } else { rows.len() - 1 };
            outputs.push(output as u32);
        }
        self.submit_rows(&rows, &outputs, Head::Logits).await?;
        self.read_outputs(outputs.len() as u32).await
    }

    fn embeds(&self) -> Result<&Embedding, EngineError> {
        self.embedding().ok_or_else(|| EngineError::EmbedsNothing { file: self.file.clone() })
    }

    /// Refuses what only models that write text can do.
    pub(super) fn refuse_embeddings(&self) -> Result<(), EngineError> {
        match self.embedding() {
            None => Ok(()),
            Some(_) => Err(EngineError::WritesNothing { file: self.file.clone() }),
        }
    }
}

fn find_prompt<'a>(embedding: &'a Embedding, name: &str) -> Result<&'a str, EngineError> {
    let found = embedding.prompts.iter().find(|(known, _)| known == name);
    found.map(|(_, text)| text.as_str()).ok_or_else(|| {
        let names: Vec<&str> = embedding.prompts.iter().map(|(known, _)| known.as_str()).collect();
        let known = if names.is_empty() { "it has none".to_owned() } else { format!("it has {}", names.join(", ")) };
        EngineError::UnknownTextPrompt { name: name.to_owned(), known }
    })
}

/// Makes a vector's length 1; one of zeros stays.
fn divide_by_length(vector: &mut [f32]) {
    let length = vector.iter().map(|v| f64::from(*v) * f64::from(*v)).sum::<f64>().sqrt();
    if length > 0.0 {
        vector.iter_mut().for_each(|v| *v = (f64::from(*v) / length) as f32);
    }
}
