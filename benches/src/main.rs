//! parhelion's benchmark harness: how fast each part is and how near the device's limit.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};
use parhelion_cli::host::{Device, DeviceChoice, DeviceRequest, SwitchChoice};

mod kernels;
mod load;
mod measure;
mod model;

/// Measures parhelion. Every figure is a median after a warm-up, and comes with the bytes it moved and the fraction that this is of the
/// device's own copy bandwidth, measured in the same run.
///
/// Examples:
///   parhelion-bench decode --model model.gguf
///   parhelion-bench prefill --shape llama-1b --quant Q4_0 --tokens 512
///   parhelion-bench kernels --shape llama-8b --json kernels.json
///   parhelion-bench synth --shape tiny --out tiny.gguf
#[derive(Parser)]
#[command(verbatim_doc_comment)]
struct Cli {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Tokens a second, one after another.
    Decode(ModelArgs),
    /// Prompt tokens a second.
    Prefill(ModelArgs),
    /// From the file to a model that can answer.
    Load(ModelArgs),
    /// Every kernel of a synthetic model by itself
    Kernels(ModelArgs),
    /// Writes a synthetic model to a file.
    Synth(SynthArgs),
}

/// What to write.
#[derive(Args, Clone)]
struct SynthArgs {
    /// tiny, smollm2-135m, llama-1b, llama-3b or llama-8b
    #[arg(long, default_value = "tiny")]
    shape: String,
    /// The format of the weights, as GGUF calls it: Q4_0, Q4_K, IQ4_XS, MXFP4 and most others
    #[arg(long, default_value = "Q8_0")]
    quant: String,
    /// The file to write
    #[arg(long)]
    out: PathBuf,
}

fn synth(args: &SynthArgs) -> Result<(), Box<dyn std::error::Error>> {
    let (shape, quant) = parhelion_bench::synth::find(&args.shape, &args.quant)?;
    let bytes = parhelion_bench::synth::gguf(shape, quant);
    std::fs::write(&args.out, &bytes).map_err(|error| format!("{}: {error}", args.out.display()))?;
    println!("{}: {} bytes", args.out.display(), bytes.len());
    Ok(())
}

/// Which device, and where the figures go.
#[derive(Args, Clone)]
struct DeviceArgs {
    /// Where to run
    #[arg(long, value_enum, default_value_t)]
    device: DeviceChoice,
    /// Only adapters whose name contains this
    #[arg(long)]
    adapter: Option<String>,
    /// Which abilities of the GPU to use; all that it has unless given
    #[arg(long, value_enum)]
    switches: Option<SwitchChoice>,
    /// Write the figures to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
}

impl DeviceArgs {
    fn open(&self) -> Result<Device, Box<dyn std::error::Error>> {
        let request = DeviceRequest { choice: self.device, adapter: self.adapter.clone(), switches: self.switches };
        Ok(Device::open(&request)?)
    }
}

/// Which model, and how much of it.
#[derive(Args, Clone)]
struct ModelArgs {
    #[command(flatten)]
    device: DeviceArgs,
    /// A GGUF file; without it a synthetic model of --shape and --quant
    #[arg(long)]
    model: Option<PathBuf>,
    /// tiny, smollm2-135m, llama-1b, llama-3b or llama-8b
    #[arg(long, default_value = "smollm2-135m")]
    shape: String,
    /// The format of the weights, as GGUF calls it: Q4_0, Q4_K, IQ4_XS, MXFP4 and most others
    #[arg(long, default_value = "Q4_0")]
    quant: String,
    /// Quantise weights while they are loaded, those that are quantised already too: q8_0, q5_0, q4_0 or q4_k
    #[arg(long, value_name = "TYPE")]
    quantise: Option<String>,
    /// Tokens to generate, or of the prompt
    #[arg(long)]
    tokens: Option<u32>,
    /// Tokens already in the cache when decoding starts
    #[arg(long, default_value_t = 8)]
    depth: u32,
    /// Runs, of which the median counts
    #[arg(long, default_value_t = 5)]
    repeat: u32,
    /// Pinned f32 kernels
    #[arg(long)]
    reproducible: bool,
}

fn main() -> ExitCode {
    let result = match Cli::parse().what {
        What::Decode(args) => model::decode(&args),
        What::Prefill(args) => model::prefill(&args),
        What::Load(args) => load::run(&args),
        What::Kernels(args) => kernels::run(&args),
        What::Synth(args) => synth(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
