//! Real models against forward passes in numpy: f32 over the dequantised weights. The reference's tokens are forced, so that one close
//! call does not hide the rest.

#![allow(clippy::panic, clippy::missing_panics_doc, reason = "a harness reports failures by panicking")]

use std::path::Path;

use parhelion::{
    loader::{Checkpoint, Specials},
    session::{Session, SessionOptions},
};
use parhelion_cli::host::{Device, Driver};
use serde::Deserialize;

use crate::models::{Config, argmax, load, rows};

#[derive(Deserialize)]
struct Reference {
    results: Vec<Prompt>,
}

/// A prompt, what the reference answers greedily, and how sure it is.
#[derive(Deserialize)]
pub struct Prompt {
    /// For messages.
    pub name: String,
    /// The text.
    pub prompt: String,
    /// Whether control tokens in the text are such.
    pub parse_special: bool,
    /// Its tokens.
    pub prompt_token_ids: Vec<u32>,
    /// The answer.
    pub generated_token_ids: Vec<u32>,
    /// How far the second best logit is from the best, for each token of the answer.
    pub logit_margin_top1_top2: Vec<f32>,
    /// Token and logit of the ten best after the prompt.
    pub first_step_top10_logits: Vec<(usize, f32)>,
}

/// The prompts of a fixture.
pub fn prompts(fixture: &str) -> Vec<Prompt> {
    serde_json::from_str::<Reference>(fixture).unwrap_or_else(|error| panic!("{error}")).results
}

/// How close a model's logits come.
#[derive(Debug, Clone, Copy)]
pub struct Closeness {
    /// Whether only pinned kernels in f32 run.
    pub reproducible: bool,
    /// Choices are compared where the two best logits are further apart.
    pub margin: f32,
    /// The largest difference of a logit.
    pub tolerance: f32,
}

/// Opens a device and loads a model there.
pub fn open(model: &Path, config: &Config, options: SessionOptions) -> (Session, Driver) {
    let Device { executor, driver, .. } = Device::open(&config.request).unwrap_or_else(|error| panic!("{}: {error}", config.name));
    let checkpoint = pollster::block_on(Checkpoint::open_path(model)).unwrap_or_else(|error| panic!("{error}"));
    (load(checkpoint, executor, &driver, options), driver)
}

/// Smaller contexts keep the software driver's memory small; none of the prompts comes near.
pub fn options(reproducible: bool, sequences: u32, chunk: u32) -> SessionOptions {
    SessionOptions { context: Some(512), sequences, chunk, reproducible, ..SessionOptions::default() }
}

/// The model's tokenizer gives the reference's tokens.
pub fn check_tokens(model: &Path, prompts: &[Prompt]) {
    let tokenizer = pollster::block_on(async { Checkpoint::open_path(model).await?.tokenizer().await });
    let tokenizer = tokenizer.unwrap_or_else(|error| panic!("{error}"));
    for prompt in prompts {
        let specials = if prompt.parse_special { Specials::Parse } else { Specials::Text };
        let tokens = tokenizer.encode(&prompt.prompt, specials).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!([tokenizer.prefix(), &tokens].concat(), prompt.prompt_token_ids, "{}", prompt.name);
    }
}

/// The model's choices and logits are the reference's on each device.
pub fn check_forced_tokens(model: &Path, prompts: &[Prompt], configs: &[Config], closeness: &Closeness) {
    let Closeness { reproducible, margin, tolerance } = *closeness;
    for config in configs {
        let (mut session, driver) = open(model, config, options(reproducible, 1, 128));
        let (mut worst, mut compared) = (0.0_f32, 0);
        for prompt in prompts {
            let last = prompt.prompt_token_ids.len() - 1;
            let given = &prompt.generated_token_ids[..prompt.generated_token_ids.len() - 1];
            let tokens = [prompt.prompt_token_ids.as_slice(), given].concat();
            let wanted: Vec<u32> = (last as u32..tokens.len() as u32).collect();
            let logits = driver.block_on(async {
                let sequence = session.open_sequence()?;
                let logits = session.forward(&rows(sequence, &tokens), &wanted).await;
                session.close_sequence(sequence);
                logits
            });
            let logits = logits.unwrap_or_else(|error| panic!("{}, {}: {error}", config.name, prompt.name));
            for &(token, expected) in &prompt.first_step_top10_logits {
                worst = worst.max((logits[0][token] - expected).abs());
            }
            for (step, logits) in logits.iter().enumerate().filter(|(step, _)| prompt.logit_margin_top1_top2[*step] > margin) {
                let expected = prompt.generated_token_ids[step] as usize;
                assert_eq!(argmax(logits), expected, "{}, {}, step {step}, {closeness:?}", config.name, prompt.name);
                compared += 1;
            }
        }
        println!("{}: reproducible {reproducible}: {compared} choices equal, top-10 logits within {worst:.2e}", config.name);
        assert!(worst < tolerance, "{}: {worst}, {closeness:?}", config.name);
    }
}
