//! Medians, warm-up, and what a device can do at best.

use std::{
    error::Error,
    fs,
    path::Path,
    time::{Duration, Instant},
};

use parhelion::{
    exec::Executor,
    recording::{BufferDesc, BufferSlice, BufferUse, Recording, Step},
    shaders::{Call, gather_rows, grid},
};
use parhelion_cli::host::Device;
use serde_json::Value;

/// The median of some figures; 0 of none.
pub(crate) fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    match figures.len() {
        0 => 0.0,
        n if n % 2 == 1 => figures[n / 2],
        n => f64::midpoint(figures[n / 2 - 1], figures[n / 2]),
    }
}

/// An idle card runs at a fraction of its clock: work this long before anything is timed.
const WARM_UP: Duration = Duration::from_millis(500);

/// Seconds that `calls`, run one after another in one submission, take: the median of `repeat` submissions after a warm-up.
pub(crate) fn seconds(
    device: &mut Device,
    calls: Vec<Call<BufferSlice>>,
    wait_for: BufferSlice,
    repeat: u32,
) -> Result<f64, Box<dyn Error>> {
    let steps = calls.into_iter().enumerate().map(|(i, call)| Step { label: format!("call {i}"), call, work: 0 }).collect();
    let Device { executor, driver, .. } = device;
    let prepared = driver.block_on(executor.prepare(&Recording { steps }))?;
    let mut once = || -> Result<f64, Box<dyn Error>> {
        let started = Instant::now();
        executor.submit(prepared)?;
        driver.block_on(executor.read(wait_for.head(4)))?;
        Ok(started.elapsed().as_secs_f64())
    };
    let started = Instant::now();
    while started.elapsed() < WARM_UP {
        once()?;
    }
    let figures = (0..repeat).map(|_| once()).collect::<Result<Vec<f64>, _>>()?;
    executor.forget(prepared);
    Ok(median(figures))
}

/// Bytes a second, read and written together, that a copy of rows reaches: what other figures are a fraction of.
pub(crate) fn copy_bandwidth(device: &mut Device) -> Result<f64, Box<dyn Error>> {
    let on_cpu = device.executor.device().backend == "scalar";
    let (rows, cols, calls) = if on_cpu { (4096, 1024, 2) } else { (16_384, 1024, 20) };
    let bytes = u64::from(rows) * u64::from(cols) * 4;
    let desc = |label: &str, size| BufferDesc { label: label.into(), size, usage: BufferUse::Scratch };
    let descs = [desc("source", bytes), desc("target", bytes), desc("index", u64::from(rows) * 4)];
    let ids = device.driver.block_on(device.executor.allocate(&descs))?;
    let index: Vec<u32> = (0..rows).collect();
    device.executor.write(ids[2], 0, bytemuck::cast_slice(&index))?;
    let slice = |i: usize| BufferSlice::whole(ids[i], descs[i].size);
    let constants = gather_rows::Constants::default();
    let [x, y] = grid((rows * cols / 4).div_ceil(constants.wg));
    let call = gather_rows::call(
        constants,
        gather_rows::Params { count: rows, rows, stride: cols },
        gather_rows::Bindings { x: slice(0), index: slice(2), y: slice(1) },
        [x, y, 1],
    );
    let empty = seconds(device, vec![call.clone()], slice(1), 9)?;
    let all = seconds(device, vec![call; calls + 1], slice(1), 9)?;
    device.executor.release(&ids);
    Ok(2.0 * bytes as f64 * calls as f64 / (all - empty).max(1e-9))
}

/// Prints a table's row.
pub(crate) fn row(name: &str, value: String) {
    println!("{name:<28}{value}");
}

/// Writes figures as JSON where the arguments ask for it.
pub(crate) fn write_json(path: Option<&Path>, value: &Value) -> Result<(), Box<dyn Error>> {
    if let Some(path) = path {
        fs::write(path, serde_json::to_string_pretty(value)? + "\n")?;
    }
    Ok(())
}

/// What every JSON file says of the device.
pub(crate) fn device_json(executor: &dyn Executor) -> Value {
    let info = executor.device();
    serde_json::json!({
        "name": info.name, "backend": info.backend, "driver": info.driver,
        "subgroups": info.switches.subgroups, "f16": info.switches.f16,
    })
}
