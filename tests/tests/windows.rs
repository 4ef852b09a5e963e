//! Models whose layers see a window: their rings of pages give the logits that a cache of everything gives, far past the window, in
//! chunks and token by token; sequences are cut back as far as rings go, and begin anew past that.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use std::{fs, path::PathBuf};

use parhelion::{
    loader::{Checkpoint, MemoryRepository},
    plan::KvGroup,
    session::{GenerateOptions, Prepared, Sampling, SequenceId, Session, SessionOptions},
};
use parhelion_cli::host::{Device, Driver, SwitchChoice};
use parhelion_shaders::axes::Kv;
use parhelion_tests::models::{Config, gpu, largest_difference, load, rows, scalar, tokenizer_json};
use pollster::block_on;

/// All with a window of 12; Mistral has it in each layer, Gemma 2 in every other, Gemma 3 in six of seven.
const MODELS: [(&str, u32, u32); 3] = [("mistral", 0, 2), ("gemma2", 2, 2), ("gemma3", 1, 6)];
const WINDOW: u32 = 12;
const VOCABULARY: usize = 64;
const CONTEXT: u32 = 512;
/// Pages of a context, and those that a ring has for the window, a page's worth of rows, and entries anywhere in their pages.
const PAGES: [u32; 2] = [8, 3];
/// Kernels differ with the number of rows, and add up in other orders.
const CLOSE: f32 = 1e-4;

fn checkpoint(name: &str) -> Checkpoint {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families").join(name);
    let config = fs::read_to_string(folder.join("config.json")).unwrap();
    let longer = config.replace("\"max_position_embeddings\": 256", "\"max_position_embeddings\": 512");
    assert_ne!(longer, config);
    let repository = MemoryRepository::new(name)
        .with("config.json", longer)
        .with("model.safetensors", fs::read(folder.join("model.safetensors")).unwrap())
        .with("tokenizer.json", tokenizer_json(VOCABULARY));
    block_on(Checkpoint::open_repository(&repository)).unwrap()
}

fn configs() -> impl Iterator<Item = Config> {
    std::iter::once(scalar()).chain(gpu(SwitchChoice::Subgroups))
}

/// Steps of `chunk` rows; 512 keep everything.
fn options(sequences: u32, chunk: u32) -> SessionOptions {
    SessionOptions { context: Some(CONTEXT), sequences, chunk, kv: Some(Kv::F32), ..SessionOptions::default() }
}

fn open(name: &str, config: &Config, options: SessionOptions) -> (Session, Driver) {
    let Device { executor, driver, .. } = Device::open(&config.request).unwrap();
    (load(checkpoint(name), executor, &driver, options), driver)
}

fn tokens(count: u32, seed: u32) -> Vec<u32> {
    (0..count).map(|i| (i * i * 7 + i * 13 + seed * 11) % VOCABULARY as u32).collect()
}

fn logits(session: &mut Session, driver: &Driver, sequence: SequenceId, tokens: &[u32], outputs: &[u32]) -> Vec<Vec<f32>> {
    driver.block_on(session.forward(&rows(sequence, tokens), outputs)).unwrap()
}

#[test]
fn rings_give_the_logits_of_a_cache_of_everything() {
    const PROMPT: usize = 401;
    let text = tokens(440, 1);
    let wanted: Vec<u32> = (0..440).filter(|at| at % 29 == 0 || *at >= PROMPT as u32).collect();
    let of_prompt: Vec<u32> = wanted.iter().copied().filter(|at| *at < PROMPT as u32).collect();
    for config in configs() {
        for (name, ..) in MODELS {
            let (mut whole, driver) = open(name, &config, options(1, CONTEXT));
            let sequence = whole.open_sequence().unwrap();
            let expected = logits(&mut whole, &driver, sequence, &text, &wanted);
            for chunk in [7, 16] {
                let (mut session, driver) = open(name, &config, options(2, chunk));
                // pages of another sequence between those of this one
                let other = session.open_sequence().unwrap();
                logits(&mut session, &driver, other, &tokens(300, 2), &[]);
                let sequence = session.open_sequence().unwrap();
                let mut got = logits(&mut session, &driver, sequence, &text[..PROMPT], &of_prompt);
                for token in &text[PROMPT..] {
                    got.extend(logits(&mut session, &driver, sequence, &[*token], &[0]));
                }
                for ((got, expected), at) in got.iter().zip(&expected).zip(&wanted) {
                    let difference = largest_difference(got, expected);
                    assert!(difference < CLOSE, "{name}, {}, chunks of {chunk}, token {at}: {difference}", config.name);
                }
            }
        }
    }
}

#[test]
fn sequences_are_cut_as_far_back_as_rings_go() {
    let text = tokens(400, 3);
    let last = |session: &mut Session, driver: &Driver, sequence, tokens: &[u32]| {
        logits(session, driver, sequence, tokens, &[tokens.len() as u32 - 1]).remove(0)
    };
    for config in configs() {
        for (name, ..) in MODELS {
            let (mut session, driver) = open(name, &config, options(1, 16));
            let sequence = session.open_sequence().unwrap();
            let expected = last(&mut session, &driver, sequence, &text[..390]);
            last(&mut session, &driver, sequence, &text[390..]);
            // page 6 of the ring is where page 3 was, so entries from 256 on are there
            assert_eq!(session.truncate(sequence, 267), 267, "{name}");
            let again = last(&mut session, &driver, sequence, &text[267..390]);
            assert!(largest_difference(&again, &expected) < CLOSE, "{name}, {}", config.name);
            assert_eq!(session.truncate(sequence, 266), 0, "{name}");
            let anew = last(&mut session, &driver, sequence, &text[..390]);
            assert!(largest_difference(&anew, &expected) < CLOSE, "{name}, {}", config.name);

            let greedy =
                GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(100), ignore_end: true, ..GenerateOptions::default() };
            let answer = |session: &mut Session, prompt: &[u32]| {
                driver.block_on(async {
                    let mut generation = session.generate(sequence, prompt, greedy.clone()).await.unwrap();
                    while generation.next().await.unwrap().is_some() {}
                    (generation.tokens().to_vec(), generation.timings().cached_tokens)
                })
            };
            assert_eq!(session.truncate(sequence, 0), 0);
            let first = answer(&mut session, &text[..200]);
            assert_eq!(first.1, 0);
            let (tokens, cached) = answer(&mut session, &text[..200]);
            assert_eq!((tokens, cached), (first.0.clone(), 199), "{name}: a prompt asked again is there still");
            last(&mut session, &driver, sequence, &text[300..]);
            assert_eq!(answer(&mut session, &text[..200]), first, "{name}: the prompt ran again");
        }
    }
}

/// What is allocated is what the groups say, and less than a cache of everything takes.
#[test]
fn memory_is_what_the_groups_say() {
    let device = Device::open(&scalar().request).unwrap();
    for (name, full, windowed) in MODELS {
        let prepare = |chunk| block_on(Prepared::new(&checkpoint(name), device.executor.device(), options(3, chunk))).unwrap();
        let (small, whole) = (prepare(16), prepare(CONTEXT));
        let told = |group: &KvGroup| (group.window, group.layers, group.pages);
        let groups: Vec<_> = small.kv_groups().iter().map(told).collect();
        assert_eq!(groups, [(None, full, PAGES[0]), (Some(WINDOW), windowed, PAGES[1])], "{name}");
        assert_eq!(small.kv_groups().iter().map(|group| group.bytes).sum::<u64>(), small.memory().kv, "{name}");
        let layer = whole.memory().kv / u64::from(full + windowed);
        let pages = |pages: u32, layers: u32| layer * u64::from(layers * pages) / u64::from(PAGES[0]);
        assert_eq!(small.memory().kv, pages(PAGES[0], full) + pages(PAGES[1], windowed), "{name}");
        let (session, _) = open(name, &scalar(), options(3, 16));
        assert_eq!(session.memory().total(), small.memory().total(), "{name}");
    }
}
