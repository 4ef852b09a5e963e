//! Models that are quantised while they are loaded, against files that were quantised before.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::{rc::Rc, sync::Arc};

use parhelion::{
    cpu::CpuExecutor,
    exec::Executor,
    gpu::{Adapters, GpuExecutor, GpuOptions},
    loader::{Checkpoint, GgufLayout, GgufWriter, MemorySource},
    quantise::{FilePlan, Quant, QuantType, QuantiseError, Quantiser},
    session::{Input, Prepared, RowInput, Session, SessionOptions},
};
use parhelion_bench::synth;
use parhelion_cli::host::{Driver, Stopwatch};
use parhelion_tests::harness::{ADAPTER, Threads};
use pollster::block_on;

/// Rows of 192 and of 512 columns: Q4_K takes the latter alone.
fn published() -> Vec<u8> {
    let (shape, quant) = synth::find("tiny", "F16").unwrap();
    synth::gguf(shape, quant)
}

fn open(bytes: Vec<u8>) -> Checkpoint {
    block_on(Checkpoint::open(Arc::new(MemorySource::new("tiny.gguf", bytes)))).unwrap()
}

fn cpu() -> (Box<dyn Executor>, Driver) {
    (Box::new(CpuExecutor::new(Box::new(Threads))), Driver::Cpu)
}

fn gpu() -> (Box<dyn Executor>, Driver) {
    let adapters = block_on(Adapters::find());
    let index = adapters.choose(std::env::var(ADAPTER).ok().as_deref()).unwrap();
    let gpu = block_on(GpuExecutor::open(&adapters, index, &GpuOptions::default())).unwrap();
    let waiter = gpu.waiter();
    (Box::new(gpu), Driver::Gpu(waiter))
}

/// The logits of a few tokens, the bytes that the weights took, and those of everything while loading and after.
fn run((executor, driver): (Box<dyn Executor>, Driver), checkpoint: Checkpoint, quant: Option<Quant>) -> (Vec<Vec<f32>>, u64) {
    let options = SessionOptions { context: Some(64), reproducible: true, quant, ..SessionOptions::default() };
    driver.block_on(async {
        let prepared = Prepared::new(&checkpoint, executor.device(), options).await.unwrap();
        let memory = prepared.memory();
        let mut session = Session::load(checkpoint, prepared, executor, Rc::new(Stopwatch::start()), &mut |_| ()).await.unwrap();
        assert_eq!(session.memory().total(), memory.total(), "what tensors passed through was given back");
        let sequence = session.open_sequence().unwrap();
        let rows: Vec<_> = [5_u32, 900, 17].map(|token| RowInput { sequence, input: Input::Token(token) }).into();
        (session.forward(&rows, &[0, 1, 2]).await.unwrap(), memory.weights)
    })
}

/// The file that `quantize` writes.
fn written(checkpoint: &Checkpoint, quant: Quant) -> Vec<u8> {
    let plan = block_on(FilePlan::new(checkpoint, quant)).unwrap();
    let entries = plan.entries.iter().map(|(key, value)| (key.as_str(), value));
    let layout = GgufLayout::new(entries, plan.tensors.iter().map(|planned| planned.tensor.clone())).unwrap();
    let mut writer = GgufWriter::new(Vec::new(), layout).unwrap();
    let (mut executor, driver) = cpu();
    for planned in &plan.tensors {
        let mut write = |bytes: &[u8]| -> Result<(), QuantiseError> {
            writer.write(&planned.tensor.name, bytes).unwrap();
            Ok(())
        };
        driver.block_on(Quantiser::new(checkpoint, executor.as_mut()).write(planned, &mut write)).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn quantising_on_load_gives_what_a_quantised_file_gives() {
    let (as_published, all) = run(cpu(), open(published()), None);
    for target in [QuantType::Q8_0, QuantType::Q4_0, QuantType::Q4_K] {
        let quant = Quant { target, requantise: false };
        let file = open(written(&open(published()), quant));
        let (expected, weights) = run(cpu(), file.clone(), None);
        let (loaded, predicted) = run(cpu(), open(published()), Some(quant));
        assert!(loaded == expected, "{target:?} on the CPU");
        assert!(weights == predicted && predicted < all * 6 / 10, "{target:?}: {predicted} of {all} bytes, {weights} from a file");
        let (expected, _) = run(gpu(), file, None);
        let (loaded, _) = run(gpu(), open(published()), Some(quant));
        assert!(loaded == expected, "{target:?} on a GPU");
        let difference = loaded[2].iter().zip(&as_published[2]).map(|(a, b)| (a - b).powi(2)).sum::<f32>().sqrt();
        let size = as_published[2].iter().map(|a| a.powi(2)).sum::<f32>().sqrt();
        let limit = if target == QuantType::Q8_0 { 0.03 } else { 0.4 };
        assert!(difference < limit * size, "{target:?}: logits are {difference} from logits of size {size}");
    }
}

#[test]
fn what_is_quantised_is_quantised_again_only_when_asked() {
    let q8_0 = written(&open(published()), Quant { target: QuantType::Q8_0, requantise: false });
    let (as_it_is, bytes) = run(cpu(), open(q8_0.clone()), None);
    let to = |requantise| Some(Quant { target: QuantType::Q4_0, requantise });
    let (left, bytes_left) = run(cpu(), open(q8_0.clone()), to(false));
    assert!(left == as_it_is && bytes_left == bytes);
    let (again, bytes_again) = run(cpu(), open(q8_0), to(true));
    assert!(again != as_it_is && bytes_again < bytes * 7 / 10, "{bytes_again} of {bytes}");
}
