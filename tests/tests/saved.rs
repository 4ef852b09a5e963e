//! Sequences that are saved, restored and forked go on with the same bits, of models with and without recurrent state; what is no save
//! of the model is refused.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use parhelion::session::{EngineError, RestoreError, SequenceId, Session, SessionOptions};
use parhelion_cli::host::{Device, Driver, SwitchChoice};
use parhelion_shaders::axes::Kv;
use parhelion_tests::models::{Config, family, gpu, load, rows, scalar};

/// Dense, with windows, with short convolutions, with the gated delta rule.
const MODELS: [&str; 4] = ["qwen3", "gemma3", "lfm2", "qwen3_5"];
const OPTIONS: SessionOptions = SessionOptions { context: Some(192), sequences: 3, chunk: 32, reproducible: false, kv: None, quant: None };

fn configs() -> impl Iterator<Item = Config> {
    std::iter::once(scalar()).chain(gpu(SwitchChoice::Subgroups))
}

fn open(name: &str, config: &Config, options: SessionOptions) -> (Session, Driver) {
    let Device { executor, driver, .. } = Device::open(&config.request).unwrap();
    (load(family(name), executor, &driver, options), driver)
}

fn tokens(count: u32, seed: u32) -> Vec<u32> {
    (0..count).map(|i| (i * i * 7 + i * 13 + seed * 11) % 64).collect()
}

/// The logits after each of `tokens`, one step each.
fn steps(session: &mut Session, driver: &Driver, sequence: SequenceId, tokens: &[u32]) -> Vec<Vec<f32>> {
    tokens.iter().map(|token| driver.block_on(session.forward(&rows(sequence, &[*token]), &[0])).unwrap().remove(0)).collect()
}

fn fill(session: &mut Session, driver: &Driver, tokens: &[u32]) -> SequenceId {
    let sequence = session.open_sequence().unwrap();
    driver.block_on(session.forward(&rows(sequence, tokens), &[])).unwrap();
    sequence
}

#[test]
fn a_restored_sequence_goes_on_with_the_same_bits() {
    for config in configs() {
        for name in MODELS {
            // over a page, and the state of an odd and of an even number of steps
            for length in [1, 70, 129] {
                let what = format!("{name}, {}, {length} tokens", config.name);
                let (mut session, driver) = open(name, &config, OPTIONS);
                fill(&mut session, &driver, &tokens(80, 9)); // so that pages are not the first ones
                let sequence = fill(&mut session, &driver, &tokens(length, 1));
                let saved = driver.block_on(session.save(sequence)).unwrap();
                let expected = steps(&mut session, &driver, sequence, &tokens(6, 2));

                let restored = driver.block_on(session.restore(&saved)).unwrap();
                assert_eq!(session.cached_tokens(restored).unwrap(), tokens(length, 1), "{what}");
                assert_eq!(steps(&mut session, &driver, restored, &tokens(6, 2)), expected, "{what}: in the same session");

                // one with more room
                let (mut other, driver) = open(name, &config, SessionOptions { context: Some(250), sequences: 1, ..OPTIONS });
                let restored = driver.block_on(other.restore(&saved)).unwrap();
                assert_eq!(driver.block_on(other.save(restored)).unwrap(), saved, "{what}: saved again");
                assert_eq!(steps(&mut other, &driver, restored, &tokens(6, 2)), expected, "{what}: in another session");
            }
        }
    }
}

#[test]
fn a_fork_and_its_origin_go_on_for_themselves() {
    for config in configs() {
        for name in MODELS {
            let what = format!("{name}, {}", config.name);
            let (mut session, driver) = open(name, &config, OPTIONS);
            let sequence = fill(&mut session, &driver, &tokens(75, 1));
            let fork = driver.block_on(session.fork(sequence)).unwrap();
            let twin = driver.block_on(session.fork(fork)).unwrap();
            assert!(matches!(driver.block_on(session.fork(fork)), Err(EngineError::Sequence { .. })), "{what}: no room");
            let other = steps(&mut session, &driver, fork, &tokens(5, 3));
            let expected = steps(&mut session, &driver, sequence, &tokens(5, 2));
            assert_ne!(other, expected, "{what}");
            assert_eq!(steps(&mut session, &driver, twin, &tokens(5, 2)), expected, "{what}");
            session.close_sequence(sequence);
            let again = driver.block_on(session.fork(twin)).unwrap();
            assert_eq!(session.cached_tokens(again).unwrap().len(), 80, "{what}");
        }
    }
}

#[test]
fn an_empty_sequence_is_saved_too() {
    let (mut session, driver) = open("lfm2", &scalar(), OPTIONS);
    let sequence = session.open_sequence().unwrap();
    let saved = driver.block_on(session.save(sequence)).unwrap();
    let restored = driver.block_on(session.restore(&saved)).unwrap();
    let texts = [sequence, restored].map(|sequence| steps(&mut session, &driver, sequence, &tokens(4, 2)));
    assert_eq!(texts[0], texts[1]);
}

fn refusal(session: &mut Session, driver: &Driver, saved: &[u8]) -> RestoreError {
    match driver.block_on(session.restore(saved)) {
        Err(EngineError::Restore(error)) => error,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("{} bytes were restored", saved.len()),
    }
}

#[test]
fn what_was_saved_elsewhere_is_refused_by_its_reason() {
    let config = scalar();
    let (mut session, driver) = open("lfm2", &config, OPTIONS);
    let sequence = fill(&mut session, &driver, &tokens(70, 1));
    let saved = driver.block_on(session.save(sequence)).unwrap();
    let refused = |name, options| {
        let (mut other, driver) = open(name, &config, options);
        refusal(&mut other, &driver, &saved)
    };
    assert_eq!(refused("qwen3_5", OPTIONS), RestoreError::Model);
    assert_eq!(refused("lfm2", SessionOptions { kv: Some(Kv::F32), ..OPTIONS }), RestoreError::Formats);
    assert_eq!(refused("lfm2", SessionOptions { context: Some(69), ..OPTIONS }), RestoreError::TooLong { tokens: 70, context: 69 });
    let mut newer = saved.clone();
    newer[8] = 9;
    assert!(matches!(refusal(&mut session, &driver, &newer), RestoreError::Version { got: 9, .. }));
}

#[test]
fn damaged_bytes_are_refused_and_leave_nothing_behind() {
    let (mut session, driver) = open("lfm2", &scalar(), SessionOptions { sequences: 2, ..OPTIONS });
    let sequence = fill(&mut session, &driver, &tokens(9, 1));
    let saved = driver.block_on(session.save(sequence)).unwrap();
    for len in (0..saved.len()).step_by(97).chain(0..60) {
        assert!(matches!(refusal(&mut session, &driver, &saved[..len]), RestoreError::Foreign { .. } | RestoreError::Damaged { .. }));
    }
    for at in (0..saved.len()).step_by(41) {
        let mut changed = saved.clone();
        changed[at] ^= 0x10;
        refusal(&mut session, &driver, &changed);
    }
    // as many tokens as there can be said to be
    for count in [u64::MAX, 1 << 40, 192, 10] {
        let mut changed = saved.clone();
        changed[32..40].copy_from_slice(&count.to_le_bytes());
        refusal(&mut session, &driver, &changed);
    }
    assert!(driver.block_on(session.restore(&saved)).is_ok(), "there is still room for a sequence and its pages");
}
