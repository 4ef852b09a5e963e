//! Quantisation on every device: the same bits as the scalar twins, which have those of other implementations. `fixtures/quantised.py`
//! made the file and says how.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::sync::Arc;

use parhelion::{
    cpu::CpuExecutor,
    doctor::conformance::conformance_cases,
    exec::Executor,
    models::Transform,
    quantise::{QuantType, QuantiseError, Quantiser},
};
use parhelion_loader::{Checkpoint, MemorySource, TensorInfo};
use parhelion_tests::harness::{Configuration, Threads, check_listed, configurations};
use pollster::block_on;

const FILE: &[u8] = include_bytes!("../fixtures/quantised.gguf");

fn open() -> Checkpoint {
    block_on(Checkpoint::open(Arc::new(MemorySource::new("quantised.gguf", FILE)))).unwrap()
}

type Converted = Result<Vec<u8>, QuantiseError>;

async fn convert(checkpoint: &Checkpoint, name: &str, to: QuantType, executor: &mut dyn Executor) -> Converted {
    let mut out = Vec::new();
    let mut write = |bytes: &[u8]| -> Result<(), QuantiseError> {
        out.extend_from_slice(bytes);
        Ok(())
    };
    Quantiser::new(checkpoint, executor).convert(checkpoint.tensor(name)?, Transform::None, to, &mut write).await?;
    Ok(out)
}

fn by_twins(checkpoint: &Checkpoint, name: &str, to: QuantType) -> Converted {
    block_on(convert(checkpoint, name, to, &mut CpuExecutor::new(Box::new(Threads))))
}

fn on(configuration: &Configuration, checkpoint: &Checkpoint, name: &str, to: QuantType) -> Converted {
    configuration.waiter.block_on(convert(checkpoint, name, to, &mut *configuration.gpu()))
}

fn bytes_of<'a>(info: &TensorInfo) -> &'a [u8] {
    &FILE[info.offset as usize..(info.offset + info.len) as usize]
}

/// Root of the mean squared difference of a row of Q4_K blocks from what they were made of.
fn q4_k_error(x: &[f32], blocks: &[u8]) -> f64 {
    let half = |bytes: &[u8]| f64::from(half::f16::from_le_bytes([bytes[0], bytes[1]]).to_f32());
    let mut sum = 0.0;
    for (x, block) in x.chunks(256).zip(blocks.chunks(144)) {
        let (d, dmin, packed, quants) = (half(block), half(&block[2..]), &block[4..16], &block[16..]);
        for (i, &x) in x.iter().enumerate() {
            let b = i / 32;
            let (scale, minimum) = match b {
                0..4 => (packed[b] & 63, packed[b + 4] & 63),
                _ => (packed[b + 4] & 15 | packed[b - 4] >> 6 << 4, packed[b + 4] >> 4 | packed[b] >> 6 << 4),
            };
            let quant = quants[b / 2 * 32 + i % 32] >> (b % 2 * 4) & 15;
            sum += (f64::from(x) - (d * f64::from(scale) * f64::from(quant) - dmin * f64::from(minimum))).powi(2);
        }
    }
    (sum / x.len() as f64).sqrt()
}

#[test]
fn devices_quantise_as_the_twins_do() {
    check_listed(|device| conformance_cases(device).into_iter().filter(|listed| listed.kernel.name.starts_with("quantise")).collect());
}

#[test]
fn blocks_of_32_have_the_bits_of_the_reference() {
    let checkpoint = open();
    for rows in ["ordinary", "extreme"] {
        let name = format!("{rows}.weight");
        for to in [QuantType::Q8_0, QuantType::Q4_0, QuantType::Q5_0] {
            let expected = bytes_of(checkpoint.tensor(&format!("{rows}.{}", to.dtype())).unwrap());
            assert!(by_twins(&checkpoint, &name, to).unwrap() == expected, "{rows} to {to:?}");
            for configuration in configurations() {
                let got = on(configuration, &checkpoint, &name, to);
                assert!(got.unwrap() == expected, "{rows} to {to:?} on {}", configuration.name);
            }
        }
    }
}

#[test]
fn what_has_no_scale_is_refused() {
    let checkpoint = open();
    for &to in QuantType::ALL {
        let refused = |result: Converted| matches!(result, Err(QuantiseError::NotFinite { tensor, .. }) if tensor == "huge.weight");
        assert!(refused(by_twins(&checkpoint, "huge.weight", to)), "{to:?}");
        for configuration in configurations() {
            assert!(refused(on(configuration, &checkpoint, "huge.weight", to)), "{to:?} on {}", configuration.name);
        }
    }
}

#[test]
fn q4_k_loses_no_more_than_elsewhere() {
    let checkpoint = open();
    let info = checkpoint.tensor("ordinary.weight").unwrap();
    let x: Vec<f32> = bytes_of(info).as_chunks::<4>().0.iter().map(|&bytes| f32::from_le_bytes(bytes)).collect();
    let reference = bytes_of(checkpoint.tensor("ordinary.Q4_K").unwrap());
    let ours = by_twins(&checkpoint, "ordinary.weight", QuantType::Q4_K).unwrap();
    for (what, rows) in [("normal", 0..24), ("heavy tails", 24..36), ("skewed", 36..40)] {
        let of = |blocks: &[u8]| q4_k_error(&x[256 * rows.start..256 * rows.end], &blocks[144 * rows.start..144 * rows.end]);
        let (ours, reference) = (of(&ours), of(reference));
        println!("{what}: {ours:.3e} here, {reference:.3e} by ggml: {:.4}", ours / reference);
        assert!(ours <= reference, "{what}: {ours} and {reference}");
    }
}
