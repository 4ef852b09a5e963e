//! The check that is made before a model is loaded: it passes where kernels are right, is quick, leaves nothing behind, and catches
//! every wrong read.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use std::{sync::Arc, time::Instant};

use parhelion::{
    cpu::CpuExecutor,
    doctor::{cases_of, quick_check},
    exec::{DeviceInfo, ExecError, Executor, LocalFuture, MemoryReport, PreparedId, Serial},
    loader::{Checkpoint, MemorySource},
    recording::{BufferDesc, BufferId, BufferSlice, Recording},
    session::{Prepared, SessionOptions},
};
use parhelion_bench::synth;
use parhelion_tests::harness::configurations;
use pollster::block_on;

fn recordings(device: &DeviceInfo, reproducible: bool) -> Vec<Recording> {
    let (shape, quant) = synth::find("tiny", "Q4_0").unwrap();
    let source = Arc::new(MemorySource::new("tiny.gguf", synth::gguf(shape, quant)));
    let checkpoint = block_on(Checkpoint::open(source)).unwrap();
    let options = SessionOptions { reproducible, ..SessionOptions::default() };
    block_on(Prepared::new(&checkpoint, device, options)).unwrap().recordings().unwrap()
}

#[test]
fn the_kernels_of_a_plan_pass() {
    for configuration in configurations() {
        for reproducible in [false, true] {
            let recordings = recordings(&configuration.device, reproducible);
            let mut used: Vec<_> = recordings.iter().flat_map(|r| r.steps.iter().map(|step| step.call.kernel.variant)).collect();
            used.sort_unstable();
            used.dedup();
            let mut gpu = configuration.gpu();
            let before = gpu.memory().total();
            let start = Instant::now();
            let checks = configuration.waiter.block_on(quick_check(&mut *gpu, &recordings)).unwrap();
            println!("{}: {} checks in {:?}", configuration.name, checks.len(), start.elapsed());
            let failed: Vec<_> = checks.iter().filter_map(|check| check.error(&configuration.device)).collect();
            assert!(failed.is_empty(), "{}: {failed:#?}", configuration.name);
            let mut checked: Vec<_> = checks.iter().map(|check| check.variant).collect();
            checked.sort_unstable();
            checked.dedup();
            assert_eq!(checked, used, "{}: each kernel of the plan is checked", configuration.name);
            assert!(gpu.memory().total() <= before, "{}: nothing stays allocated", configuration.name);
        }
    }
}

/// Computes as the twins do, but for one bit of one read.
struct Faulty {
    right: CpuExecutor,
    reads: usize,
    wrong: usize,
}

impl Executor for Faulty {
    fn device(&self) -> &DeviceInfo {
        self.right.device()
    }

    fn allocate<'a>(&'a mut self, buffers: &'a [BufferDesc]) -> LocalFuture<'a, Result<Vec<BufferId>, ExecError>> {
        self.right.allocate(buffers)
    }

    fn release(&mut self, buffers: &[BufferId]) {
        self.right.release(buffers);
    }

    fn write(&mut self, buffer: BufferId, offset: u64, bytes: &[u8]) -> Result<(), ExecError> {
        self.right.write(buffer, offset, bytes)
    }

    fn prepare<'a>(&'a mut self, recording: &'a Recording) -> LocalFuture<'a, Result<PreparedId, ExecError>> {
        self.right.prepare(recording)
    }

    fn forget(&mut self, prepared: PreparedId) {
        self.right.forget(prepared);
    }

    fn submit(&mut self, prepared: PreparedId) -> Result<(), ExecError> {
        self.right.submit(prepared)
    }

    fn read(&mut self, slice: BufferSlice) -> LocalFuture<'static, Result<Vec<u8>, ExecError>> {
        let (read, flip) = (self.right.read(slice), self.reads == self.wrong);
        self.reads += 1;
        Box::pin(async move {
            let mut bytes = read.await?;
            if flip {
                bytes[256 + 3] ^= 0x40; // the exponent of the first float past the border, or a high bit of a word
            }
            Ok(bytes)
        })
    }

    fn memory(&self) -> MemoryReport {
        self.right.memory()
    }
}

#[test]
fn one_wrong_bit_is_caught() {
    let faulty = |wrong| Faulty { right: CpuExecutor::new(Box::new(Serial)), reads: 0, wrong };
    let mut right = faulty(usize::MAX);
    let device = right.device().clone();
    let recordings = recordings(&device, false);
    let checks = block_on(quick_check(&mut right, &recordings)).unwrap();
    assert_eq!(checks.len(), cases_of(&recordings).len());
    assert!(checks.iter().all(|check| check.error(&device).is_none()));
    assert!(right.reads >= checks.len());
    for wrong in 0..right.reads {
        let mut executor = faulty(wrong);
        let checks = block_on(quick_check(&mut executor, &recordings)).unwrap();
        let errors: Vec<_> = checks.iter().filter_map(|check| check.error(&device)).collect();
        assert!(matches!(errors[..], [ExecError::WrongResults { .. }]), "read {wrong}: {errors:?}");
        let text = errors[0].to_string();
        assert!(text.contains("computes wrongly") && text.contains("CPU"), "{text}");
        assert_eq!(executor.memory().total(), 0);
    }
}
