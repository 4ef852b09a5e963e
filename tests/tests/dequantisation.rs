//! Weights on their whole way, from a GGUF file through the engine's layout to values, against another implementation's:
//! `fixtures/blocks.py` made the file and says how.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::sync::Arc;

use parhelion::{
    cpu::CpuExecutor,
    exec::{Executor, Serial},
    graph::{WeightDecl, WeightKind},
    models::Transform,
    recorder::WeightPart,
    recording::{BufferDesc, BufferSlice, BufferUse, Recording, Step},
    weights::{self, SourceTensor, WeightLayout},
};
use parhelion_loader::{Checkpoint, MemorySource};
use parhelion_shaders::{embed, grid, shared::Row};
use pollster::block_on;

const FILE: &[u8] = include_bytes!("../fixtures/blocks.gguf");

fn open() -> Checkpoint {
    block_on(Checkpoint::open(Arc::new(MemorySource::new("blocks.gguf", FILE)))).unwrap()
}

fn allocate(executor: &mut CpuExecutor, label: &str, size: u64) -> BufferSlice {
    let desc = BufferDesc { label: label.into(), size, usage: BufferUse::Weights };
    BufferSlice::whole(block_on(executor.allocate(&[desc])).unwrap()[0], size)
}

/// Loads the tensor `name` and reads all of its rows through the twin of `embed`.
fn values(checkpoint: &Checkpoint, name: &'static str) -> Vec<f32> {
    let mut executor = CpuExecutor::new(Box::new(Serial));
    let info = checkpoint.tensor(name).unwrap().clone();
    let [rows, cols] = info.shape[..] else { panic!("{name} is no matrix") };
    let (rows, cols) = (rows as u32, cols as u32);
    let decl = WeightDecl { layer: None, tensors: vec![(name, rows)], cols, kind: WeightKind::Matrix };
    let source = SourceTensor { info, transform: Transform::None };
    let layout = WeightLayout::new("blocks.gguf", &decl, vec![source], &executor.device().limits).unwrap();
    let [part] = &layout.parts[..] else { panic!("{name} is in {} parts", layout.parts.len()) };
    let bound = WeightPart {
        first_row: part.first_row,
        rows: part.rows,
        cols,
        blocks: cols.div_ceil(32),
        format: part.format,
        quants: allocate(&mut executor, "quants", part.quant_bytes),
        scales: (part.scale_bytes > 0).then(|| allocate(&mut executor, "scales", part.scale_bytes)),
    };
    block_on(weights::load(checkpoint, std::slice::from_ref(&layout), &[vec![bound]], &mut executor, &mut |_| {})).unwrap();

    let step: Vec<Row> = (0..rows).map(|token| Row { token, sequence: 0, slot: 0, begin: 0, end: 1, position: [0; 3] }).collect();
    let step_rows = allocate(&mut executor, "rows", size_of_val(&step[..]) as u64);
    executor.write(step_rows.buffer, 0, bytemuck::cast_slice(&step)).unwrap();
    let y = allocate(&mut executor, "y", u64::from(rows * cols) * 4);
    let [x_groups, y_groups] = grid(rows * bound.blocks);
    let call = embed::call(
        bound.format,
        embed::Constants::default(),
        embed::Params { rows, first_token: 0, tokens: rows, cols, blocks: bound.blocks, y_stride: cols, scale: 1.0 },
        embed::Bindings { rows: step_rows, quants: bound.quants, scales: bound.scales, y },
        [x_groups, y_groups, 1],
    );
    let recording = Recording { steps: vec![Step { label: name.into(), call, work: 0 }] };
    let prepared = block_on(executor.prepare(&recording)).unwrap();
    executor.submit(prepared).unwrap();
    bytemuck::pod_collect_to_vec(&block_on(executor.read(y)).unwrap())
}

#[test]
fn every_format_gives_the_bits_of_another_implementation() {
    let checkpoint = open();
    for (name, expected) in [
        ("q4_0", "q4_0.f32"),
        ("q4_1", "q4_1.f32"),
        ("q8_0", "q8_0.f32"),
        ("f16", "f16.f32"),
        ("bf16", "bf16.f32"),
        ("q4_1.f32", "q4_1.f32"),
    ] {
        let info = checkpoint.tensor(expected).unwrap();
        let bytes = &FILE[info.offset as usize..][..info.len as usize];
        let expected: Vec<u32> = bytemuck::pod_collect_to_vec(bytes);
        let got = values(&checkpoint, name);
        assert_eq!(got.len(), expected.len(), "{name}");
        for (i, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert_eq!(got.to_bits(), *expected, "{name}[{i}]: {got} for {}", f32::from_bits(*expected));
        }
    }
}
