//! No submission keeps the device busy for long, and however a recording is cut, it computes the same.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{
    path::Path,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use parhelion::{
    exec::SharedClock,
    gpu::{Adapters, GpuExecutor, GpuOptions, Waiter},
    loader::{Checkpoint, MappedFile, MemorySource, Source},
    session::{Clock, GenerateOptions, Generation, Prepared, RowInput, Sampling, Session, SessionOptions},
};
use parhelion_bench::synth;
use parhelion_cli::host::Stopwatch;
use parhelion_tests::{fixtures::smollm2, harness::ADAPTER};
use pollster::block_on;

fn load(source: Arc<dyn Source>, clock: Option<SharedClock>, options: SessionOptions) -> (Session, Waiter) {
    let adapters = block_on(Adapters::find());
    let index = adapters.choose(std::env::var(ADAPTER).ok().as_deref()).unwrap();
    let gpu = block_on(GpuExecutor::open(&adapters, index, &GpuOptions { clock, ..GpuOptions::default() })).unwrap();
    let waiter = gpu.waiter();
    let session = waiter.block_on(async {
        let checkpoint = Checkpoint::open(source).await.unwrap();
        let prepared = Prepared::new(&checkpoint, parhelion::exec::Executor::device(&gpu), options).await.unwrap();
        Session::load(checkpoint, prepared, Box::new(gpu), Rc::new(Stopwatch::start()), &mut |_| ()).await.unwrap()
    });
    (session, waiter)
}

fn tiny() -> Arc<dyn Source> {
    let (shape, quant) = synth::find("tiny", "Q4_0").unwrap();
    Arc::new(MemorySource::new("tiny.gguf", synth::gguf(shape, quant)))
}

/// A clock on which every look takes the same time: what it measures depends on nothing but the order of events.
#[derive(Default)]
struct Ticking(AtomicU64, Duration);

impl Clock for Ticking {
    fn now(&self) -> Duration {
        self.1 * self.0.fetch_add(1, Ordering::SeqCst) as u32
    }
}

fn prompt(count: u32) -> Vec<u32> {
    (0..count).map(|i| (i * 37 + 11) % 500 + 10).collect()
}

async fn all(generation: &mut Generation<'_>) -> Vec<(u32, u32)> {
    let mut tokens = Vec::new();
    while let Some(token) = generation.next().await.unwrap() {
        tokens.push((token.id, token.logprob.to_bits()));
    }
    tokens
}

/// Logits of some rows, then an answer to the same prompt.
fn outcome((session, waiter): &mut (Session, Waiter)) -> (Vec<Vec<f32>>, Vec<(u32, u32)>) {
    waiter.block_on(async {
        let sequence = session.open_sequence().unwrap();
        let rows: Vec<_> = prompt(70).into_iter().map(|token| RowInput::token(sequence, token)).collect();
        let logits = session.forward(&rows, &[0, 69]).await.unwrap();
        session.close_sequence(sequence);
        let sequence = session.open_sequence().unwrap();
        let options = GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(12), ignore_end: true, ..GenerateOptions::default() };
        let mut generation = session.generate(sequence, &prompt(70), options).await.unwrap();
        let tokens = all(&mut generation).await;
        drop(generation);
        session.close_sequence(sequence);
        (logits, tokens)
    })
}

/// A device on whose clock each submission takes 70 ms is cut as finely as can be, and computes the same.
#[test]
fn results_do_not_depend_on_the_cuts() {
    // 70 rows at once, and in chunks that would leave few over.
    let options = SessionOptions { context: Some(128), reproducible: true, ..SessionOptions::default() };
    let whole = outcome(&mut load(tiny(), None, options));
    assert!(outcome(&mut load(tiny(), None, SessionOptions { chunk: 33, ..options })) == whole);
    assert!(outcome(&mut load(tiny(), None, SessionOptions { chunk: 18, ..options })) == whole);
    let mut cut = load(tiny(), Some(SharedClock::new(Ticking(AtomicU64::new(1), Duration::from_millis(70)))), options);
    for run in 0..3 {
        assert!(outcome(&mut cut) == whole, "run {run}");
    }
    let longest = cut.0.longest_submit().unwrap();
    assert!(longest >= Duration::from_millis(70), "{longest:?}");
    let mut fast = load(tiny(), Some(SharedClock::new(Ticking(AtomicU64::new(1), Duration::from_nanos(70)))), options);
    for run in 0..3 {
        assert!(outcome(&mut fast) == whole, "run {run}");
    }
    let longest = fast.0.longest_submit().unwrap();
    assert!(longest < Duration::from_millis(1) && longest > Duration::ZERO, "{longest:?}");
    assert_eq!(load(tiny(), None, options).0.longest_submit(), None, "not measured without a clock");
}

/// Answers a prompt of 300 tokens; gives the longest submission.
fn longest_of_a_long_prompt(model: &Path) -> Duration {
    let options = SessionOptions { context: Some(512), ..SessionOptions::default() };
    let clock = SharedClock::new(Stopwatch::start());
    let (mut session, waiter) = load(Arc::new(MappedFile::open(model).unwrap()), Some(clock), options);
    waiter.block_on(async {
        let sequence = session.open_sequence().unwrap();
        let options = GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(12), ignore_end: true, ..GenerateOptions::default() };
        let mut generation = session.generate(sequence, &prompt(300), options).await.unwrap();
        assert_eq!(all(&mut generation).await.len(), 12);
        let timings = generation.timings();
        println!("prefill {:?}, decode {:?}", timings.prefill, timings.decode);
    });
    session.longest_submit().unwrap()
}

/// A software device takes seconds for such a prompt.
#[test]
fn a_long_prompt_is_submitted_in_short_pieces() {
    let Some(model) = smollm2() else { return };
    // Where the driver has no kernel in its cache, a first submission waits for its compiler.
    longest_of_a_long_prompt(&model);
    let longest = longest_of_a_long_prompt(&model);
    println!("longest submission {longest:?}");
    // A quarter of a second where nothing else runs; the tests of this machine share its cores.
    assert!(longest > Duration::ZERO && longest < Duration::from_secs(1), "{longest:?}");
}
