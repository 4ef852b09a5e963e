//! A tensor over the limits of a device: a 300 MiB table at WebGPU's floor, where a binding holds 128 MiB.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test ends where something is amiss")]

use std::sync::Arc;

use parhelion::{
    exec::{DeviceLimits, Executor, Switches},
    gpu::GpuExecutor,
    graph::{Graph, Model, WeightDecl, WeightKind},
    models::Transform,
    plan::{Buffers, Plan, PlanOptions},
    recorder::WeightPart,
    recording::{BufferId, BufferSlice},
    shape::{Bounds, Head, RowSource, StepShape},
    weights::{self, SourceTensor, WeightLayout},
};
use parhelion_loader::{Checkpoint, MemorySource};
use parhelion_shaders::{axes::Kv, shared::Row};
use parhelion_tests::harness::{Configuration, configurations};
use pollster::block_on;

const COLS: u32 = 576;
const VOCAB: u32 = 136_600;

/// Weight `i` of the table, in -1..1.
fn weight(i: u32) -> f32 {
    (i.wrapping_mul(0x9e37_79b9) >> 8) as f32 / (1u32 << 23) as f32 - 1.0
}

fn table_row(token: u32) -> Vec<f32> {
    (0..COLS).map(|col| weight(token * COLS + col)).collect()
}

/// A GGUF file with the table as its only tensor.
fn checkpoint() -> Checkpoint {
    const ALIGNMENT: usize = 32;
    let mut file = Vec::new();
    file.extend(b"GGUF");
    file.extend(3u32.to_le_bytes());
    for count in [1u64, 0] {
        file.extend(count.to_le_bytes()); // tensors, metadata
    }
    file.extend(5u64.to_le_bytes());
    file.extend(b"table");
    file.extend(2u32.to_le_bytes());
    for size in [COLS, VOCAB] {
        file.extend(u64::from(size).to_le_bytes());
    }
    file.extend(0u32.to_le_bytes()); // F32
    file.extend(0u64.to_le_bytes()); // offset
    file.resize(file.len().next_multiple_of(ALIGNMENT), 0);
    file.extend((0..VOCAB * COLS).flat_map(|i| weight(i).to_le_bytes()));
    block_on(Checkpoint::open(Arc::new(MemorySource::new("table.gguf", file)))).unwrap()
}

/// Embeds tokens and multiplies them with the same table.
fn model() -> Model {
    let graph = Graph::new();
    let x = graph.gather_outputs(graph.embed("table", VOCAB, COLS, 1.0));
    graph.set_logits(graph.linear(x, &[("table", VOCAB)]));
    graph.finish().unwrap()
}

struct Loaded {
    plan: Plan,
    buffers: Buffers,
    ids: Vec<BufferId>,
}

fn load(configuration: &Configuration, gpu: &mut GpuExecutor, tokens: u32) -> Loaded {
    let limits = configuration.device.limits;
    let checkpoint = checkpoint();
    let source = SourceTensor::new(checkpoint.tensor("table").unwrap().clone(), Transform::None);
    let decl = WeightDecl { layer: None, tensors: vec![("table", VOCAB)], cols: COLS, kind: WeightKind::Matrix, experts: None };
    let layout = WeightLayout::new("table.gguf", &decl, vec![source], &limits).unwrap();
    assert_eq!(layout.parts.len(), 3, "300 MiB in bindings of 128 MiB");
    let bounds = Bounds { rows: tokens, outputs: tokens, context: 1, sequences: 1 };
    let options = PlanOptions { bounds, kv: Kv::F32, reproducible: false };
    let plan = Plan::new(model(), vec![layout], configuration.device.clone(), options).unwrap();
    let descriptions = plan.descriptions();
    let ids = configuration.waiter.block_on(gpu.allocate(&descriptions)).unwrap();
    let parts = plan.weights()[0].parts.iter().zip(ids.iter().zip(&descriptions)).map(|(part, (&id, desc))| WeightPart {
        first_row: part.first_row,
        rows: part.rows,
        cols: COLS,
        blocks: COLS / 32,
        format: part.format,
        quants: BufferSlice::whole(id, desc.size),
        scales: None,
    });
    let bound = vec![parts.collect()];
    configuration.waiter.block_on(weights::load(&checkpoint, plan.weights(), &bound, gpu, &mut |_| {})).unwrap();
    Loaded { buffers: plan.bind(ids.clone()).unwrap(), plan, ids }
}

/// The logits of each token.
fn logits(configuration: &Configuration, gpu: &mut GpuExecutor, loaded: &Loaded, tokens: &[u32]) -> Vec<f32> {
    let row = |&token: &u32| Row { token, sequence: 0, slot: 0, begin: 0, end: 1, position: [0; 3] };
    let rows: Vec<Row> = tokens.iter().map(row).collect();
    let index: Vec<u32> = (0..tokens.len() as u32).collect();
    let step = loaded.buffers.step();
    gpu.write(step.rows.buffer, 0, bytemuck::cast_slice(&rows)).unwrap();
    gpu.write(step.output_index.buffer, 0, bytemuck::cast_slice(&index)).unwrap();
    let count = tokens.len() as u32;
    let shape = StepShape { rows: count, outputs: count, kv_len: 1, head: Head::Logits, source: RowSource::Host };
    let recording = loaded.plan.record(&loaded.buffers, shape).unwrap();
    let prepared = configuration.waiter.block_on(gpu.prepare(&recording)).unwrap();
    gpu.submit(prepared).unwrap();
    let read = gpu.read(loaded.plan.output(&loaded.buffers, count).slice);
    bytemuck::pod_collect_to_vec(&configuration.waiter.block_on(read).unwrap())
}

fn check(configuration: &Configuration) {
    let gpu = &mut *configuration.gpu();
    // The first and last rows of the parts, whatever their number of rows.
    let per_part = (configuration.device.limits.max_binding / u64::from(4 * COLS)) as u32;
    let tokens = [0, per_part - 1, per_part, 2 * per_part, VOCAB - 1];
    let loaded = load(configuration, gpu, tokens.len() as u32);
    let table: Vec<f64> = (0..VOCAB * COLS).map(|i| f64::from(weight(i))).collect();
    // Two rows go through `matvec`, five through `matmul`.
    for tokens in [&tokens[..], &tokens[1..3]] {
        let got = logits(configuration, gpu, &loaded, tokens);
        for (got, &token) in got.chunks_exact(VOCAB as usize).zip(tokens) {
            let x: Vec<f64> = table_row(token).into_iter().map(f64::from).collect();
            for (n, (&got, w)) in got.iter().zip(table.chunks_exact(COLS as usize)).enumerate() {
                let terms = w.iter().zip(&x).map(|(w, x)| w * x);
                let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + f64::abs(term)));
                // A chain of at most one addition a block and 32 in it, each of which rounds once.
                let bound = f64::from(COLS / 32 + 32) / f64::from(1u32 << 24) * size;
                assert!((f64::from(got) - sum).abs() <= bound, "{}: token {token} x row {n}: {got} for {sum}", configuration.name);
            }
        }
    }
    gpu.release(&loaded.ids);
}

#[test]
fn a_table_of_300_mib_at_floor_limits() {
    let floor = |configuration: &&Configuration| {
        let device = &configuration.device;
        device.limits.max_binding == DeviceLimits::FLOOR.max_binding && device.switches == Switches::default()
    };
    let mut found = configurations().iter().filter(floor).peekable();
    assert!(found.peek().is_some(), "no device with floor limits");
    found.for_each(check);
}
