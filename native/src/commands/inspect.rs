//! `parhelion inspect`: what a model file holds, without loading it.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use parhelion::cpu::CpuExecutor;
use parhelion::exec::{Executor, Serial};
use parhelion::loader::{Array, Checkpoint, DType, Dialect, TensorInfo, Value};
use parhelion::session::{Prepared, SessionOptions};
use serde_json::{Map, json};

use super::kv::KvReport;
use super::options::{KvChoice, QuantChoice};
use super::quantize::Planned;
use super::{CommandError, Context, print_json};
use crate::model::{ModelName, NameError};
use crate::progress::bytes;
use crate::text::printable;

const EXAMPLES: &str = "\
Examples:
  parhelion inspect model.gguf
  parhelion inspect model.gguf --json | jq .metadata
  parhelion inspect model.gguf --quant q4_k  and the file that `parhelion quantize` would write
  parhelion inspect model.gguf --context 32768  and the memory of so long a conversation
  parhelion inspect ./model                  a directory with config.json and safetensors
  parhelion inspect smollm2-135m-instruct    a model of the catalogue
  parhelion inspect owner/name:Q8_0          a model of the hub";

/// Elements of an array that are shown.
const SHOWN: usize = 4;

/// Show what a model file holds; needs no GPU
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct InspectOptions {
    /// A file or directory, or what else names a model: see `parhelion models`
    file: String,
    /// Show also what would become of the weights with --quant, or in the file that `parhelion quantize` writes
    #[arg(long, value_name = "TYPE", value_enum)]
    quant: Option<QuantChoice>,
    /// With --quant: also of weights that are quantised already
    #[arg(long, requires = "quant")]
    requantize: bool,
    /// Show also the memory of the KV cache for N tokens of context
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    context: Option<u32>,
    /// With --context: how the KV cache is stored, by default f16
    #[arg(long, value_name = "TYPE", value_enum, requires = "context")]
    kv_cache: Option<KvChoice>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub(super) fn run(context: &Context, options: &InspectOptions) -> Result<(), CommandError> {
    let path: PathBuf = match context.model_name(Some(&options.file)) {
        Ok(ModelName::Path(_)) | Err(NameError::Unknown { .. } | NameError::NoSuchFile { .. }) => PathBuf::from(&options.file),
        Ok(_) => context.model_path(Some(&options.file))?,
        Err(error) => return Err(error.into()),
    };
    let checkpoint = open(&path)?;
    let totals = totals(&checkpoint);
    let planned =
        options.quant.map(|to| Planned::new(&checkpoint, to.quant(options.requantize), &path)).transpose()?.map(|(planned, _)| planned);
    let kv = options.context.map(|tokens| kv_report(&checkpoint, tokens, options.kv_cache)).transpose()?;
    if options.json {
        let mut object = as_json(&checkpoint, &totals);
        if let Some(planned) = &planned {
            object["quantised"] = json!({ "bytes": planned.bytes(), "tensors": planned.as_json() });
        }
        if let Some(kv) = &kv {
            object["kv"] = kv.as_json();
        }
        return print_json(&object);
    }
    let mut out = io::stdout().lock();
    print_text(&mut out, &checkpoint, &totals)?;
    if let Some(planned) = &planned {
        writeln!(out, "\nQuantised, as a GGUF file: {}", bytes(planned.bytes()))?;
        planned.print(&mut out)?;
    }
    if let Some(kv) = &kv {
        writeln!(out)?;
        kv.print(&mut out, "")?;
    }
    Ok(())
}

/// What the KV cache takes for so many tokens of context: the same on every device.
fn kv_report(checkpoint: &Checkpoint, tokens: u32, kv: Option<KvChoice>) -> Result<KvReport, CommandError> {
    let cpu = CpuExecutor::new(Box::new(Serial));
    let options = SessionOptions { context: Some(tokens), kv: kv.map(KvChoice::format), ..SessionOptions::default() };
    Ok(KvReport::new(&pollster::block_on(Prepared::new(checkpoint, cpu.device(), options))?))
}

/// Maps a model's files and reads their index.
pub(super) fn open(path: &Path) -> Result<Checkpoint, CommandError> {
    // Reads of mapped files are always ready.
    Ok(pollster::block_on(Checkpoint::open_path(path))?)
}

/// Tensors of one type.
#[derive(Default)]
struct Total {
    tensors: u64,
    elements: u64,
    bytes: u64,
}

impl Total {
    fn add(&mut self, tensor: &TensorInfo) {
        self.tensors += 1;
        self.elements = self.elements.saturating_add(tensor.elems());
        self.bytes = self.bytes.saturating_add(tensor.len);
    }
}

/// Totals by type, by name, and of all tensors.
struct Totals {
    by_type: BTreeMap<&'static str, Total>,
    all: Total,
}

/// The format of the model's files.
fn format_name(checkpoint: &Checkpoint) -> &'static str {
    match checkpoint.dialect() {
        Dialect::Gguf => "GGUF",
        Dialect::HuggingFace => "safetensors",
    }
}

/// Bytes of all files.
fn file_bytes(checkpoint: &Checkpoint) -> u64 {
    checkpoint.files().iter().map(|file| file.len()).fold(0, u64::saturating_add)
}

fn totals(checkpoint: &Checkpoint) -> Totals {
    let mut totals = Totals { by_type: BTreeMap::new(), all: Total::default() };
    for tensor in checkpoint.tensors() {
        totals.by_type.entry(DType::name(tensor.dtype)).or_default().add(tensor);
        totals.all.add(tensor);
    }
    totals
}

fn print_text(out: &mut impl Write, checkpoint: &Checkpoint, totals: &Totals) -> Result<(), CommandError> {
    let architecture = checkpoint.architecture().unwrap_or("not named");
    let (name, size) = (printable(checkpoint.name()), bytes(file_bytes(checkpoint)));
    writeln!(out, "{name}: {}, {size}, architecture {}", format_name(checkpoint), printable(architecture))?;
    if let Some(quantisation) = checkpoint.quantisation() {
        writeln!(out, "quantised: {}", printable(quantisation))?;
    }

    if checkpoint.files().len() > 1 {
        writeln!(out, "\nFiles ({})", checkpoint.files().len())?;
        for file in checkpoint.files() {
            writeln!(out, "  {} {:>10}", printable(file.name()), bytes(file.len()))?;
        }
    }

    let metadata = checkpoint.metadata();
    writeln!(out, "\nMetadata ({} entries)", metadata.iter().len())?;
    for (key, value) in metadata.iter() {
        writeln!(out, "  {:<38} {}", printable(key), shown_value(value))?;
    }

    writeln!(out, "\nTensors ({})", totals.all.tensors)?;
    let width = checkpoint.tensors().map(|tensor| tensor.name.chars().count()).max().unwrap_or(0).min(40);
    for tensor in checkpoint.tensors() {
        let (name, shape, size) = (printable(&tensor.name), shape(tensor), bytes(tensor.len));
        writeln!(out, "  {name:<width$}  {:<11} {shape:>13} {size:>10}", tensor.dtype.name())?;
    }

    writeln!(out, "\n  {:<11} {:>8} {:>16} {:>10} {:>10}", "type", "tensors", "elements", "size", "bits each")?;
    let rows = totals.by_type.iter().map(|(name, total)| (*name, total)).chain([("all", &totals.all)]);
    for (name, total) in rows {
        let Total { tensors, elements, bytes: size } = total;
        let bits = *size as f64 * 8.0 / (*elements).max(1) as f64;
        writeln!(out, "  {name:<11} {tensors:>8} {elements:>16} {:>10} {bits:>10.2}", bytes(*size))?;
    }
    Ok(())
}

/// A tensor's dimensions, rows first.
fn shape(tensor: &TensorInfo) -> String {
    if tensor.shape.is_empty() {
        return "scalar".to_owned();
    }
    tensor.shape.iter().map(u64::to_string).collect::<Vec<_>>().join(" x ")
}

/// A value in what is left of a terminal's line: long strings and arrays cut short.
fn shown_value(value: &Value) -> String {
    const ROOM: usize = 38;
    match value {
        Value::Array(array) => {
            let kind = format!("({} of {})", array.len(), array.element_name());
            let mut list = String::new();
            let mut shown = 0;
            for element in first_elements(array) {
                let element = printable(&element.to_string());
                if list.chars().count() + element.chars().count() + kind.len() + 8 > ROOM {
                    break;
                }
                list.push_str(if shown > 0 { ", " } else { "" });
                list.push_str(&element);
                shown += 1;
            }
            let more = match (shown, array.len() > shown) {
                (_, false) => "",
                (0, true) => "...",
                (_, true) => ", ...",
            };
            format!("[{list}{more}] {kind}")
        }
        Value::String(text) => {
            let quoted = format!("\"{}\"", printable(text));
            if quoted.chars().count() <= ROOM {
                return quoted;
            }
            let kind = format!("({} characters)", text.chars().count());
            let start: String = printable(text).chars().take(ROOM.saturating_sub(kind.len() + 6)).collect();
            format!("\"{start}...\" {kind}")
        }
        other => scalar(other).to_string(),
    }
}

/// An f32 by its shortest decimal: widened to f64, 0.1 would read 0.10000000149011612.
fn float(value: &f32) -> serde_json::Value {
    value.to_string().parse::<f64>().map_or(serde_json::Value::Null, |value| json!(value))
}

fn scalar(value: &Value) -> serde_json::Value {
    match value {
        Value::U8(v) => json!(v),
        Value::I8(v) => json!(v),
        Value::U16(v) => json!(v),
        Value::I16(v) => json!(v),
        Value::U32(v) => json!(v),
        Value::I32(v) => json!(v),
        Value::U64(v) => json!(v),
        Value::I64(v) => json!(v),
        Value::F32(v) => float(v),
        Value::F64(v) => json!(v),
        Value::Bool(v) => json!(v),
        Value::String(v) => json!(v),
        Value::Array(v) => json!({ "type": v.element_name(), "length": v.len(), "first": first_elements(v) }),
    }
}

/// The first few elements of an array. Arrays of arrays are shown by their own first elements.
fn first_elements(array: &Array) -> Vec<serde_json::Value> {
    fn first<T: serde::Serialize>(items: &[T]) -> Vec<serde_json::Value> {
        items.iter().take(SHOWN).map(|item| json!(item)).collect()
    }
    match array {
        Array::U8(items) => first(items),
        Array::I8(items) => first(items),
        Array::U16(items) => first(items),
        Array::I16(items) => first(items),
        Array::U32(items) => first(items),
        Array::I32(items) => first(items),
        Array::U64(items) => first(items),
        Array::I64(items) => first(items),
        Array::F32(items) => items.iter().take(SHOWN).map(float).collect(),
        Array::F64(items) => first(items),
        Array::Bool(items) => first(items),
        Array::String(items) => items.iter().take(SHOWN).map(|item| json!(item)).collect(),
        Array::Array(items) => items.iter().take(SHOWN).map(|item| json!({ "type": item.element_name(), "length": item.len() })).collect(),
    }
}

fn as_json(checkpoint: &Checkpoint, totals: &Totals) -> serde_json::Value {
    let metadata: Map<String, serde_json::Value> =
        checkpoint.metadata().iter().map(|(key, value)| (key.to_owned(), scalar(value))).collect();
    let tensors: Vec<_> = checkpoint
        .tensors()
        .map(|tensor| {
            json!({
                "name": tensor.name, "dtype": tensor.dtype.name(), "shape": tensor.shape,
                "file": tensor.file, "offset": tensor.offset, "bytes": tensor.len,
            })
        })
        .collect();
    let files: Vec<_> = checkpoint.files().iter().map(|file| json!({ "name": file.name(), "bytes": file.len() })).collect();
    let total = |total: &Total| json!({ "tensors": total.tensors, "elements": total.elements, "bytes": total.bytes });
    let by_type: Map<String, serde_json::Value> = totals.by_type.iter().map(|(name, sum)| ((*name).to_owned(), total(sum))).collect();
    json!({
        "file": checkpoint.name(),
        "bytes": file_bytes(checkpoint),
        "files": files,
        "format": format_name(checkpoint),
        "quantisation": checkpoint.quantisation(),
        "architecture": checkpoint.architecture().ok(),
        "parameters": totals.all.elements,
        "by_dtype": by_type,
        "total": total(&totals.all),
        "metadata": metadata,
        "tensors": tensors,
    })
}
