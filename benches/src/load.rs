//! Loading: from the file to a model that can answer, beside what the disk and the way to the device allow.

use std::{
    error::Error,
    fs,
    io::Read,
    path::Path,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

use parhelion::recording::{BufferDesc, BufferSlice, BufferUse};
use parhelion_cli::host::Device;
use serde_json::json;

use crate::{
    ModelArgs,
    measure::{median, row, write_json},
    model,
};

/// Bytes of a buffer that uploads are measured with.
const UPLOAD: u64 = 256 << 20;
/// Bytes of one write.
const CHUNK: usize = 8 << 20;

/// Measures and prints.
pub(crate) fn run(args: &ModelArgs) -> Result<(), Box<dyn Error>> {
    let upload = upload_bandwidth(args)?;
    let mut seconds = Vec::new();
    let mut last = None;
    let mut host = None;
    for _ in 0..args.repeat {
        drop(last.take());
        let before = anonymous_bytes();
        let (bench, peak) = watched(|| model::open(args, 512))?;
        host = host.max(peak.zip(before).map(|(peak, before)| peak.saturating_sub(before)));
        seconds.push(bench.session.info().load.as_secs_f64());
        last = Some(bench);
    }
    // After the loads, so that the first of them finds the file as the system has it.
    let disk = args.model.as_deref().map(read_bandwidth).transpose()?;
    let Some(mut bench) = last else { return Err("--repeat must be 1 or more".into()) };
    let first = bench.answer(8, 1, 0)?.prefill.as_secs_f64();
    let second = bench.answer(8, 1, 1)?.prefill.as_secs_f64();
    let time = median(seconds.clone());
    let bytes = bench.session.info().memory.weights as f64;
    let rate = bytes / time;
    let slower = disk.map_or(upload, |disk| disk.min(upload));
    bench.header();
    row("load", format!("{time:.3} s, {:.2} GB/s of weights (median of {})", rate / 1e9, args.repeat));
    row("upload", format!("{:.2} GB/s", upload / 1e9));
    if let Some(disk) = disk {
        row("read", format!("{:.2} GB/s (the file as it is now: from memory where the system keeps it there)", disk / 1e9));
    }
    row("of the slower", format!("{:.0}%", 100.0 * rate / slower));
    if let Some(host) = host {
        row("host memory", format!("{:.1} MB at the most, beside the mapped file and what was there before", host as f64 / 1e6));
    }
    row("first token", format!("{first:.3} s cold, {second:.3} s warm, after 8 tokens of prompt"));
    let figures = json!({
        "bench": "load", "model": bench.name, "device": bench.device, "seconds": time, "runs": seconds, "weight_bytes": bytes,
        "upload_bytes_per_second": upload, "read_bytes_per_second": disk, "fraction_of_slower": rate / slower,
        "host_bytes": host, "first_token_cold_seconds": first, "first_token_warm_seconds": second,
    });
    write_json(args.device.json.as_deref(), &figures)
}

/// Bytes a second that plain writes to the device reach.
fn upload_bandwidth(args: &ModelArgs) -> Result<f64, Box<dyn Error>> {
    let Device { mut executor, driver, .. } = args.device.open()?;
    let desc = BufferDesc { label: "upload".into(), size: UPLOAD, usage: BufferUse::Scratch };
    let ids = driver.block_on(executor.allocate(&[desc]))?;
    let bytes = vec![1; CHUNK];
    let mut rates = Vec::new();
    for _ in 0..4 {
        let started = Instant::now();
        for offset in (0..UPLOAD).step_by(CHUNK) {
            executor.write(ids[0], offset, &bytes)?;
        }
        driver.block_on(executor.read(BufferSlice::whole(ids[0], UPLOAD).head(4)))?;
        rates.push(UPLOAD as f64 / started.elapsed().as_secs_f64());
    }
    rates.remove(0);
    Ok(median(rates))
}

/// Bytes a second of reading a file from its beginning to its end.
fn read_bandwidth(path: &Path) -> Result<f64, Box<dyn Error>> {
    let mut file = fs::File::open(path)?;
    let mut chunk = vec![0; CHUNK];
    let started = Instant::now();
    let mut read = 0;
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(read as f64 / started.elapsed().as_secs_f64()),
            n => read += n,
        }
    }
}

/// Runs `work` and gives the most memory of its own, without mapped files, that this process had meanwhile.
fn watched<T>(work: impl FnOnce() -> Result<T, Box<dyn Error>>) -> Result<(T, Option<u64>), Box<dyn Error>> {
    let (done, peak) = (AtomicBool::new(false), AtomicU64::new(0));
    let result = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                peak.fetch_max(anonymous_bytes().unwrap_or(0), Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let result = work();
        done.store(true, Ordering::Relaxed);
        result
    })?;
    Ok((result, Some(peak.into_inner()).filter(|&bytes| bytes > 0)))
}

/// Bytes of memory of this process that no file stands behind; none where the system does not tell.
fn anonymous_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse::<u64>().ok());
    Some((line("RssAnon:")? + line("RssShmem:").unwrap_or(0)) << 10)
}
