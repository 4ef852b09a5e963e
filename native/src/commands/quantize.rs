//! `parhelion quantize`: a model with fewer bits a weight, as a GGUF file.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;
use parhelion::loader::{Checkpoint, GgufLayout, GgufWriteError, GgufWriter};
use parhelion::quantise::{Content, FilePlan, PlannedTensor, Quant, Quantiser};
use serde_json::{Map, json};
use tempfile::NamedTempFile;

use super::options::{DeviceOptions, QuantChoice};
use super::{CommandError, Context, inspect, print_json};
use crate::host::{Device, describe};
use crate::progress::{Unit, bytes};
use crate::text::printable;

const EXAMPLES: &str = "\
Examples:
  parhelion quantize model-f16.gguf --type q4_k --output model-q4_k.gguf
  parhelion quantize model-f16.gguf --type q8_0 -o model.gguf --json
  parhelion quantize model-q8_0.gguf --type q4_0 --requantize -o model-q4_0.gguf
  parhelion quantize owner/name --type q4_k -o model.gguf    a model of the hub

Norms and other vectors keep their type. The output matrix, or the embedding that is used as one, keeps 8 bits. Rows that are
no whole blocks of 256 become q5_0 where the type is q4_k. The file is written beside its name and gets that name when it is
whole.";

/// Write a model with fewer bits a weight, as a GGUF file
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct QuantizeOptions {
    /// A file or directory, or what else names a model: see `parhelion models`
    source: String,
    /// What weights become
    #[arg(long = "type", value_name = "TYPE", value_enum)]
    to: QuantChoice,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
    /// Write over a file that exists
    #[arg(long)]
    force: bool,
    /// Also convert weights that are quantised already, which loses more
    #[arg(long)]
    requantize: bool,
    /// Print one JSON object at the end
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceOptions,
}

pub(super) fn run(context: &Context, options: &QuantizeOptions) -> Result<(), CommandError> {
    if !options.force && options.output.exists() {
        return Err(CommandError::OutputExists { path: options.output.clone() });
    }
    let checkpoint = inspect::open(&context.model_path(Some(&options.source))?)?;
    let (planned, layout) = Planned::new(&checkpoint, options.to.quant(options.requantize), &options.output)?;
    if !planned.plan.tensors.iter().any(|tensor| matches!(tensor.content, Content::Quantised(..))) {
        return Err(CommandError::NothingToQuantise { name: checkpoint.name().to_owned() });
    }
    let device = Device::open(&options.device.request())?;
    if let Some(why) = &device.fallback {
        context.notice(&format!("{why}: quantising on the CPU instead"));
    }
    context.notice(&format!("{} on {}", printable(checkpoint.name()), describe(device.executor.device())));
    let began = Instant::now();
    write(context, options, &checkpoint, &planned.plan, layout, device)?;
    let summary = Summary { checkpoint: &checkpoint, planned: &planned, seconds: began.elapsed().as_secs_f64() };
    if options.json {
        return print_json(&summary.as_json(&options.output));
    }
    summary.print(&mut io::stdout().lock(), &options.output)
}

/// Writes the file under another name, and gives it its own when it is whole.
fn write(
    context: &Context,
    options: &QuantizeOptions,
    checkpoint: &Checkpoint,
    plan: &FilePlan,
    layout: GgufLayout,
    device: Device,
) -> Result<(), CommandError> {
    let failed = |source: GgufWriteError| CommandError::WriteModel { path: options.output.clone(), source };
    let directory = match options.output.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    refuse_full_disk(directory, &options.output, layout.total_bytes())?;
    let file = new_file(directory).map_err(|error| failed(error.into()))?;
    let mut writer = GgufWriter::new(BufWriter::new(file.as_file()), layout).map_err(failed)?;
    let progress = context.progress();
    progress.begin("quantising", Unit::Bytes, Some(plan.tensors.iter().map(PlannedTensor::bytes).sum()), 0);
    let mut copy = Copy { context, checkpoint, device, writer: &mut writer, failed: &failed };
    let mut done = 0;
    let outcome = plan.tensors.iter().try_for_each(|tensor| {
        copy.tensor(tensor)?;
        done += tensor.bytes();
        progress.reached(done);
        context.stop_if_interrupted()
    });
    progress.end();
    outcome?;
    writer.finish().map_err(failed)?;
    file.as_file().sync_all().map_err(|error| failed(error.into()))?;
    let kept = if options.force { file.persist(&options.output) } else { file.persist_noclobber(&options.output) };
    kept.map(drop).map_err(|error| match error.error.kind() {
        io::ErrorKind::AlreadyExists => CommandError::OutputExists { path: options.output.clone() },
        _ => failed(error.error.into()),
    })
}

/// A file that goes away unless it is given a name, as readable as files of the user are.
fn new_file(directory: &Path) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".parhelion-quantize-").suffix(".part");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(directory)
}

/// Refuses what the disk has no room for. A disk that does not tell is tried.
fn refuse_full_disk(directory: &Path, path: &Path, needed: u64) -> Result<(), CommandError> {
    match fs4::available_space(directory) {
        Ok(free) if free < needed => Err(CommandError::NoRoom { path: path.to_owned(), needed, free }),
        _ => Ok(()),
    }
}

/// The way of tensors into a file.
struct Copy<'a, 'f> {
    context: &'a Context,
    checkpoint: &'a Checkpoint,
    device: Device,
    writer: &'a mut GgufWriter<BufWriter<&'f File>>,
    failed: &'a dyn Fn(GgufWriteError) -> CommandError,
}

impl Copy<'_, '_> {
    fn tensor(&mut self, planned: &PlannedTensor) -> Result<(), CommandError> {
        let Self { context, checkpoint, device, writer, failed } = self;
        let mut write = |bytes: &[u8]| -> Result<(), CommandError> {
            context.stop_if_interrupted()?;
            writer.write(&planned.tensor.name, bytes).map_err(*failed)
        };
        let Device { executor, driver, .. } = device;
        driver.block_on(Quantiser::new(checkpoint, executor.as_mut()).write(planned, &mut write))
    }
}

/// What a checkpoint becomes, before or after it is written.
pub(super) struct Planned {
    plan: FilePlan,
    total: u64,
}

impl Planned {
    /// Plans the file that `checkpoint` becomes with `quant`, and lays it out. `path` is for messages.
    pub(super) fn new(checkpoint: &Checkpoint, quant: Quant, path: &Path) -> Result<(Self, GgufLayout), CommandError> {
        let plan = pollster::block_on(FilePlan::new(checkpoint, quant))?;
        let refused = |source| CommandError::WriteModel { path: path.to_owned(), source };
        let entries = plan.entries.iter().map(|(key, value)| (key.as_str(), value));
        let layout = GgufLayout::new(entries, plan.tensors.iter().map(|planned| planned.tensor.clone())).map_err(refused)?;
        Ok((Self { total: layout.total_bytes(), plan }, layout))
    }

    /// Bytes of the file.
    pub(super) fn bytes(&self) -> u64 {
        self.total
    }

    /// Tensors and bytes by what becomes of what.
    fn changes(&self) -> BTreeMap<(&'static str, &'static str), (u64, u64)> {
        let mut changes = BTreeMap::new();
        for planned in &self.plan.tensors {
            let from = planned.source().map_or("settings", |source| source.dtype.name());
            let change = changes.entry((from, planned.tensor.dtype.name())).or_insert((0, 0));
            change.0 += 1;
            change.1 += planned.bytes();
        }
        changes
    }

    pub(super) fn print(&self, out: &mut impl Write) -> Result<(), CommandError> {
        for ((from, to), (tensors, size)) in self.changes() {
            writeln!(out, "{from:>11} -> {to:<6} {tensors:>6} tensors {:>10}", bytes(size))?;
        }
        Ok(())
    }

    pub(super) fn as_json(&self) -> serde_json::Value {
        let change = |((from, to), (tensors, size))| json!({ "from": from, "to": to, "tensors": tensors, "bytes": size });
        self.changes().into_iter().map(change).collect()
    }
}

/// What was made of what.
struct Summary<'a> {
    checkpoint: &'a Checkpoint,
    planned: &'a Planned,
    seconds: f64,
}

impl Summary<'_> {
    fn print(&self, out: &mut impl Write, path: &Path) -> Result<(), CommandError> {
        self.planned.print(out)?;
        let before = bytes(self.checkpoint.files().iter().map(|file| file.len()).sum());
        let path = printable(&path.display().to_string());
        writeln!(out, "{path}: {} from {before} in {:.1} s", bytes(self.planned.total), self.seconds)?;
        Ok(())
    }

    fn as_json(&self, path: &Path) -> serde_json::Value {
        let mut object = Map::new();
        object.insert("source".into(), json!(self.checkpoint.name()));
        object.insert("output".into(), json!(path.display().to_string()));
        object.insert("bytes".into(), json!(self.planned.total));
        object.insert("seconds".into(), json!(self.seconds));
        object.insert("tensors".into(), self.planned.as_json());
        object.into()
    }
}
