//! Loads whole models on each kind of device, for tests of their logits.

#![allow(clippy::expect_used, clippy::panic, reason = "a harness reports failures by panicking")]

use std::{fs, path::PathBuf, rc::Rc};

use parhelion::{
    cpu::CpuExecutor,
    exec::{ExecError, Executor},
    loader::{Checkpoint, GgufLayout, GgufWriter, MemoryRepository},
    quantise::{FilePlan, Quant, QuantiseError, Quantiser},
    session::{Prepared, RowInput, SequenceId, Session, SessionOptions},
};
use parhelion_cli::host::{Device, DeviceChoice, DeviceRequest, Driver, Stopwatch, SwitchChoice};

use pollster::block_on;

use crate::{
    harness::{ADAPTER, Threads},
    skip,
};

/// A device to test models on.
pub struct Config {
    /// What is special about it, for messages.
    pub name: &'static str,
    /// How to open it.
    pub request: DeviceRequest,
}

/// The scalar path.
pub fn scalar() -> Config {
    Config { name: "scalar", request: DeviceRequest { choice: DeviceChoice::Cpu, ..DeviceRequest::default() } }
}

/// A GPU with some of its switches; none, with a notice, where it lacks one of them.
pub fn gpu(switches: SwitchChoice) -> Option<Config> {
    let name = match switches {
        SwitchChoice::Floor => "floor",
        SwitchChoice::None => "no switches",
        SwitchChoice::Subgroups => "subgroups",
        SwitchChoice::F16 => "subgroups and f16",
    };
    let request = DeviceRequest { choice: DeviceChoice::Gpu, adapter: std::env::var(ADAPTER).ok(), switches: Some(switches) };
    match Device::open(&request) {
        Ok(_) => Some(Config { name, request }),
        Err(error @ ExecError::MissingFeature { .. }) => {
            skip(format!("{name}: {error}"));
            None
        }
        Err(error) => panic!("{name}: {error}"),
    }
}

/// The scalar path, and a GPU with each combination of switches that it can do, the lowest at WebGPU's floor limits.
pub fn configs() -> Vec<Config> {
    let gpus = [SwitchChoice::Floor, SwitchChoice::Subgroups, SwitchChoice::F16].into_iter().filter_map(gpu);
    std::iter::once(scalar()).chain(gpus).collect()
}

/// A session on a device that is open. [`Session::unload`] gives the executor back, with the pipelines that it made.
///
/// # Panics
/// If the model cannot be loaded.
pub fn load(checkpoint: Checkpoint, executor: Box<dyn Executor>, driver: &Driver, options: SessionOptions) -> Session {
    let name = checkpoint.name().to_owned();
    let loaded = driver.block_on(async {
        let prepared = Prepared::new(&checkpoint, executor.device(), options).await?;
        Session::load(checkpoint, prepared, executor, Rc::new(Stopwatch::start()), &mut |_| ()).await
    });
    loaded.unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The file that `quantize` writes.
///
/// # Panics
/// If there is no such file.
pub fn gguf_of(checkpoint: &Checkpoint, quant: Quant) -> Vec<u8> {
    let plan = block_on(FilePlan::new(checkpoint, quant)).expect("a form in GGUF");
    let entries = plan.entries.iter().map(|(key, value)| (key.as_str(), value));
    let layout = GgufLayout::new(entries, plan.tensors.iter().map(|planned| planned.tensor.clone())).expect("a layout");
    let mut writer = GgufWriter::new(Vec::new(), layout).expect("a writer");
    let mut executor = CpuExecutor::new(Box::new(Threads));
    for planned in &plan.tensors {
        let mut write = |bytes: &[u8]| -> Result<(), QuantiseError> {
            writer.write(&planned.tensor.name, bytes).expect("bytes of the tensor");
            Ok(())
        };
        block_on(Quantiser::new(checkpoint, &mut executor).write(planned, &mut write)).expect("a tensor");
    }
    writer.finish().expect("a whole file")
}

/// Tokens to append to a sequence.
pub fn rows(sequence: SequenceId, tokens: &[u32]) -> Vec<RowInput<'static>> {
    tokens.iter().map(|&token| RowInput::token(sequence, token)).collect()
}

/// The index of the largest.
///
/// # Panics
/// If there are no logits.
pub fn argmax(logits: &[f32]) -> usize {
    (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b])).expect("logits")
}

/// The largest absolute difference.
///
/// # Panics
/// If lengths differ or a value is not finite.
pub fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    assert!(a.iter().chain(b).all(|v| v.is_finite()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Tokens of each tiny checkpoint of a family.
const FAMILY_TOKENS: usize = 64;

/// The tiny checkpoint of a family (`fixtures/families`), as its repository.
///
/// # Panics
/// If there is none.
pub fn family(name: &str) -> Checkpoint {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("fixtures/families").join(name);
    let file = |file: &str| fs::read(folder.join(file)).expect("a file of the fixture");
    let repository = MemoryRepository::new(name)
        .with("config.json", file("config.json"))
        .with("model.safetensors", file("model.safetensors"))
        .with("tokenizer.json", tokenizer_json(FAMILY_TOKENS));
    block_on(Checkpoint::open_repository(&repository)).expect("a checkpoint")
}

/// A tokenizer.json of `tokens` characters, for repositories in whose tests text has no part.
pub fn tokenizer_json(tokens: usize) -> String {
    let text = |id: usize| char::from_u32(0x4e00 + id as u32).expect("fewer tokens than there are characters from there on");
    let vocabulary: Vec<String> = (0..tokens).map(|id| format!("\"{}\":{id}", text(id))).collect();
    let byte_level = r#"{"type":"ByteLevel","add_prefix_space":false,"trim_offsets":true,"use_regex":true}"#;
    let model =
        r#""type":"BPE","dropout":null,"unk_token":null,"continuing_subword_prefix":null,"end_of_word_suffix":null,"fuse_unk":false"#;
    format!(
        r#"{{"version":"1.0","added_tokens":[],"normalizer":null,"pre_tokenizer":{byte_level},"post_processor":null,"decoder":{byte_level},
"model":{{{model},"byte_fallback":false,"merges":[],"vocab":{{{}}}}}}}"#,
        vocabulary.join(",")
    )
}
