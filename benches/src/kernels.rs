//! Every kernel of a decode step and of a prefill step of a model's shape, timed by itself: what it takes, what it moves, and the
//! fraction of the device's copy bandwidth that this is.

use std::{error::Error, sync::Arc};

use parhelion::{
    exec::Executor,
    loader::{Checkpoint, MemorySource},
    models,
    plan::{Buffers, Plan, PlanOptions},
    recording::{BufferSlice, Step},
    shaders::{Access, Call, axes::Kv, matmul, matvec, shared::Row},
    shape::{Bounds, Head, RowSource, StepShape},
};
use parhelion_bench::synth;
use parhelion_cli::host::Device;
use serde_json::{Value, json};

use crate::{
    ModelArgs,
    measure::{copy_bandwidth, device_json, row, seconds, write_json},
};

/// Calls of one submission, so that its own cost does not count.
const CALLS: usize = 50;

/// Kernels of the synthetic model that the arguments name.
pub(crate) fn run(args: &ModelArgs) -> Result<(), Box<dyn Error>> {
    let (shape, quant) = synth::find(&args.shape, &args.quant)?;
    let mut device = args.device.open()?;
    let copy = copy_bandwidth(&mut device)?;
    row("device", device.executor.device().name.clone());
    row("copy bandwidth", format!("{:.1} GB/s", copy / 1e9));
    let tokens = args.tokens.unwrap_or(512);
    let (plan, buffers) = plan(&mut device, shape, quant, tokens.max(args.depth + 1))?;
    let mut all = Vec::new();
    for (name, rows, end) in [("decode", 1, args.depth + 1), ("prefill", tokens, tokens)] {
        write_rows(device.executor.as_mut(), &buffers, rows, end)?;
        let shape = StepShape { rows, outputs: 1, kv_len: end, head: Head::Sample, source: RowSource::Host };
        println!("\n{name}, {rows} row(s), {end} entries of cache");
        println!(
            "{:<34}{:<26}{:>6}{:>11}{:>10}{:>10}{:>8}{:>11}",
            "kernel", "operator", "calls", "us a call", "us all", "GB/s", "copy", "GFLOP/s"
        );
        let steps = plan.record(&buffers, shape)?.steps;
        let mut total = 0.0;
        for (step, count) in distinct(steps) {
            let figures = measure(&mut device, &step, count, copy)?;
            total += figures["microseconds"].as_f64().unwrap_or(0.0) * count as f64;
            all.push(json!({ "step": name, "figures": figures }));
        }
        println!("{:<34}{:>53.1}", "together", total);
    }
    let file = json!({
        "bench": "kernels", "model": format!("{} {}", args.shape, args.quant), "device": device_json(device.executor.as_ref()),
        "copy_bytes_per_second": copy, "kernels": all,
    });
    write_json(args.device.json.as_deref(), &file)
}

/// The plan of a synthetic model with its buffers allocated; weights stay zero, which costs the same.
fn plan(device: &mut Device, shape: &synth::Shape, quant: &synth::Quant, tokens: u32) -> Result<(Plan, Buffers), Box<dyn Error>> {
    let source = Arc::new(MemorySource::new(shape.name, synth::gguf(shape, quant)));
    let Device { executor, driver, .. } = device;
    let built = driver.block_on(async {
        let checkpoint = Checkpoint::open(source).await?;
        Ok::<_, Box<dyn Error>>(models::build(&checkpoint, &executor.device().limits).await?)
    })?;
    let bounds = Bounds { rows: tokens, outputs: 1, context: tokens, sequences: 1 };
    let options = PlanOptions { bounds, kv: Kv::F16, reproducible: false };
    let plan = Plan::new(built.model, built.weights, executor.device().clone(), options)?;
    let ids = driver.block_on(executor.allocate(&plan.descriptions()))?;
    let buffers = plan.bind(ids)?;
    for (group, table) in plan.kv_groups().iter().zip(buffers.page_tables()) {
        executor.write(table.buffer, table.offset, bytemuck::cast_slice(&group.ring(&bounds)))?;
    }
    Ok((plan, buffers))
}

/// The last `rows` rows of a sequence of `end` tokens.
fn write_rows(executor: &mut dyn Executor, buffers: &Buffers, rows: u32, end: u32) -> Result<(), Box<dyn Error>> {
    let row = |i| {
        let slot = end - rows + i;
        Row { token: i, sequence: 0, slot, begin: 0, end: slot + 1, position: [slot; 3] }
    };
    let rows: Vec<Row> = (0..rows).map(row).collect();
    let slice = buffers.step().rows;
    Ok(executor.write(slice.buffer, slice.offset, bytemuck::cast_slice(&rows))?)
}

/// One of each kind of step, with how often it occurs: steps that differ only in the layer are of one kind.
fn distinct(steps: Vec<Step>) -> Vec<(Step, usize)> {
    let mut out: Vec<(Step, usize)> = Vec::new();
    for step in steps {
        let alike = |other: &Step| {
            let (a, b) = (&step.call, &other.call);
            let sizes = |call: &Call<BufferSlice>| call.bindings.iter().map(|(_, slice)| slice.size).collect::<Vec<_>>();
            std::ptr::eq(a.kernel, b.kernel) && a.grid == b.grid && a.params == b.params && sizes(a) == sizes(b)
        };
        match out.iter_mut().find(|(other, _)| alike(other)) {
            Some((_, count)) => *count += 1,
            None => out.push((step, 1)),
        }
    }
    out
}

fn measure(device: &mut Device, step: &Step, count: usize, copy: f64) -> Result<Value, Box<dyn Error>> {
    let call = &step.call;
    let Some(written) = call.kernel.bindings.iter().find(|b| b.access == Access::ReadWrite) else {
        return Err("a kernel without a result".into());
    };
    let slice = call.bindings.iter().find(|(slot, _)| *slot == written.slot).ok_or("an unbound result")?.1;
    let once = seconds(device, vec![call.clone()], slice, 9)?;
    let many = seconds(device, vec![call.clone(); CALLS + 1], slice, 9)?;
    let time = ((many - once) / CALLS as f64).max(1e-9);
    let (bytes, flops) = work(call);
    let operator = step.label.rsplit(": ").next().unwrap_or_default();
    let rate = |work: f64| if work > 0.0 { format!("{:.1}", work / time / 1e9) } else { "-".into() };
    let fraction = if bytes > 0.0 { format!("{:.0}%", 100.0 * bytes / time / copy) } else { "-".into() };
    println!(
        "{:<34}{:<26}{count:>6}{:>11.2}{:>10.1}{:>10}{fraction:>8}{:>11}",
        call.kernel.variant,
        operator.chars().take(25).collect::<String>(),
        time * 1e6,
        time * 1e6 * count as f64,
        rate(bytes),
        rate(flops),
    );
    Ok(json!({
        "kernel": call.kernel.variant, "operator": operator, "calls": count, "microseconds": time * 1e6, "bytes": bytes, "flops": flops,
        "fraction_of_copy": bytes / time / copy,
    }))
}

/// Bytes moved and floating-point operations of a matrix product; none where they depend on what the cache holds or are too few
/// to matter.
fn work(call: &Call<BufferSlice>) -> (f64, f64) {
    let bytes: u64 = call.bindings.iter().map(|(_, slice)| slice.size).sum();
    let (rows, cols, x_rows) = match call.kernel.name {
        "matvec" => {
            let params = matvec::params(call);
            (params.rows, params.cols, call.grid[2])
        }
        "matmul" => {
            let params = matmul::params(call);
            (params.rows, params.cols, params.x_rows)
        }
        _ => return (0.0, 0.0),
    };
    (bytes as f64, 2.0 * f64::from(rows) * f64::from(cols) * f64::from(x_rows))
}
