//! Weights on their whole way, from a GGUF file through the engine's layout to values, against another implementation's:
//! `fixtures/blocks.py` made the fixtures and says how.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::{collections::BTreeMap, path::PathBuf, sync::Arc};

use parhelion::formats::{self, BlockScales, Source};
use parhelion_loader::{Checkpoint, DType, MappedFile, MemorySource};
use parhelion_shaders::axes::Weight;
use parhelion_tests::{dequantise::for_each_rows, fixtures};
use pollster::block_on;
use sha2::{Digest, Sha256};

const FILE: &[u8] = include_bytes!("../fixtures/blocks.gguf");
const SUMS: &str = include_str!("../fixtures/blocks.json");
/// Sums of the values of every tensor of published files: `fixtures/published.py` made them.
const PUBLISHED: &str = include_str!("../fixtures/published.json");

fn open(file: impl Into<Vec<u8>>) -> Checkpoint {
    block_on(Checkpoint::open(Arc::new(MemorySource::new("blocks.gguf", file.into())))).unwrap()
}

fn values(checkpoint: &Checkpoint, name: &str) -> Vec<f32> {
    let mut all = Vec::new();
    for_each_rows(checkpoint, name, |row| all.extend_from_slice(row));
    all
}

/// The SHA-256 sum of a tensor's values.
fn sum_of(checkpoint: &Checkpoint, name: &str) -> String {
    let mut sum = Sha256::new();
    for_each_rows(checkpoint, name, |row| sum.update(bytemuck::cast_slice(row)));
    sum.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A file with one matrix.
fn file(dtype: DType, rows: u64, cols: u64, data: &[u8]) -> Vec<u8> {
    let mut out = b"GGUF\x03\0\0\0".to_vec();
    let mut word = |value: u64| out.extend(value.to_le_bytes());
    word(1);
    word(0);
    word(1);
    out.push(b'w');
    out.extend(2u32.to_le_bytes());
    out.extend([cols, rows].iter().flat_map(|n| n.to_le_bytes()));
    out.extend(dtype.ggml_id().unwrap().to_le_bytes());
    out.extend(0u64.to_le_bytes());
    out.resize(out.len().next_multiple_of(32), 0);
    out.extend(data);
    out
}

/// Word `number` of a stream: SplitMix64.
fn word(seed: u64, number: u64) -> u64 {
    let z = number.wrapping_add(seed << 40).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ z >> 31
}

// Zeros, the subnormals at both ends, the smallest and the largest normal numbers, one and its neighbour.
const EXTREME_HALVES: [u32; 12] = [0x0000, 0x8000, 0x0001, 0x8001, 0x03ff, 0x83ff, 0x0400, 0x8400, 0x7bff, 0xfbff, 0x3c00, 0xbc01];
const EXTREME_BRAINS: [u32; 12] = [0x0000, 0x8000, 0x0001, 0x807f, 0x0080, 0x8080, 0x7f7f, 0xff7f, 0x3f80, 0xbf81, 0x007f, 0x8001];

/// The bits of a number of block `block`: an extreme one in every eighth block, elsewhere the top bit of an exponent that is all
/// ones becomes zero.
fn finite(bits: u32, block: u64, place: usize, exponent: u32, extreme: &[u32]) -> u32 {
    match block {
        _ if block.is_multiple_of(8) => extreme[(block as usize / 8 + 5 * place) % extreme.len()],
        _ if bits & exponent == exponent => bits & !(exponent & !(exponent >> 1)),
        _ => bits,
    }
}

/// Block `number` of a type: the bytes of the type's stream with finite scales.
fn block(source: &Source, number: u64) -> Vec<u8> {
    let (dtype, size) = (source.dtype, source.dtype.block_bytes() as usize);
    let words = size.div_ceil(8) as u64;
    let stream = (0..words).map(|i| word(dtype.ggml_id().unwrap().into(), number * words + i));
    let mut block: Vec<u8> = stream.flat_map(u64::to_le_bytes).take(size).collect();
    match (dtype, source.scales) {
        (DType::BF16, _) => {
            let bits = u32::from(u16::from_le_bytes([block[0], block[1]]));
            block.copy_from_slice(&finite(bits, number, 0, 0x7f80, &EXTREME_BRAINS).to_le_bytes()[..2]);
        }
        (DType::F16, _) => {
            let bits = u32::from(u16::from_le_bytes([block[0], block[1]]));
            block.copy_from_slice(&finite(bits, number, 0, 0x7c00, &EXTREME_HALVES).to_le_bytes()[..2]);
        }
        (_, BlockScales::Floats(&[at])) => {
            let extreme = EXTREME_BRAINS.map(|bits| bits << 16 | bits & 1);
            let bits = u32::from_le_bytes(*block[at..].first_chunk().unwrap());
            block[at..at + 4].copy_from_slice(&finite(bits, number, 0, 0x7f80_0000, &extreme).to_le_bytes());
        }
        (_, BlockScales::Exponent(_)) => {}
        _ => {
            let mut place = 0..;
            source.map_scales(&mut block, |bits| finite(bits.into(), number, place.next().unwrap(), 0x7c00, &EXTREME_HALVES) as u16);
        }
    }
    block
}

/// SHA-256 sums of the values of 100,000 blocks, a part of them a sum.
fn sums(source: &Source, parts: usize) -> Vec<String> {
    const COUNT: u64 = 100_000;
    const ROWS: u64 = 125;
    let part = COUNT / parts as u64;
    let sum = |first: u64| {
        let data: Vec<u8> = (first..first + part).flat_map(|number| block(source, number)).collect();
        let file = file(source.dtype, ROWS, part / ROWS * source.dtype.block_elems(), &data);
        sum_of(&open(file), "w")
    };
    (0..COUNT).step_by(part as usize).map(sum).collect()
}

fn sources() -> impl Iterator<Item = &'static Source> {
    Weight::ALL
        .iter()
        .flat_map(|&format| formats::info(format).sources)
        .filter(|source| source.dtype != DType::F32 && source.dtype.ggml_id().is_some())
}

fn check_sums(mut chosen: impl FnMut(usize) -> bool) {
    let expected: BTreeMap<String, Vec<String>> = serde_json::from_str(SUMS).unwrap();
    assert_eq!(expected.len(), sources().count());
    for (_, source) in sources().enumerate().filter(|(i, _)| chosen(*i)) {
        let expected = &expected[source.dtype.name()];
        assert_eq!(sums(source, expected.len()), *expected, "{}", source.dtype);
    }
}

/// Two tests, so that two threads share the work.
#[test]
fn every_other_type_gives_the_bits_of_another_implementation() {
    check_sums(|i| i % 2 == 0);
}

#[test]
fn the_types_between_give_the_bits_of_another_implementation() {
    check_sums(|i| i % 2 == 1);
}

/// The first blocks of each type, of which the values are at hand.
#[test]
fn values_are_those_of_another_implementation() {
    let checkpoint = open(FILE);
    for source in sources() {
        let name = source.dtype.name();
        let info = checkpoint.tensor(&format!("{name}.f32")).unwrap();
        let bytes = &FILE[info.offset as usize..][..info.len as usize];
        let expected: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
        // Plain f32 goes the same way.
        for name in [name, &info.name] {
            let got = values(&checkpoint, name);
            assert_eq!(got.len(), expected.len(), "{name}");
            for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
                assert_eq!(got.to_bits(), *expected, "{name}[{i}]: {got} for {}", f32::from_bits(*expected));
            }
        }
    }
}

fn check_published(path: Option<PathBuf>) {
    let Some(path) = path else { return };
    let expected: BTreeMap<String, BTreeMap<String, String>> = serde_json::from_str(PUBLISHED).unwrap();
    let expected = &expected[path.file_name().unwrap().to_str().unwrap()];
    let checkpoint = block_on(Checkpoint::open(Arc::new(MappedFile::open(&path).unwrap()))).unwrap();
    assert_eq!(checkpoint.tensors().len(), expected.len());
    for (name, expected) in expected {
        let dtype = checkpoint.tensor(name).unwrap().dtype;
        assert_eq!(sum_of(&checkpoint, name), *expected, "{name} ({dtype})");
    }
}

#[test]
fn every_tensor_of_gemma_3_has_the_bits_of_another_implementation() {
    check_published(fixtures::gemma3());
}

#[test]
fn every_tensor_of_qwen2_5_coder_has_the_bits_of_another_implementation() {
    check_published(fixtures::qwen2_5_coder());
}
