//! An answer that goes on in another session, as after a lost device, is the answer that was never interrupted: token for token
//! and text for text.
//!
//! Entries of the KV cache that decode steps wrote come from a prefill in the second session, whose kernels add up in another
//! order. Pinned f32 kernels and an f32 cache keep that to the last bits, which move no token here.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{rc::Rc, sync::Arc};

use parhelion::{
    loader::{Checkpoint, MemorySource},
    session::{EngineError, FinishReason, GenerateOptions, Prepared, Sampling, Session, SessionOptions, Token},
};
use parhelion_bench::synth;
use parhelion_cli::host::{Device, DeviceChoice, DeviceRequest, Driver, Stopwatch, SwitchChoice};

const PROMPT: [u32; 9] = [259, 300, 281, 290, 40, 41, 259, 333, 270];
const TOKENS: u32 = 24;

fn devices() -> [DeviceRequest; 2] {
    let gpu = DeviceRequest { choice: DeviceChoice::Gpu, switches: Some(SwitchChoice::Floor), ..DeviceRequest::default() };
    [DeviceRequest { choice: DeviceChoice::Cpu, ..DeviceRequest::default() }, gpu]
}

fn load(request: &DeviceRequest) -> (Session, Driver) {
    let (shape, quant) = synth::find("tiny", "Q8_0").unwrap();
    let Device { executor, driver, .. } = Device::open(request).unwrap();
    let source = Arc::new(MemorySource::new("tiny.gguf", synth::gguf(shape, quant)));
    let options = SessionOptions { context: Some(128), chunk: 16, reproducible: true, ..SessionOptions::default() };
    let session = driver.block_on(async {
        let checkpoint = Checkpoint::open(source).await.unwrap();
        let prepared = Prepared::new(&checkpoint, executor.device(), options).await.unwrap();
        Session::load(checkpoint, prepared, executor, Rc::new(Stopwatch::start()), &mut |_| ()).await.unwrap()
    });
    (session, driver)
}

/// Tokens, the text held back to the end, and why it ended.
type Answer = (Vec<Token>, String, Option<FinishReason>);

fn answer((session, driver): &mut (Session, Driver), generated: &[u32], options: &GenerateOptions) -> Answer {
    driver.block_on(async {
        let sequence = session.open_sequence().unwrap();
        let mut generation = session.resume(sequence, &PROMPT, generated, options.clone()).await.unwrap();
        let mut tokens = Vec::new();
        while let Some(token) = generation.next().await.unwrap() {
            tokens.push(token);
        }
        assert_eq!(generation.tokens().len(), generated.len() + tokens.len());
        let end = (generation.rest().to_owned(), generation.finish_reason());
        drop(generation);
        session.close_sequence(sequence);
        (tokens, end.0, end.1)
    })
}

fn ids(tokens: &[Token]) -> Vec<u32> {
    tokens.iter().map(|token| token.id).collect()
}

fn texts(tokens: &[Token]) -> Vec<&str> {
    tokens.iter().map(|token| token.text.as_str()).collect()
}

fn greedy() -> GenerateOptions {
    GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(TOKENS), ignore_end: true, ..GenerateOptions::default() }
}

/// Hot enough that bytes of unfinished characters come up, with every penalty.
fn drawn() -> GenerateOptions {
    let sampling = Sampling {
        temperature: 1.3,
        top_k: 0,
        top_p: 1.0,
        repetition_penalty: 1.3,
        frequency_penalty: 0.4,
        presence_penalty: 0.3,
        seed: 11,
        ..Sampling::default()
    };
    GenerateOptions { sampling, ..greedy() }
}

/// Answers with `first`, goes on with `second` after some of the tokens, and gives the whole answer.
fn check(first: &mut (Session, Driver), second: &mut (Session, Driver), name: &str, options: &GenerateOptions) -> Answer {
    let whole = answer(first, &[], options);
    for cut in [1, 2, 7, whole.0.len() - 2, whole.0.len() - 1] {
        let (tokens, rest, reason) = answer(second, &ids(&whole.0[..cut]), options);
        assert_eq!(ids(&tokens), ids(&whole.0[cut..]), "{name}, after {cut}");
        assert_eq!(texts(&tokens), texts(&whole.0[cut..]), "{name}, after {cut}");
        assert_eq!((rest, reason), (whole.1.clone(), whole.2), "{name}, after {cut}");
    }
    whole
}

#[test]
fn an_answer_goes_on_where_it_was() {
    for request in devices() {
        let (mut first, mut second) = (load(&request), load(&request));
        let (tokens, _, reason) = check(&mut first, &mut second, "greedy", &greedy());
        assert_eq!((tokens.len() as u32, reason), (TOKENS, Some(FinishReason::MaxTokens)));
        let (tokens, ..) = check(&mut first, &mut second, "drawn", &drawn());
        let mut distinct = ids(&tokens);
        distinct.sort_unstable();
        distinct.dedup();
        assert!(distinct.len() > 15, "drawn tokens differ, so that draws and penalties matter: {distinct:?}");
        let all = texts(&tokens);
        assert!(all.iter().any(|text| text.is_empty()), "some token holds text back: {all:?}");
        // a text across two tokens, so that some cut is inside the stop string
        let at = (7..20).find(|&at| !all[at].is_empty() && !all[at + 1].is_empty()).unwrap();
        let stop = all[at].chars().next_back().into_iter().chain(all[at + 1].chars().take(1)).collect();
        let (tokens, _, reason) = check(&mut first, &mut second, "stopped", &GenerateOptions { stop: vec![stop], ..drawn() });
        assert_eq!((reason, tokens.len()), (Some(FinishReason::StopString), at + 2));
    }
}

#[test]
fn an_answer_that_was_over_stays_over() {
    let mut loaded = load(&devices()[0]);
    let (tokens, ..) = answer(&mut loaded, &[], &greedy());
    let whole = ids(&tokens);
    let over = |(tokens, _, reason): Answer| (tokens.len(), reason);
    assert_eq!(over(answer(&mut loaded, &whole, &greedy())), (0, Some(FinishReason::MaxTokens)));
    let none = GenerateOptions { max_tokens: Some(0), ..greedy() };
    assert_eq!(over(answer(&mut loaded, &[], &none)), (0, Some(FinishReason::MaxTokens)));
    let context = GenerateOptions { max_tokens: None, ..greedy() };
    let full: Vec<u32> = whole.iter().copied().cycle().take(128 - PROMPT.len() + 1).collect();
    assert_eq!(over(answer(&mut loaded, &full, &context)), (0, Some(FinishReason::Context)));
    assert_eq!(answer(&mut loaded, &full[1..], &context).0.len(), 1, "one more token fits");
    let (session, driver) = &mut loaded;
    let sequence = session.open_sequence().unwrap();
    let error = driver.block_on(session.resume(sequence, &PROMPT, &[5000], greedy())).map(|_| ()).unwrap_err();
    assert!(matches!(error, EngineError::UnknownToken { token: 5000, .. }), "{error}");
}
