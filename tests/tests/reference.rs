//! SmolLM2-135M-Instruct against an independent implementation: numpy in f32 over the dequantised weights. The reference's
//! tokens are forced, so that one close call does not hide the rest.
//!
//! Bounds: `--reproducible` is f32 throughout like the reference, which sums in another order: logits of magnitude 20
//! come out within 1e-3. The default keeps the KV cache (and, with f16, tiles of activations) in f16, whose rounding of
//! 2^-11 an element moves logits by 1e-2; 3e-2 leaves room for other drivers.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{cell::Cell, rc::Rc};

use parhelion::{
    loader::Checkpoint,
    session::{Cancel, EngineError, FinishReason, GenerateOptions, Input, RowInput, Sampling, Session},
};
use parhelion_tests::{
    fixtures::smollm2,
    models::{configs, largest_difference, rows},
    reference::{Closeness, Prompt, check_forced_tokens, check_tokens, open, options, prompts},
};

const REFERENCE: &str = include_str!("../fixtures/smollm2_numpy_f32.json");
const REPRODUCIBLE: Closeness = Closeness { reproducible: true, margin: 0.02, tolerance: 1e-3 };
const DEFAULT: Closeness = Closeness { reproducible: false, margin: 0.1, tolerance: 3e-2 };

fn reference() -> Vec<Prompt> {
    prompts(REFERENCE)
}

#[test]
fn prompts_are_tokenised_as_the_reference_does() {
    let Some(model) = smollm2() else { return };
    check_tokens(&model, &reference());
}

#[test]
fn reproducible_choices_and_logits_are_the_references() {
    let Some(model) = smollm2() else { return };
    check_forced_tokens(&model, &reference(), &configs(), &REPRODUCIBLE);
}

#[test]
fn default_choices_and_logits_are_the_references() {
    let Some(model) = smollm2() else { return };
    check_forced_tokens(&model, &reference(), &configs(), &DEFAULT);
}

/// Chunks of 7 differ from one piece in which kernels run (matrix x vector or x matrix, decode or prefill attention), so in
/// rounding only.
#[test]
fn a_prompt_in_chunks_gives_the_logits_of_one_piece() {
    let Some(model) = smollm2() else { return };
    let prompt = &reference()[3].prompt_token_ids;
    let last = [prompt.len() as u32 - 1];
    for config in configs() {
        let mut logits = Vec::new();
        for chunk in [128, 7, 1] {
            let (mut session, driver) = open(&model, &config, options(true, 1, chunk));
            let sequence = session.open_sequence().unwrap();
            logits.push(driver.block_on(session.forward(&rows(sequence, prompt), &last)).unwrap().remove(0));
        }
        for other in &logits[1..] {
            let difference = largest_difference(&logits[0], other);
            assert!(difference < 1e-3, "{}: {difference}", config.name);
        }
    }
}

/// Two sequences of unequal length in one step give each what it gets alone.
#[test]
fn sequences_in_one_step_do_not_see_each_other() {
    let Some(model) = smollm2() else { return };
    let prompts = reference();
    let (a, b) = (&prompts[3].prompt_token_ids, &prompts[0].prompt_token_ids);
    for config in configs() {
        let (mut session, driver) = open(&model, &config, options(true, 2, 128));
        let alone: Vec<Vec<f32>> = [a, b]
            .iter()
            .map(|tokens| {
                let sequence = session.open_sequence().unwrap();
                let logits = driver.block_on(session.forward(&rows(sequence, tokens), &[tokens.len() as u32 - 1])).unwrap().remove(0);
                session.close_sequence(sequence);
                logits
            })
            .collect();
        let (first, second) = (session.open_sequence().unwrap(), session.open_sequence().unwrap());
        let both = [rows(first, a), rows(second, b)].concat();
        let outputs = [a.len() as u32 - 1, both.len() as u32 - 1];
        let together = driver.block_on(session.forward(&both, &outputs)).unwrap();
        for (alone, together) in alone.iter().zip(&together) {
            let difference = largest_difference(alone, together);
            assert!(difference < 1e-3, "{}: {difference}", config.name);
        }
        // one more token each, in one decode-sized step
        let step = [RowInput::token(first, 100), RowInput::token(second, 200)];
        let together = driver.block_on(session.forward(&step, &[0, 1])).unwrap();
        for (sequence, tokens, token, together) in [(first, a, 100, &together[0]), (second, b, 200, &together[1])] {
            session.truncate(sequence, 0);
            let all = [tokens.as_slice(), &[token]].concat();
            let alone = driver.block_on(session.forward(&rows(sequence, &all), &[all.len() as u32 - 1])).unwrap().remove(0);
            let difference = largest_difference(&alone, together);
            assert!(difference < 1e-3, "{}: {difference}", config.name);
        }
    }
}

/// Cutting back five tokens and going on gives the same logits, bit for bit: the same kernels see the same cache.
#[test]
fn a_sequence_cut_back_goes_on_as_before() {
    let Some(model) = smollm2() else { return };
    let prompt = &reference()[0];
    let tokens = [prompt.prompt_token_ids.as_slice(), &prompt.generated_token_ids[..8]].concat();
    for config in configs() {
        let (mut session, driver) = open(&model, &config, options(false, 1, 128));
        let sequence = session.open_sequence().unwrap();
        let step =
            |session: &mut Session, token| driver.block_on(session.forward(&[RowInput::token(sequence, token)], &[0])).unwrap().remove(0);
        let first: Vec<Vec<f32>> = tokens.iter().map(|&token| step(&mut session, token)).collect();
        session.truncate(sequence, tokens.len() - 5);
        let again: Vec<Vec<f32>> = tokens[tokens.len() - 5..].iter().map(|&token| step(&mut session, token)).collect();
        assert_eq!(first[tokens.len() - 5..], again, "{}", config.name);
    }
}

/// Steps in flight, tokens fed back on the device and the cut at the end: the same tokens as one step at a time.
#[test]
fn generation_gives_the_greedy_tokens_and_keeps_the_cache_exact() {
    let Some(model) = smollm2() else { return };
    let prompt = &reference()[2];
    for config in configs() {
        let (mut session, driver) = open(&model, &config, options(true, 1, 16));
        let sequence = session.open_sequence().unwrap();
        let options = GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(12), ..GenerateOptions::default() };
        let run = |session: &mut Session, prompt: &[u32]| {
            driver.block_on(async {
                let mut generation = session.generate(sequence, prompt, options.clone()).await.unwrap();
                let mut tokens = Vec::new();
                while let Some(token) = generation.next().await.unwrap() {
                    assert!(token.logprob <= 0.0 && token.logprob.is_finite());
                    tokens.push(token.id);
                }
                (tokens, generation.timings())
            })
        };
        let (first, _) = run(&mut session, &prompt.prompt_token_ids);
        let clear = prompt.logit_margin_top1_top2.iter().take_while(|margin| **margin > 0.02).count().min(12);
        assert_eq!(first[..clear], prompt.generated_token_ids[..clear], "{}", config.name);
        let cached = session.cached_tokens(sequence).unwrap().to_vec();
        assert_eq!(cached, [prompt.prompt_token_ids.as_slice(), &first[..11]].concat(), "{}", config.name);
        // a longer prompt with the same beginning computes only what is new
        let longer = [prompt.prompt_token_ids.as_slice(), &first, &[198]].concat();
        let (_, timings) = run(&mut session, &longer);
        assert_eq!(timings.cached_tokens, prompt.prompt_token_ids.len() + 11, "{}", config.name);
        let (again, _) = run(&mut session, &prompt.prompt_token_ids);
        assert_eq!(first, again, "{}", config.name);
    }
}

/// Stopped in the middle of a long prompt: what was computed stays in the cache and is used by the next try.
#[test]
fn a_prompt_can_be_stopped_between_chunks() {
    let Some(model) = smollm2() else { return };
    let prompt = reference()[3].prompt_token_ids.clone();
    for config in configs() {
        let (mut session, driver) = open(&model, &config, options(true, 1, 8));
        let sequence = session.open_sequence().unwrap();
        let asked = Rc::new(Cell::new(0));
        let count = asked.clone();
        let cancel = Cancel::when(move || count.replace(count.get() + 1) == 2);
        let options = GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(2), cancel, ..GenerateOptions::default() };
        let stopped = driver.block_on(async {
            let mut generation = session.generate(sequence, &prompt, options.clone()).await.unwrap();
            assert_eq!(generation.next().await.unwrap(), None);
            generation.finish_reason()
        });
        assert_eq!(stopped, Some(FinishReason::Cancelled), "{}", config.name);
        assert_eq!(session.cached_tokens(sequence).unwrap(), &prompt[..16], "{}", config.name);
        let timings = driver.block_on(async {
            let mut generation = session.generate(sequence, &prompt, options).await.unwrap();
            while generation.next().await.unwrap().is_some() {}
            generation.timings()
        });
        assert_eq!((timings.cached_tokens, timings.generated_tokens), (16, 2), "{}", config.name);
    }
}

/// Rows of the embedding table given as embeddings are what their tokens are: Q8_0, blocks of an f16 scale and 32 integers.
#[test]
fn input_embeddings_stand_for_tokens() {
    let Some(model) = smollm2() else { return };
    let tokens = &reference()[0].prompt_token_ids;
    let checkpoint = pollster::block_on(Checkpoint::open_path(&model)).unwrap();
    let info = checkpoint.tensor("token_embd.weight").unwrap();
    let embeddings: Vec<Vec<f32>> = tokens
        .iter()
        .map(|&token| {
            let bytes = pollster::block_on(checkpoint.read_rows(info, token.into(), 1)).unwrap();
            let block = |b: &[u8]| {
                let scale = half::f16::from_le_bytes([b[0], b[1]]).to_f32();
                b[2..].iter().map(|&q| f32::from(q as i8) * scale).collect::<Vec<f32>>()
            };
            bytes.chunks_exact(34).flat_map(block).collect()
        })
        .collect();
    let last = [tokens.len() as u32 - 1];
    for config in configs() {
        let (mut session, driver) = open(&model, &config, options(true, 1, 128));
        let sequence = session.open_sequence().unwrap();
        let by_token = driver.block_on(session.forward(&rows(sequence, tokens), &last)).unwrap();
        session.truncate(sequence, 0);
        // every other row as an embedding
        let mut mixed = rows(sequence, tokens);
        for (row, values) in mixed.iter_mut().zip(&embeddings).step_by(2) {
            row.input = Input::Embedding(values);
        }
        let by_embedding = driver.block_on(session.forward(&mixed, &last)).unwrap();
        assert_eq!(by_token, by_embedding, "{}: the same rows through the same kernels", config.name);
        let short = RowInput { sequence, input: Input::Embedding(&[0.0; 3]) };
        let refused = driver.block_on(session.forward(&[short], &[]));
        assert!(matches!(refused, Err(EngineError::EmbeddingSize { got: 3, expected: 576 })), "{refused:?}");
        assert_eq!(session.cached_tokens(sequence).unwrap().len(), tokens.len(), "what failed left nothing behind");
    }
}
