//! Buffers written in pieces hold what one write would put there, on every device and on the CPU.

#![allow(clippy::unwrap_used, reason = "tests fail by panicking")]

use parhelion::{
    cpu::CpuExecutor,
    exec::{ExecError, Executor, SharedParallel},
    gpu::{Adapters, GpuExecutor, GpuOptions},
    pieces::Pieces,
    recording::{BufferDesc, BufferSlice, BufferUse},
};
use parhelion_cli::host::{Driver, Threads};
use parhelion_tests::harness::ADAPTER;
use pollster::block_on;

fn devices() -> Vec<(Box<dyn Executor>, Driver)> {
    let adapters = block_on(Adapters::find());
    let index = adapters.choose(std::env::var(ADAPTER).ok().as_deref()).unwrap();
    let options = GpuOptions { parallel: SharedParallel::new(Threads), ..GpuOptions::default() };
    let gpu = block_on(GpuExecutor::open(&adapters, index, &options)).unwrap();
    let driver = Driver::Gpu(gpu.waiter());
    vec![(Box::new(gpu), driver), (Box::new(CpuExecutor::new(Box::new(Threads))), Driver::Cpu)]
}

fn byte(target: usize, at: usize) -> u8 {
    (at * 7 + target * 31 + at / 251) as u8
}

#[test]
fn pieces_land_in_their_places_and_touch_nothing_else() {
    // sizes of two targets and their pieces: one piece, many, a short last one, pieces of no whole words
    let shapes = [([64, 32], [64, 32]), ([4096, 512], [64, 8]), ([1000, 500], [48, 24]), ([36, 12], [5, 2]), ([300, 0], [7, 1])];
    for (mut executor, driver) in devices() {
        for (sizes, pieces) in shapes {
            let used = usize::from(sizes[1] > 0) + 1;
            let desc = |size: u64| BufferDesc { label: "target".into(), size: size + 16, usage: BufferUse::Weights };
            let ids = driver.block_on(executor.allocate(&[desc(sizes[0]), desc(sizes[1])])).unwrap();
            let whole = |i: usize| BufferSlice::whole(ids[i], sizes[i] + 16);
            let target = |i: usize| Pieces { slice: BufferSlice { buffer: ids[i], offset: 8, size: sizes[i] }, piece: pieces[i] };
            let targets: Vec<Pieces> = (0..used).map(target).collect();
            for &id in &ids[..used] {
                executor.write(id, 0, &[0xee; 8]).unwrap();
            }
            executor
                .write_pieces(&targets, &|piece, out| {
                    for (i, out) in out.iter_mut().enumerate() {
                        let first = piece * pieces[i] as usize;
                        let last = (first + pieces[i] as usize).min(sizes[i] as usize);
                        out.extend((first..last).map(|at| byte(i, at)));
                    }
                })
                .unwrap();
            for i in 0..used {
                let got = driver.block_on(executor.read(whole(i))).unwrap();
                let mut expected = vec![0xee; 8];
                expected.extend((0..sizes[i] as usize).map(|at| byte(i, at)));
                expected.extend([0; 8]);
                assert_eq!(got, expected, "target {i} of {sizes:?} in {pieces:?} on {}", executor.device().name);
            }
            executor.release(&ids);
        }
    }
}

#[test]
fn pieces_that_do_not_fit_are_errors() {
    for (mut executor, driver) in devices() {
        let desc = BufferDesc { label: "target".into(), size: 64, usage: BufferUse::Weights };
        let id = driver.block_on(executor.allocate(&[desc])).unwrap()[0];
        let mut write = |offset, size, bytes: usize| {
            let target = Pieces { slice: BufferSlice { buffer: id, offset, size }, piece: 16 };
            executor.write_pieces(&[target], &|_, out| out[0].resize(bytes, 1))
        };
        assert!(matches!(write(0, 128, 16), Err(ExecError::OutOfRange { .. })));
        assert!(matches!(write(2, 32, 16), Err(ExecError::OutOfRange { .. })));
        assert!(matches!(write(u64::MAX - 3, 32, 16), Err(ExecError::OutOfRange { .. })));
        assert!(matches!(write(0, 64, 15), Err(ExecError::Device { .. })));
        assert!(matches!(write(0, 64, 17), Err(ExecError::Device { .. })));
        assert!(write(0, 64, 16).is_ok());
    }
}
