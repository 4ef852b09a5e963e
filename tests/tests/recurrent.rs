//! Models with recurrent state: sequences side by side, opened anew, cut back, and answers that go on from others.

#![allow(clippy::unwrap_used, clippy::panic, reason = "tests fail by panicking")]

use parhelion::session::{GenerateOptions, RowInput, Sampling, SequenceId, Session, SessionOptions};
use parhelion_cli::host::{Device, Driver, SwitchChoice};
use parhelion_tests::models::{Config, family, gpu, largest_difference, load, rows, scalar};

const MODELS: [&str; 2] = ["lfm2", "qwen3_5"];
const VOCABULARY: usize = 64;
/// Kernels differ with the number of rows, and add up in other orders.
const CLOSE: f32 = 1e-4;

fn configs() -> impl Iterator<Item = Config> {
    std::iter::once(scalar()).chain(gpu(SwitchChoice::Subgroups))
}

fn sessions(sequences: u32, chunk: u32, mut test: impl FnMut(&str, &mut Session, &Driver)) {
    for config in configs() {
        for name in MODELS {
            let Device { executor, driver, .. } = Device::open(&config.request).unwrap();
            let options = SessionOptions { context: Some(64), sequences, chunk, reproducible: true, ..SessionOptions::default() };
            let mut session = load(family(name), executor, &driver, options);
            test(&format!("{name}, {}", config.name), &mut session, &driver);
        }
    }
}

fn tokens(count: u32, seed: u32) -> Vec<u32> {
    (0..count).map(|i| (i * i * 7 + i * 13 + seed * 11) % VOCABULARY as u32).collect()
}

/// The logits after the last of `tokens`.
fn last(session: &mut Session, driver: &Driver, sequence: SequenceId, tokens: &[u32]) -> Vec<f32> {
    let output = tokens.len() as u32 - 1;
    driver.block_on(session.forward(&rows(sequence, tokens), &[output])).unwrap().remove(0)
}

fn alone(session: &mut Session, driver: &Driver, tokens: &[u32]) -> Vec<f32> {
    let sequence = session.open_sequence().unwrap();
    let logits = last(session, driver, sequence, tokens);
    session.close_sequence(sequence);
    logits
}

#[test]
fn rows_of_a_step_have_the_state_of_their_sequence() {
    sessions(3, 64, |what, session, driver| {
        let texts = [tokens(20, 1), tokens(17, 2), tokens(23, 3)];
        let expected: Vec<_> = texts.iter().map(|text| alone(session, driver, text)).collect();
        let sequences: Vec<_> = texts.iter().map(|_| session.open_sequence().unwrap()).collect();
        let mut done = [0; 3];
        // steps of many rows, of one, and without some of the sequences
        for takes in [[5, 1, 9], [1, 1, 1], [0, 2, 1], [3, 0, 0], [1, 1, 1], [10, 12, 11]] {
            let step: Vec<RowInput<'_>> = (0..3).flat_map(|i| rows(sequences[i], &texts[i][done[i]..done[i] + takes[i]])).collect();
            let ends: Vec<u32> = takes
                .iter()
                .scan(0, |end, take| {
                    *end += *take as u32;
                    Some(*end)
                })
                .collect();
            let outputs: Vec<u32> = ends.iter().zip(takes).filter(|(_, take)| *take > 0).map(|(end, _)| end - 1).collect();
            let logits = driver.block_on(session.forward(&step, &outputs)).unwrap();
            done.iter_mut().zip(takes).for_each(|(done, take)| *done += take);
            if done.iter().zip(&texts).all(|(done, text)| *done == text.len()) {
                for (got, expected) in logits.iter().zip(&expected) {
                    assert!(largest_difference(got, expected) < CLOSE, "{what}");
                }
                return;
            }
        }
        panic!("{what}: {done:?} of the tokens");
    });
}

#[test]
fn a_sequence_that_is_opened_again_knows_nothing_of_the_one_before() {
    sessions(1, 64, |what, session, driver| {
        let expected = alone(session, driver, &tokens(9, 1));
        alone(session, driver, &tokens(30, 2));
        assert_eq!(alone(session, driver, &tokens(9, 1)), expected, "{what}");
    });
}

#[test]
fn a_sequence_is_cut_back_to_where_its_state_stands() {
    sessions(1, 64, |what, session, driver| {
        let text = tokens(20, 5);
        let expected = alone(session, driver, &text);
        let sequence = session.open_sequence().unwrap();
        last(session, driver, sequence, &text[..8]);
        last(session, driver, sequence, &[&text[8..11], &tokens(4, 9)].concat());
        assert_eq!(session.truncate(sequence, 15), 15, "{what}");
        assert_eq!(session.truncate(sequence, 11), 8, "{what}: to before the last step");
        assert_eq!(session.cached_tokens(sequence).unwrap(), &text[..8], "{what}");
        assert!(largest_difference(&last(session, driver, sequence, &text[8..]), &expected) < CLOSE, "{what}");
        assert_eq!(session.truncate(sequence, 7), 0, "{what}: nothing is left where no state stands");
        assert!(largest_difference(&last(session, driver, sequence, &text), &expected) < CLOSE, "{what}");
        session.close_sequence(sequence);
    });
}

struct Answer {
    tokens: Vec<u32>,
    cached: usize,
}

/// Generates `take` of `most` tokens and drops the answer there.
fn answer(session: &mut Session, driver: &Driver, sequence: SequenceId, prompt: &[u32], most: u32, take: usize) -> Answer {
    let options = GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(most), ignore_end: true, ..GenerateOptions::default() };
    driver.block_on(async {
        let mut generation = session.generate(sequence, prompt, options).await.unwrap();
        while generation.tokens().len() < take && generation.next().await.unwrap().is_some() {}
        Answer { tokens: generation.tokens().to_vec(), cached: generation.timings().cached_tokens }
    })
}

#[test]
fn answers_go_on_from_where_the_state_stands() {
    sessions(1, 16, |what, session, driver| {
        let sequence = session.open_sequence().unwrap();
        let fresh = |session: &mut Session, prompt: &[u32]| {
            session.truncate(sequence, 0);
            answer(session, driver, sequence, prompt, 6, 6).tokens
        };
        let prompt = tokens(21, 4);
        let first = fresh(session, &prompt);
        let follow_up = [prompt.clone(), first.clone(), tokens(5, 6)].concat();
        let second = fresh(session, &follow_up);

        session.truncate(sequence, 0);
        let whole = answer(session, driver, sequence, &prompt, 6, 6);
        assert_eq!((whole.tokens, whole.cached), (first.clone(), 0), "{what}");
        // the last token was never fed, and no step went past the end
        let next = answer(session, driver, sequence, &follow_up, 6, 6);
        assert_eq!((next.tokens, next.cached), (second.clone(), prompt.len() + 5), "{what}: a follow-up");

        let again = answer(session, driver, sequence, &follow_up, 6, 6);
        assert_eq!((again.tokens, again.cached), (second.clone(), follow_up.len() - 1), "{what}: the same again");

        // dropped with steps under way: the state is past what was returned
        session.truncate(sequence, 0);
        let cut = answer(session, driver, sequence, &prompt, 20, 2);
        assert_eq!(cut.tokens, first[..2], "{what}");
        let next = answer(session, driver, sequence, &follow_up, 6, 6);
        assert_eq!(next.tokens, second, "{what}: a follow-up of an answer that was dropped");
        assert!(next.cached >= prompt.len() - 1, "{what}: {}", next.cached);
        session.close_sequence(sequence);
    });
}

#[test]
fn state_is_counted_in_the_memory_of_a_session() {
    let mut sizes = Vec::new();
    for sequences in [1, 3] {
        sessions(sequences, 16, |_, session, _| sizes.push(session.info().memory.kv));
    }
    let half = sizes.len() / 2;
    assert!(sizes[..half].iter().zip(&sizes[half..]).all(|(one, three)| 3 * one == *three && *one > 0), "{sizes:?}");
}
