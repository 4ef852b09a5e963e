//! `parhelion score`: how likely a model finds a text.

use std::io::{self, Write};

use clap::Args;
use parhelion::loader::Tokenizer;
use parhelion::session::RowInput;
use serde::Serialize;

use super::loaded::{Loaded, Purpose};
use super::options::ModelOptions;
use super::run::read_stdin;
use super::{CommandError, Context, print_json};

const EXAMPLES: &str = "\
Examples:
  parhelion score \"The capital of France is Paris.\"
  parhelion score --tokens 504,3575,282 --top 10 --json
  parhelion score - < notes.txt";

/// Positions that are computed between two looks at Ctrl-C.
const POSITIONS: usize = 64;

/// Force a text through the model and tell how likely each of its tokens was
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct ScoreOptions {
    /// The text; `-` for standard input
    #[arg(required_unless_present = "tokens", conflicts_with = "tokens")]
    text: Option<String>,
    /// Token ids instead of a text, separated by commas
    #[arg(long, value_name = "IDS", value_delimiter = ',')]
    tokens: Option<Vec<u32>>,
    /// Show the K likeliest tokens at each position
    #[arg(long, value_name = "K", default_value_t = 5)]
    top: usize,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelOptions,
}

/// What the model expected at a position.
#[derive(Debug, Serialize)]
struct Position {
    /// Which token it is, from 0; the last position comes after the last token.
    index: usize,
    /// The token that stands there; none after the last.
    token: Option<u32>,
    /// Its text.
    text: Option<String>,
    /// Natural logarithm of its probability.
    logprob: Option<f64>,
    /// How many tokens were likelier.
    rank: Option<usize>,
    /// The likeliest tokens, best first.
    top: Vec<Candidate>,
}

#[derive(Debug, Serialize)]
struct Candidate {
    id: u32,
    text: Option<String>,
    logit: f32,
    logprob: f64,
}

#[derive(Debug, Serialize)]
struct Score {
    tokens: Vec<u32>,
    positions: Vec<Position>,
    /// Tokens that have a probability: all but the first, which nothing comes before.
    scored: usize,
    logprob: f64,
    perplexity: Option<f64>,
}

pub(super) fn run(context: &Context, options: &ScoreOptions) -> Result<(), CommandError> {
    let text = match options.text.as_deref() {
        Some("-") => Some(read_stdin()?),
        text => text.map(str::to_owned),
    };
    let mut loaded = Loaded::new(context, &options.model, Purpose::Text)?;
    let tokens = match (&options.tokens, text) {
        (Some(tokens), _) => tokens.clone(),
        (None, text) => loaded.text_tokens(&text.unwrap_or_default())?,
    };
    let positions = positions(context, &mut loaded, &tokens, options.top)?;
    let logprobs: Vec<f64> = positions.iter().filter_map(|position| position.logprob).collect();
    let sum: f64 = logprobs.iter().sum();
    let perplexity = (!logprobs.is_empty()).then(|| (-sum / logprobs.len() as f64).exp());
    let score = Score { tokens, positions, scored: logprobs.len(), logprob: sum, perplexity };
    if options.json { print_json(&score) } else { print_text(&mut io::stdout().lock(), &score) }
}

/// What the model expects at each position after the first.
fn positions(context: &Context, loaded: &mut Loaded, tokens: &[u32], top: usize) -> Result<Vec<Position>, CommandError> {
    if tokens.is_empty() {
        return Err(CommandError::Usage("there are no tokens to score: give some text".to_owned()));
    }
    let Loaded { session, sequence, driver, .. } = loaded;
    let rows: Vec<RowInput<'_>> = tokens.iter().map(|&token| RowInput::token(*sequence, token)).collect();
    let outputs: Vec<u32> = (0..POSITIONS as u32).collect();
    let mut positions = Vec::with_capacity(tokens.len());
    for rows in rows.chunks(POSITIONS) {
        context.stop_if_interrupted()?;
        let logits = driver.block_on(session.forward(rows, &outputs[..rows.len()]))?;
        for logits in logits {
            let index = positions.len() + 1;
            positions.push(position(session.tokenizer(), index, tokens.get(index).copied(), &logits, top));
        }
    }
    Ok(positions)
}

fn position(tokenizer: &Tokenizer, index: usize, token: Option<u32>, logits: &[f32], top: usize) -> Position {
    let normaliser = log_sum_exp(logits);
    let logprob = |logit: f32| f64::from(logit) - normaliser;
    let own = token.and_then(|token| logits.get(token as usize).copied());
    Position {
        index,
        token,
        text: token.and_then(|token| tokenizer.token_text(token)),
        logprob: own.map(logprob),
        rank: own.map(|own| logits.iter().filter(|&&logit| logit > own).count()),
        top: likeliest(logits, top)
            .into_iter()
            .map(|(id, logit)| Candidate { id, text: tokenizer.token_text(id), logit, logprob: logprob(logit) })
            .collect(),
    }
}

/// The logarithm of the sum of exponentials, in f64 and without overflow.
fn log_sum_exp(logits: &[f32]) -> f64 {
    let most = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - most).exp()).sum();
    f64::from(most) + sum.ln()
}

/// The `count` largest logits with their tokens, best first; of equals the lower token first.
fn likeliest(logits: &[f32], count: usize) -> Vec<(u32, f32)> {
    let mut all: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
    let better = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if count < all.len() {
        all.select_nth_unstable_by(count, better);
        all.truncate(count);
    }
    all.sort_unstable_by(better);
    all
}

fn print_text(out: &mut impl Write, score: &Score) -> Result<(), CommandError> {
    let shown = |text: &Option<String>| format!("{:?}", text.as_deref().unwrap_or("?"));
    writeln!(out, "{:>5} {:>7}  {:<24} {:>9} {:>6}", "index", "token", "text", "logprob", "rank")?;
    for position in &score.positions {
        match (position.token, position.logprob, position.rank) {
            (Some(token), Some(logprob), Some(rank)) => {
                let text = shown(&position.text);
                writeln!(out, "{:>5} {token:>7}  {text:<24} {logprob:>9.4} {rank:>6}", position.index)?;
            }
            _ => writeln!(out, "{:>5}  what would come next", position.index)?,
        }
        for candidate in &position.top {
            let (text, id) = (shown(&candidate.text), candidate.id);
            writeln!(out, "{:>13}  {text:<24} {:>9.4}  logit {:.4}", id, candidate.logprob, candidate.logit)?;
        }
    }
    match score.perplexity {
        Some(perplexity) => {
            writeln!(out, "\nperplexity {perplexity:.4} over {} tokens, log-probability {:.4}", score.scored, score.logprob)?
        }
        None => writeln!(out, "\none token alone has no perplexity")?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_sum_to_one_whatever_the_scale() {
        for shift in [-1e4_f32, 0.0, 80.0, 1e4] {
            let logits: Vec<f32> = [0.0, 1.0, -2.0, 0.5].iter().map(|l| l + shift).collect();
            let total: f64 = logits.iter().map(|&l| (f64::from(l) - log_sum_exp(&logits)).exp()).sum();
            assert!((total - 1.0).abs() < 1e-12, "{total} at {shift}");
        }
        assert!((log_sum_exp(&[0.0; 8]) - 8_f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn the_likeliest_come_best_first_and_ties_by_id() {
        let logits = [1.0, 3.0, 2.0, 3.0, -1.0];
        assert_eq!(likeliest(&logits, 3), [(1, 3.0), (3, 3.0), (2, 2.0)]);
        assert_eq!(likeliest(&logits, 0), []);
        assert_eq!(likeliest(&logits, 9).len(), 5);
        assert_eq!(likeliest(&[], 3), []);
    }
}
