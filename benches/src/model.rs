//! Whole models: decode and prefill.

use std::{error::Error, rc::Rc, sync::Arc};

use parhelion::{
    loader::{Checkpoint, MappedFile, MemorySource, Source},
    quantise::{Quant, QuantType},
    session::{GenerateOptions, Prepared, Sampling, Session, SessionOptions, Timings},
};
use parhelion_bench::synth;
use parhelion_cli::host::{Device, Driver, Stopwatch};
use serde_json::json;

use crate::{
    ModelArgs,
    measure::{copy_bandwidth, device_json, median, row, write_json},
};

/// A loaded model and what was measured on the way.
pub(crate) struct Bench {
    pub(crate) session: Session,
    pub(crate) driver: Driver,
    pub(crate) copy: f64,
    pub(crate) device: serde_json::Value,
    pub(crate) name: String,
    /// Bytes of the weights that a decode step reads: all but the embedding's table, of which it reads one row, unless the
    /// table is the output head as well.
    step_bytes: f64,
}

fn source(args: &ModelArgs) -> Result<(String, Arc<dyn Source>), Box<dyn Error>> {
    if let Some(path) = &args.model {
        return Ok((path.display().to_string(), Arc::new(MappedFile::open(path)?)));
    }
    let (shape, quant) = synth::find(&args.shape, &args.quant)?;
    let name = format!("synthetic {} {}", shape.name, quant.dtype);
    Ok((name.clone(), Arc::new(MemorySource::new(name, synth::gguf(shape, quant)))))
}

fn quant_of(name: &str) -> Result<Quant, String> {
    let target = QuantType::ALL.iter().find(|kind| kind.dtype().name().eq_ignore_ascii_case(name));
    let target = *target.ok_or_else(|| format!("weights cannot be quantised to `{name}`"))?;
    Ok(Quant { target, requantise: true })
}

pub(crate) fn open(args: &ModelArgs, context: u32) -> Result<Bench, Box<dyn Error>> {
    let (name, source) = source(args)?;
    let mut device = args.device.open()?;
    let copy = copy_bandwidth(&mut device)?;
    let description = device_json(device.executor.as_ref());
    let Device { executor, driver, .. } = device;
    let quant = args.quantise.as_deref().map(quant_of).transpose()?;
    let options = SessionOptions { context: Some(context), reproducible: args.reproducible, quant, ..SessionOptions::default() };
    let checkpoint = driver.block_on(Checkpoint::open(source))?;
    let clock = Rc::new(Stopwatch::start());
    let table = |name: &str| checkpoint.find_tensor(name).map_or(0, |info| info.len);
    let untied = if table("output.weight") > 0 { table("token_embd.weight") } else { 0 };
    let step_bytes = (checkpoint.tensors().map(|info| info.len).sum::<u64>() - untied) as f64;
    let session = driver.block_on(async {
        let prepared = Prepared::new(&checkpoint, executor.device(), options).await?;
        Session::load(checkpoint, prepared, executor, clock, &mut |_| ()).await
    })?;
    Ok(Bench { session, driver, copy, device: description, name, step_bytes })
}

impl Bench {
    /// Answers a prompt of `prompt` tokens that share no beginning with the last, with `generate` tokens.
    pub(crate) fn answer(&mut self, prompt: u32, generate: u32, salt: u32) -> Result<Timings, Box<dyn Error>> {
        let tokens: Vec<u32> = (0..prompt).map(|i| (i * 37 + salt * 11) % 200 + 10).collect();
        let options =
            GenerateOptions { sampling: Sampling::GREEDY, max_tokens: Some(generate), ignore_end: true, ..GenerateOptions::default() };
        let Self { session, driver, .. } = self;
        driver.block_on(async {
            let sequence = session.open_sequence()?;
            let mut generation = session.generate(sequence, &tokens, options).await?;
            while generation.next().await?.is_some() {}
            let timings = generation.timings();
            drop(generation);
            session.close_sequence(sequence);
            Ok(timings)
        })
    }

    pub(crate) fn header(&self) {
        row("model", self.name.clone());
        row("device", format!("{} ({})", self.session.device().name, self.session.device().backend));
        row("copy bandwidth", format!("{:.1} GB/s", self.copy / 1e9));
    }
}

/// Tokens a second, one after another.
pub(crate) fn decode(args: &ModelArgs) -> Result<(), Box<dyn Error>> {
    let tokens = args.tokens.unwrap_or(128);
    let mut bench = open(args, (args.depth + tokens + 1).max(512))?;
    bench.answer(args.depth, tokens, 0)?;
    let runs = (1..=args.repeat).map(|i| bench.answer(args.depth, tokens, i)).collect::<Result<Vec<_>, _>>()?;
    let rate = median(runs.iter().map(Timings::decode_rate).collect());
    let dispatches = runs.last().map_or(0, |t| t.dispatches_per_token);
    let bandwidth = bench.step_bytes * rate;
    bench.header();
    row(
        "decode",
        format!("{rate:.1} tok/s ({:.2} ms a token, median of {}, {tokens} tokens after {})", 1e3 / rate, args.repeat, args.depth),
    );
    row("weights a token", format!("{:.1} MB", bench.step_bytes / 1e6));
    row("bandwidth", format!("{:.1} GB/s, {:.1}% of a copy's", bandwidth / 1e9, 100.0 * bandwidth / bench.copy));
    row("dispatches a token", dispatches.to_string());
    row("device memory", format!("{:.1} MB", bench.session.memory().peak as f64 / 1e6));
    let figures = json!({
        "bench": "decode", "model": bench.name, "device": bench.device, "tokens": tokens, "depth": args.depth,
        "tokens_per_second": rate, "runs": runs.iter().map(Timings::decode_rate).collect::<Vec<_>>(),
        "bytes_per_token": bench.step_bytes, "copy_bytes_per_second": bench.copy,
        "fraction_of_copy": bandwidth / bench.copy, "dispatches_per_token": dispatches, "peak_bytes": bench.session.memory().peak,
    });
    write_json(args.device.json.as_deref(), &figures)
}

/// Prompt tokens a second.
pub(crate) fn prefill(args: &ModelArgs) -> Result<(), Box<dyn Error>> {
    let tokens = args.tokens.unwrap_or(512);
    let mut bench = open(args, tokens + 2)?;
    bench.answer(tokens, 1, 0)?;
    let runs = (1..=args.repeat).map(|i| bench.answer(tokens, 1, i)).collect::<Result<Vec<_>, _>>()?;
    let rate = median(runs.iter().map(Timings::prefill_rate).collect());
    // two operations a weight and token; the output head runs once
    let config = &bench.session.info().config;
    let head = f64::from(config.vocab) * f64::from(config.hidden);
    let body = bench.session.info().parameters as f64 - head;
    let flops = 2.0 * (body + head / f64::from(tokens)) * rate;
    bench.header();
    row("prefill", format!("{rate:.0} tok/s (median of {}, {tokens} tokens)", args.repeat));
    row("arithmetic", format!("{:.2} TFLOP/s in matrix products", flops / 1e12));
    let figures = json!({
        "bench": "prefill", "model": bench.name, "device": bench.device, "tokens": tokens, "tokens_per_second": rate,
        "runs": runs.iter().map(Timings::prefill_rate).collect::<Vec<_>>(), "flops_per_second": flops,
    });
    write_json(args.device.json.as_deref(), &figures)
}
