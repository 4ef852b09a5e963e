//! Tensors on their whole way: read from a checkpoint, repacked to the engine's layout, turned into values by the twin of `embed`.

#![allow(clippy::expect_used, clippy::panic, reason = "a harness reports failures by panicking")]

use parhelion::{
    cpu::CpuExecutor,
    exec::{Executor, Serial},
    graph::{WeightDecl, WeightKind},
    loader::Checkpoint,
    models::Transform,
    recorder::WeightPart,
    recording::{BufferDesc, BufferSlice, BufferUse, Recording, Step},
    shaders::{embed, grid, shared::Row},
    weights::{self, PartLayout, SourceTensor, WeightLayout},
};
use pollster::block_on;

/// Values turned out at once.
const VALUES: u32 = 1 << 22;

/// Calls `each` with all values of the tensor `name`, some rows at a time, in their order.
///
/// # Panics
/// If the tensor cannot be loaded.
pub fn for_each_rows(checkpoint: &Checkpoint, name: &str, mut each: impl FnMut(&[f32])) {
    let mut executor = CpuExecutor::new(Box::new(Serial));
    let info = checkpoint.tensor(name).expect("a tensor").clone();
    let (rows, cols, kind) = match info.shape[..] {
        [cols] => (cols as u32, cols as u32, WeightKind::Vector),
        [rows, cols] => (rows as u32, cols as u32, WeightKind::Matrix),
        _ => panic!("{name} is neither vector nor matrix"),
    };
    let decl = WeightDecl { layer: None, tensors: vec![("weights", rows)], cols, kind, experts: None };
    let source = SourceTensor::new(info, Transform::None);
    let layout = WeightLayout::new("a file", &decl, vec![source], &executor.device().limits).expect("a layout");
    let bound: Vec<_> = layout.parts.iter().map(|part| bind(&mut executor, part, cols)).collect();
    let all = std::slice::from_ref(&layout);
    block_on(weights::load(checkpoint, all, std::slice::from_ref(&bound), &mut executor, &mut |_| {})).expect("loaded weights");
    for part in &bound {
        if kind == WeightKind::Vector {
            each(&read(&mut executor, part.quants.head(u64::from(cols) * 4)));
        } else {
            for_each_rows_of(&mut executor, part, &mut each);
        }
    }
}

fn bind(executor: &mut CpuExecutor, part: &PartLayout, cols: u32) -> WeightPart {
    WeightPart {
        first_row: part.first_row,
        rows: part.rows,
        cols,
        blocks: cols.div_ceil(weights::BLOCK),
        format: part.format,
        quants: allocate(executor, "quants", part.quant_bytes),
        scales: (part.scale_bytes > 0).then(|| allocate(executor, "scales", part.scale_bytes)),
    }
}

fn for_each_rows_of(executor: &mut CpuExecutor, part: &WeightPart, each: &mut impl FnMut(&[f32])) {
    let (cols, stride) = (part.cols, part.cols.next_multiple_of(4));
    let most = (VALUES / stride).clamp(1, part.rows);
    let step_rows = allocate(executor, "rows", u64::from(most) * size_of::<Row>() as u64);
    let y = allocate(executor, "y", u64::from(most * stride) * 4);
    for first in (0..part.rows).step_by(most as usize) {
        let rows = most.min(part.rows - first);
        let row = |token| Row { token, sequence: 0, slot: 0, begin: 0, end: 1, position: [0; 3] };
        let step: Vec<Row> = (first..first + rows).map(row).collect();
        executor.write(step_rows.buffer, 0, bytemuck::cast_slice(&step)).expect("written rows");
        let [x_groups, y_groups] = grid(rows * part.blocks);
        let call = embed::call(
            part.format,
            embed::Constants::default(),
            embed::Params { rows, first_token: 0, tokens: part.rows, cols, blocks: part.blocks, y_stride: stride, scale: 1.0 },
            embed::Bindings { rows: step_rows, quants: part.quants, scales: part.scales, y },
            [x_groups, y_groups, 1],
        );
        let recording = Recording { steps: vec![Step { label: "values".into(), call, work: 0 }] };
        let prepared = block_on(executor.prepare(&recording)).expect("a valid call");
        executor.submit(prepared).expect("a twin that runs");
        for row in read(executor, y.head(u64::from(rows * stride) * 4)).chunks(stride as usize) {
            each(&row[..cols as usize]);
        }
    }
}

fn allocate(executor: &mut CpuExecutor, label: &str, size: u64) -> BufferSlice {
    let desc = BufferDesc { label: label.into(), size, usage: BufferUse::Weights };
    BufferSlice::whole(block_on(executor.allocate(&[desc])).expect("memory")[0], size)
}

fn read(executor: &mut CpuExecutor, slice: BufferSlice) -> Vec<f32> {
    bytemuck::pod_collect_to_vec(&block_on(executor.read(slice)).expect("a buffer"))
}
