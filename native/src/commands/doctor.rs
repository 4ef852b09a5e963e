//! `parhelion doctor`: what this machine can do, and whether its GPU computes what it should.

mod kernels;

use std::io::{self, Write};

use clap::Args;
use parhelion::exec::{DeviceInfo, DeviceLimits, Switches};
use parhelion::gpu::{AdapterKind, AdapterSummary, Adapters};
use parhelion::plan::PlanMemory;
use parhelion::session::Prepared;
use serde_json::{Value, json};

use self::kernels::VariantChecks;
use super::kv::KvReport;
use super::options::ModelOptions;
use super::{CommandError, Context, inspect, print_json};
use crate::cache::Cache;
use crate::host::{Device, DeviceChoice, DeviceRequest, describe, describe_switches, preferred};
use crate::model::ModelName;
use crate::progress::bytes;
use crate::text::printable;

const EXAMPLES: &str = "\
Examples:
  parhelion doctor                       this machine's best GPU
  parhelion doctor --adapter llvmpipe    another one
  parhelion doctor --switches floor      at the limits that every WebGPU device has
  parhelion doctor --model model.gguf    and the memory that a model needs
  parhelion doctor --json > report.json  for a bug report

Ends with 1 if a kernel gives wrong results.";

/// Show what this machine can do, and check every GPU kernel
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct DoctorOptions {
    /// Do not run the kernels
    #[arg(long)]
    no_kernels: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    model: ModelOptions,
}

/// All that was found out.
struct Report {
    adapters: Vec<AdapterSummary>,
    device: DeviceInfo,
    kernels: Option<Vec<VariantChecks>>,
    model: Option<ModelReport>,
}

struct ModelReport {
    file: String,
    context: u32,
    memory: PlanMemory,
    kv: KvReport,
}

pub(super) fn run(context: &Context, options: &DoctorOptions) -> Result<(), CommandError> {
    let adapters: Vec<_> = pollster::block_on(Adapters::find()).summaries().cloned().collect();
    let mut device = open(&options.model.device.request(), &adapters)?;
    let on_gpu = device.executor.device().backend != CPU_BACKEND;
    let kernels = (on_gpu && !options.no_kernels).then(|| kernels::check(context, &mut device));
    let model = model_report(context, options, &device)?;
    let report = Report { adapters, device: device.executor.device().clone(), kernels, model };
    if options.json {
        print_json(&report.as_json())?;
    } else {
        report.print(&mut io::stdout().lock())?;
    }
    let failed: usize = report.kernels.iter().flatten().map(VariantChecks::failures).sum();
    if failed > 0 { Err(CommandError::KernelsFail { failed, device: describe(&report.device) }) } else { Ok(()) }
}

/// What the CPU executor calls its backend.
const CPU_BACKEND: &str = "scalar";

/// The device to look at. Where none is named it is the best adapter, even one that the CPU plays: that one's kernels
/// are worth checking too.
fn open(request: &DeviceRequest, adapters: &[AdapterSummary]) -> Result<Device, CommandError> {
    let any_adapter = request.choice == DeviceChoice::Auto && !adapters.is_empty();
    let choice = if any_adapter { DeviceChoice::Gpu } else { request.choice };
    Ok(Device::open(&DeviceRequest { choice, ..request.clone() })?)
}

/// The memory that the model needs; nothing where none is named and the default one is not here yet.
fn model_report(context: &Context, options: &DoctorOptions, device: &Device) -> Result<Option<ModelReport>, CommandError> {
    let path = match (&options.model.model, context.model_name(None)?) {
        (None, ModelName::Catalogue(model)) => context.fetcher(&Cache::of_user()?).finished(model),
        (name, _) => Some(context.model_path(name.as_deref())?),
    };
    let Some(path) = path else { return Ok(None) };
    let checkpoint = inspect::open(&path)?;
    let prepared = device.driver.block_on(Prepared::new(&checkpoint, device.executor.device(), options.model.session()))?;
    let file = path.display().to_string();
    Ok(Some(ModelReport { file, context: prepared.context(), memory: prepared.memory(), kv: KvReport::new(&prepared) }))
}

impl Report {
    fn print(&self, out: &mut impl Write) -> Result<(), CommandError> {
        writeln!(out, "Adapters")?;
        for adapter in &self.adapters {
            writeln!(out, "  {} ({}, {})", printable(&adapter.name), adapter.backend, kind(adapter.kind))?;
            writeln!(out, "    driver {}", printable(&adapter.driver))?;
            writeln!(out, "    can do {}", abilities(adapter))?;
            writeln!(out, "    limits {}", limits(&adapter.limits))?;
        }
        if self.adapters.is_empty() {
            writeln!(out, "  none: models run on the CPU. Install a Vulkan driver to use a GPU.")?;
        }
        writeln!(out, "\nModels run on\n  {} unless told otherwise", printable(&self.default_device()))?;
        writeln!(out, "\nChecked device\n  {}", printable(&describe(&self.device)))?;
        if self.device.backend != CPU_BACKEND {
            writeln!(out, "    switches on: {}", describe_switches(self.device.switches))?;
            writeln!(out, "    limits {}", limits(&self.device.limits))?;
        }
        if let Some(kernels) = &self.kernels {
            let cases: usize = kernels.iter().map(VariantChecks::cases).sum();
            writeln!(out, "\nKernels ({} variants, {cases} cases; worst errors against the scalar twins)", kernels.len())?;
            for kernel in kernels {
                kernel.print(out)?;
            }
        }
        if let Some(model) = &self.model {
            let PlanMemory { weights, scratch, other, .. } = model.memory;
            writeln!(out, "\nModel\n  {}", printable(&model.file))?;
            writeln!(out, "    needs {} with {} tokens of context:", bytes(model.memory.total()), model.context)?;
            model.kv.print(out, "    ")?;
            writeln!(out, "    weights {}, intermediate values {}, tables and results {}", bytes(weights), bytes(scratch), bytes(other))?;
        }
        Ok(())
    }

    /// What commands run models on where neither a device nor an adapter is named.
    fn default_device(&self) -> String {
        match preferred(self.adapters.iter()).and_then(|index| self.adapters.get(index)) {
            Some(adapter) => format!("{} ({})", adapter.name, adapter.backend),
            None => "the CPU".to_owned(),
        }
    }

    fn as_json(&self) -> Value {
        let adapters: Vec<_> = self
            .adapters
            .iter()
            .map(|adapter| {
                json!({
                    "name": adapter.name, "backend": adapter.backend, "driver": adapter.driver, "kind": kind(adapter.kind),
                    "switches": switches_json(adapter.switches), "timestamps": adapter.timestamps,
                    "limits": limits_json(&adapter.limits),
                })
            })
            .collect();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "adapters": adapters,
            "default_device": self.default_device(),
            "device": {
                "name": self.device.name, "backend": self.device.backend, "driver": self.device.driver,
                "switches": switches_json(self.device.switches), "limits": limits_json(&self.device.limits),
            },
            "kernels": self.kernels.as_ref().map(|kernels| kernels.iter().map(VariantChecks::as_json).collect::<Vec<_>>()),
            "model": self.model.as_ref().map(|model| json!({
                "file": model.file, "context": model.context, "bytes": model.memory.total(),
                "weights": model.memory.weights, "kv": model.memory.kv, "kv_cache": model.kv.as_json(),
                "scratch": model.memory.scratch, "other": model.memory.other,
            })),
        })
    }
}

fn kind(kind: AdapterKind) -> &'static str {
    match kind {
        AdapterKind::Discrete => "discrete",
        AdapterKind::Integrated => "integrated",
        AdapterKind::Virtual => "virtual",
        AdapterKind::Other => "unknown kind",
        AdapterKind::Software => "software",
    }
}

fn abilities(adapter: &AdapterSummary) -> String {
    let limits = &adapter.limits;
    let mut words = Vec::new();
    if adapter.switches.subgroups {
        words.push(match (limits.subgroup_min, limits.subgroup_max) {
            (least, most) if least == most => format!("subgroups of {least}"),
            (least, most) => format!("subgroups of {least} to {most}"),
        });
    }
    if adapter.switches.f16 {
        words.push("16-bit floats".to_owned());
    }
    if adapter.timestamps {
        words.push("timestamps".to_owned());
    }
    if words.is_empty() { "the basics only".to_owned() } else { words.join(", ") }
}

fn limits(limits: &DeviceLimits) -> String {
    format!(
        "binding {}, buffer {}, workgroup {} threads, {} KiB",
        bytes(limits.max_binding),
        bytes(limits.max_buffer),
        limits.max_invocations,
        limits.max_workgroup_memory / 1024
    )
}

fn limits_json(limits: &DeviceLimits) -> Value {
    json!({
        "max_binding": limits.max_binding, "max_buffer": limits.max_buffer,
        "max_invocations": limits.max_invocations, "max_workgroup_memory": limits.max_workgroup_memory,
        "subgroup_min": limits.subgroup_min, "subgroup_max": limits.subgroup_max,
    })
}

fn switches_json(switches: Switches) -> Value {
    json!({ "subgroups": switches.subgroups, "f16": switches.f16 })
}
