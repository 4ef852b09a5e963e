//! Every family's tiny checkpoint (`fixtures/families/make.py`), as repositories publish it and as GGUF, against the logits that the
//! transformers library computes from it: a prompt in one piece, in chunks of 7 and of 16, and one token at a time.
//!
//! `PARHELION_FAMILIES=qwen2,qwen3` runs some of them alone; `--nocapture` shows how close they come and their dispatches a token.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{fmt::Write as _, fs, path::PathBuf, sync::Arc};

use parhelion::{
    exec::{DeviceLimits, Executor},
    loader::{Checkpoint, MemoryRepository, MemorySource},
    models,
    session::{GenerateOptions, Sampling, Session, SessionOptions},
};
use parhelion_cli::host::{Device, Driver, SwitchChoice};
use parhelion_shaders::axes::Kv;
use parhelion_tests::models::{Config, gpu, load, rows, scalar, tokenizer_json};
use pollster::block_on;
use safetensors::SafeTensors;

/// Checkpoints that cannot be run yet: what the error says of the repository and of the GGUF file; none where that one runs.
const UNSUPPORTED: &[(&str, [Option<&str>; 2])] = &[("gemma4", [Some(UNKNOWN), Some(UNKNOWN)])];

/// What is said of an architecture that no family has.
const UNKNOWN: &str = "are not supported yet";

/// The environment variable that names the families to test, with commas between them.
const FAMILIES: &str = "PARHELION_FAMILIES";

/// Tokens of the prompt; those after it are given one at a time.
const PROMPT: usize = 40;
const CONTEXT: u32 = 64;
const VOCABULARY: usize = 64;

struct Fixture {
    name: String,
    folder: PathBuf,
    tokens: Vec<u32>,
    /// Of each position, as the repository's and the GGUF file's settings have it; none of encoders.
    logits: [Vec<Vec<f32>>; 2],
}

fn fixtures() -> Vec<Fixture> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families");
    let wanted = std::env::var(FAMILIES).ok();
    let is_wanted = |name: &str| wanted.as_ref().is_none_or(|wanted| wanted.split(',').any(|one| one == name));
    let folders = fs::read_dir(root).unwrap().map(|entry| entry.unwrap()).filter(|entry| entry.file_type().unwrap().is_dir());
    let names = folders.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    let mut fixtures: Vec<Fixture> =
        names.filter(|(name, path)| path.join("config.json").is_file() && is_wanted(name)).map(|(name, path)| read(name, path)).collect();
    assert!(!fixtures.is_empty(), "no family is named by {FAMILIES}={}", wanted.unwrap_or_default());
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

fn read(name: String, folder: PathBuf) -> Fixture {
    let bytes = fs::read(folder.join("expected.safetensors")).unwrap();
    let expected = SafeTensors::deserialize(&bytes).unwrap();
    let words = |name: &str| {
        let data = expected.tensor(name).unwrap().data();
        data.chunks_exact(4).map(|b| [b[0], b[1], b[2], b[3]]).collect::<Vec<_>>()
    };
    let tokens: Vec<u32> = words("tokens").into_iter().map(u32::from_le_bytes).collect();
    let logits = |name: &str| {
        let values: Vec<f32> = words(name).into_iter().map(f32::from_le_bytes).collect();
        values.chunks_exact(values.len() / tokens.len()).map(<[f32]>::to_vec).collect::<Vec<_>>()
    };
    // files of some architectures leave settings out
    let of_gguf = if expected.tensor("logits_gguf").is_ok() { "logits_gguf" } else { "logits" };
    let is_encoder = expected.tensor("hidden").is_ok();
    let logits = if is_encoder { Default::default() } else { ["logits", of_gguf].map(logits) };
    assert!(is_encoder || logits.iter().all(|logits| logits.len() == tokens.len()) && tokens.len() > PROMPT, "{name}");
    Fixture { name, folder, tokens, logits }
}

/// A checkpoint in one of the dialects.
struct Published<'a> {
    dialect: &'static str,
    checkpoint: Checkpoint,
    logits: &'a [Vec<f32>],
    /// What the error says, where it cannot be run yet.
    refusal: Option<&'static str>,
}

impl Fixture {
    /// As a repository and as GGUF.
    fn published(&self) -> [Published<'_>; 2] {
        let file = |name: &str| fs::read(self.folder.join(name)).unwrap();
        let repository = ["config.json", "model.safetensors"]
            .iter()
            .fold(MemoryRepository::new(&self.name), |repository, name| repository.with(name, file(name)))
            .with("tokenizer.json", tokenizer_json(VOCABULARY));
        let gguf = format!("{}.gguf", self.name);
        let source = Arc::new(MemorySource::new(&gguf, file(&gguf)));
        let refusals = UNSUPPORTED.iter().find(|(name, _)| *name == self.name).map_or([None; 2], |(_, says)| *says);
        let [logits, logits_gguf] = &self.logits;
        [
            Published {
                dialect: "repository",
                checkpoint: block_on(Checkpoint::open_repository(&repository)).unwrap(),
                logits,
                refusal: refusals[0],
            },
            Published {
                dialect: "GGUF",
                checkpoint: block_on(Checkpoint::open(source)).unwrap(),
                logits: logits_gguf,
                refusal: refusals[1],
            },
        ]
    }
}

/// How far logits are from the reference's.
#[derive(Debug, Default, Clone, Copy)]
struct Distance {
    largest: f32,
    /// Root of the mean square, relative to that of the reference's logits.
    relative: f64,
}

fn distance(got: &[(usize, Vec<f32>)], reference: &[Vec<f32>]) -> Distance {
    let (mut largest, mut square, mut size) = (0.0_f32, 0.0_f64, 0.0_f64);
    for (position, got) in got {
        let expected = &reference[*position];
        assert_eq!((got.len(), expected.len()), (VOCABULARY, VOCABULARY));
        for (got, expected) in got.iter().zip(expected) {
            let difference = if got.is_finite() { (got - expected).abs() } else { f32::INFINITY };
            largest = largest.max(difference);
            square += f64::from(difference).powi(2);
            size += f64::from(*expected).powi(2);
        }
    }
    Distance { largest, relative: (square / size).sqrt() }
}

/// Takes away the `count` positions whose logits are furthest from the reference's.
fn leave_out_worst(got: &mut Vec<(usize, Vec<f32>)>, reference: &[Vec<f32>], count: usize) {
    got.sort_by(|a, b| {
        let [a, b] = [a, b].map(|one| distance(std::slice::from_ref(one), reference).largest);
        a.total_cmp(&b)
    });
    got.truncate(got.len() - count);
}

/// How the tokens are fed: the sizes of pieces, and the positions whose logits are read.
struct Feeding {
    name: &'static str,
    pieces: Vec<usize>,
    outputs: fn(usize) -> bool,
}

fn feedings(tokens: usize) -> [Feeding; 3] {
    let in_one = std::iter::once(PROMPT).chain(std::iter::repeat_n(1, tokens - PROMPT)).collect();
    let chunks = |size: usize| (0..PROMPT).step_by(size).map(|start| size.min(PROMPT - start)).collect();
    [
        // so few of the prompt that one step holds them, and all that follow
        Feeding { name: "one piece, then one token at a time", pieces: in_one, outputs: |at| at >= PROMPT || at % 3 == 0 },
        Feeding { name: "chunks of 7", pieces: chunks(7), outputs: |_| true },
        Feeding { name: "chunks of 16", pieces: chunks(16), outputs: |_| true },
    ]
}

fn run(session: &mut Session, driver: &Driver, tokens: &[u32], feeding: &Feeding) -> Vec<(usize, Vec<f32>)> {
    let sequence = session.open_sequence().unwrap();
    let (mut got, mut start) = (Vec::new(), 0);
    for &size in &feeding.pieces {
        let outputs: Vec<u32> = (0..size).filter(|at| (feeding.outputs)(start + at)).map(|at| at as u32).collect();
        let logits = driver.block_on(session.forward(&rows(sequence, &tokens[start..start + size]), &outputs)).unwrap();
        got.extend(outputs.iter().map(|at| start + *at as usize).zip(logits));
        start += size;
    }
    session.close_sequence(sequence);
    got
}

/// Kernels by which a model may run, and how close they come.
struct Mode {
    name: &'static str,
    options: SessionOptions,
    largest: f32,
    relative: f64,
    /// Of how many positions a router's choice may turn at one: another expert is another result, however little its score was moved.
    turns_one_of: Option<usize>,
}

fn modes() -> [Mode; 4] {
    let options = |reproducible, kv| SessionOptions { context: Some(CONTEXT), reproducible, kv, ..SessionOptions::default() };
    // All is f32, as it is in the reference, which adds up in another order: of logits of magnitude 10 that is 1e-5. The bounds
    // leave room for drivers' exp, sin and cos.
    let exact = |name, options| Mode { name, options, largest: 1e-3, relative: 1e-4, turns_one_of: None };
    [
        exact("reproducible", options(true, None)),
        exact("default with an f32 cache", options(false, Some(Kv::F32))),
        // Keys and values are rounded to 11 bits, each by 2^-12 of itself at the most; scores of magnitude 5 pass that on: SmolLM3's
        // five layers come to 2e-2 and 2e-3.
        Mode { name: "default", options: options(false, None), largest: 5e-2, relative: 3e-3, turns_one_of: None },
        // Keys and values are rounded to 1 / 254 of the largest of 32: sixteen times as coarse as f16 for the largest, more for others.
        Mode { name: "q8_0 cache", options: options(false, Some(Kv::Q8_0)), largest: 8e-1, relative: 5e-2, turns_one_of: Some(10) },
    ]
}

/// What a decode step is made of.
fn dispatches_per_token(session: &mut Session, driver: &Driver, tokens: &[u32]) -> usize {
    let sequence = session.open_sequence().unwrap();
    let options = GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(2), ignore_end: true, ..GenerateOptions::default() };
    let dispatches = driver.block_on(async {
        let mut generation = session.generate(sequence, &tokens[..4], options).await.unwrap();
        while generation.next().await.unwrap().is_some() {}
        generation.timings().dispatches_per_token
    });
    session.close_sequence(sequence);
    dispatches
}

/// Runs every family on one device and reports all that are off.
fn check(config: &Config) {
    let Device { executor, driver, .. } = Device::open(&config.request).unwrap();
    let mut executor: Option<Box<dyn Executor>> = Some(executor);
    let mut failures = String::new();
    // encoders are tested in embeddings.rs
    for fixture in fixtures().iter().filter(|fixture| !fixture.logits[0].is_empty()) {
        for Published { dialect, checkpoint, logits, .. } in fixture.published().into_iter().filter(|one| one.refusal.is_none()) {
            for mode in modes() {
                let mut session = load(checkpoint.clone(), executor.take().unwrap(), &driver, mode.options);
                let dispatches = dispatches_per_token(&mut session, &driver, &fixture.tokens);
                for feeding in feedings(fixture.tokens.len()) {
                    let mut got = run(&mut session, &driver, &fixture.tokens, &feeding);
                    let turns = mode.turns_one_of.filter(|_| session.info().config.block.experts.is_some()).map_or(0, |of| got.len() / of);
                    leave_out_worst(&mut got, logits, turns);
                    let Distance { largest, relative } = distance(&got, logits);
                    let what = format!("{}, {}, {dialect}, {}, {}", config.name, fixture.name, mode.name, feeding.name);
                    let how = format!("largest difference {largest:.1e}, relative {relative:.1e}, {dispatches} dispatches a token");
                    println!("{what}: {how}");
                    if largest > mode.largest || relative > mode.relative {
                        writeln!(failures, "{what}: {how}; at most {:.0e} and {:.0e}", mode.largest, mode.relative).unwrap();
                    }
                }
                executor = Some(session.unload());
            }
        }
    }
    assert!(failures.is_empty(), "\n{failures}");
}

#[test]
fn logits_are_the_reference_s_on_the_scalar_path() {
    check(&scalar());
}

#[test]
fn logits_are_the_reference_s_at_the_floor() {
    gpu(SwitchChoice::Floor).iter().for_each(check);
}

#[test]
fn logits_are_the_reference_s_with_subgroups() {
    gpu(SwitchChoice::Subgroups).iter().for_each(check);
}

#[test]
fn logits_are_the_reference_s_with_subgroups_and_f16() {
    gpu(SwitchChoice::F16).iter().for_each(check);
}

/// Those that cannot be run say so with an error that has a type, and no other one does.
#[test]
fn what_is_not_supported_is_refused_by_name() {
    for fixture in fixtures() {
        for Published { dialect, checkpoint, refusal, .. } in fixture.published() {
            let what = format!("{}, {dialect}", fixture.name);
            match (refusal, block_on(models::build(&checkpoint, &DeviceLimits::FLOOR))) {
                (None, built) => assert!(built.is_ok(), "{what}: {}", built.err().unwrap()),
                (Some(_), Ok(_)) => panic!("{what} is supported now: take it out of UNSUPPORTED"),
                (Some(says), Err(error)) => assert!(error.to_string().contains(says), "{what}: {error}"),
            }
        }
    }
}
