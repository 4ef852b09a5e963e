//! `parhelion embed`: texts become vectors.

use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use parhelion::session::TextTokens;
use serde::Serialize;

use super::loaded::{Loaded, Purpose};
use super::options::ModelOptions;
use super::run::read_stdin;
use super::{CommandError, Context, print_json};
use crate::progress::Unit;
use crate::text;

const EXAMPLES: &str = "\
Examples:
  parhelion embed -m sentence-transformers/all-MiniLM-L6-v2 \"A cat.\" \"A feline.\" \"Taxes.\"
  parhelion embed -m model.gguf --json - < sentences.txt > vectors.jsonl
  parhelion embed -m ./all-MiniLM-L6-v2 --file sentences.txt --json | jq .vector
  parhelion embed -m google/embeddinggemma-300m --prompt query \"who wrote it?\"";

/// Texts that are given to the engine between two looks at Ctrl-C.
const TEXTS: usize = 64;
/// Texts that the similarities of are shown, so that they fit a terminal.
const COMPARED: usize = 8;
/// Elements of a vector that are shown.
const SHOWN: usize = 6;

/// Turn texts into vectors whose angles tell how alike the texts are
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct EmbedOptions {
    /// A text each; `-` for the lines of standard input, which is also read where there is no text
    #[arg(conflicts_with = "file")]
    texts: Vec<String>,
    /// The lines of a file, one text each; blank ones are left out
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// What the texts are for, by the model's name for it: `query`, `document`
    #[arg(long, value_name = "NAME")]
    prompt: Option<String>,
    /// Print one JSON object a text, a line each: index, text, tokens, cut, vector
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelOptions,
}

/// A text as programs read it.
#[derive(Serialize)]
struct Embedded<'a> {
    /// Which of the texts, from 0.
    index: usize,
    text: &'a str,
    /// Tokens of it that the model was given.
    tokens: usize,
    /// Tokens that were cut off.
    cut: usize,
    vector: &'a [f32],
}

pub(super) fn run(context: &Context, options: &EmbedOptions) -> Result<(), CommandError> {
    if !options.model.is_named() {
        let what = "name an embedding model: parhelion embed --model sentence-transformers/all-MiniLM-L6-v2 \"a text\"";
        return Err(CommandError::Usage(what.to_owned()));
    }
    let texts = texts(options)?;
    if texts.is_empty() {
        return Err(CommandError::Usage("there are no texts: give some as arguments, with --file or on standard input".to_owned()));
    }
    let Loaded { mut session, sequence, driver, .. } = Loaded::new(context, &options.model, Purpose::Vectors)?;
    session.close_sequence(sequence);
    let tokens: Vec<TextTokens> =
        texts.iter().map(|text| Ok(session.embedding_tokens(text, options.prompt.as_deref())?)).collect::<Result<_, CommandError>>()?;
    say_cuts(context, &tokens);
    let mut vectors: Vec<Vec<f32>> = Vec::with_capacity(texts.len());
    let progress = context.progress();
    let shown = texts.len() > TEXTS;
    if shown {
        progress.begin("embedding", Unit::Items, Some(texts.len() as u64), 0);
    }
    for (first, batch) in tokens.chunks(TEXTS).enumerate().map(|(i, batch)| (i * TEXTS, batch)) {
        let ids: Vec<Vec<u32>> = batch.iter().map(|text| text.ids.clone()).collect();
        let done = context.stop_if_interrupted().and_then(|()| Ok(driver.block_on(session.embed_tokens(&ids))?));
        if shown {
            progress.reached((first + batch.len()) as u64);
        }
        match done {
            Ok(done) if options.json => print_batch(first, &texts, &tokens, &done)?,
            Ok(done) => vectors.extend(done),
            Err(error) => {
                progress.end();
                return Err(error);
            }
        }
    }
    progress.end();
    if options.json { Ok(()) } else { print_text(&mut io::stdout().lock(), &texts, &tokens, &vectors) }
}

/// The texts of the arguments, of the file, or of standard input.
fn texts(options: &EmbedOptions) -> Result<Vec<String>, CommandError> {
    if let Some(path) = &options.file {
        let read = fs::read_to_string(path);
        let text = read.map_err(|source| CommandError::InputFile { path: path.clone(), source })?;
        return Ok(lines(&text));
    }
    match options.texts.as_slice() {
        [] if io::stdin().is_terminal() => Ok(Vec::new()),
        [] => Ok(lines(&read_stdin()?)),
        [one] if one == "-" => Ok(lines(&read_stdin()?)),
        several => Ok(several.to_vec()),
    }
}

fn lines(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect()
}

fn say_cuts(context: &Context, tokens: &[TextTokens]) {
    let cut = tokens.iter().filter(|text| text.cut > 0).count();
    if let Some(longest) = tokens.iter().map(|text| text.ids.len()).max().filter(|_| cut > 0) {
        let of = tokens.len();
        context.notice(&format!("{cut} of {of} texts were cut off after {longest} tokens, as the model's repository says"));
    }
}

fn print_batch(first: usize, texts: &[String], tokens: &[TextTokens], vectors: &[Vec<f32>]) -> Result<(), CommandError> {
    for (i, vector) in vectors.iter().enumerate() {
        let index = first + i;
        let TextTokens { ids, cut } = &tokens[index];
        print_json(&Embedded { index, text: &texts[index], tokens: ids.len(), cut: *cut, vector })?;
    }
    Ok(())
}

fn print_text(out: &mut impl Write, texts: &[String], tokens: &[TextTokens], vectors: &[Vec<f32>]) -> Result<(), CommandError> {
    for (index, ((text, TextTokens { ids, .. }), vector)) in texts.iter().zip(tokens).zip(vectors).enumerate() {
        let start: Vec<String> = vector.iter().take(SHOWN).map(|v| format!("{v:.4}")).collect();
        let more = if vector.len() > SHOWN { ", ..." } else { "" };
        writeln!(out, "{index}: {}", text::printable(text))?;
        writeln!(out, "   {} tokens, {} dimensions: [{}{more}]", ids.len(), vector.len(), start.join(", "))?;
    }
    if (2..=COMPARED).contains(&vectors.len()) {
        writeln!(out, "\nsimilarity (cosine)")?;
        for (index, a) in vectors.iter().enumerate() {
            let row: Vec<String> = vectors.iter().map(|b| format!("{:7.3}", cosine(a, b))).collect();
            writeln!(out, "{index}: {}", row.join(" "))?;
        }
    } else if vectors.len() > COMPARED {
        writeln!(out, "\n--json prints whole vectors, for programs")?;
    }
    Ok(())
}

/// The cosine of the angle between two vectors; 0 where one of them has no direction.
fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    let lengths = (dot(a, a) * dot(b, b)).sqrt();
    if lengths > 0.0 { dot(a, b) / lengths } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_that_is_not_blank_is_a_text() {
        assert_eq!(lines("a b\n\n  \r\nc\r\n d"), ["a b", "c", " d"]);
        assert!(lines("\n").is_empty());
    }

    #[test]
    fn angles_have_their_cosines() {
        assert!((cosine(&[3.0, 4.0], &[6.0, 8.0]) - 1.0).abs() < 1e-12);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert_eq!(cosine(&[0.0, 0.0], &[0.0, 2.0]), 0.0);
        assert!((cosine(&[1.0, 1.0], &[-1.0, 0.0]) + 0.5_f64.sqrt()).abs() < 1e-12);
    }
}
